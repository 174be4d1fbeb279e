//! Where the configuration record is kept: a register with compare-and-swap.

pub mod file;

use std::fmt::Debug;

use crate::record::{ConfigRecord, NotSuccessor};

/// What a store calls the state that was read. Only the store that gave it knows what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token that says `state`, in the words of the store.
    #[must_use]
    pub fn new(state: impl Into<String>) -> Self {
        Self(state.into())
    }

    /// What the store called the state.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The end of a compare-and-swap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// The new record is stored, durably; the token is that of the new state.
    Done(Token),
    /// The store holds something else than the token says; this is what.
    Conflict(Option<ConfigRecord>, Token),
    /// Nobody knows: read again, and compare. The text says what happened.
    Unknown(String),
}

/// Why a store gives no answer, or takes no record.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The new record must not follow the one that is stored.
    #[error("the configuration record is not changed: {0}")]
    NotSuccessor(#[from] NotSuccessor),
    /// The store cannot be used; what it holds is as it was.
    #[error("the store of the configuration record cannot be used: {0}")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A register that holds the configuration record. Both calls may block on a disk or a network:
/// keep them off the threads that must not.
pub trait Store: Send + Sync + Debug {
    /// The record as it is now (never from a cache), and the token to change it with. `None`: no
    /// record was ever stored.
    ///
    /// # Errors
    /// The store does not answer, or what it holds cannot be read.
    fn read(&self) -> Result<(Option<ConfigRecord>, Token), StoreError>;

    /// Stores `new` if the state is still the one that `token` was read with.
    ///
    /// # Errors
    /// The new record may not follow the stored one, or the store is known to have kept its state.
    fn compare_and_swap(&self, token: &Token, new: &ConfigRecord) -> Result<Swap, StoreError>;
}
