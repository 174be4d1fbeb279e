//! How a command ends: the exit statuses that scripts rely on, and the one sentence on stderr.

use std::fmt;
use std::io;

use gfs_types::ErrorKind;

/// Result of everything a command does.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Why a command did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What the caller may conclude.
    pub(crate) status: Status,
    /// What the caller should do next, as `gfs batch` tells it.
    pub(crate) kind: ErrorKind,
    /// What happened, to what, and what to do next.
    pub(crate) message: String,
}

/// What the exit status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// 1: it was not done.
    Failed,
    /// 2: nothing was tried, the command line is wrong.
    Usage,
    /// 3: time ran out after the request was sent; nobody knows.
    Unknown,
    /// 0, and silent: whoever read stdout has seen enough.
    ReaderGone,
    /// The findings were printed; this exit status says that there are some. Nothing goes to stderr.
    Reported(u8),
}

impl Failure {
    /// It cannot be done as it was asked for.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::of_kind(ErrorKind::Invalid, message)
    }

    pub(crate) fn of_kind(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { status: status_of(kind), kind, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { status: Status::Usage, ..Self::new(message) }
    }

    /// Whoever read stdout has seen enough.
    pub(crate) fn reader_gone() -> Self {
        Self { status: Status::ReaderGone, ..Self::new("") }
    }

    /// Everything to say was said on stdout already.
    pub(crate) fn reported(status: u8) -> Self {
        Self { status: Status::Reported(status), ..Self::new("") }
    }

    /// The command's status towards the shell.
    pub(crate) fn exit_status(&self) -> u8 {
        match self.status {
            Status::Failed => 1,
            Status::Usage => 2,
            Status::Unknown => 3,
            Status::ReaderGone => 0,
            Status::Reported(status) => status,
        }
    }

    /// Whether there is something to say on stderr.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self.status, Status::ReaderGone | Status::Reported(_))
    }

    /// The same, with what was being done in front.
    pub(crate) fn during(mut self, what: impl fmt::Display) -> Self {
        if !self.is_silent() {
            self.message = format!("{what}: {}", self.message);
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What an error of the cluster means for the exit status.
fn status_of(kind: ErrorKind) -> Status {
    if kind == ErrorKind::Unknown { Status::Unknown } else { Status::Failed }
}

impl From<gfs_client::Error> for Failure {
    fn from(error: gfs_client::Error) -> Self {
        Self::of_kind(error.kind(), error.to_string())
    }
}

impl From<gfs_types::path::PathError> for Failure {
    fn from(error: gfs_types::path::PathError) -> Self {
        Self::new(error.to_string())
    }
}

/// Puts what was being done, and to what, before an error.
pub(crate) trait Context<T> {
    /// Names it; `what` reads like ``cannot open `x` ``.
    fn during<W: fmt::Display>(self, what: impl FnOnce() -> W) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn during<W: fmt::Display>(self, what: impl FnOnce() -> W) -> Result<T> {
        self.map_err(|error| Failure::of_kind(kind_of(&error), format!("{}: {error}", what())))
    }
}

/// A local error in the words of the cluster.
fn kind_of(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Busy,
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => ErrorKind::Invalid,
        _ => ErrorKind::Internal,
    }
}

impl<T> Context<T> for gfs_client::Result<T> {
    fn during<W: fmt::Display>(self, what: impl FnOnce() -> W) -> Result<T> {
        self.map_err(|error| Failure::from(error).during(what()))
    }
}

impl<T> Context<T> for Result<T> {
    fn during<W: fmt::Display>(self, what: impl FnOnce() -> W) -> Result<T> {
        self.map_err(|failure| failure.during(what()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unknown_outcome_is_unknown() {
        for kind in ErrorKind::ALL {
            let expected = if kind == ErrorKind::Unknown { 3 } else { 1 };
            let failure = Failure::of_kind(kind, "");
            assert_eq!(failure.exit_status(), expected, "{kind}");
        }
        assert_eq!(Failure::usage("").exit_status(), 2);
        assert_eq!(Failure::reported(1).exit_status(), 1);
    }

    #[test]
    fn context_keeps_the_status_and_stays_silent_where_nothing_is_to_be_said() {
        let unknown = Failure::of_kind(ErrorKind::Unknown, "time ran out");
        let named = unknown.during("cannot rename `/a`");
        assert_eq!(named.status, Status::Unknown);
        assert_eq!(named.to_string(), "cannot rename `/a`: time ran out");
        assert_eq!(Failure::reported(1).during("x").message, "");
    }
}
