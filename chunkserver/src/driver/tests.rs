//! Three drivers with real stores, joined in one process: from birth to a clean end and the next raise.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use gfs_chunkserver_core::Input;
use gfs_durable::fs::real::RealFs;
use gfs_types::ids::{ClusterUid, ProcessSession, ServerUid};
use gfs_types::limits::CHUNK_BYTES_MIN;
use gfs_types::message::control::{LeaseStart, RaisedReplica};
use gfs_types::message::data::DataResponse;
use gfs_types::region::ChunkSize;
use gfs_types::{DurationMs, ErrorKind};

use super::*;
use crate::store::StoreConfig;

const CHUNK: ChunkHandle = ChunkHandle(0xc0ffee);
const SESSION: ProcessSession = ProcessSession(3);
/// No test waits for time to pass; one that waits for ever fails.
const PATIENCE: Duration = Duration::from_secs(60);

type Handles = Arc<OnceLock<BTreeMap<ServerUid, DriverHandle>>>;

/// Hands orders to the other drivers of this process.
struct Local {
    me: Peer,
    all: Handles,
}

/// What was answered to a primary is carried out there.
struct Back(DriverHandle);

impl Outlet for Back {
    fn flush(self: Arc<Self>) {
        self.0.help();
    }
}

impl Peers for Local {
    fn send(&self, to: &Member, ticket: PeerTicket, message: PeerMessage) {
        let all = self.all.get().expect("the handles are there before the first order");
        let back = all[&self.me.chunkserver].clone();
        let from = self.me;
        let request = match message.body {
            PeerBody::Order { order, data } => Request::Order { from, order, data },
            PeerBody::Committed { serial, length } => Request::Committed { from, serial, length },
            PeerBody::Equalise(equalise) => Request::Equalise { from, equalise },
        };
        let reply = move |answer: Answer| {
            back.peer_answered(ticket, answer.reply.result);
            Some(Arc::new(Back(back)) as Arc<dyn Outlet>)
        };
        all[&to.chunkserver].submit(message.target, request, Box::new(reply));
    }

    fn flush(&self) {}

    fn copy(&self, work: CopyWork) {
        unreachable!("no replica here differs: {work:?}");
    }

    fn stop_copy(&self, _: ChunkHandle, _: Job) {}
}

struct Server {
    uid: ServerUid,
    driver: Driver,
    store: Arc<Store>,
    master: Receiver<FromChunkserver>,
    holdings: Arc<Mutex<Holdings>>,
}

fn start(dir: &Path, number: u128, all: Handles) -> (DriverHandle, Server) {
    let uid = ServerUid(number);
    let config = StoreConfig {
        dir: dir.join(number.to_string()),
        cluster: ClusterUid(1),
        chunk_size: ChunkSize::new(CHUNK_BYTES_MIN).unwrap(),
        server: uid.to_string(),
        boot: 1,
        reserve_bytes: 0,
        preallocate: false,
        open_threads: 1,
    };
    std::fs::create_dir_all(&config.dir).unwrap();
    let chunk_size = config.chunk_size;
    let (store, found) = Store::open(Arc::new(RealFs), config).unwrap();
    let store = Arc::new(store);
    let (handle, inboxes) = channels(2);
    let (sender, master) = channel();
    let holdings = Arc::new(Mutex::new(Holdings::default()));
    let parts = Parts {
        settings: Settings {
            chunkserver: uid,
            session: SESSION,
            chunk_size,
            pace: Default::default(),
        },
        store: store.clone(),
        found,
        peers: Arc::new(Local { me: Peer { chunkserver: uid, session: SESSION }, all }),
        outbox: outbox(sender),
        holdings: holdings.clone(),
        clock: Clock::start(),
        metrics: Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap()),
    };
    let driver = Driver::start(handle.clone(), inboxes, parts).unwrap();
    (handle, Server { uid, driver, store, master, holdings })
}

fn outbox(sender: Sender<FromChunkserver>) -> Outbox {
    let sender = Mutex::new(sender);
    Box::new(move |message| drop(sender.lock().unwrap().send(message)))
}

