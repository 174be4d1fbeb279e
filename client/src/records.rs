//! Records that are written at least once and read exactly once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::error::{Result, later};
use crate::record::{Record, WriterId};

/// Appends framed records in order. Each waits in a bounded buffer; as many as fit go out together as one record
/// append, the next while the first is under way.
///
/// An append whose answer was lost is repeated until its time is over: readers know the copies by
/// (writer, sequence). Cheap to clone; clones are the same writer.
#[derive(Debug, Clone)]
pub struct RecordWriter {}

impl RecordWriter {
    pub(crate) fn stub() -> Self {
        Self {}
    }

    /// Who writes: drawn at random for each writer.
    #[must_use]
    pub fn id(&self) -> WriterId {
        WriterId(0)
    }

    /// Appends a record; the answer is the offset of its frame in the file.
    ///
    /// Dropped, the record may still be appended.
    ///
    /// # Errors
    /// `Invalid` when record and frame are more than a quarter of a chunk, before anything is sent; `Unknown` when
    /// time ran out after it was sent.
    pub async fn append(&self, record: impl Into<Bytes>) -> Result<u64> {
        self.submit(record).await?.await
    }

    /// Takes a record in; waits only while the buffer is full. The order of the records is the order in which calls
    /// return. The future that is given tells the offset; dropping it changes nothing.
    ///
    /// # Errors
    /// `Invalid` as above.
    pub async fn submit(&self, _record: impl Into<Bytes>) -> Result<Submitted> {
        later()
    }
}

/// A record on its way: resolves to the offset of its frame.
#[derive(Debug)]
pub struct Submitted {}

impl Future for Submitted {
    type Output = Result<u64>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<u64>> {
        Poll::Ready(later())
    }
}

/// Reads framed records in the order of their offsets, each once.
#[derive(Debug)]
pub struct RecordReader {}

impl RecordReader {
    pub(crate) fn stub() -> Self {
        Self {}
    }

    /// Whether to wait for more at the end of the file instead of ending.
    #[must_use]
    pub fn follow(self, _follow: bool) -> Self {
        self
    }

    /// The next whole record that was not given before; `None` at the end (never when following).
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Record>> {
        None
    }
}
