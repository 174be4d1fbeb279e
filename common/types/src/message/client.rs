//! What a client asks of the master, and its answers.
//!
//! All of it travels over one long-lived stream with many requests in flight.

use crate::error::Error;
use crate::fence::{ChunkVersion, LogPosition, MasterEpoch};
use crate::ids::{
    ChunkHandle, ClusterUid, FileId, ProcessSession, RequestId, RequestSeq, ServerUid, SessionId,
};
use crate::record::ConfigRecord;
use crate::region::ChunkIndex;
use crate::time::WallTime;
use crate::topology::Topology;

/// First on every stream, from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// The cluster the client believes to talk to, if it knows one.
    pub cluster: Option<ClusterUid>,
    /// Where the client stands; empty if it does not say.
    pub topology: Topology,
}

/// The master's answer to [`ClientHello`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientWelcome {
    /// Who is the primary master; the stream serves requests only if the speaker is.
    pub record: ConfigRecord,
    /// Who speaks.
    pub master: ServerUid,
    /// The cluster's chunk size, in bytes.
    pub chunk_bytes: u64,
}

/// Anything a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Give me a session, so that I can make mutations.
    OpenSession,
    /// Forget my session: I am done.
    CloseSession(SessionId),
    /// Changes nothing.
    Query(Query),
    /// Changes the namespace, once, however often it is repeated.
    Mutate {
        /// Names the mutation.
        id: RequestId,
        /// Every request of the session below this has been answered to its caller.
        answered_below: RequestSeq,
        /// What to change.
        mutation: Mutation,
    },
    /// Who takes mutations of this chunk now? Allocates and grants where needed; repeating it is harmless.
    Lease {
        /// The file, by id: a rename in between does no harm.
        file: FileId,
        /// Which of its chunks.
        target: LeaseTarget,
        /// The caller saw this version fail or be refused: an answer with it is of no use.
        not_version: Option<ChunkVersion>,
    },
    /// A replica gave bytes that do not match its stored checksum, and its server confirmed it.
    ReportCorrupt {
        /// The chunk.
        handle: ChunkHandle,
        /// The version that was read.
        version: ChunkVersion,
        /// The server that holds the bad replica.
        chunkserver: ServerUid,
        /// What was seen, for a person.
        evidence: String,
    },
}

/// Questions about the namespace and the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// One file or directory.
    Stat {
        /// Its path.
        path: String,
    },
    /// One page of a directory, in byte order of the names.
    List {
        /// The directory.
        path: String,
        /// Names after this one; `None` from the start.
        after: Option<String>,
        /// At most so many entries, 1 to [`crate::limits::LIST_PAGE_MAX`].
        limit: u32,
    },
    /// Where chunks of a file are.
    Locate {
        /// The file.
        file: FileId,
        /// The first chunk asked for.
        first: ChunkIndex,
        /// How many, 1 to [`crate::limits::LOCATE_CHUNKS_MAX`].
        count: u32,
    },
    /// The cluster as a whole.
    Status,
    /// One page of deleted files and directories that can come back, oldest first.
    Trash {
        /// Entries after the one with this id; `None` from the start.
        after: Option<FileId>,
        /// At most so many.
        limit: u32,
    },
}

/// Changes of the namespace. Each is one record of the operation log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mutation {
    /// Make an empty file; its directory must exist.
    Create {
        /// The new path.
        path: String,
        /// Replicas of its chunks; 0 takes the cluster's default.
        replication: u8,
        /// What to keep of the original.
        attributes: Attributes,
    },
    /// Make a directory.
    Mkdir {
        /// The new path.
        path: String,
        /// Make missing parents too, and be content with a directory that is there.
        parents: bool,
    },
    /// Give another name, atomically.
    Rename {
        /// The old path.
        from: String,
        /// The new path.
        to: String,
        /// A file at the new path goes to the trash; without it, it is an error.
        replace: bool,
    },
    /// Hide under a name in the trash (§4.4).
    Delete {
        /// The path.
        path: String,
        /// A directory goes with all that is in it; without it, only an empty one.
        recursive: bool,
        /// Do not keep it for the grace period.
        purge: bool,
    },
    /// Bring back what was last deleted from this path.
    Undelete {
        /// Where it was and will be again.
        path: String,
    },
    /// The file has at least this length now, and these attributes: at `close` and `sync`.
    SetLength {
        /// The file.
        file: FileId,
        /// In bytes; a shorter one than known changes nothing.
        length: u64,
        /// New attributes, if any.
        attributes: Option<Attributes>,
    },
}

/// What is kept of a file beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Last change of its content; 0 means "when the master sees it".
    pub modified: WallTime,
    /// The executable bit of the original.
    pub executable: bool,
}

/// Which chunk of a file a lease is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseTarget {
    /// This one; made if it does not exist.
    Index(ChunkIndex),
    /// The last one; the first is made if there is none. For record append.
    Last,
}

/// An answer, and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The epoch of the master that answers.
    pub epoch: MasterEpoch,
    /// The answer is true at this place of the operation log, which is durable.
    pub log_position: LogPosition,
    /// The answer itself.
    pub result: Result<Response, Error>,
}

