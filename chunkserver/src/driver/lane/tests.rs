//! What a thread that helps does, and what it leaves: no thread of the shard runs here but when the test says so.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use gfs_chunkserver_core::report::Holdings;
use gfs_chunkserver_core::{Input, Job, Peer, Settings};
use gfs_durable::fs::real::RealFs;
use gfs_types::fence::{ChunkVersion, MasterEpoch, SerialNumber};
use gfs_types::ids::{ChunkHandle, ClusterUid, ProcessSession, ServerUid};
use gfs_types::message::control::Member;
use gfs_types::message::data::{DataSource, Order, OrderKind, Target};
use gfs_types::region::ChunkSize;

use super::*;
use crate::driver::{
    Answer, Clock, CopyWork, DriverHandle, Inboxes, Payload, PeerMessage, PeerTicket, Peers,
    Request, channels, flusher, shard,
};
use crate::metrics::Metrics;
use crate::store::{Store, StoreConfig};

const CHUNK: ChunkHandle = ChunkHandle(0xc0ffee);

struct Nobody;

impl Peers for Nobody {
    fn send(&self, _: &Member, _: PeerTicket, _: PeerMessage) {}
    fn flush(&self) {}
    fn copy(&self, _: CopyWork) {}
    fn stop_copy(&self, _: ChunkHandle, _: Job) {}
}

/// A secondary with one shard.
struct Bench {
    handle: DriverHandle,
    lane: Arc<Lane>,
    store: Arc<Store>,
    serial: u64,
}

impl Bench {
    fn new(dir: &Path) -> Self {
        let chunk_size = ChunkSize::new(1 << 20).unwrap();
        let config = StoreConfig {
            dir: dir.to_owned(),
            cluster: ClusterUid(1),
            chunk_size,
            server: "here".to_owned(),
            boot: 1,
            reserve_bytes: 0,
            preallocate: false,
            open_threads: 1,
        };
        let store = Arc::new(Store::open(Arc::new(RealFs), config).unwrap().0);
        let (handle, Inboxes(mut lanes)) = channels(1);
        let mut flushers = flusher::start(1, &store, &handle).unwrap();
        let settings = Settings {
            chunkserver: ServerUid(2),
            session: ProcessSession(3),
            chunk_size,
            pace: Default::default(),
        };
        let (tell, told) = channel();
        let tell = Mutex::new(tell);
        let shared = shard::Shared {
            settings,
            store: store.clone(),
            peers: Arc::new(Nobody),
            outbox: Box::new(move |message| drop(tell.lock().unwrap().send(message))),
            holdings: Arc::new(Mutex::new(Holdings::default())),
            clock: Clock::start(),
            metrics: Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap()),
            views: handle.views(),
        };
        let lane = lanes.remove(0);
        let shard = Shard::new(Arc::new(shared), flushers.jobs.remove(0), Vec::new());
        *lock(&lane.shard) = Some(shard);
        let bench = Self { handle, lane, store, serial: 0 };
        let (version, epoch) = (ChunkVersion(1), MasterEpoch(1));
        bench.handle.command(CHUNK, Input::Create { version, epoch, chunk_size });
        while told.try_recv().is_err() {
            bench.own();
            bench.lane.rest(Duration::from_millis(1));
        }
        bench
    }

    /// What the shard's own thread does.
    fn own(&self) {
        while self.lane.work(&mut lock(&self.lane.shard)) > 0 {}
    }

    fn is_rung(&self) -> bool {
        std::mem::take(&mut *lock(&self.lane.rung))
    }

    fn waiting(&self) -> usize {
        lock(&self.lane.queue).works.len()
    }

    fn put(&self, request: Request) -> Receiver<Answer> {
        let (sender, receiver) = channel();
        let (version, epoch) = (ChunkVersion(1), MasterEpoch(1));
        let target = Target { handle: CHUNK, version, epoch, left_ms: 60_000 };
        let reply = move |answer| {
            drop(sender.send(answer));
            None
        };
        self.handle.put(target, request, Box::new(reply));
        receiver
    }

    fn order(&mut self, offset: u64, length: usize) -> Receiver<Answer> {
        self.serial += 1;
        let source = DataSource::Inline;
        let kind = OrderKind::Write { offset, length: length as u64, source };
        let (serial, committed) = (SerialNumber(self.serial), SerialNumber(0));
        let order = Order { serial, kind, committed, committed_length: 0 };
        let from = Peer { chunkserver: ServerUid(9), session: ProcessSession(4) };
        let data = Some(Payload::compute(vec![1; length].into(), offset));
        self.put(Request::Order { from, order, data })
    }

    fn length(&self) -> u64 {
        self.store.applied_length(CHUNK).unwrap()
    }
}

