//! Room on the disk of the master's own log and checkpoints: what still happens when it is short.

use gfs_types::Error;

use crate::raise::busy;

/// A client that is told `Busy` for want of room comes back after this, in milliseconds.
const ROOM_RETRY_MS: u32 = 1_000;

/// What the shell last saw. The texts are for a person: where, how much is free, how much is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Room {
    /// Above the reserve.
    #[default]
    Enough,
    /// The reserve is begun. It is there for deletes, for leases, and for the checkpoints that make the log shorter:
    /// nothing is added to the namespace.
    Short(String),
    /// The log cannot grow, and of what it has only a little is left: nothing is logged that can wait.
    Nothing(String),
}

impl Room {
    /// Whether the namespace may grow: files, directories, chunks.
    ///
    /// # Errors
    /// `Busy`, with what a person can do.
    pub(crate) fn may_grow(&self) -> Result<(), Error> {
        match self {
            Self::Enough => Ok(()),
            Self::Short(found) => Err(refusal("nearly full", found)),
            Self::Nothing(found) => Err(refusal("full", found)),
        }
    }

    /// Whether anything that can wait may be logged.
    ///
    /// # Errors
    /// `Busy`, with what a person can do.
    pub(crate) fn may_log(&self) -> Result<(), Error> {
        match self {
            Self::Enough | Self::Short(_) => Ok(()),
            Self::Nothing(found) => Err(refusal("full", found)),
        }
    }
}

fn refusal(how: &str, found: &str) -> Error {
    let text =
        format!("the master's disk is {how}: {found}; free space there, then it goes on by itself");
    busy(text, ROOM_RETRY_MS)
}
