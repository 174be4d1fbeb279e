//! Errors of the disk that say what was being done to which file.

use std::io;
use std::path::{Path, PathBuf};

/// An operation on a path that failed. Carried inside the [`io::Error`]s of this module.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", path.display())]
pub struct FsError {
    /// What was tried: a verb.
    pub operation: &'static str,
    /// On what.
    pub path: PathBuf,
    /// The system's answer.
    pub source: io::Error,
}

/// Puts operation and path around an error, keeping its kind.
pub(crate) fn named<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> io::Error + 'a {
    move |source| {
        let kind = source.kind();
        io::Error::new(kind, FsError { operation, path: path.to_owned(), source })
    }
}
