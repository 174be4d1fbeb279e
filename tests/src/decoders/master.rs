//! What the master reads back at its start: records of the operation log, one by one and as a log, and checkpoints.

use crc_fast::CrcAlgorithm::Crc64Nvme;
use gfs_master_core::image::{self, Loader};
use gfs_master_core::{
    Connection, Durable, Effect, Input, Link, Master, Record, Settings, invariants,
};
use gfs_types::fence::{ChunkVersion, LogPosition, MasterEpoch};
use gfs_types::ids::{
    ChunkHandle, ClusterUid, FileId, ProcessSession, RequestId, RequestSeq, ServerUid, SessionId,
};
use gfs_types::limits::CHUNK_BYTES_MIN;
use gfs_types::message::client::{Attributes, LeaseTarget, Mutation, Request, Response};
use gfs_types::message::control::{Command, FromChunkserver, Registration, Space};
use gfs_types::region::{ChunkIndex, ChunkSize};
use gfs_types::time::{Instant, WallTime};

use super::seal::{joined, pieces};
use super::{Decoder, MANY, MemoryBound, SMALL, Verdict};

pub(super) const LOG_RECORD: Decoder = Decoder {
    name: "log-record",
    run: log_record,
    samples: || log().into_iter().map(|(_, record)| record).collect(),
    memory: SMALL,
    mutations: MANY,
};
/// Several records, each with two bytes of length first, applied one after the other.
pub(super) const REPLAY: Decoder = Decoder {
    name: "replay",
    run: replay,
    samples: || vec![joined(log().into_iter().map(|(_, record)| record))],
    memory: STATE,
    mutations: 300,
};
/// The sections of a checkpoint, each with two bytes of length first.
pub(super) const CHECKPOINT: Decoder = Decoder {
    name: "checkpoint",
    run: checkpoint,
    samples: checkpoint_samples,
    memory: STATE,
    mutations: 300,
};

/// A place in the table of nodes takes two bytes in a checkpoint and a whole node in memory, and there are two states.
const STATE: MemoryBound = MemoryBound { fixed_bytes: 1 << 20, per_byte: 512 };
const EPOCH: MasterEpoch = MasterEpoch(1);

/// Every record has one form.
fn log_record(bytes: &[u8]) -> Verdict {
    let Ok(record) = Record::decode(bytes) else { return Verdict::Refused };
    assert_eq!(record.encode(), bytes, "{record:?} has another form");
    Verdict::Accepted
}

/// Whatever records can be applied leave a state that keeps its invariants and goes through a checkpoint.
fn replay(bytes: &[u8]) -> Verdict {
    let records = pieces(bytes);
    let apply = |count: usize| {
        let mut durable = Durable::blank();
        let positions = (1..).map(LogPosition);
        let applied = positions
            .zip(&records[..count])
            .take_while(|(position, record)| durable.replay(*position, EPOCH, record).is_ok())
            .count();
        (durable, applied)
    };
    let (_, good) = apply(records.len());
    // A state that a record was refused for may be changed in part, and is thrown away.
    let (durable, _) = apply(good);
    check(&durable);
    Verdict::of(good == records.len())
}

fn check(durable: &Durable) {
    invariants::check_durable(durable).expect("a state that was accepted keeps its invariants");
    let sections: Vec<_> = image::sections(durable).collect();
    let again = load(sections.iter().map(Vec::as_slice)).expect("it was just written");
    assert_eq!(again.digest(), durable.digest(), "a checkpoint holds the state as it is");
}

fn load<'a>(sections: impl Iterator<Item = &'a [u8]>) -> Option<Durable> {
    let mut loader = Loader::new();
    for section in sections {
        loader.section(section).ok()?;
    }
    loader.finish().ok()
}

fn checkpoint(bytes: &[u8]) -> Verdict {
    let raw = pieces(bytes);
    let mut sealed: Vec<_> = raw.iter().map(|section| section.to_vec()).collect();
    seal(&mut sealed);
    one_checkpoint(load(raw.into_iter())).or(one_checkpoint(load(sealed.iter().map(Vec::as_slice))))
}

fn one_checkpoint(loaded: Option<Durable>) -> Verdict {
    loaded.iter().for_each(check);
    Verdict::of(loaded.is_some())
}

/// The checksum over the whole, in the last section.
fn seal(sections: &mut [Vec<u8>]) {
    const END: u8 = 3;
    if let Some((last, before)) = sections.split_last_mut()
        && last.first() == Some(&END)
    {
        let sum = crc_fast::checksum(Crc64Nvme, &before.concat());
        last.truncate(1);
        last.extend_from_slice(&sum.to_le_bytes());
    }
}

fn checkpoint_samples() -> Vec<Vec<u8>> {
    let log = log();
    let mut durable = Durable::blank();
    let mut samples = vec![joined(image::sections(&durable))];
    for (number, (position, record)) in log.iter().enumerate() {
        durable.replay(*position, EPOCH, record).expect("a master wrote it");
        if number == 5 || number + 1 == log.len() {
            samples.push(joined(image::sections(&durable)));
        }
    }
    samples
}

/// A master and what it appended.
struct World {
    master: Master,
    log: Vec<(LogPosition, Vec<u8>)>,
    session: SessionId,
    seq: u64,
}

