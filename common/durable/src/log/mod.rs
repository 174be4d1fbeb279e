//! The operation log on disk (§2.6.2): records with positions, durable after a flush.
//!
//! The log is a row of segments, files of one fixed length that are zero-filled and synced before
//! their first use, so that a flush costs one `fdatasync` and no metadata. Every record is a frame:
//! position, epoch, checksum, the checksum of the frame before it, and the *durable mark*, the last
//! position known durable when the frame was written. Layout: `docs/formats/log.md`.
//!
//! The mark is what tells two faults apart when the log is opened and a frame does not verify:
//! - a *torn tail*: nothing shows that this position was ever durable, so nothing can have been
//!   promised; the rest is zeroed and the log goes on there;
//! - *rot in the middle*: a later frame, a later segment, or the caller's checkpoint shows that it
//!   was durable; the log is refused, never cut.

mod append;
mod cursor;
mod error;
mod open;
mod prepare;
mod reader;
mod record;
mod segment;

use gfs_types::fence::{LogPosition, MasterEpoch};
use gfs_types::ids::ClusterUid;
use gfs_types::limits;

pub use append::Log;
pub use error::{LogError, OpenError, Proof};
pub use open::{Record, recover_bytes};
pub use prepare::Preparer;
pub use reader::Reader;

/// Any error, as the visitors of records return it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Is given each record in order. Its error ends the reading with [`OpenError::Refused`].
pub type Visitor<'a, E> = dyn FnMut(LogPosition, MasterEpoch, &[u8]) -> Result<(), E> + 'a;

/// Largest segment: it is read into memory as a whole when the log is opened.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

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

    /// A segment must hold its header and the longest record.
    fn check(&self) -> Result<(), OpenError> {
        let least = segment::HEADER_BYTES + record::frame_bytes(self.record_bytes_max);
        let bytes = self.segment_bytes;
        if !bytes.is_multiple_of(512) || bytes < least as u64 || bytes > SEGMENT_BYTES_MAX {
            return Err(OpenError::BadSegmentBytes { bytes, least: least as u64 });
        }
        Ok(())
    }
}

/// What a log must hold when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The first record to deliver: the one after the checkpoint; 1 without a checkpoint.
    pub from: LogPosition,
    /// A position that the caller knows to be durable (the checkpoint's): a log that ends before it
    /// is damaged. 0 when nothing is known.
    pub durable_at_least: LogPosition,
}

impl Expected {
    /// Everything, nothing being known.
    pub const ALL: Self = Self { from: LogPosition(1), durable_at_least: LogPosition(0) };

    /// What follows a checkpoint that holds everything up to and including `position`.
    #[must_use]
    pub fn after(position: LogPosition) -> Self {
        Self { from: position.next(), durable_at_least: position }
    }

    /// The last position that must be there.
    fn last(self) -> u64 {
        self.durable_at_least.0.max(self.from.0.saturating_sub(1))
    }
}

/// Where a log begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positions {
    /// The first record that is still there, or will be.
    pub first: LogPosition,
    /// The last record appended; one less than `first` in an empty log.
    pub last: LogPosition,
    /// The last record that is durable.
    pub durable: LogPosition,
}

#[cfg(test)]
mod tests;
