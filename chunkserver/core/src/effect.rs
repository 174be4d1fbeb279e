//! All that a replica wants done. Effects are carried out in order.

use gfs_types::Error;
use gfs_types::fence::{ChunkVersion, SerialNumber};
use gfs_types::message::control::{FromChunkserver, Member};
use gfs_types::message::data::{DataResponse, Equalise, Order, Target};
use gfs_types::region::ChunkSize;

use crate::input::{Job, Peer, ReadOut, Ticket, Token};
use crate::view::View;

/// A change of the replica's bytes in the page cache: not yet durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalWrite {
    /// The bytes kept under the serial go here; a gap before them reads as zeros.
    Bytes {
        /// In bytes from the start of the chunk.
        offset: u64,
        /// How many bytes.
        length: u64,
        /// Whether bytes that were there are changed: then it must survive a torn write.
        overwrite: bool,
    },
    /// Zeros.
    Zeros {
        /// In bytes from the start of the chunk.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
}

/// What must be durable before it is answered by [`Input::StoreDone`](crate::Input::StoreDone).
/// Operations on one replica are carried out in the order they were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOp {
    /// Make the empty replica, unclean.
    Create {
        /// Its version.
        version: ChunkVersion,
        /// The cluster's.
        chunk_size: ChunkSize,
    },
    /// Store the version, and that the replica is not clean from now on, in one step. Answer with the digest.
    SetVersion {
        /// The new version.
        version: ChunkVersion,
    },
    /// Everything applied so far, and this committed length; then, if asked, that the replica is clean.
    Flush {
        /// In bytes.
        committed_length: u64,
        /// The lease ended in order.
        clean: bool,
    },
    /// The replica has a bad block.
    MarkCorrupt,
    /// Every block is that of the source: cut what lies above `length`, flush everything, clear that it was suspect or
    /// corrupt. The committed length stays what it was, or is cut too: not all members need have these bytes yet. Answer
    /// with the digest.
    Equalised {
        /// Of the source, in bytes.
        length: u64,
    },
    /// Remove the replica, which has this version.
    Delete {
        /// As it was reported.
        version: ChunkVersion,
    },
}

/// A message to another member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// To whom.
    pub to: Member,
    /// Chunk, version, epoch, time left.
    pub target: Target,
    /// What.
    pub body: MessageBody,
}

/// What is said to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageBody {
    /// The next mutation in order.
    Order {
        /// It.
        order: Order,
        /// Send the bytes kept under its serial along: they are `Inline`, or the member lacks them.
        with_data: bool,
    },
    /// Nothing new, but so much is committed.
    Committed {
        /// Every mutation up to this one.
        serial: SerialNumber,
        /// The length with them, in bytes.
        length: u64,
    },
    /// Become equal (equal-1, equal-4).
    Equalise {
        /// Names the answer.
        pass: u64,
        /// How.
        equalise: Equalise,
    },
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The bytes that came with `token` are those of `serial`: keep them until [`Effect::Drop`].
    Keep {
        /// The request.
        token: Token,
        /// The mutation.
        serial: SerialNumber,
    },
    /// The bytes of mutations up to this one are not needed any more.
    Drop {
        /// The last one.
        through: SerialNumber,
    },
    /// Change bytes, then step with [`Input::Applied`](crate::Input::Applied). One at a time. Mutations, orders and acknowledgements may be
    /// stepped before, nothing else; [`Replica::join_writes`](crate::Replica::join_writes) tells what they add.
    Apply {
        /// The version it belongs to.
        version: ChunkVersion,
        /// The mutation.
        serial: SerialNumber,
        /// The change.
        write: LocalWrite,
    },
    /// Copy what differs from another server, off the shard's thread: ask it for its checksums (`Compare`), compare them with
    /// this replica's, ask for the blocks that differ (`Copy`), and step with [`Input::Piece`](crate::Input::Piece) for
    /// each, waiting for its answer; at last with [`Input::Copied`](crate::Input::Copied). Before the first byte of this
    /// replica is changed it is suspect, durably.
    Copy {
        /// To be named in what comes of it.
        job: Job,
        /// The primary.
        from: Peer,
        /// `HOST:PORT` of its data plane.
        source: String,
        /// Chunk, version, epoch, time left of a request.
        target: Target,
        /// Read every block of this replica, do not trust its stored checksums.
        check_all: bool,
    },
    /// Nobody wants that copy any more: pieces of it are refused from now on.
    StopCopy {
        /// Which one.
        job: Job,
    },
    /// Put the bytes that came with `token` here, whatever stood there and whatever its checksums say, and answer `Done` or
    /// what went wrong.
    Repair {
        /// The piece.
        token: Token,
        /// In bytes from the start of the chunk.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// Answer with what is applied now: a table of checksums, or verified bytes.
    ReadOut {
        /// The request.
        token: Token,
        /// What it asks for.
        what: ReadOut,
    },
    /// Make something durable, off the shard's thread.
    Store {
        /// To be named in the answer.
        ticket: Ticket,
        /// What.
        op: StoreOp,
    },
    /// Tell a member.
    Send(Message),
    /// Answer a request.
    Reply {
        /// Which one.
        token: Token,
        /// The answer.
        result: Result<DataResponse, Error>,
    },
    /// Tell the master.
    ToMaster(FromChunkserver),
    /// Let readers see this from now on.
    Publish(View),
    /// The replica is gone from the disk: forget it.
    Gone,
}