fn three(dir: &Path) -> Vec<Server> {
    let all = Handles::default();
    let (handles, servers): (Vec<_>, Vec<_>) =
        (1..=3).map(|number| start(dir, number, all.clone())).unzip();
    let handles = servers.iter().map(|server| server.uid).zip(handles).collect();
    all.set(handles).ok().expect("set once");
    servers
}

impl Server {
    fn hears(&self) -> FromChunkserver {
        self.master.recv_timeout(PATIENCE).expect("the master is told")
    }

    fn command(&self, input: Input) {
        self.driver.handle().command(CHUNK, input);
    }

    fn ask(&self, version: u64, request: Request) -> Receiver<Answer> {
        ask(self.driver.handle(), version, request)
    }

    fn raised(&self) -> RaisedReplica {
        match self.hears() {
            FromChunkserver::Raised { result: Ok(raised), .. } => raised,
            other => panic!("{other:?}"),
        }
    }
}

fn ask(handle: &DriverHandle, version: u64, request: Request) -> Receiver<Answer> {
    let (sender, receiver) = channel();
    let version = ChunkVersion(version);
    let epoch = gfs_types::fence::MasterEpoch(1);
    let target = Target { handle: CHUNK, version, epoch, left_ms: 60_000 };
    let reply = move |answer| {
        drop(sender.send(answer));
        None
    };
    handle.submit(target, request, Box::new(reply));
    receiver
}

fn answer(waiting: &Receiver<Answer>) -> Result<DataResponse, ErrorKind> {
    let answer = waiting.recv_timeout(PATIENCE).expect("every request is answered");
    answer.reply.result.map_err(|error| error.kind)
}

fn append(byte: u8, length: usize) -> Request {
    let data = Payload::compute(vec![byte; length].into(), 0);
    Request::Append { source: DataSource::Inline, data }
}

fn born(servers: &[Server]) {
    let (version, epoch) = (ChunkVersion(1), gfs_types::fence::MasterEpoch(1));
    let chunk_size = ChunkSize::new(CHUNK_BYTES_MIN).unwrap();
    for server in servers {
        server.command(Input::Create { version, epoch, chunk_size });
        let told = server.hears();
        assert!(matches!(told, FromChunkserver::ReplicaCreated { result: Ok(()), .. }), "{told:?}");
    }
    grant(servers, 1);
}

fn grant(servers: &[Server], version: u64) {
    let member = |server: &Server| Member {
        chunkserver: server.uid,
        session: SESSION,
        address: String::new(),
    };
    let members = servers.iter().map(member).collect();
    let lease_ms = DurationMs(60_000);
    let (start, brief, alone) = (LeaseStart::Equal, false, false);
    let version = ChunkVersion(version);
    servers[0].command(Input::Grant { version, members, lease_ms, start, brief, alone });
}

