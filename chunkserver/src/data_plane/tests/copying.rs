//! A replica fetches what it lacks over real sockets; the cores' part is played here.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use gfs_chunkserver_core::{Copied, Job, Peer};
use gfs_durable::fs::Fs;
use gfs_durable::fs::sim::SimFs;
use gfs_protocol::checksum::{blocks, crc32c};
use gfs_protocol::frame::blocking::read_head;
use gfs_protocol::frame::{Head, encode_hello_reply, encode_reply, op_of};
use gfs_types::fence::MasterEpoch;
use gfs_types::ids::{ChunkHandle, ProcessSession, ServerUid};
use gfs_types::limits::{BLOCK_BYTES, COPIES_MAX};
use gfs_types::message::data::{
    DataReply, DataRequest, DataResponse, Hello, PROTOCOL_VERSION, Target,
};
use gfs_types::region::ChunkSize;
use gfs_types::{Error, ErrorKind};

use super::cluster::{CHUNK, CHUNK_BYTES, CLUSTER, VERSION, bounds, pattern};
use crate::data_plane::{DataPlane, Identity, Parts, PeerLinks};
use crate::driver::stub::{self, Heard, Piece};
use crate::driver::{Clock, CopyWork, Peers};
use crate::metrics::Metrics;
use crate::store::{Payload, Store, StoreConfig};

const PATIENCE: Duration = Duration::from_secs(20);
const FILE: &str = "/data/chunks/00/00000000000000ab.chunk";

/// One server, its cores left out.
struct Side {
    disk: SimFs,
    store: Arc<Store>,
    identity: Identity,
    address: String,
    links: PeerLinks,
    metrics: Arc<Metrics>,
    heard: Receiver<Heard>,
    _plane: DataPlane,
}

impl Side {
    fn start(number: u128) -> Self {
        let disk = SimFs::new(1);
        let config = StoreConfig {
            dir: "/data".into(),
            cluster: CLUSTER,
            chunk_size: ChunkSize::new(CHUNK_BYTES).unwrap(),
            server: format!("cs{number}"),
            boot: 1,
            reserve_bytes: 0,
            preallocate: false,
            open_threads: 1,
        };
        let store = Arc::new(Store::open(Arc::new(disk.clone()), config).unwrap().0);
        let session = ProcessSession(9);
        let identity = Identity { cluster: CLUSTER, me: ServerUid(number), session };
        let metrics = Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap());
        let (driver, heard) = stub::start(store.clone());
        let links =
            PeerLinks::new(identity, bounds(), driver.clone(), store.clone(), metrics.clone());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (bounds, clock) = (bounds(), Clock::start());
        let parts = Parts {
            identity,
            bounds,
            store: store.clone(),
            driver,
            clock,
            metrics: metrics.clone(),
        };
        let _plane = DataPlane::start(listener, parts).unwrap();
        Self { disk, store, identity, address, links, metrics, heard, _plane }
    }

    fn put(&self, seed: usize, offset: u64, length: usize) {
        if length > 0 {
            let data = Payload::compute(pattern(seed, length), offset);
            self.store.write(CHUNK, offset, &data).unwrap();
        }
    }

    /// Where in the file its bytes begin.
    fn data_at(&self) -> u64 {
        let length = self.store.checksums(CHUNK).unwrap().length;
        self.disk.metadata(FILE.as_ref()).unwrap().len - length
    }

    fn copy_from(&self, source: &Side, job: u64, check_all: bool) {
        self.links.copy(work(source, CHUNK, job, check_all));
    }

    fn piece(&self) -> Piece {
        match self.heard.recv_timeout(PATIENCE).unwrap() {
            Heard::Piece(piece) => piece,
            Heard::Copied(result) => panic!("a piece was expected: {result:?}"),
        }
    }

    /// Takes pieces until the end.
    fn copied(&self) -> Result<Copied, Error> {
        loop {
            match self.heard.recv_timeout(PATIENCE).unwrap() {
                Heard::Piece(piece) => piece.take(),
                Heard::Copied(result) => return result,
            }
        }
    }
}

fn work(source: &Side, handle: ChunkHandle, job: u64, check_all: bool) -> CopyWork {
    CopyWork {
        job: Job(job),
        from: Peer { chunkserver: source.identity.me, session: source.identity.session },
        source: source.address.clone(),
        target: Target { handle, version: VERSION, epoch: MasterEpoch(1), left_ms: 10_000 },
        check_all,
    }
}

