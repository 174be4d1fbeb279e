//! All that can happen to a replica.

use gfs_types::fence::{ChunkVersion, MasterEpoch, SerialNumber};
use gfs_types::ids::{ProcessSession, ServerUid};
use gfs_types::message::control::Member;
use gfs_types::message::data::{DataSource, Order, Target};
use gfs_types::region::ChunkSize;
use gfs_types::time::Instant;
use gfs_types::{DurationMs, Error};

/// Names a request whose answer is owed. The shell keeps the way back, and the bytes that came with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// Names a [`StoreOp`](crate::StoreOp) that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// One run of another chunkserver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub chunkserver: ServerUid,
    /// Which run of it.
    pub session: ProcessSession,
}

/// What a client asks of a primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Put bytes here.
    Write {
        /// In bytes from the start of the chunk.
        offset: u64,
        /// How many bytes.
        length: u64,
        /// Where the client put them.
        source: DataSource,
    },
    /// Put bytes where the primary says (§3.3).
    Append {
        /// How many bytes.
        length: u64,
        /// Where the client put them.
        source: DataSource,
    },
    /// Have everything on every disk (mut-5).
    Sync,
}

impl Mutation {
    /// Bytes that come with it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Write { length, .. } | Self::Append { length, .. } => *length,
            Self::Sync => 0,
        }
    }
}

/// What became of a message to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAnswer {
    /// Whose answer.
    pub member: ServerUid,
    /// The version of the lease under which it was sent.
    pub version: ChunkVersion,
    /// The order, or the serial that was said to be committed.
    pub serial: SerialNumber,
    /// Whether it was the notice that `serial` is committed.
    pub notice: bool,
    /// The good answer, the member's refusal, or `Unknown` when there was none.
    pub result: Result<(), Error>,
}

/// One thing that happens. Commands of the master have passed the [`fence`](crate::fence).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// `Command::CreateReplica`.
    Create {
        /// The first version.
        version: ChunkVersion,
        /// Of the master that commands.
        epoch: MasterEpoch,
        /// The cluster's.
        chunk_size: ChunkSize,
    },
    /// `Command::Raise` (raise-1).
    Raise {
        /// The new version.
        version: ChunkVersion,
        /// The last version that was raised.
        from: ChunkVersion,
        /// Of the master that commands.
        epoch: MasterEpoch,
    },
    /// `Command::GrantLease`.
    Grant {
        /// The version all members have.
        version: ChunkVersion,
        /// All members, this one included.
        members: Vec<Member>,
        /// How long the lease runs, from this replica's last answer to `Create` or `Raise`.
        lease_ms: DurationMs,
    },
    /// `Command::RevokeLease`.
    Revoke {
        /// The version of the lease.
        version: ChunkVersion,
    },
    /// `Command::DeleteReplica` (collect).
    Delete {
        /// The version that was reported.
        version: ChunkVersion,
    },
    /// A heartbeat's answer extended the lease.
    Extended {
        /// The version of the lease.
        version: ChunkVersion,
        /// Counted from when that heartbeat was sent.
        until: Instant,
    },
    /// A client asks for a mutation; its bytes are verified and at hand.
    Mutate {
        /// Owed an answer.
        token: Token,
        /// Version, epoch, time left.
        target: Target,
        /// What it asks.
        mutation: Mutation,
    },
    /// `DataRequest::FlushReplica`.
    FlushReplica {
        /// Owed an answer.
        token: Token,
    },
    /// `DataRequest::Inspect`.
    Inspect {
        /// Owed an answer.
        token: Token,
        /// Version, epoch, time left.
        target: Target,
    },
    /// A primary orders.
    Order {
        /// Owed an answer.
        token: Token,
        /// Version, epoch, time left.
        target: Target,
        /// Who orders.
        from: Peer,
        /// What.
        order: Order,
        /// Whether its bytes are at hand.
        has_data: bool,
    },
    /// A primary says what is committed.
    Committed {
        /// Owed an answer.
        token: Token,
        /// Version, epoch, time left.
        target: Target,
        /// Who says so.
        from: Peer,
        /// Every mutation up to this one is committed.
        serial: SerialNumber,
        /// The length with them, in bytes.
        length: u64,
    },
    /// A member answered, or is known not to.
    MemberAnswered(MemberAnswer),
    /// The one [`Effect::Apply`](crate::Effect::Apply) under way is done, or failed.
    Applied {
        /// The version it was applied under.
        version: ChunkVersion,
        /// Which mutation.
        serial: SerialNumber,
        /// `Busy`: no space at the moment. Anything else: the disk failed.
        result: Result<(), Error>,
    },
    /// A [`StoreOp`](crate::StoreOp) is done, or failed.
    StoreDone {
        /// Which one.
        ticket: Ticket,
        /// The digest of the replica, after `SetVersion`; 0 after the others.
        result: Result<u32, Error>,
    },
    /// A block was read in order with the mutations and does not match its checksum.
    BlockMismatch,
    /// Time went by: [`Replica::wakeup`](crate::Replica::wakeup) asked for it.
    Tick,
    /// The process is about to end: give the lease up.
    Shutdown,
}