fn is_done(waiting: &Receiver<Answer>) -> bool {
    match waiting.try_recv() {
        Ok(answer) => answer.reply.result.map(|_| true).unwrap(),
        Err(TryRecvError::Empty) => false,
        Err(TryRecvError::Disconnected) => panic!("every request is answered"),
    }
}

#[test]
fn whoever_helps_leaves_what_is_large_and_what_is_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path());
    let first = bench.order(0, 100);
    let large = bench.order(100, 100_000);
    let behind = bench.order(100_100, 100);
    bench.is_rung();
    bench.lane.help();
    assert_eq!((is_done(&first), bench.length(), bench.waiting()), (true, 100, 2));
    assert!(bench.is_rung(), "the shard's own thread is told");
    bench.lane.help();
    assert_eq!((bench.length(), bench.waiting()), (100, 2));
    bench.own();
    assert!(is_done(&large) && is_done(&behind));
    let verify = bench.put(Request::Verify { offset: 0, length: 1 });
    let behind = bench.order(100_200, 100);
    bench.lane.help();
    assert_eq!((bench.length(), bench.waiting()), (100_200, 2), "nor does it read");
    bench.own();
    assert!(is_done(&behind) && verify.try_recv().is_ok());
}

#[test]
fn whoever_helps_leaves_what_may_wait_for_a_disk_and_what_is_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path());
    let first = bench.order(0, 100);
    bench.lane.help();
    assert!(is_done(&first));
    let over = bench.order(50, 10);
    let behind = bench.order(100, 100);
    bench.is_rung();
    bench.lane.help();
    assert!(bench.is_rung());
    assert!(!is_done(&over) && !is_done(&behind), "an overwrite");
    assert!(!bench.store.replica(CHUNK).unwrap().overwritten, "which takes a sync");
    let from = Peer { chunkserver: ServerUid(9), session: ProcessSession(4) };
    let commit = bench.put(Request::Committed { from, serial: SerialNumber(1), length: 100 });
    bench.lane.help();
    assert_eq!((bench.length(), bench.waiting()), (100, 1));
    bench.own();
    assert!(is_done(&over) && is_done(&behind) && is_done(&commit));
    bench.store.mark_clean(CHUNK, 200).unwrap();
    let first = bench.order(200, 100);
    bench.lane.help();
    assert!(!is_done(&first) && bench.store.replica(CHUNK).unwrap().clean, "the first change");
    bench.own();
    let next = bench.order(300, 100);
    bench.lane.help();
    assert!(is_done(&first) && is_done(&next));
}

#[test]
fn whoever_helps_does_so_many_pieces_and_bytes_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path());
    let orders: Vec<_> = (0..200).map(|index| bench.order(index * 10, 10)).collect();
    bench.is_rung();
    bench.lane.help();
    assert_eq!(orders.iter().filter(|order| is_done(order)).count(), HELP_MAX);
    assert_eq!(bench.waiting(), 200 - HELP_MAX);
    assert!(bench.is_rung());
    bench.own();
    assert_eq!(bench.length(), 2000);
    let length = usize::try_from(INLINE_BYTES_MAX).unwrap();
    let orders: Vec<_> =
        (0..9).map(|index| bench.order(2000 + index * INLINE_BYTES_MAX, length)).collect();
    bench.lane.help();
    assert_eq!(bench.length(), 2000 + HELP_BYTES_MAX);
    bench.own();
    assert_eq!(orders.iter().filter(|order| is_done(order)).count(), 9);
}