#[test]
fn records_are_on_every_disk_at_their_offsets_and_the_end_leaves_all_clean() {
    let dir = tempfile::tempdir().unwrap();
    let servers = three(dir.path());
    born(&servers);
    let waiting: Vec<_> =
        (1..=200u8).map(|byte| (byte, servers[0].ask(1, append(byte, 300)))).collect();
    let mut end = 0;
    for (byte, waiting) in &waiting {
        let Ok(DataResponse::Appended { offset, .. }) = answer(waiting) else {
            panic!("append {byte} failed")
        };
        assert_eq!(offset, end, "requests of one queue keep their order");
        end += 300;
        for server in &servers {
            let read = server.store.read_verified(CHUNK, offset..offset + 300, offset + 300);
            assert_eq!(read.unwrap(), vec![*byte; 300], "on {}", server.uid);
        }
    }
    assert_eq!(
        answer(&servers[0].ask(1, Request::Sync)),
        Ok(DataResponse::Committed { length: end, version: ChunkVersion(1) })
    );
    for server in &servers {
        assert_eq!(server.store.replica(CHUNK).unwrap().committed_length, end);
    }
    servers[0].command(Input::Revoke { version: ChunkVersion(1) });
    let told = servers[0].hears();
    assert!(
        matches!(told, FromChunkserver::LeaseGivenUp { length, .. } if length == end),
        "{told:?}"
    );
    let mut digests = Vec::new();
    for server in &servers {
        assert!(server.store.replica(CHUNK).unwrap().clean);
        let (version, from) = (ChunkVersion(2), ChunkVersion(1));
        let epoch = gfs_types::fence::MasterEpoch(1);
        server.command(Input::Raise { version, from, epoch });
        let raised = server.raised();
        assert_eq!((raised.length, raised.state), (end, ReplicaState::Clean));
        assert!(!server.store.replica(CHUNK).unwrap().clean, "before the first change");
        digests.push(raised.digest);
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
    assert_eq!(answer(&servers[0].ask(1, append(1, 1))), Err(ErrorKind::Stale));
    for server in servers {
        server.driver.stop();
    }
}

#[test]
fn whoever_finds_the_shard_taken_leaves_its_work_and_it_is_done_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let servers = three(dir.path());
    born(&servers);
    let primary = servers[0].driver.handle();
    let bring = |byte: u8| {
        let mut offsets = Vec::new();
        for _ in 0..10 {
            // Several at once: some join others.
            let waiting: Vec<_> = (0..5).map(|_| ask(primary, 1, append(byte, 100))).collect();
            for waiting in &waiting {
                let Ok(DataResponse::Appended { offset, .. }) = answer(waiting) else {
                    panic!("an append of {byte} failed")
                };
                offsets.push(offset);
            }
        }
        assert!(offsets.is_sorted(), "the order of whoever brings them is kept");
        offsets
    };
    let all: Vec<(u8, Vec<u64>)> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (1..=8).map(|byte| scope.spawn(move || (byte, bring(byte)))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut places: Vec<u64> = all.iter().flat_map(|(_, offsets)| offsets.clone()).collect();
    places.sort_unstable();
    assert_eq!(places, (0..400).map(|n| n * 100).collect::<Vec<_>>(), "each has its own place");
    for server in &servers {
        for (byte, offsets) in &all {
            for &offset in offsets {
                let read = server.store.read_verified(CHUNK, offset..offset + 100, 40_000);
                assert_eq!(read.unwrap(), vec![*byte; 100], "on {}", server.uid);
            }
        }
    }
    for server in servers {
        server.driver.stop();
    }
}

#[test]
fn a_record_that_does_not_fit_pads_all_three_and_what_is_read_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let servers = three(dir.path());
    born(&servers);
    let quarter = usize::try_from(CHUNK_BYTES_MIN / 4).unwrap();
    for byte in 1..=3 {
        answer(&servers[0].ask(1, append(byte, quarter))).unwrap();
    }
    answer(&servers[0].ask(1, append(4, 1))).unwrap();
    assert_eq!(answer(&servers[0].ask(1, append(5, quarter))), Err(ErrorKind::ChunkFull));
    for server in &servers {
        assert_eq!(server.store.replica(CHUNK).unwrap().length, CHUNK_BYTES_MIN);
    }
    let view = servers[0].driver.handle().view(CHUNK).unwrap();
    assert_eq!((view.readable, view.committed_length), (true, CHUNK_BYTES_MIN));
    let verify = servers[0].ask(1, Request::Verify { offset: 3 * quarter as u64, length: 2 });
    let verified = verify.recv_timeout(PATIENCE).unwrap();
    assert_eq!(&verified.payload[..], [4, 0]);
    let report = servers[0].holdings.lock().unwrap().pages();
    assert_eq!(report.concat().len(), 1);
    for server in servers {
        server.driver.stop();
    }
}

