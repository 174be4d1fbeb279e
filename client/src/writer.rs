//! Writing a file from front to back, several pieces in flight.

use bytes::Bytes;

use crate::error::{Result, later};

/// Takes bytes in order; up to [`crate::Options::write_window`] pieces of 1 MiB are on their way at once.
///
/// Dropped without [`Writer::close`], pieces on their way are given up: a part of the bytes is in the file.
#[derive(Debug)]
pub struct Writer {}

impl Writer {
    pub(crate) fn stub() -> Self {
        Self {}
    }

    /// Where the next byte goes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        0
    }

    /// Takes these bytes; waits while the window is full. An error is that of any earlier piece, and final.
    ///
    /// Not cancel safe: dropped, a part of `data` may be taken.
    ///
    /// # Errors
    /// As [`crate::File::write_at`].
    pub async fn write(&mut self, _data: impl Into<Bytes>) -> Result<()> {
        later()
    }

    /// Returns when all that was taken is acknowledged by every replica. Cancel safe.
    ///
    /// # Errors
    /// As [`crate::File::write_at`].
    pub async fn flush(&mut self) -> Result<()> {
        later()
    }

    /// Flushes, has it on disk on every replica, has the master log the length; then gives the length of the file as
    /// far as this writer knows.
    ///
    /// # Errors
    /// As [`Writer::flush`] and [`crate::File::sync`].
    pub async fn close(self) -> Result<u64> {
        later()
    }
}
