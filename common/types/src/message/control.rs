//! What chunkservers and the master tell each other, over a stream the chunkserver opens.
//!
//! The chunkserver registers, reports what it holds, then sends heartbeats; the master's commands come
//! down the same stream. Every command names the master's epoch and the receiver's session.

use crate::error::Error;
use crate::fence::{ChunkVersion, MasterEpoch};
use crate::ids::{ChunkHandle, ClusterUid, ProcessSession, ServerUid};
use crate::topology::Topology;

/// What a replica is. The table of transitions stands in the chunkserver's core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ReplicaState {
    /// Ended its last lease in order, everything flushed.
    Clean = 1,
    /// Changed since its last clean end; what is acknowledged is there while its machine runs.
    Unclean = 2,
    /// Its machine restarted while it was unclean: acknowledged, unsynced bytes may be gone.
    Suspect = 3,
    /// A block does not match its checksum.
    Corrupt = 4,
}

impl ReplicaState {
    /// Every state, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Clean, Self::Unclean, Self::Suspect, Self::Corrupt];

    /// The state with this number on the wire.
    #[must_use]
    pub fn from_wire(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u32 == number)
    }
}

/// One replica as its server sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaReport {
    /// The chunk.
    pub handle: ChunkHandle,
    /// The version it stored.
    pub version: ChunkVersion,
    /// Committed length as it knows it, in bytes.
    pub length: u64,
    /// What it is.
    pub state: ReplicaState,
}

/// A lease a chunkserver believes to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLease {
    /// The chunk.
    pub handle: ChunkHandle,
    /// The version it was granted for.
    pub version: ChunkVersion,
    /// What is left of it by the holder's clock, in milliseconds.
    pub left_ms: u64,
    /// The members it was granted with, the holder included.
    pub members: Vec<ServerUid>,
}

/// Disk space, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Of the disk.
    pub capacity_bytes: u64,
    /// Free for new chunks: what the file system has left, less the reserve.
    pub free_bytes: u64,
}

/// From a chunkserver to the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromChunkserver {
    /// First on every stream.
    Register(Registration),
    /// Some of the replicas it holds; after `last` the master knows all of them.
    ReportPage {
        /// At most [`crate::limits::REPORT_PAGE_MAX`].
        replicas: Vec<ReplicaReport>,
        /// Whether it was the last page.
        last: bool,
    },
    /// I am alive.
    Heartbeat {
        /// Counts heartbeats of this stream; the answer names it.
        seq: u64,
        /// Space now.
        space: Space,
        /// Replicas that changed since the last heartbeat.
        changed: Vec<ReplicaReport>,
        /// Leases it wants extended, because they are in use.
        extend: Vec<(ChunkHandle, ChunkVersion)>,
    },
    /// The end of a command: what became of `CreateReplica`.
    ReplicaCreated {
        /// The chunk.
        handle: ChunkHandle,
        /// The version of the command.
        version: ChunkVersion,
        /// Whether the empty replica is on disk.
        result: Result<(), Error>,
    },
    /// What became of `Raise`.
    Raised {
        /// The chunk.
        handle: ChunkHandle,
        /// The version of the command.
        version: ChunkVersion,
        /// What the replica is, now that it has stored the version.
        result: Result<RaisedReplica, Error>,
    },
    /// What became of `DeleteReplica`.
    ReplicaDeleted {
        /// The chunk.
        handle: ChunkHandle,
        /// The version of the command.
        version: ChunkVersion,
        /// Whether it is gone.
        result: Result<(), Error>,
    },
    /// The lease is over by the holder's own will; it takes no more mutations of that version.
    LeaseGivenUp {
        /// The chunk.
        handle: ChunkHandle,
        /// The version it was granted for.
        version: ChunkVersion,
        /// Committed length at its end, in bytes.
        length: u64,
    },
    /// A member of a lease this server holds does not answer (raise-4).
    MemberFailed {
        /// The chunk.
        handle: ChunkHandle,
        /// The version of the lease.
        version: ChunkVersion,
        /// Who does not answer.
        member: ServerUid,
        /// Which run of it: another one, that came since, may.
        session: ProcessSession,
        /// What was seen, for a person.
        reason: String,
    },
    /// What became of `Teach`. Once it is good, its sender takes no mutation of this version any more: the learner holds
    /// everything that was or will ever be acknowledged under it (equal-4).
    LearnerTaught {
        /// The chunk.
        handle: ChunkHandle,
        /// The version of the lease.
        version: ChunkVersion,
        /// Who learned.
        learner: ServerUid,
        /// Which run of it.
        session: ProcessSession,
        /// Whether it is equal; why not.
        result: Result<(), Error>,
    },
}