#[test]
fn a_replica_that_cannot_be_read_is_reported_as_corrupt_and_one_of_a_newer_format_is_not_reported()
{
    for newer in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let servers = three(dir.path());
        born(&servers);
        let chunks = dir.path().join("2/chunks").join(format!("{:02x}", (CHUNK.0 >> 8) & 0xff));
        let path = chunks.join(format!("{CHUNK}.chunk"));
        for server in servers {
            server.driver.stop();
        }
        let mut bytes = std::fs::read(&path).unwrap();
        for copy in [0, 2048, 4096, 6144] {
            match newer {
                false => bytes[copy + 50] ^= 1,
                true => {
                    bytes[copy + 4] = 99;
                    let sum = gfs_protocol::checksum::crc32c(&bytes[copy..copy + 124]);
                    bytes[copy + 124..copy + 128].copy_from_slice(&sum.to_le_bytes());
                }
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        let (_, server) = start(dir.path(), 2, Handles::default());
        // An answer shows that the shard has taken up what was found.
        assert!(answer(&server.ask(1, append(1, 1))).is_err());
        let pages = server.holdings.lock().unwrap().pages().concat();
        let told: Vec<_> = pages.iter().map(|report| (report.version.0, report.state)).collect();
        match newer {
            false => assert_eq!(told, [(0, ReplicaState::Corrupt)]),
            true => assert_eq!(told, []),
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "the file is left as it is");
        server.driver.stop();
    }
}

#[test]
fn a_table_of_checksums_that_is_cut_off_makes_the_replica_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let servers = three(dir.path());
    born(&servers);
    // A whole block at least: the checksum of one that is not whole stands elsewhere.
    for byte in 1..=4 {
        let quarter = usize::try_from(CHUNK_BYTES_MIN / 4).unwrap();
        answer(&servers[0].ask(1, append(byte, quarter))).unwrap();
    }
    let cut = &servers[1];
    let chunks = dir.path().join("2/chunks").join(format!("{:02x}", (CHUNK.0 >> 8) & 0xff));
    let file = std::fs::File::options().write(true).open(chunks.join(format!("{CHUNK}.chunk")));
    file.unwrap().set_len(10_000).unwrap();
    assert_eq!(answer(&cut.ask(1, Request::Checksums)), Err(ErrorKind::Corrupt));
    let since = std::time::Instant::now();
    // What the driver decided by it stands behind an answer that came later.
    while cut.holdings.lock().unwrap().pages().concat()[0].state != ReplicaState::Corrupt {
        drop(answer(&cut.ask(1, Request::Inspect)));
        assert!(since.elapsed() < PATIENCE, "its server knows, and does not say so");
    }
    for server in servers {
        server.driver.stop();
    }
}

#[test]
fn what_was_found_on_disk_is_reported_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let servers = three(dir.path());
    born(&servers);
    answer(&servers[0].ask(1, append(1, 100))).unwrap();
    servers[0].driver.handle().give_up_leases();
    assert!(matches!(servers[0].hears(), FromChunkserver::LeaseGivenUp { .. }));
    for server in servers {
        server.driver.stop();
    }
    let (handle, server) = start(dir.path(), 2, Handles::default());
    // An answer shows that the shard has taken up what was found.
    let inspected = answer(&server.ask(1, Request::Inspect)).unwrap();
    assert!(matches!(inspected, DataResponse::Replica(info) if info.committed_length == 100));
    assert_eq!(handle.view(CHUNK).unwrap().committed_length, 100);
    let pages = server.holdings.lock().unwrap().pages().concat();
    assert_eq!(pages.len(), 1);
    assert_eq!((pages[0].length, pages[0].state), (100, ReplicaState::Clean));
    server.driver.stop();
}

#[test]
fn what_was_deleted_is_not_made_again_by_a_command_that_is_heard_late() {
    let dir = tempfile::tempdir().unwrap();
    let servers = three(dir.path());
    born(&servers[..1]);
    let server = &servers[0];
    server.command(Input::Delete { version: ChunkVersion(1) });
    let told = server.hears();
    assert!(matches!(told, FromChunkserver::ReplicaDeleted { result: Ok(()), .. }), "{told:?}");
    // By now the shard keeps nothing else of the chunk.
    assert_eq!(answer(&server.ask(1, Request::Inspect)), Err(ErrorKind::NotFound));
    let (version, epoch) = (ChunkVersion(1), gfs_types::fence::MasterEpoch(1));
    let chunk_size = ChunkSize::new(CHUNK_BYTES_MIN).unwrap();
    server.command(Input::Create { version, epoch, chunk_size });
    let told = server.hears();
    assert!(matches!(told, FromChunkserver::ReplicaCreated { result: Err(_), .. }), "{told:?}");
    assert_eq!(server.store.handles(), []);
    for server in servers {
        server.driver.stop();
    }
}
