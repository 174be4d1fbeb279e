//! The records of the operation log and their bytes (`docs/formats/log-records.md`).
//!
//! A record says what was decided, not what was asked: ids instead of paths, times and numbers already chosen, so that
//! applying it again, anywhere, gives the same state.

mod bytes;
pub(crate) use bytes::{read_attributes, write_attributes};
#[cfg(test)]
mod tests;

use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{
    ChunkHandle, ClusterUid, FileId, ProcessSession, RequestId, RequestSeq, ServerUid, SessionId,
};
use gfs_types::message::client::Attributes;
use gfs_types::region::{ChunkIndex, ChunkSize};
use gfs_types::time::WallTime;

/// One change of durable state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it was decided, for people and grace periods.
    pub wall: WallTime,
    /// The client's request it answers, if any: its result is kept with the session.
    pub request: Option<RequestMark>,
    /// What changes.
    pub change: Change,
}

/// Which request a record answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestMark {
    /// Its id.
    pub id: RequestId,
    /// Results of the session below this are forgotten.
    pub answered_below: RequestSeq,
    /// A checksum of what was asked, so that one id does not stand for two requests.
    pub fingerprint: u32,
}

/// What a record changes. The numbers of the kinds are on disk: frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The first record: the cluster begins, with `/`, `/.gfs`, `/.gfs/tmp`, `/.gfs/trash`.
    Formatted {
        /// Its uid.
        cluster: ClusterUid,
        /// Bytes of its chunks, for ever.
        chunk_size: ChunkSize,
    },
    /// A process begins to serve as the primary master, in the epoch of the record.
    EpochStarted {
        /// Its run: one more than the last.
        session: ProcessSession,
    },
    /// A client has a session.
    SessionOpened {
        /// Its id.
        session: SessionId,
    },
    /// The client is done with it.
    SessionClosed {
        /// Its id.
        session: SessionId,
    },
    /// Sessions that were silent for too long; at most [`EXPIRED_MAX`].
    SessionsExpired {
        /// Their ids, rising.
        sessions: Vec<SessionId>,
    },
    /// A new, empty file.
    Created {
        /// Its id.
        file: FileId,
        /// Its directory.
        parent: FileId,
        /// Its name there.
        name: String,
        /// Replicas of its chunks.
        replication: u8,
        /// What to keep of the original.
        attributes: Attributes,
    },
    /// New directories, each in the one before.
    DirectoriesMade {
        /// Where the first is made.
        parent: FileId,
        /// Ids and names, from the outside in.
        made: Vec<(FileId, String)>,
    },
    /// Another name; what had it goes to the trash.
    Renamed {
        /// What is renamed.
        entry: FileId,
        /// Its new directory.
        parent: FileId,
        /// Its new name.
        name: String,
        /// The file that had this name, and its path.
        replaced: Option<(FileId, String)>,
    },
    /// To the trash.
    Deleted {
        /// What.
        entry: FileId,
        /// Where it was.
        path: String,
        /// It can not come back; its storage is freed as soon as can be.
        purge: bool,
    },
    /// Back from the trash.
    Undeleted {
        /// What.
        entry: FileId,
        /// Its directory.
        parent: FileId,
        /// Its name there.
        name: String,
    },
    /// A file has at least this length.
    LengthSet {
        /// The file.
        file: FileId,
        /// In bytes; a shorter one than known changes nothing.
        length: u64,
        /// New attributes, if any.
        attributes: Option<Attributes>,
    },
    /// A chunk of a file, at version 1 ("Birth" of the chunk protocol).
    ChunkAllocated {
        /// The file.
        file: FileId,
        /// Its place there. A chunk that is there already was never born, and goes.
        index: ChunkIndex,
        /// Its name: above all given before.
        handle: ChunkHandle,
        /// Where its first replicas were to be made; kept until it is born.
        members: Vec<ServerUid>,
    },
    /// All members made their replica.
    ChunkBorn {
        /// The chunk.
        handle: ChunkHandle,
    },
    /// A raise began (raise-1): replicas may have this number from now on.
    RaiseStarted {
        /// The chunk.
        handle: ChunkHandle,
        /// Above its version and all started before.
        number: ChunkVersion,
    },
    /// All members have the number started last: it is the version (raise-3).
    Raised {
        /// The chunk.
        handle: ChunkHandle,
        /// The number started last.
        version: ChunkVersion,
        /// How many replicas have it, 1 to 7; 0: one alone has it, which acknowledges nothing (mut-6).
        members: u8,
    },
    /// Files, and directories empty by then, leave the trash for good; at most [`PURGED_MAX`].
    Purged {
        /// In this order: what is inside first.
        entries: Vec<FileId>,
    },
}

/// Sessions that one record lets expire.
pub const EXPIRED_MAX: usize = 10_000;
/// Files and directories that one record purges: bounds the time of one step.
pub const PURGED_MAX: usize = 1_000;

/// Bytes that are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a record of the operation log: {0}")]
pub struct RecordError(pub String);

impl Record {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        bytes::encode(self)
    }

    /// A record from its bytes, every one of them.
    ///
    /// # Errors
    /// When the bytes are no record: an unknown kind, cut, over-long, or out of its limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        bytes::decode(bytes).map_err(|error| RecordError(error.to_string()))
    }
}
