//! Stdout: data and nothing else; a reader that goes away ends the command quietly.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;

use clap::ValueEnum;
use gfs_types::ErrorKind;
use serde::Serialize;

use crate::failure::{Failure, Result};

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For scripts; fields are kept from release to release.
    Json,
}

/// Buffered stdout. Nothing is lost silently: call [`Out::flush`] at the end.
pub(crate) struct Out {
    /// A file of its own on the same descriptor: the standard handle would look for newlines in all data.
    inner: BufWriter<File>,
}

const BUFFER_BYTES: usize = 128 << 10;

impl Out {
    pub(crate) fn stdout() -> Result<Self> {
        let descriptor = io::stdout().as_fd().try_clone_to_owned().map_err(write_failure)?;
        Ok(Self { inner: BufWriter::with_capacity(BUFFER_BYTES, File::from(descriptor)) })
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.write_all(bytes).map_err(write_failure)
    }

    pub(crate) fn line(&mut self, line: impl std::fmt::Display) -> Result<()> {
        writeln!(self.inner, "{line}").map_err(write_failure)
    }

    /// One JSON object, on a line of its own.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value)
            .map_err(|error| Failure::new(format!("cannot write JSON: {error}")))?;
        self.line(text)
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        self.inner.flush().map_err(write_failure)
    }
}

fn write_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::reader_gone();
    }
    Failure::of_kind(ErrorKind::Internal, format!("cannot write to stdout: {error}"))
}

/// A line on stderr. When even that is closed there is nobody left to tell.
pub(crate) fn note(message: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "gfs: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Status;

    #[test]
    fn a_reader_that_left_is_no_failure_and_a_full_disk_is() {
        assert_eq!(write_failure(io::ErrorKind::BrokenPipe.into()).status, Status::ReaderGone);
        assert_eq!(write_failure(io::ErrorKind::StorageFull.into()).status, Status::Failed);
    }
}
