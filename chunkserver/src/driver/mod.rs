//! The loop around the cores: a few threads, each owning the replicas whose handles fall to it.
//!
//! Everything that happens to a replica, except plain reads, passes through its shard's queue in order.
//! Writes are executed by the shard's thread; what must wait for the disk runs on flusher threads.
//! Plain reads never come here: connection threads answer them from the published [`View`].

use std::sync::Arc;

use bytes::Bytes;
use gfs_types::Error;
use gfs_types::fence::{ChunkVersion, SerialNumber};
use gfs_types::ids::{ChunkHandle, ProcessSession, ServerUid};
use gfs_types::message::control::Member;
use gfs_types::message::data::{DataReply, DataSource, Order, Target};

pub use crate::store::Payload;

/// Asked by the data plane. Bytes are verified against their checksums before they come here.
#[derive(Debug)]
pub enum Request {
    /// `DataRequest::Write`, from a client. Pushed data is looked up by the data plane; when it is not
    /// there, the data plane answers `NeedData` itself and does not submit.
    Write {
        /// In bytes from the start of the chunk.
        offset: u64,
        /// Where the client put the bytes: the orders to the secondaries name the same.
        source: DataSource,
        /// The bytes.
        data: Payload,
    },
    /// `DataRequest::Append`, as `Write`.
    Append {
        /// Where the client put the bytes.
        source: DataSource,
        /// The bytes.
        data: Payload,
    },
    /// `DataRequest::Sync`.
    Sync,
    /// `DataRequest::FlushReplica`.
    FlushReplica,
    /// `DataRequest::Order`, from a primary.
    Order {
        /// Who sends it: from the connection's `Hello`.
        from: Peer,
        /// The order.
        order: Order,
        /// Its bytes; `None` when it has none, or when pushed data is not (or no longer) in the buffer.
        data: Option<Payload>,
    },
    /// `DataRequest::Committed`, from a primary.
    Committed {
        /// Who sends it.
        from: Peer,
        /// Every mutation up to this one is committed.
        serial: SerialNumber,
        /// The length with them, in bytes.
        length: u64,
    },
    /// `DataRequest::Verify`.
    Verify {
        /// From here.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// `DataRequest::Inspect`.
    Inspect,
    /// `DataRequest::Checksums`.
    Checksums,
}

/// One run of another chunkserver, as its `Hello` named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub chunkserver: ServerUid,
    /// Which run of it.
    pub session: ProcessSession,
}

/// What goes back over the connection.
#[derive(Debug)]
pub struct Answer {
    /// The reply.
    pub reply: DataReply,
    /// Its payload: the bytes of `Verify`, the table of `Checksums`; empty for all others.
    pub payload: Bytes,
    /// The checksums of the payload, for `Verify`.
    pub checksums: Vec<u32>,
}

/// Called exactly once, from a thread of the driver: it must not block. Put the answer into the
/// connection's writer queue and return.
pub type ReplyTo = Box<dyn FnOnce(Answer) + Send>;

/// What a primary sends to a member: implemented by the data plane, called by the shards.
pub trait Peers: Send + Sync {
    /// Queues a message and returns at once. What comes of it, an error of the connection included,
    /// is told with [`DriverHandle::peer_answered`], naming the same `ticket`.
    /// Messages to one member are sent in the order of the calls.
    fn send(&self, to: &Member, ticket: PeerTicket, message: PeerMessage);
}

/// Names a message to a member, so that its answer finds its way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerTicket {
    /// The chunk.
    pub handle: ChunkHandle,
    /// The version of the lease.
    pub version: ChunkVersion,
    /// The member.
    pub member: ServerUid,
    /// The order's serial; for `Committed` the serial that is committed.
    pub serial: SerialNumber,
    /// Whether it is a `Committed`.
    pub notice: bool,
}

/// A message to a member.
#[derive(Debug)]
pub struct PeerMessage {
    /// Chunk, version, epoch, time left.
    pub target: Target,
    /// What to send.
    pub body: PeerBody,
}

/// What to send to a member.
#[derive(Debug)]
pub enum PeerBody {
    /// `DataRequest::Order`.
    Order {
        /// The order.
        order: Order,
        /// With the source `Inline`: the payload of the frame. With `Pushed`: the member said `NeedData`
        /// and the bytes do not fit one frame; push the parts to it under their names, then order.
        data: Option<Payload>,
    },
    /// `DataRequest::Committed`.
    Committed {
        /// Every mutation up to this one is committed.
        serial: SerialNumber,
        /// The length with them, in bytes.
        length: u64,
    },
}

/// The way into the driver; cheap to clone.
#[derive(Clone)]
pub struct DriverHandle {
    shards: Arc<[()]>,
}

impl DriverHandle {
    /// Hands a request in and returns at once. With a full queue the answer is `Busy`.
    pub fn submit(&self, target: Target, request: Request, reply: ReplyTo) {
        let _ = (&self.shards, target, request);
        reply(Answer {
            reply: DataReply { result: Err(Error::busy("the driver is not running yet")) },
            payload: Bytes::new(),
            checksums: Vec::new(),
        });
    }

    /// What became of a message to a member: its answer, or why there is none.
    pub fn peer_answered(&self, ticket: PeerTicket, result: Result<(), Error>) {
        let _ = (&self.shards, ticket, result);
    }
}
