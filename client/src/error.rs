//! What can go wrong for a user of the library.

use std::time::Duration;

use gfs_types::path::PathError;
use gfs_types::topology::TopologyError;
use gfs_types::{Error as WireError, ErrorKind};

/// The result of every call of this library.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong. [`Error::kind`] says what to do next; the text says what happened, to what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text that is no path; nothing was sent.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The options cannot be used; nothing was sent.
    #[error("{0}")]
    Options(String),
    /// A server refused, and asking again will not help.
    #[error("cannot {doing}: {error}")]
    Refused {
        /// What was asked for.
        doing: String,
        /// What the server said.
        error: WireError,
    },
    /// Time ran out.
    #[error("cannot {doing}: no success within {timeout:?}; last: {last}{}", tail(*.outcome_unknown))]
    TimedOut {
        /// What was asked for.
        doing: String,
        /// The time that was allowed.
        timeout: Duration,
        /// The last thing that went wrong.
        last: String,
        /// A change was sent, and it may or may not have happened.
        outcome_unknown: bool,
    },
    /// A change was sent and its answer was lost: it may or may not have happened.
    #[error("cannot tell whether `{doing}` took effect: {last}; look before you repeat it")]
    Unknown {
        /// What was asked for.
        doing: String,
        /// What was seen.
        last: String,
    },
    /// The call cannot work on this file or with these arguments; nothing was sent.
    #[error("cannot {doing}: {reason}")]
    Unfit {
        /// What was asked for.
        doing: String,
        /// Why not.
        reason: String,
    },
    /// A mistake inside of this library, or a server that breaks the protocol.
    #[error("cannot {doing}: {reason}; this is a defect, please report it")]
    Defect {
        /// What was asked for.
        doing: String,
        /// What was seen.
        reason: String,
    },
}

const fn tail(outcome_unknown: bool) -> &'static str {
    if outcome_unknown { "; it may or may not have taken effect" } else { "" }
}

impl Error {
    /// What the caller should do next.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(_) | Self::Options(_) | Self::Unfit { .. } => ErrorKind::Invalid,
            Self::Refused { error, .. } => error.kind,
            Self::TimedOut { outcome_unknown: false, .. } => ErrorKind::Busy,
            Self::TimedOut { outcome_unknown: true, .. } | Self::Unknown { .. } => {
                ErrorKind::Unknown
            }
            Self::Defect { .. } => ErrorKind::Internal,
        }
    }
}

impl From<TopologyError> for Error {
    fn from(error: TopologyError) -> Self {
        Self::Options(error.to_string())
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            ErrorKind::Invalid => Io::InvalidInput,
            ErrorKind::NotFound => Io::NotFound,
            ErrorKind::AlreadyExists => Io::AlreadyExists,
            ErrorKind::Denied => Io::PermissionDenied,
            ErrorKind::Corrupt => Io::InvalidData,
            ErrorKind::Busy | ErrorKind::Unknown => Io::TimedOut,
            _ => Io::Other,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_is_unknown_only_when_a_change_may_have_happened() {
        let timed_out = |outcome_unknown| Error::TimedOut {
            doing: "create `/a`".to_owned(),
            timeout: Duration::from_secs(60),
            last: "connection refused".to_owned(),
            outcome_unknown,
        };
        assert_eq!(timed_out(false).kind(), ErrorKind::Busy);
        assert_eq!(timed_out(true).kind(), ErrorKind::Unknown);
        let text = timed_out(true).to_string();
        for part in ["create `/a`", "60s", "connection refused", "may or may not"] {
            assert!(text.contains(part), "{text:?} lacks {part:?}");
        }
    }

    #[test]
    fn a_refusal_keeps_its_kind() {
        for kind in ErrorKind::ALL {
            let error =
                Error::Refused { doing: "x".to_owned(), error: WireError::new(kind, "because") };
            assert_eq!(error.kind(), kind);
        }
    }
}
