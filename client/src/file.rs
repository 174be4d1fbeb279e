//! One file: reads, writes, record appends.

use std::ops::RangeBounds;

use bytes::Bytes;
use gfs_types::ids::FileId;
use gfs_types::message::client::{Attributes, Entry};

use crate::error::{Result, later};
use crate::reader::Reader;
use crate::records::{RecordReader, RecordWriter};
use crate::writer::Writer;

/// A file that was opened or created. It is held by its id: a rename does not disturb it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct File {
    entry: Entry,
}

impl File {
    /// Its id, whatever its name.
    #[must_use]
    pub fn id(&self) -> FileId {
        self.entry.id
    }

    /// As it was when it was opened.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Up to `length` bytes from `offset` on; fewer only at the end of the file. Holes read as zeros.
    ///
    /// # Errors
    /// `Corrupt` when no replica has the bytes as they were stored; `Busy` when time ran out.
    pub async fn read_at(&self, _offset: u64, _length: u64) -> Result<Bytes> {
        later()
    }

    /// Writes at an offset and returns when every replica has it in memory ([`File::sync`]: on disk). Larger writes
    /// are cut at chunk borders and every 1 MiB; the pieces are not atomic together (§2.7.1).
    ///
    /// Repeating it is harmless as long as nobody else writes there. Dropped, any of its pieces may still happen.
    ///
    /// # Errors
    /// `Invalid` past the largest file; `Busy`, `Unknown` when time ran out.
    pub async fn write_at(&self, _offset: u64, _data: impl Into<Bytes>) -> Result<()> {
        later()
    }

    /// Appends one record, raw, at an offset the system chooses, and returns the offset (§3.3): atomic, **at least
    /// once**. For records that are read exactly once, see [`File::record_writer`].
    ///
    /// Dropped, the record may still be appended.
    ///
    /// # Errors
    /// `Invalid` for more than a quarter of a chunk, before anything is sent; `Unknown` when the answer was lost: the
    /// record may stand somewhere in the file.
    pub async fn append(&self, _data: impl Into<Bytes>) -> Result<u64> {
        later()
    }

    /// Reads a range from front to back, several pieces ahead. It ends at the length the file has now.
    pub fn reader(&self, _range: impl RangeBounds<u64>) -> Reader {
        Reader::stub()
    }

    /// Writes from `offset` on, front to back, several pieces in flight.
    #[must_use]
    pub fn writer(&self, _offset: u64) -> Writer {
        Writer::stub()
    }

    /// Returns when everything written or appended through this client is on disk on every replica, and the length is
    /// logged by the master.
    ///
    /// # Errors
    /// `Busy` when a replica cannot do it in time.
    pub async fn sync(&self) -> Result<()> {
        later()
    }

    /// The length now: at least all that was acknowledged to anybody before the call.
    ///
    /// # Errors
    /// `NotFound` when the file was removed; `Busy` when time ran out.
    pub async fn length(&self) -> Result<u64> {
        later()
    }

    /// Changes what is kept beside the bytes.
    ///
    /// # Errors
    /// `NotFound`; `Unknown`.
    pub async fn set_attributes(&self, _attributes: Attributes) -> Result<()> {
        later()
    }

    /// Appends framed records that [`File::record_reader`] reads exactly once. Each has a random writer id.
    #[must_use]
    pub fn record_writer(&self) -> RecordWriter {
        RecordWriter::stub()
    }

    /// Reads framed records from the start of the file.
    #[must_use]
    pub fn record_reader(&self) -> RecordReader {
        self.record_reader_from(0)
    }

    /// Reads framed records whose frames begin at `offset` or behind it.
    #[must_use]
    pub fn record_reader_from(&self, _offset: u64) -> RecordReader {
        RecordReader::stub()
    }
}
