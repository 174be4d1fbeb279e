//! Servers without a master, and a client that speaks frames.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use gfs_chunkserver_core::report::Holdings;
use gfs_chunkserver_core::{Input, Settings};
use gfs_durable::fs::real::RealFs;
use gfs_protocol::checksum::blocks;
use gfs_protocol::frame::blocking::read_head;
use gfs_protocol::frame::{Head, encode_hello, encode_request, offset_of};
use gfs_types::fence::{ChunkVersion, MasterEpoch};
use gfs_types::ids::{ChunkHandle, ClusterUid, DataId, ProcessSession, ServerUid};
use gfs_types::message::control::{FromChunkserver, LeaseStart, Member};
use gfs_types::message::data::{DataRequest, DataResponse, Hello, Hop, PROTOCOL_VERSION, Target};
use gfs_types::region::ChunkSize;
use gfs_types::{DurationMs, Error};

use crate::data_plane::{Bounds, DataPlane, Identity, Parts, PeerLinks};
use crate::driver::{Clock, Driver, channels};
use crate::metrics::Metrics;
use crate::store::{Store, StoreConfig};

pub(super) const CLUSTER: ClusterUid = ClusterUid(0xc1);
pub(super) const CHUNK: ChunkHandle = ChunkHandle(0xab);
pub(super) const VERSION: ChunkVersion = ChunkVersion(1);
pub(super) const CHUNK_BYTES: u64 = 16 << 20;

pub(super) struct Server {
    pub dir: tempfile::TempDir,
    pub identity: Identity,
    pub address: String,
    pub driver: Driver,
    plane: DataPlane,
    told: Receiver<FromChunkserver>,
}

/// Bounds that let no test wait long.
pub(super) fn bounds() -> Bounds {
    Bounds { stall: Duration::from_secs(5), ..Bounds::default() }
}

impl Server {
    pub(super) fn start(number: u128, bounds: Bounds) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity =
            Identity { cluster: CLUSTER, me: ServerUid(number), session: ProcessSession(9) };
        let chunk_size = ChunkSize::new(CHUNK_BYTES).unwrap();
        let config = StoreConfig {
            dir: dir.path().to_owned(),
            cluster: CLUSTER,
            chunk_size,
            server: format!("cs{number}"),
            boot: 1,
            reserve_bytes: 0,
            preallocate: false,
            open_threads: 1,
        };
        let (store, found) = Store::open(Arc::new(RealFs), config).unwrap();
        let store = Arc::new(store);
        let (handle, inboxes) = channels(2);
        let metrics = Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap());
        let (tell, told) = channel();
        let clock = Clock::start();
        let settings = Settings {
            chunkserver: identity.me,
            session: identity.session,
            chunk_size,
            pace: Default::default(),
        };
        let parts = crate::driver::Parts {
            settings,
            store: store.clone(),
            found,
            peers: Arc::new(PeerLinks::new(
                identity,
                bounds,
                handle.clone(),
                store.clone(),
                metrics.clone(),
            )),
            outbox: Box::new(move |message| drop(tell.send(message))),
            holdings: Arc::new(Mutex::new(Holdings::default())),
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        let driver = Driver::start(handle.clone(), inboxes, parts).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let parts = Parts { identity, bounds, store, driver: handle, clock, metrics };
        let plane = DataPlane::start(listener, parts).unwrap();
        Self { dir, identity, address, driver, plane, told }
    }

    /// Makes an empty replica, as the master would.
    pub(super) fn create(&self) {
        let chunk_size = ChunkSize::new(CHUNK_BYTES).unwrap();
        let input = Input::Create { version: VERSION, epoch: MasterEpoch(1), chunk_size };
        self.driver.handle().command(CHUNK, input);
        loop {
            let message = self.told.recv_timeout(Duration::from_secs(10)).unwrap();
            if let FromChunkserver::ReplicaCreated { result, .. } = message {
                return result.unwrap();
            }
        }
    }

    pub(super) fn grant(&self, members: &[&Server]) {
        self.grant_to(members.iter().map(|server| server.member()).collect());
    }

    pub(super) fn grant_to(&self, members: Vec<Member>) {
        let (start, brief, alone) = (LeaseStart::Equal, false, false);
        let lease_ms = DurationMs(600_000);
        let input = Input::Grant { version: VERSION, members, lease_ms, start, brief, alone };
        self.driver.handle().command(CHUNK, input);
    }

    pub(super) fn member(&self) -> Member {
        Member {
            chunkserver: self.identity.me,
            session: self.identity.session,
            address: self.address.clone(),
        }
    }

    pub(super) fn hop(&self) -> Hop {
        Hop { chunkserver: self.identity.me, address: self.address.clone() }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.dir.path().join("chunks/00").join(format!("{CHUNK}.chunk"))
    }

    pub(super) fn stop(self) {
        self.plane.stop();
        self.driver.stop();
    }
}

