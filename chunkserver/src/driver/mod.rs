//! The loop around the cores: a few shards, each owning the replicas whose handles fall to it.
//!
//! Everything that happens to a replica, except plain reads, passes through its shard's queue in order, and is carried out by one
//! thread at a time: the one that brought it, or the shard's own. What must wait for the disk runs on flusher threads.
//! Plain reads never come here: connection threads answer them from the published
//! [`View`](gfs_chunkserver_core::View), see [`DriverHandle::view`].

mod clock;
mod effects;
mod flusher;
mod guard;
mod handle;
mod lane;
mod requests;
mod shard;
mod stepped;
#[cfg(test)]
pub(crate) mod stub;
#[cfg(test)]
mod tests;
mod views;

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use gfs_chunkserver_core::report::Holdings;
use gfs_chunkserver_core::{Job, ReadOut, Recovered, Settings};
use gfs_types::fence::{ChunkVersion, SerialNumber};
use gfs_types::ids::ChunkHandle;
use gfs_types::message::control::{FromChunkserver, Member, ReplicaState};
use gfs_types::message::data::{DataReply, DataSource, Equalise, Order, Target};

pub use clock::Clock;
pub use gfs_chunkserver_core::{Peer, Said};
pub use guard::{ProcessEnds, simulated_here};
pub use handle::{DriverHandle, Inboxes, channels};
pub use stepped::Stepped;

use crate::metrics::Metrics;
pub use crate::store::Payload;
use crate::store::{Found, Store};
use flusher::Flushers;
use shard::Shard;

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
    /// `DataRequest::Equalise`, from a primary.
    Equalise {
        /// Who sends it.
        from: Peer,
        /// How.
        equalise: Equalise,
    },
    /// Bytes of the source of a copy, from the thread that copies; answered when the core took or refused them.
    Piece {
        /// The copy.
        job: Job,
        /// In bytes from the start of the chunk.
        offset: u64,
        /// The bytes.
        data: Payload,
    },
    /// `DataRequest::Compare` and `Copy`, from whoever is being made equal.
    ReadOut {
        /// Who sends it.
        from: Peer,
        /// What is asked for.
        what: ReadOut,
    },
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

/// Called exactly once, from whoever runs a shard: it must not block. Put the answer to those that wait to be sent, and return
/// what sends them: it is told when all answers of the moment are there.
pub type ReplyTo = Box<dyn FnOnce(Answer) -> Option<Arc<dyn Outlet>> + Send>;

/// Where answers leave.
pub trait Outlet: Send + Sync {
    /// Sends the answers that were put in; must not block.
    fn flush(self: Arc<Self>);
}

/// The way to other chunkservers: implemented by the data plane, called by the shards.
pub trait Peers: Send + Sync {
    /// Queues a message and returns at once; it leaves with the next [`Peers::flush`]. What comes of it, an error of the connection
    /// included, is told with [`DriverHandle::peer_answered`], naming the same `ticket`.
    /// Messages to one member are sent in the order of the calls.
    fn send(&self, to: &Member, ticket: PeerTicket, message: PeerMessage);

    /// Sends what was queued. Must not block.
    fn flush(&self);

    /// Copies what differs from another server, and returns at once. Each piece comes as [`Request::Piece`], the end as
    /// [`Input::Copied`](gfs_chunkserver_core::Input::Copied).
    fn copy(&self, work: CopyWork);

    /// Nobody wants that copy any more.
    fn stop_copy(&self, handle: ChunkHandle, job: Job);
}

/// A copy that is to be made: see [`Effect::Copy`](gfs_chunkserver_core::Effect::Copy).
#[derive(Debug, Clone)]
pub struct CopyWork {
    /// Names it, for its chunk.
    pub job: Job,
    /// Who has the bytes.
    pub from: Peer,
    /// `HOST:PORT` of its data plane.
    pub source: String,
    /// Chunk, version, epoch, time left of a request.
    pub target: Target,
    /// Read every block of the replica here, do not trust its stored checksums.
    pub check_all: bool,
}

