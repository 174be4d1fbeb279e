//! Connections to chunkservers: one for each server and lane, many requests in flight on each, closed when idle.
//!
//! No payload leaves this module before every block of it was checked against the checksum that came with it.

mod connection;
mod gather;
mod over;
mod verify;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use gfs_types::ids::{ClusterUid, ServerUid};
use gfs_types::limits::LANE_REQUESTS_MAX;
use gfs_types::message::client::ReplicaLocation;
use gfs_types::message::data::{DataRequest, DataResponse, Target};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::lock;
use crate::network::Network;
use crate::retry::Failure;

/// Requests waiting for one connection; more make their callers wait.
const QUEUE_MAX: usize = 64;
/// A connection without a request for this long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// What a connection is for. A server works through the requests of one connection in turn: a mutation must not wait
/// behind bulk data, nor anything behind a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Push,
    Mutate,
    Read,
    Flush,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    chunkserver: ServerUid,
    address: String,
    lane: Lane,
}

/// All connections of a client. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct DataLinks {
    me: ServerUid,
    cluster: ClusterUid,
    /// What stands for sockets.
    network: Option<Arc<dyn Network>>,
    queues: Arc<Mutex<BTreeMap<Key, mpsc::Sender<Call>>>>,
}

/// Held until a request is in its connection's queue: whoever waits for it comes behind.
pub(crate) type Turn = oneshot::Sender<()>;

/// A request on its way.
#[derive(Debug)]
struct Call {
    target: Target,
    request: DataRequest,
    payload: Bytes,
    checksums: Vec<u32>,
    deadline: Instant,
    sent: Arc<AtomicBool>,
    reply: oneshot::Sender<Result<Answer, Failure>>,
}

/// A good answer; its payload matches its checksums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) response: DataResponse,
    pub(crate) payload: Bytes,
}

/// What to ask of which server.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) target: Target,
    pub(crate) request: DataRequest,
    pub(crate) payload: Bytes,
    /// CRC-32C for each block of the chunk that the payload touches.
    pub(crate) checksums: Vec<u32>,
}

impl Ask {
    /// A request without a payload.
    pub(crate) const fn plain(target: Target, request: DataRequest) -> Self {
        Self { target, request, payload: Bytes::new(), checksums: Vec::new() }
    }
}

impl DataLinks {
    pub(crate) fn new(
        me: ServerUid,
        cluster: ClusterUid,
        network: Option<Arc<dyn Network>>,
    ) -> Self {
        Self { me, cluster, network, queues: Arc::default() }
    }

    /// Who this client is to chunkservers: a number it drew.
    pub(crate) const fn me(&self) -> ServerUid {
        self.me
    }

    /// Asks a server, once; `turn` is let go when the request has its place in the queue. Dropped, the request may still be carried out.
    pub(crate) async fn ask(
        &self,
        server: &ReplicaLocation,
        ask: Ask,
        deadline: Instant,
        turn: Option<Turn>,
    ) -> Result<Answer, Failure> {
        let sent = Arc::new(AtomicBool::new(false));
        let (reply, answer) = oneshot::channel();
        let Ask { target, request, payload, checksums } = ask;
        let lane = lane_of(&request);
        let sent_too = Arc::clone(&sent);
        let call = Call { target, request, payload, checksums, deadline, sent: sent_too, reply };
        let key = Key { chunkserver: server.chunkserver, address: server.address.clone(), lane };
        let exchange = async {
            self.enqueue(key, call).await;
            drop(turn);
            answer.await
        };
        let who = || format!("chunkserver {} at {}", server.chunkserver, server.address);
        match timeout_at(deadline, exchange).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Failure::Lost(format!("{}: the connection ended", who()))),
            Err(_) if sent.load(Ordering::Relaxed) => {
                Err(Failure::Lost(format!("{} did not answer in time", who())))
            }
            Err(_) => Err(Failure::Unreachable(format!("{} took no request in time", who()))),
        }
    }

    /// Hands the call to the connection's task, starting one if there is none.
    async fn enqueue(&self, key: Key, mut call: Call) {
        loop {
            let queue = self.queue(&key);
            match queue.send(call).await {
                Ok(()) => return,
                // The task has just ended, idle: the next one takes it.
                Err(mpsc::error::SendError(back)) => call = back,
            }
        }
    }

    fn queue(&self, key: &Key) -> mpsc::Sender<Call> {
        let mut queues = lock(&self.queues);
        if let Some(queue) = queues.get(key).filter(|queue| !queue.is_closed()) {
            return queue.clone();
        }
        queues.retain(|_, queue| !queue.is_closed());
        let (queue, calls) = mpsc::channel(QUEUE_MAX);
        let peer = connection::Peer {
            me: self.me,
            cluster: self.cluster,
            chunkserver: key.chunkserver,
            address: key.address.clone(),
            requests_max: match key.lane {
                Lane::Mutate => 2 * LANE_REQUESTS_MAX,
                Lane::Push | Lane::Read | Lane::Flush => LANE_REQUESTS_MAX,
            },
        };
        match &self.network {
            Some(network) => drop(tokio::spawn(over::run(network.clone(), key.clone(), calls))),
            None => drop(tokio::spawn(connection::run(peer, calls))),
        }
        queues.insert(key.clone(), queue.clone());
        queue
    }
}

const fn lane_of(request: &DataRequest) -> Lane {
    match request {
        DataRequest::Push { .. } => Lane::Push,
        DataRequest::Read { .. } | DataRequest::Verify { .. } | DataRequest::Checksums => {
            Lane::Read
        }
        DataRequest::Sync => Lane::Flush,
        _ => Lane::Mutate,
    }
}