/// Servers that hold the chunk, the first of them its primary.
pub(super) fn cluster(count: u128) -> Vec<Server> {
    let servers: Vec<_> = (1..=count).map(|number| Server::start(number, bounds())).collect();
    servers.iter().for_each(Server::create);
    servers[0].grant(&servers.iter().collect::<Vec<_>>());
    servers
}

pub(super) fn hello(server: &Server) -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        cluster: CLUSTER,
        me: ServerUid(0xc11e),
        peer: server.identity.me,
        session: ProcessSession(1),
        peer_session: ProcessSession(0),
    }
}

pub(super) struct Client {
    pub stream: TcpStream,
    next: u64,
}

/// A reply with its payload and checksums.
#[derive(Debug)]
pub(super) struct Got {
    pub id: u64,
    pub result: Result<DataResponse, Error>,
    pub payload: Vec<u8>,
    pub checksums: Vec<u32>,
}

impl Client {
    pub(super) fn dial(server: &Server, hello: &Hello) -> (Self, Result<Hello, Error>) {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&encode_hello(hello).unwrap()).unwrap();
        let answer = Self::hello_reply(&mut stream);
        (Self { stream, next: 0 }, answer)
    }

    pub(super) fn hello_reply(stream: &mut TcpStream) -> Result<Hello, Error> {
        match read_head(stream).unwrap() {
            Some((_, Head::HelloReply(answer))) => answer,
            other => panic!("{other:?} is no answer to a hello"),
        }
    }

    pub(super) fn connect(server: &Server) -> Self {
        let (client, answer) = Self::dial(server, &hello(server));
        assert_eq!(answer.unwrap().me, server.identity.me);
        client
    }

    pub(super) fn frame(&mut self, request: &DataRequest, payload: &[u8]) -> Vec<u8> {
        self.next += 1;
        let target =
            Target { handle: CHUNK, version: VERSION, epoch: MasterEpoch(1), left_ms: 10_000 };
        let sums = blocks(offset_of(request), payload);
        let length = u32::try_from(payload.len()).unwrap();
        let mut frame = encode_request(self.next, &target, request, length, &sums).unwrap();
        frame.extend_from_slice(payload);
        frame
    }

    pub(super) fn send(&mut self, request: &DataRequest, payload: &[u8]) -> u64 {
        let frame = self.frame(request, payload);
        self.stream.write_all(&frame).unwrap();
        self.next
    }

    pub(super) fn receive(&mut self) -> Got {
        let Some((_, Head::Reply(head))) = read_head(&mut self.stream).unwrap() else {
            panic!("no reply");
        };
        let mut payload = vec![0; usize::try_from(head.payload_bytes).unwrap()];
        self.stream.read_exact(&mut payload).unwrap();
        Got { id: head.id, result: head.reply.result, payload, checksums: head.checksums }
    }

    pub(super) fn ask(&mut self, request: &DataRequest, payload: &[u8]) -> Got {
        let id = self.send(request, payload);
        let got = self.receive();
        assert_eq!(got.id, id);
        got
    }

    pub(super) fn read(&mut self, offset: u64, length: u64) -> Got {
        self.ask(&DataRequest::Read { offset, length, seen_length: 0 }, &[])
    }

    /// Reads until something is committed here: secondaries learn it a little later.
    pub(super) fn read_committed(&mut self, length: u64) -> Vec<u8> {
        let mut all = Vec::new();
        while (all.len() as u64) < length {
            let offset = all.len() as u64;
            let got = self.read(offset, (length - offset).min(1 << 20));
            let Ok(DataResponse::Bytes { offset: begins, .. }) = got.result else {
                panic!("{:?}", got.result)
            };
            let from = usize::try_from(offset - begins).unwrap().min(got.payload.len());
            let to = got.payload.len().min(from + usize::try_from(length - offset).unwrap());
            all.extend_from_slice(&got.payload[from..to]);
        }
        all
    }
}

pub(super) fn data(seq: u64) -> DataId {
    DataId { client: 77, seq }
}

pub(super) fn pattern(seed: usize, length: usize) -> Bytes {
    (0..length).map(|at| (at.wrapping_mul(131) ^ (at >> 9) ^ seed).to_le_bytes()[0]).collect()
}
