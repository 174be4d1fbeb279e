//! All that can happen to a replica.

use gfs_types::fence::{ChunkVersion, MasterEpoch, SerialNumber};
use gfs_types::ids::{ProcessSession, ServerUid};
use gfs_types::message::control::{LeaseStart, Member};
use gfs_types::message::data::{DataResponse, DataSource, Equalise, Order, Target};
use gfs_types::region::ChunkSize;
use gfs_types::time::Instant;
use gfs_types::{DurationMs, Error};

/// Names a request whose answer is owed. The shell keeps the way back, and the bytes that came with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// Names a [`StoreOp`](crate::StoreOp) that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Names a copy from another server that was begun with [`Effect::Copy`](crate::Effect::Copy).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job(pub u64);

/// One run of another chunkserver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

/// What was said to a member: its answer names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    /// This order.
    Order(SerialNumber),
    /// That everything up to here is committed.
    Committed(SerialNumber),
    /// To become equal, in this pass. Counted by the primary, so that a late answer is not taken for another pass's.
    Equalise(u64),
}

/// What became of a message to a member, or to a learner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAnswer {
    /// Whose answer.
    pub member: Peer,
    /// The version of the lease under which it was sent.
    pub version: ChunkVersion,
    /// What it answers.
    pub said: Said,
    /// The good answer, the member's refusal, or `Unknown` when there was none.
    pub result: Result<DataResponse, Error>,
}

/// What a replica that is being made equal wants to know of the primary's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOut {
    /// `DataRequest::Compare`.
    Checksums,
    /// `DataRequest::Copy`.
    Bytes {
        /// From here.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
}

/// A copy came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Length of the source when its checksums were compared, in bytes.
    pub length: u64,
    /// Digest of the source at that time.
    pub digest: u32,
    /// How many bytes were fetched.
    pub copied_bytes: u64,
}

impl Input {
    /// Whether it may be stepped while a write that was asked for is not carried out yet.
    #[must_use]
    pub fn is_of_mutations(&self) -> bool {
        match self {
            Self::Mutate { .. } | Self::Order { .. } => true,
            Self::MemberAnswered(MemberAnswer { said, result, .. }) => {
                matches!(said, Said::Order(_)) && result.is_ok()
            }
            _ => false,
        }
    }
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
        /// What must be done before the first mutation.
        start: LeaseStart,
        /// It ends as soon as nothing is left to do: nobody asked to write.
        brief: bool,
        /// Nothing is acknowledged under it: there are too few members (mut-6).
        alone: bool,
    },
    /// `Command::Teach` (equal-4).
    Teach {
        /// The version of the lease.
        version: ChunkVersion,
        /// Who is to learn.
        learner: Member,
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
    /// A primary wants this replica equal to its own.
    Equalise {
        /// Owed an answer.
        token: Token,
        /// Version, epoch, time left.
        target: Target,
        /// Who wants it.
        from: Peer,
        /// How.
        equalise: Equalise,
    },
    /// Somebody who is being made equal to this primary asks for what it has.
    ReadOut {
        /// Owed an answer.
        token: Token,
        /// Version, epoch, time left.
        target: Target,
        /// Who asks.
        from: Peer,
        /// For what.
        what: ReadOut,
    },
    /// Bytes of the source came, verified; they are with the shell, under the token. The copy goes on when it is answered.
    ///
    /// What a restart may show is replaced when a piece begins below the committed length of the last flush: the disk must call the
    /// replica overwritten from then on, as after a write there (mut-4).
    Piece {
        /// Owed an answer.
        token: Token,
        /// The copy they are of.
        job: Job,
        /// In bytes from the start of the chunk.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// A copy is done, or failed.
    Copied {
        /// Which one.
        job: Job,
        /// What was copied. `Corrupt`: the disk of this server failed. Anything else: the copy is worth another attempt.
        result: Result<Copied, Error>,
    },
    /// A member answered, or is known not to.
    MemberAnswered(MemberAnswer),
    /// The one [`Effect::Apply`](crate::Effect::Apply) under way is done, or failed.
    Applied {
        /// The version it was applied under.
        version: ChunkVersion,
        /// Which mutation; of those that were joined the last.
        serial: SerialNumber,
        /// `Busy`: no space at the moment. Anything else: the disk failed.
        result: Result<(), Error>,
        /// What is in flight fits on the disk, more may not.
        short_of_space: bool,
    },
    /// The disk became short of space, or is so no more: known before the next mutation or order comes.
    Space {
        /// What is in flight fits on the disk, more may not.
        short: bool,
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