/// Who a chunkserver is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The cluster it was formatted for; `None` while blank.
    pub cluster: Option<ClusterUid>,
    /// Itself.
    pub chunkserver: ServerUid,
    /// This run of it.
    pub session: ProcessSession,
    /// `HOST:PORT` of its data plane, as others reach it.
    pub address: String,
    /// `HOST:PORT` of its health and metrics, as others reach it.
    pub http_address: String,
    /// Where it stands.
    pub topology: Topology,
    /// Space now.
    pub space: Space,
    /// The highest epoch of a master it ever obeyed.
    pub epoch: MasterEpoch,
    /// Leases it holds (raise-7): the master adopts them.
    pub leases: Vec<HeldLease>,
}

/// A replica's answer to a raise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaisedReplica {
    /// Applied length, in bytes.
    pub length: u64,
    /// CRC-32C over length and all block checksums: equal replicas have equal digests.
    pub digest: u32,
    /// What the replica was when the raise came.
    pub state: ReplicaState,
}

/// A member of a lease, as the primary needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub chunkserver: ServerUid,
    /// Which run of it; another run drops the orders.
    pub session: ProcessSession,
    /// `HOST:PORT` of its data plane.
    pub address: String,
}

/// What a lease begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum LeaseStart {
    /// All members answered the raise with the same length and digest, none of them suspect: mutations at once.
    Equal = 1,
    /// They may differ: equalising comes first (equal-1). The primary is not suspect.
    Unequal = 2,
    /// All that were counted are here, and all are suspect: the primary's bytes are the ones that count from now on (equal-2).
    AllSuspect = 3,
}

impl LeaseStart {
    /// Every start, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Equal, Self::Unequal, Self::AllSuspect];

    /// The start with this number on the wire.
    #[must_use]
    pub fn from_wire(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|start| *start as u32 == number)
    }
}

/// From the master to a chunkserver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToChunkserver {
    /// The epoch of the master; a lower one than ever obeyed is refused.
    pub epoch: MasterEpoch,
    /// The run of the chunkserver that is meant; another drops it.
    pub session: ProcessSession,
    /// What to do.
    pub command: Command,
}

/// What the master tells a chunkserver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The answer to `Register`.
    Welcome {
        /// The cluster; a blank chunkserver takes it.
        cluster: ClusterUid,
        /// The run of the master.
        master_session: ProcessSession,
        /// The cluster's chunk size, in bytes.
        chunk_bytes: u64,
        /// Time between heartbeats.
        heartbeat_ms: u64,
    },
    /// The answer to `Register` or to a later message that cannot be served; the stream ends.
    Refused(Error),
    /// The answer to `Heartbeat`.
    HeartbeatAnswer {
        /// Which heartbeat.
        seq: u64,
        /// These leases run `lease_ms` from when that heartbeat was sent.
        extended: Vec<(ChunkHandle, ChunkVersion)>,
        /// How long a lease runs, in milliseconds.
        lease_ms: u64,
    },
    /// Make an empty replica.
    CreateReplica {
        /// The chunk.
        handle: ChunkHandle,
        /// Its first version.
        version: ChunkVersion,
    },
    /// Store a higher version (raise-1).
    Raise {
        /// The chunk.
        handle: ChunkHandle,
        /// The new version.
        version: ChunkVersion,
        /// The last version that was raised: a replica below it is stale and refuses.
        from: ChunkVersion,
    },
    /// You are the primary for this version. The lease runs from when the receiver sent its last
    /// answer to `CreateReplica` or `Raise` of this version: by its clock that is never later than the master's grant.
    GrantLease {
        /// The chunk.
        handle: ChunkHandle,
        /// The version that all members have.
        version: ChunkVersion,
        /// All of them, the receiver included.
        members: Vec<Member>,
        /// How long it runs, in milliseconds.
        lease_ms: u64,
        /// What must be done before the first mutation.
        start: LeaseStart,
        /// Nobody asked to write: it ends in order as soon as the members are equal and nothing else is asked of it (equal-5).
        brief: bool,
        /// The receiver is the only member, and the chunk wants more: it acknowledges nothing under this version (mut-6), and teaches.
        alone: bool,
    },
    /// To a primary: make this stale or damaged replica equal, beside the mutations, and answer `LearnerTaught` (equal-4).
    Teach {
        /// The chunk.
        handle: ChunkHandle,
        /// The version of the lease.
        version: ChunkVersion,
        /// Who is to learn.
        learner: Member,
    },
    /// Stop taking mutations of this version, finish those in flight, flush, and answer `LeaseGivenUp`.
    RevokeLease {
        /// The chunk.
        handle: ChunkHandle,
        /// The version of the lease.
        version: ChunkVersion,
    },
    /// Delete the replica, if it still has this version.
    DeleteReplica {
        /// The chunk.
        handle: ChunkHandle,
        /// The version that was reported.
        version: ChunkVersion,
    },
}