/// The log of a small cluster: files, directories, a chunk that was born and raised, things deleted and brought back.
fn log() -> Vec<(LogPosition, Vec<u8>)> {
    let settings = Settings { random: 77, ..Settings::default() };
    let master = Master::new(settings, Durable::blank());
    let mut world = World { master, log: Vec::new(), session: SessionId(0), seq: 0 };
    let chunk_size = ChunkSize::new(CHUNK_BYTES_MIN).expect("the smallest size is a size");
    world.step(Input::Format { cluster: ClusterUid(7), chunk_size });
    world.step(Input::Serve { epoch: EPOCH });
    if let Some(Response::Session(session)) = world.ask(Request::OpenSession) {
        world.session = session;
    }
    world.namespace();
    world.chunk();
    world.ask(Request::CloseSession(world.session));
    world.log
}

impl World {
    fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        let (now, wall) = (Instant::from_ms(1_000), WallTime { ms: 1_700_000_000_000 });
        self.master.step(now, wall, input, &mut out);
        for effect in &out {
            if let Effect::Append { position, record, .. } = effect {
                self.log.push((*position, record.clone()));
            }
        }
        out
    }

    fn ask(&mut self, message: Request) -> Option<Response> {
        let out = self.step(Input::Client { connection: Connection(1), request: 1, message });
        out.into_iter().find_map(|effect| match effect {
            Effect::Reply { reply, .. } => reply.result.ok(),
            _ => None,
        })
    }

    fn mutate(&mut self, mutation: Mutation) -> Option<Response> {
        self.seq += 1;
        let id = RequestId { session: self.session, seq: RequestSeq(self.seq) };
        let answered_below = RequestSeq(self.seq.saturating_sub(3).max(1));
        self.ask(Request::Mutate { id, answered_below, mutation })
    }

    fn create(&mut self, path: &str) -> FileId {
        let (path, attributes) = (path.to_owned(), Attributes::default());
        match self.mutate(Mutation::Create { path, replication: 3, attributes }) {
            Some(Response::Entry(entry)) => entry.id,
            other => panic!("a file is made: {other:?}"),
        }
    }

    fn namespace(&mut self) {
        let path = |text: &str| text.to_owned();
        self.mutate(Mutation::Mkdir { path: path("/dir/with space/ü"), parents: true });
        let file = self.create("/dir/a");
        self.create("/dir/b");
        self.create("/c");
        let attributes = Some(Attributes { modified: WallTime { ms: 9 }, executable: true });
        self.mutate(Mutation::SetLength { file, length: 1 << 20, attributes });
        self.mutate(Mutation::Rename { from: path("/dir/a"), to: path("/c"), replace: true });
        self.mutate(Mutation::Delete { path: path("/dir/b"), recursive: false, purge: false });
        self.mutate(Mutation::Undelete { path: path("/dir/b") });
        self.mutate(Mutation::Delete { path: path("/dir"), recursive: true, purge: true });
        self.step(Input::Tick);
    }

    /// A chunk is allocated and born on three chunkservers; then its lease is lost and it is raised.
    fn chunk(&mut self) {
        let links = [1_u64, 2, 3].map(Link);
        for link in links {
            let registration = registration(link.0);
            self.tell(link, FromChunkserver::Register(registration));
            self.tell(link, FromChunkserver::ReportPage { replicas: Vec::new(), last: true });
        }
        let file = self.create("/chunky");
        let lease = |not_version| {
            let target = LeaseTarget::Index(ChunkIndex(0));
            Request::Lease { file, target, not_version }
        };
        let connection = Connection(1);
        let message = lease(None);
        let out = self.step(Input::Client { connection, request: 2, message });
        let handle = out.iter().find_map(created).expect("a chunkserver is told of the chunk");
        let (version, result) = (ChunkVersion(1), Ok(()));
        for link in links {
            let result = Clone::clone(&result);
            self.tell(link, FromChunkserver::ReplicaCreated { handle, version, result });
        }
        self.step(Input::ChunkserverGone { link: links[2] });
        self.tell(links[0], FromChunkserver::LeaseGivenUp { handle, version, length: 10 });
        self.tell(links[1], FromChunkserver::LeaseGivenUp { handle, version, length: 10 });
        self.ask(lease(Some(version)));
    }

    fn tell(&mut self, link: Link, message: FromChunkserver) {
        self.step(Input::Chunkserver { link, message });
    }
}

fn created(effect: &Effect) -> Option<ChunkHandle> {
    match effect {
        Effect::Send { message, .. } => match message.command {
            Command::CreateReplica { handle, .. } => Some(handle),
            _ => None,
        },
        _ => None,
    }
}

fn registration(uid: u64) -> Registration {
    Registration {
        cluster: Some(ClusterUid(7)),
        chunkserver: ServerUid(uid.into()),
        session: ProcessSession(1),
        address: format!("cs{uid}:7500"),
        http_address: format!("cs{uid}:7501"),
        topology: format!("z{uid}/h/d").parse().expect("a sample is right"),
        space: Space { capacity_bytes: 1 << 40, free_bytes: 1 << 39 },
        epoch: EPOCH,
        leases: Vec::new(),
    }
}