/// A source with so many bytes, and another server with an empty replica.
fn two(length: usize) -> (Side, Side) {
    let sides = (Side::start(1), Side::start(2));
    sides.0.store.create(CHUNK, VERSION).unwrap();
    sides.1.store.create(CHUNK, VERSION).unwrap();
    sides.0.put(1, 0, length);
    sides
}

const LENGTH: usize = 3_000_000;

/// What it is called, what stands there before, `check_all`, and how many bytes must travel.
type Case = (&'static str, fn(&Side), bool, usize);

#[test]
fn a_replica_becomes_equal_and_only_what_differs_travels() {
    let block = usize::try_from(BLOCK_BYTES).unwrap();
    let equal: fn(&Side) = |own| own.put(1, 0, LENGTH);
    let cases: [Case; 7] = [
        ("equal", equal, false, 0),
        ("empty", |_| (), false, LENGTH),
        ("shorter", |own| own.put(1, 0, 1_000_000), false, LENGTH - 1_000_000 / block * block),
        (
            "longer",
            |own| {
                own.put(1, 0, LENGTH);
                own.put(2, LENGTH as u64, 200_000);
            },
            false,
            0,
        ),
        (
            "other blocks",
            |own| {
                own.put(1, 0, LENGTH);
                own.put(2, 70_000, 1);
                own.put(2, 2_999_999, 1);
            },
            false,
            block + LENGTH % block,
        ),
        (
            "a flipped bit",
            |own| {
                own.put(1, 0, LENGTH);
                let data_at = own.data_at();
                own.disk.flip(FILE.as_ref(), data_at + 70_000, 1).unwrap();
            },
            true,
            block,
        ),
        ("longer, with other bytes", |own| own.put(3, 0, LENGTH + 100_000), false, LENGTH),
    ];
    for (name, make, check_all, expected) in cases {
        let (source, own) = two(LENGTH);
        make(&own);
        own.copy_from(&source, 1, check_all);
        let copied = own.copied().unwrap();
        let sums = source.store.checksums(CHUNK).unwrap();
        assert_eq!((copied.length, copied.digest), (sums.length, sums.digest), "{name}");
        assert_eq!(copied.copied_bytes, expected as u64, "{name}");
        assert_eq!(own.store.equalised(CHUNK, copied.length).unwrap(), sums, "{name}");
        let all = 0..LENGTH as u64;
        let read = own.store.read_verified(CHUNK, all, LENGTH as u64).unwrap();
        assert!(read == pattern(1, LENGTH), "{name}");
    }
}

#[test]
fn the_next_piece_is_asked_for_when_the_last_one_was_taken() {
    let (source, own) = two(LENGTH);
    own.copy_from(&source, 1, false);
    let mut at = 0;
    while at < LENGTH as u64 {
        let piece = own.piece();
        assert_eq!(piece.offset, at);
        at += piece.data.length();
        assert!(own.heard.try_recv().is_err(), "one at a time");
        piece.take();
    }
    assert!(own.copied().is_ok());
}

#[test]
fn a_source_that_grows_meanwhile_is_left_to_the_next_pass() {
    let (source, own) = two(LENGTH);
    own.copy_from(&source, 1, false);
    let piece = own.piece();
    source.put(4, LENGTH as u64, 100_000);
    source.put(5, 10, 10);
    piece.take();
    assert_eq!(own.copied().unwrap().length, LENGTH as u64);
    own.copy_from(&source, 2, false);
    let copied = own.copied().unwrap();
    assert!(copied.copied_bytes <= 5 * BLOCK_BYTES, "{copied:?}");
    let sums = own.store.equalised(CHUNK, copied.length).unwrap();
    assert_eq!(sums, source.store.checksums(CHUNK).unwrap());
}

#[test]
fn a_bad_block_of_the_source_is_not_taken() {
    let (source, own) = two(LENGTH);
    let data_at = source.data_at();
    source.disk.flip(FILE.as_ref(), data_at + 2_000_000, 1).unwrap();
    own.copy_from(&source, 1, false);
    let error = own.copied().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unknown, "not this replica is corrupt");
    assert!(error.message.contains("does not match its checksum"), "{error}");
}