/// Names a message to a member, so that its answer finds its way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerTicket {
    /// The chunk.
    pub handle: ChunkHandle,
    /// The version of the lease.
    pub version: ChunkVersion,
    /// The member, and which run of it.
    pub member: Peer,
    /// What was said.
    pub said: Said,
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
    /// `DataRequest::Equalise`.
    Equalise(Equalise),
}

/// Takes what the master should know. Must not block; what cannot be taken is dropped, and told again when the
/// server registers the next time.
pub type Outbox = Box<dyn Fn(FromChunkserver) + Send + Sync>;

/// All that the driver needs.
pub struct Parts {
    /// Who this is.
    pub settings: Settings,
    /// The bytes.
    pub store: Arc<Store>,
    /// What the store found when it was opened.
    pub found: Vec<Found>,
    /// The way to other members.
    pub peers: Arc<dyn Peers>,
    /// The way to the master.
    pub outbox: Outbox,
    /// What the master is told of replicas and leases.
    pub holdings: Arc<Mutex<Holdings>>,
    /// The clock that leases run by.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Parts {
    /// What all shards share of it.
    fn shared(self, handle: &DriverHandle) -> shard::Shared {
        shard::Shared {
            settings: self.settings,
            store: self.store,
            peers: self.peers,
            outbox: self.outbox,
            holdings: self.holdings,
            clock: self.clock,
            metrics: self.metrics,
            views: handle.views(),
        }
    }
}

/// The running threads. Dropped, they end.
pub struct Driver {
    handle: DriverHandle,
    threads: Vec<JoinHandle<()>>,
}

impl Driver {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(handle: DriverHandle, inboxes: Inboxes, parts: Parts) -> std::io::Result<Self> {
        let Flushers { jobs, mut threads } =
            flusher::start(inboxes.0.len(), &parts.store, &handle)?;
        let mut found: Vec<Vec<(ChunkHandle, Recovered)>> = vec![Vec::new(); inboxes.0.len()];
        for (chunk, replica) in parts.found.iter().filter_map(look_at) {
            found[handle.shard_of(chunk)].push((chunk, replica));
        }
        let shared = Arc::new(parts.shared(&handle));
        for (index, (lane, found)) in inboxes.0.into_iter().zip(found).enumerate() {
            let shard = Shard::new(shared.clone(), jobs[index].clone(), found);
            let thread = std::thread::Builder::new().name(format!("driver-{index}"));
            threads.push(thread.spawn(move || {
                let _guard = guard::EndsOnPanic;
                lane.run(shard);
            })?);
        }
        Ok(Self { handle, threads })
    }

    /// The way in.
    #[must_use]
    pub fn handle(&self) -> &DriverHandle {
        &self.handle
    }

    /// Ends the threads after what they have at hand.
    pub fn stop(mut self) {
        self.handle.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the driver panicked");
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

/// What a core begins from; nothing where the file is left alone.
fn look_at(Found { handle: chunk, replica }: &Found) -> Option<(ChunkHandle, Recovered)> {
    match replica {
        Ok(replica) => Some((*chunk, recovered(replica))),
        Err(error) if error.is_lost_bytes() => {
            tracing::error!(chunk = %chunk, %error, "a replica is lost: it is to be copied from another server");
            Some((*chunk, LOST))
        }
        Err(error) => {
            tracing::error!(chunk = %chunk, %error, "a replica cannot be used");
            None
        }
    }
}

/// A replica of which not even the version is known.
const LOST: Recovered = Recovered {
    version: ChunkVersion(0),
    length: 0,
    committed_length: 0,
    overwritten: false,
    state: ReplicaState::Corrupt,
};

fn recovered(replica: &crate::store::Replica) -> Recovered {
    let state = match replica {
        _ if replica.damaged.is_some() => ReplicaState::Corrupt,
        _ if replica.suspect => ReplicaState::Suspect,
        _ if replica.clean => ReplicaState::Clean,
        _ => ReplicaState::Unclean,
    };
    Recovered {
        version: replica.version,
        length: replica.length,
        committed_length: replica.committed_length,
        overwritten: replica.overwritten,
        state,
    }
}
