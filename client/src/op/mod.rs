//! One operation each, as a session without I/O: it says the next step, is told what came of it, and decides.
//!
//! The engine takes the steps; the deadline is its business too. What a session knows of time is only how long it
//! wants to pause.

pub(crate) mod length;
pub(crate) mod mutate;
pub(crate) mod read;
pub(crate) mod sync;
#[cfg(test)]
pub(crate) mod tests;

use gfs_types::Error as WireError;

/// How a session ends without success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// It cannot be done; nothing happened, or only what happens again harmlessly.
    Refused(WireError),
    /// It may or may not have happened.
    Unknown(String),
}