/// The good answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// To `OpenSession`.
    Session(SessionId),
    /// Nothing to say: `CloseSession`, `Mkdir`, `Delete`, `SetLength`, `ReportCorrupt`.
    Done,
    /// To `Stat`; to `Create`, `Rename`, `Undelete`: the file as it is now.
    Entry(Entry),
    /// To `List`.
    Page {
        /// In byte order of the names.
        entries: Vec<Entry>,
        /// Whether there is more behind the last one.
        more: bool,
    },
    /// To `Locate`.
    Locations(FileLocations),
    /// To `Lease`.
    Lease(LeaseGrant),
    /// To `Status`.
    Status(ClusterStatus),
    /// To `Trash`.
    Trash {
        /// Oldest first.
        entries: Vec<TrashEntry>,
        /// Whether there is more behind the last one.
        more: bool,
    },
}

/// A file or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A list of chunks.
    File,
    /// A list of names.
    Directory,
}

/// What `stat` and `list` tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The whole path for `Stat`, the bare name in a `Page`.
    pub path: String,
    /// Its id, whatever its name.
    pub id: FileId,
    /// File or directory.
    pub kind: EntryKind,
    /// In bytes, as far as the master knows; 0 for a directory.
    pub length: u64,
    /// No lease is out on the last chunk, so `length` is the length.
    pub length_is_final: bool,
    /// How many chunks the file has, holes counted.
    pub chunks: u64,
    /// Replicas wanted of each chunk; 0 for a directory.
    pub replication: u8,
    /// Attributes as kept.
    pub attributes: Attributes,
}

/// Something in the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashEntry {
    /// Its id.
    pub id: FileId,
    /// Where it was.
    pub path: String,
    /// File or directory.
    pub kind: EntryKind,
    /// When it was deleted.
    pub deleted: WallTime,
}

/// Where a file's chunks are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLocations {
    /// The file as it is.
    pub entry: Entry,
    /// From the one asked for on, in order; holes are left out.
    pub chunks: Vec<ChunkLocation>,
    /// How long, in milliseconds, a client may use the answer without asking again.
    pub valid_ms: u64,
}

/// Where one chunk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkLocation {
    /// Its place in the file.
    pub index: ChunkIndex,
    /// Its name.
    pub handle: ChunkHandle,
    /// The version that counts.
    pub version: ChunkVersion,
    /// Length as far as the master knows, in bytes.
    pub length: u64,
    /// Who has the lease, if anybody.
    pub primary: Option<ServerUid>,
    /// Where current replicas are, of servers in touch.
    pub replicas: Vec<ReplicaLocation>,
    /// How many replicas must be named for all that was acknowledged to be on them: as many as stored the version, two at least where
    /// the file wants two. More may be named, or fewer. 0 is not known.
    pub members: u32,
}

/// Where one replica is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaLocation {
    /// Its server.
    pub chunkserver: ServerUid,
    /// The run of that server.
    pub session: ProcessSession,
    /// `HOST:PORT` of its data plane.
    pub address: String,
    /// Where it stands.
    pub topology: Topology,
    /// The version it reported.
    pub version: ChunkVersion,
    /// What the replica is.
    pub state: super::control::ReplicaState,
}

/// Who takes mutations of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseGrant {
    /// The chunk's place in the file.
    pub index: ChunkIndex,
    /// Its name.
    pub handle: ChunkHandle,
    /// The version that was raised for this lease.
    pub version: ChunkVersion,
    /// The epoch of the master that granted it.
    pub epoch: MasterEpoch,
    /// The replica that orders mutations; one of `members`.
    pub primary: ServerUid,
    /// All replicas of the version.
    pub members: Vec<ReplicaLocation>,
    /// What is left of the lease, in milliseconds; it is extended while in use.
    pub left_ms: u64,
}

/// The cluster at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterStatus {
    /// Files in the namespace, the trash counted.
    pub files: u64,
    /// Directories likewise.
    pub directories: u64,
    /// Chunks that any file refers to.
    pub chunks: u64,
    /// Of these: chunks with fewer current replicas than wanted. Of more than 10,000 chunks, as the last count found that was
    /// finished: one goes on all the time, and takes a minute for 10 million.
    pub chunks_below_goal: u64,
    /// Of these: chunks without a current replica.
    pub chunks_missing: u64,
    /// Of these: chunks that nobody looked at since a chunkserver came or went. As long as this is not 0, the two above tell of the
    /// others only. Always 0 of 10,000 chunks or fewer; of 10 million for a quarter of a minute.
    pub chunks_uncounted: u64,
    /// The position of the newest durable log record.
    pub log_position: LogPosition,
    /// The log position that the newest checkpoint holds.
    pub checkpoint_position: LogPosition,
    /// `HOST:PORT` of the master's health and metrics.
    pub master_http_address: String,
    /// Every chunkserver that is known.
    pub chunkservers: Vec<ChunkserverStatus>,
}

/// One chunkserver at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkserverStatus {
    /// Who.
    pub uid: ServerUid,
    /// `HOST:PORT` of its data plane.
    pub address: String,
    /// `HOST:PORT` of `/livez`, `/readyz` and `/metrics`.
    pub http_address: String,
    /// Where it stands.
    pub topology: Topology,
    /// Whether it is in touch.
    pub alive: bool,
    /// Space of its disk, in bytes.
    pub capacity_bytes: u64,
    /// Of it free, in bytes.
    pub free_bytes: u64,
    /// Replicas it holds.
    pub replicas: u64,
}
