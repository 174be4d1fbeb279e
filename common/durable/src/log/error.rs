//! Why a log is not opened, or does not go on.

use std::fmt;
use std::io;
use std::path::PathBuf;

use gfs_types::fence::{LogPosition, MasterEpoch};
use gfs_types::ids::ClusterUid;

use super::{BoxError, SEGMENT_BYTES_MAX};

/// Why a log is not opened. Nothing was changed on the disk, and what was delivered before the
/// error must be forgotten.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The options make no log.
    #[error(
        "a log segment of {bytes} bytes: it must be a multiple of 512, at least {least} for the \
         longest record, and at most {SEGMENT_BYTES_MAX}"
    )]
    BadSegmentBytes {
        /// Bytes asked for.
        bytes: u64,
        /// Bytes needed.
        least: u64,
    },
    /// No segment in the directory.
    #[error("{}: no log segment is there; if the log is lost, restore this server from the others", dir.display())]
    NoLog {
        /// The log's directory.
        dir: PathBuf,
    },
    /// A log is to be made where one is.
    #[error("{}: a log is already there", dir.display())]
    AlreadyThere {
        /// The log's directory.
        dir: PathBuf,
    },
    /// A file with a segment's prefix but no segment's name.
    #[error("{}: not the name of a log segment; move the file away", path.display())]
    NotASegment {
        /// The file.
        path: PathBuf,
    },
    /// A segment whose header does not verify.
    #[error("{}: the header of the log segment is damaged; restore this server from the others", path.display())]
    BadHeader {
        /// The segment.
        path: PathBuf,
    },
    /// Somebody else's log.
    #[error("{}: the log belongs to cluster {found}, not to {expected}", path.display())]
    ForeignCluster {
        /// The segment.
        path: PathBuf,
        /// Whose it is.
        found: ClusterUid,
        /// Whose it should be.
        expected: ClusterUid,
    },
    /// Written by a newer program.
    #[error("{}: log format {found} is newer than {supported}; run the newer program", path.display())]
    Newer {
        /// The segment.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The newest this program reads.
        supported: u32,
    },
    /// A segment under another's name: a copy, or a renamed file.
    #[error("{}: the segment begins at position {found}, which is not its name; move the file away", path.display())]
    WrongFirst {
        /// The segment.
        path: PathBuf,
        /// What its header says.
        found: LogPosition,
    },
    /// A segment that lost its end: its length was durable before its first use.
    #[error("{}: {len} bytes are left of a log segment of {expected}; restore this server from the others", path.display())]
    CutShort {
        /// The segment.
        path: PathBuf,
        /// Bytes of the file.
        len: u64,
        /// Bytes its header says.
        expected: u64,
    },
    /// Positions that no segment holds.
    #[error("{}: the log segment with position {expected} is missing before it; restore this server from the others", path.display())]
    Missing {
        /// The next segment that is there.
        path: PathBuf,
        /// The first position that is missing.
        expected: LogPosition,
    },
    /// A segment that begins inside another, or does not follow the one before it.
    #[error("{}: the segment does not continue the log, which stands at position {expected} before it; move the file that does not belong here away", path.display())]
    NotChained {
        /// The segment.
        path: PathBuf,
        /// Where it should begin.
        expected: LogPosition,
    },
    /// Rot: a record that was durable does not verify any more. The log is not cut.
    #[error(
        "{}: the log is damaged at byte {offset}: position {position} was durable ({proof}) and \
         does not verify; nothing was changed: restore this server from the others",
        path.display()
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// Which record should be there.
        position: LogPosition,
        /// How that is known.
        proof: Proof,
    },
    /// The log begins after the first record that is needed.
    #[error("{}: the log begins at position {first}, but {needed} is needed; use an older checkpoint's log or a newer checkpoint", dir.display())]
    BeginsLate {
        /// The log's directory.
        dir: PathBuf,
        /// Its first position.
        first: LogPosition,
        /// The one asked for.
        needed: LogPosition,
    },
    /// The log ends before a position that was durable.
    #[error("{}: the log ends at position {last}, but {durable} was durable; restore this server from the others", dir.display())]
    EndsEarly {
        /// The log's directory.
        dir: PathBuf,
        /// Its last position.
        last: LogPosition,
        /// The one that must be there.
        durable: LogPosition,
    },
    /// The visitor would not have a record.
    #[error("the log record at position {position} was refused")]
    Refused {
        /// Which record.
        position: LogPosition,
        /// Why.
        #[source]
        source: BoxError,
    },
}

/// How it is known that a position was durable once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The mark of a frame that stands at this byte of the same segment.
    LaterFrame(u64),
    /// The next segment exists: it is made only after all before it is durable.
    NextSegment,
    /// The caller says so.
    Caller,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LaterFrame(offset) => write!(f, "the frame at byte {offset} says so"),
            Self::NextSegment => f.write_str("a later segment exists"),
            Self::Caller => f.write_str("a checkpoint or a reader rests on it"),
        }
    }
}

/// Why the log does not go on.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk failed. The log takes nothing more: the process must end, and the next start finds
    /// out what is there.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The disk has no space for the log. What was taken is kept and nothing is lost: to be tried again.
    #[error("{}: no space for the operation log ({source}); free space there", dir.display())]
    Full {
        /// The log's directory.
        dir: PathBuf,
        /// What found no space.
        #[source]
        source: io::Error,
    },
    /// An earlier call failed, and what is on the disk is unknown.
    #[error("{}: an earlier write of the log failed; the process must end and start anew", dir.display())]
    Poisoned {
        /// The log's directory.
        dir: PathBuf,
    },
    /// A record above the limit; nothing of the batch was taken.
    #[error("a log record of {bytes} bytes is longer than {bytes_max}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A batch of an epoch that is over; nothing of it was taken.
    #[error("a log record of epoch {given} after one of epoch {last}")]
    OldEpoch {
        /// The batch's epoch.
        given: MasterEpoch,
        /// That of the last record.
        last: MasterEpoch,
    },
}

/// What touching the disk came to, when it came to no good.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nothing happened that cannot be done again when there is space.
    NoSpace(io::Error),
    /// What is there is unknown: every error that nobody called a want of space, a sync's above all.
    Disk(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl Trouble {
    /// For what may be repeated after a want of space.
    pub(super) fn of(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace(error),
            _ => Self::Disk(error),
        }
    }
}

impl From<Trouble> for io::Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::NoSpace(error) | Trouble::Disk(error) => error,
        }
    }
}
