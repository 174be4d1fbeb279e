//! The data plane: what travels in raw frames to a chunkserver, from clients and from other chunkservers.
//!
//! A request names the chunk, its version and the master epoch in the frame header. Bytes travel as the frame's
//! payload beside their CRC-32C, one for each 64 KiB block of the chunk they touch, and never enter a core.

use crate::error::Error;
use crate::fence::{ChunkVersion, MasterEpoch, SerialNumber};
use crate::ids::{ChunkHandle, ClusterUid, DataId, ProcessSession, ServerUid};

/// First frame on every connection, in both directions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Version of the protocol: [`PROTOCOL_VERSION`].
    pub protocol: u32,
    /// The cluster both must belong to.
    pub cluster: ClusterUid,
    /// Who speaks; for a client a number it drew.
    pub me: ServerUid,
    /// Who is meant to listen; addresses are reused. Zero in the answer.
    pub peer: ServerUid,
    /// The run of the speaker; 0 for a client.
    pub session: ProcessSession,
    /// The run of the listener that is meant; 0 takes any.
    pub peer_session: ProcessSession,
}

/// The version of the data plane's protocol.
pub const PROTOCOL_VERSION: u32 = 1;

/// The part that every request has in common; in the frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The chunk.
    pub handle: ChunkHandle,
    /// The version the sender knows.
    pub version: ChunkVersion,
    /// The epoch the sender knows.
    pub epoch: MasterEpoch,
    /// How long the sender will still wait, in milliseconds.
    pub left_ms: u32,
}

/// Where the bytes of a mutation are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataSource {
    /// In this frame.
    Inline,
    /// Pushed before under this name. More bytes than [`crate::limits::FRAME_BYTES_MAX`] (a long record) are
    /// pushed in parts: full frames and then the rest, under this name and the ones that follow it
    /// (`seq`, `seq + 1`, …); the mutation's `length` says how many.
    Pushed(DataId),
}

/// One more server in a push chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Who.
    pub chunkserver: ServerUid,
    /// `HOST:PORT` of its data plane.
    pub address: String,
}

/// What is asked. `length` is the number of bytes of payload or of the range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataRequest {
    /// Keep the payload under `data` and pass it on to the first of `chain`.
    Push {
        /// Its name.
        data: DataId,
        /// Servers still to come; the next one first.
        chain: Vec<Hop>,
        /// Where the bytes will go within the chunk, so that checksums align with blocks; 0 if unknown.
        offset: u64,
    },
    /// Client to primary: write at an offset within the chunk.
    Write {
        /// In bytes from the start of the chunk.
        offset: u64,
        /// How many bytes.
        length: u64,
        /// Where they are.
        source: DataSource,
    },
    /// Client to primary: record append; the answer says where.
    Append {
        /// How many bytes.
        length: u64,
        /// Where they are.
        source: DataSource,
    },
    /// Client to primary: return when every replica has everything on disk.
    Sync,
    /// Primary to secondary: the next mutation in order.
    Order(Order),
    /// Primary to secondary: nothing new, but so much is committed now.
    Committed {
        /// Every mutation up to this one is committed.
        serial: SerialNumber,
        /// The length of the chunk with them, in bytes.
        length: u64,
    },
    /// Bytes of a chunk.
    Read {
        /// From here.
        offset: u64,
        /// How many bytes.
        length: u64,
        /// The length the client has seen; a replica that knows less says `Stale`.
        seen_length: u64,
    },
    /// As `Read`, but checked by the server in order with the mutations: its verdict counts.
    Verify {
        /// From here.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// The replica as it is: version, committed length. The primary's answer is the truth while it has the lease.
    Inspect,
    /// The stored checksums of all blocks, for `fsck`.
    Checksums,
    /// Primary to member or learner: become equal to me (equal-1, equal-4).
    Equalise(Equalise),
    /// Whoever is being made equal, to the primary: the checksums of all blocks as they are now, in order with the
    /// mutations.
    Compare,
    /// Whoever is being made equal, to the primary: these bytes, verified, in order with the mutations; up to the
    /// applied length.
    Copy {
        /// From here: a block border.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
}

/// What a primary wants of a replica that may differ from its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equalise {
    /// `HOST:PORT` of the primary's data plane: the receiver asks there for checksums and for the blocks that differ.
    pub source: String,
    /// Nothing changes at the primary until the answer, which says that the receiver is equal, and has on disk all that it
    /// has. Otherwise it is a first pass: mutations go on, and what they touch is left to the next one.
    pub last: bool,
}

/// A mutation as the primary orders it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Its place in the order, from 1 for each version.
    pub serial: SerialNumber,
    /// What it does.
    pub kind: OrderKind,
    /// Every mutation up to this one is committed.
    pub committed: SerialNumber,
    /// The length of the chunk with those, in bytes.
    pub committed_length: u64,
}

/// What an order does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderKind {
    /// Put bytes here.
    Write {
        /// In bytes from the start of the chunk.
        offset: u64,
        /// How many bytes.
        length: u64,
        /// Where they are.
        source: DataSource,
    },
    /// Fill with zeros from the applied length up to the chunk's end: a record did not fit.
    Pad,
    /// Have data, checksums and committed length on disk.
    Sync,
    /// The lease ends in order: flush, then be clean.
    End,
}

/// The answer to a [`DataRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataReply {
    /// What came of it.
    pub result: Result<DataResponse, Error>,
}

/// The good answers. Bytes travel as the frame's payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataResponse {
    /// `Push`, `Committed`: done.
    Done,
    /// `Write`, `Sync`: committed on every member.
    Committed {
        /// The length of the chunk now, in bytes.
        length: u64,
        /// Under which version: it may be higher than the one that was asked (raise-4). A replica of a lower one may lack it.
        version: ChunkVersion,
    },
    /// `Append`: committed on every member, here.
    Appended {
        /// Where the first byte of the record stands in the chunk.
        offset: u64,
        /// The length of the chunk now, in bytes.
        length: u64,
        /// As of `Committed`.
        version: ChunkVersion,
    },
    /// `Order`: applied.
    Applied {
        /// Which one.
        serial: SerialNumber,
        /// The member's disk is short of space: what is in flight fits, more may not.
        short_of_space: bool,
    },
    /// `Equalise`: the pass is done.
    Equalised {
        /// How many bytes were fetched.
        copied_bytes: u64,
    },
    /// `Read`, `Verify`, `Copy`: the payload, its place, and stored checksums in the frame.
    Bytes {
        /// Where the payload begins in the chunk: a block border, or the offset asked for (see `own_checksum`).
        offset: u64,
        /// Bytes of payload; fewer than asked for at the end of the chunk.
        length: u64,
        /// Committed length of the chunk as this replica knows it, in bytes.
        committed_length: u64,
        /// The one checksum in the frame is over just the payload, computed after the server verified the block.
        own_checksum: bool,
    },
    /// `Inspect`.
    Replica(ReplicaInfo),
    /// `Checksums`, `Compare`: the payload is the table, 4 bytes little-endian a block, the last one over the bytes that are.
    Checksums {
        /// Bytes the table covers.
        length: u64,
        /// CRC-32C over length and table.
        digest: u32,
    },
}

/// A replica as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaInfo {
    /// The version it stored.
    pub version: ChunkVersion,
    /// Committed length as it knows it, in bytes.
    pub committed_length: u64,
    /// It holds the lease.
    pub primary: bool,
    /// What it is.
    pub state: super::control::ReplicaState,
}
