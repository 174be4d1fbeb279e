//! The operation log on disk (§2.6.2): records with positions, in segments, durable after a flush.

use std::io;
use std::path::Path;
use std::sync::Arc;

use gfs_types::fence::{LogPosition, MasterEpoch};
use gfs_types::ids::ClusterUid;
use gfs_types::limits;

use crate::fs::Fs;

/// Any error, as the visitors of records return it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a log is told when it is made or opened.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// The cluster whose log it is; a segment of another one is refused.
    pub cluster_uid: ClusterUid,
    /// Bytes of a new segment, a multiple of 512.
    pub segment_bytes: u64,
    /// Bytes of the longest record.
    pub record_bytes_max: usize,
}

impl LogOptions {
    /// The usual sizes.
    #[must_use]
    pub fn new(cluster_uid: ClusterUid) -> Self {
        Self {
            cluster_uid,
            segment_bytes: limits::LOG_SEGMENT_BYTES,
            record_bytes_max: limits::LOG_RECORD_BYTES_MAX,
        }
    }
}

/// What a log must hold when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The first record to deliver: the one after the checkpoint; 1 without a checkpoint.
    pub from: LogPosition,
    /// A position that the caller knows to be durable (the checkpoint's): a log that ends before
    /// is damaged. 0 when nothing is known.
    pub durable_at_least: LogPosition,
}

/// Where a log begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positions {
    /// The first record that is still there, or would be.
    pub first: LogPosition,
    /// The last record appended; one less than `first` in an empty log.
    pub last: LogPosition,
    /// The last record that is durable.
    pub durable: LogPosition,
}

/// Why a log is not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why a log does not go on.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The log, open to append.
#[derive(Debug)]
pub struct Log {}

impl Log {
    /// Makes an empty log whose first record will be `first`, durable when this returns. `dir` must
    /// hold no segment.
    pub fn create(
        _fs: Arc<dyn Fs>,
        _dir: &Path,
        _options: LogOptions,
        _first: LogPosition,
    ) -> Result<Self, OpenError> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    /// Verifies the whole log, gives every record from `expected.from` on to `visitor`, and makes
    /// the log ready to append. Everything delivered is durable when this returns.
    pub fn open<E: Into<BoxError>>(
        _fs: Arc<dyn Fs>,
        _dir: &Path,
        _options: LogOptions,
        _expected: Expected,
        _visitor: &mut dyn FnMut(LogPosition, MasterEpoch, &[u8]) -> Result<(), E>,
    ) -> Result<Self, OpenError> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    /// Adds records after the last one and returns the position of the last. They are written, but
    /// durable only after [`Log::flush`].
    pub fn append<R: AsRef<[u8]>>(
        &mut self,
        _epoch: MasterEpoch,
        _records: &[R],
    ) -> Result<LogPosition, LogError> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    /// Makes everything appended durable with one `fdatasync` and returns the durable position.
    pub fn flush(&mut self) -> Result<LogPosition, LogError> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    /// Leaves a proof on disk that everything flushed so far exists: at a clean end, and when idle.
    /// Does nothing when the proof is there.
    pub fn mark_durable(&mut self) -> Result<(), LogError> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    /// Removes the segments that hold only records before `position`.
    pub fn remove_before(&mut self, _position: LogPosition) -> Result<(), LogError> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    /// Where the log begins and ends.
    #[must_use]
    pub fn positions(&self) -> Positions {
        Positions { first: LogPosition(1), last: LogPosition(0), durable: LogPosition(0) }
    }

    /// The epoch of the last record; 0 in an empty log.
    #[must_use]
    pub fn last_epoch(&self) -> MasterEpoch {
        MasterEpoch(0)
    }

    /// A handle that makes the next segment ready, for a background thread.
    #[must_use]
    pub fn preparer(&self) -> Preparer {
        Preparer {}
    }

    /// A handle that reads durable records while the log is appended to.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader {}
    }
}

/// Makes the next segment ready ahead of its use.
#[derive(Debug, Clone)]
pub struct Preparer {}

impl Preparer {
    /// Writes the zeros of the next segment, unless one is ready. An error here (no space) harms
    /// nothing yet.
    pub fn prepare(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Reads durable records beside the appending log.
#[derive(Debug, Clone)]
pub struct Reader {}

impl Reader {
    /// Gives the records `from..=to` to `visitor`; `to` must be durable.
    pub fn read<E: Into<BoxError>>(
        &self,
        _from: LogPosition,
        _to: LogPosition,
        _visitor: &mut dyn FnMut(LogPosition, MasterEpoch, &[u8]) -> Result<(), E>,
    ) -> Result<(), OpenError> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }
}