#[test]
fn a_source_that_is_gone_or_another_run_is_an_answer_and_not_a_wait() {
    let (source, own) = two(100);
    let mut other_run = work(&source, CHUNK, 1, false);
    other_run.from.session = ProcessSession(8);
    own.links.copy(other_run);
    assert_eq!(own.copied().unwrap_err().kind, ErrorKind::Stale);
    let mut nobody = work(&source, CHUNK, 2, false);
    nobody.source = "127.0.0.1:1".to_owned();
    own.links.copy(nobody);
    assert_eq!(own.copied().unwrap_err().kind, ErrorKind::Unknown);
    own.links.copy(work(&source, ChunkHandle(5), 3, false));
    assert_eq!(own.copied().unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn a_copy_that_nobody_wants_any_more_stops_before_its_next_request() {
    let (source, own) = two(LENGTH);
    own.copy_from(&source, 1, false);
    let piece = own.piece();
    own.links.stop_copy(CHUNK, Job(1));
    piece.take();
    assert_eq!(own.copied().unwrap_err().kind, ErrorKind::Stale);
}

#[test]
fn so_many_copies_run_at_once_and_one_more_waits() {
    let (source, own) = two(0);
    let count = COPIES_MAX as u64 + 1;
    for number in 0..=count {
        let handle = ChunkHandle(number);
        for side in [&source, &own] {
            side.store.create(handle, VERSION).unwrap();
        }
        source.store.write(handle, 0, &Payload::compute(pattern(1, 10), 0)).unwrap();
        own.links.copy(work(&source, handle, 1, false));
    }
    // One that waits can be taken back.
    own.links.stop_copy(ChunkHandle(count), Job(1));
    let pieces: Vec<_> = (0..COPIES_MAX).map(|_| own.piece()).collect();
    assert_eq!(own.metrics.copies().get(), i64::try_from(COPIES_MAX).unwrap());
    assert!(own.heard.try_recv().is_err());
    pieces.into_iter().for_each(Piece::take);
    for _ in 0..count {
        own.copied().unwrap();
    }
    assert!(own.store.checksums(ChunkHandle(count)).unwrap().table.is_empty());
}

/// A source that answers `Compare` and `Copy` as it is told.
fn liar(own: &Side, table: Vec<u8>, digest: u32, piece: (Vec<u8>, Vec<u32>)) -> Error {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let Ok(Some((_, Head::Hello(hello)))) = read_head(&mut stream) else { panic!("no hello") };
        let (me, session) = (hello.peer, ProcessSession(0));
        let mine = Hello { me, peer: ServerUid(0), session, peer_session: session, ..hello };
        assert_eq!(mine.protocol, PROTOCOL_VERSION);
        stream.write_all(&encode_hello_reply(&Ok(mine)).unwrap()).unwrap();
        while let Ok(Some((_, Head::Request(head)))) = read_head(&mut stream) {
            let (response, payload, sums) = match head.request {
                DataRequest::Compare => {
                    let length = 10;
                    let sums = blocks(0, &table);
                    (DataResponse::Checksums { length, digest }, table.clone(), sums)
                }
                _ => {
                    let (bytes, sums) = piece.clone();
                    let length = bytes.len() as u64;
                    let response = DataResponse::Bytes {
                        offset: 0,
                        length,
                        committed_length: 10,
                        own_checksum: false,
                    };
                    (response, bytes, sums)
                }
            };
            let length = u32::try_from(payload.len()).unwrap();
            let op = op_of(&head.request);
            let reply = DataReply { result: Ok(response) };
            stream.write_all(&encode_reply(head.id, op, &reply, length, &sums).unwrap()).unwrap();
            stream.write_all(&payload).unwrap();
        }
    });
    let mut lie = work(own, CHUNK, 1, false);
    (lie.source, lie.from.chunkserver) = (address, ServerUid(77));
    own.links.copy(lie);
    let error = own.copied().unwrap_err();
    thread.join().unwrap();
    error
}

#[test]
fn a_source_is_believed_only_when_everything_matches() {
    let own = Side::start(2);
    own.store.create(CHUNK, VERSION).unwrap();
    let bytes = b"0123456789".to_vec();
    let table = crc32c(&bytes).to_le_bytes().to_vec();
    let digest = crc32c(&[&10u64.to_le_bytes(), &table[..]].concat());
    let good = (bytes.clone(), blocks(0, &bytes));
    let lies = [
        (table.clone(), digest ^ 1, good.clone(), "digest"),
        (Vec::new(), digest, good.clone(), "digest"),
        (table.clone(), digest, (bytes.clone(), vec![1]), "checksum"),
        (table.clone(), digest, (bytes.repeat(2), blocks(0, &bytes.repeat(2))), "other bytes"),
    ];
    for (table, digest, piece, why) in lies {
        let error = liar(&own, table, digest, piece);
        assert_eq!(error.kind, ErrorKind::Unknown);
        assert!(error.message.contains(why), "{error}");
        assert_eq!(own.store.checksums(CHUNK).unwrap().length, 0, "nothing was taken");
    }
}
