//! Cores alone: decisions without a disk, a network or a clock. `cargo bench -p gfs-tests --bench cores`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use gfs_chunkserver_core::{Effect as ReplicaEffect, Input as ReplicaInput};
use gfs_chunkserver_core::{Mutation as ChunkMutation, Replica, Settings, Token};
use gfs_master_core::{Connection, Effect, Input, Master};
use gfs_tests::master_state::{self, Names, WALL};
use gfs_types::DurationMs;
use gfs_types::fence::{ChunkVersion, MasterEpoch};
use gfs_types::ids::{ChunkHandle, ProcessSession, RequestId, RequestSeq, ServerUid, SessionId};
use gfs_types::message::client::{Attributes, Mutation, Query, Request, Response};
use gfs_types::message::control::{LeaseStart, Member};
use gfs_types::message::data::{DataSource, Target};
use gfs_types::region::{ChunkIndex, ChunkSize};
use gfs_types::time::Instant;

const FILES: u64 = 100_000;
const NOW: Instant = Instant::from_ms(1000);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    master(&mut criterion);
    replica(&mut criterion);
    criterion.final_summary();
}

/// A master with many files, and one client.
struct World {
    master: Master,
    session: SessionId,
    seq: u64,
    out: Vec<Effect>,
}

impl World {
    fn new() -> Self {
        let mut state = master_state::formatted().expect("a log begins so");
        master_state::fill(&mut state, FILES, Names::Counted).expect("the records fit");
        let master = master_state::serve(state, FILES);
        let mut world = Self { master, session: SessionId(0), seq: 0, out: Vec::new() };
        let Some(Response::Session(session)) = world.ask(Request::OpenSession) else {
            panic!("no session");
        };
        world.session = session;
        world
    }

    fn ask(&mut self, message: Request) -> Option<Response> {
        self.out.clear();
        let input = Input::Client { connection: Connection(1), request: 1, message };
        self.master.step(NOW, WALL, input, &mut self.out);
        self.out.iter().find_map(|effect| match effect {
            Effect::Reply { reply, .. } => reply.result.clone().ok(),
            _ => None,
        })
    }

    fn create(&mut self) -> Option<Response> {
        self.seq += 1;
        let path = format!("/directory-{:010}/new-{:016}", self.seq % 100, self.seq);
        let attributes = Attributes { modified: WALL, executable: false };
        self.ask(Request::Mutate {
            id: RequestId { session: self.session, seq: RequestSeq(self.seq) },
            answered_below: RequestSeq(self.seq),
            mutation: Mutation::Create { path, replication: 3, attributes },
        })
    }

    fn stat(&mut self, number: u64) -> Option<Response> {
        self.ask(Request::Query(Query::Stat { path: master_state::path(Names::Counted, number) }))
    }
}

fn master(criterion: &mut Criterion) {
    let mut world = World::new();
    let Some(Response::Entry(entry)) = world.stat(FILES / 2) else { panic!("no such file") };
    criterion.bench_function("master core/create", |b| {
        b.iter(|| assert!(world.create().is_some()));
    });
    let mut number = 0;
    criterion.bench_function("master core/stat", |b| {
        b.iter(|| {
            // A step that visits all places in no order.
            number = (number + 61_803) % FILES;
            assert!(world.stat(number).is_some());
        });
    });
    let query = Query::Locate { file: entry.id, first: ChunkIndex(0), count: 1 };
    criterion.bench_function("master core/locate", |b| {
        b.iter(|| assert!(world.ask(Request::Query(black_box(query.clone()))).is_some()));
    });
}

const CHUNK: ChunkHandle = ChunkHandle(7);
const VERSION: ChunkVersion = ChunkVersion(1);
const LEASE: DurationMs = DurationMs(10_000);

/// A primary without secondaries: what one append costs in decisions.
fn replica(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chunkserver core");
    group.throughput(Throughput::Elements(APPENDS));
    group.bench_function("append", |b| {
        b.iter_batched_ref(
            || (primary(), 0),
            |(replica, token)| {
                for _ in 0..APPENDS {
                    *token += 1;
                    append(replica, Token(*token));
                }
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// In one go, so that making the primary does not count.
const APPENDS: u64 = 1000;

fn primary() -> Replica {
    let chunk_size = ChunkSize::default();
    let settings = Settings {
        chunkserver: ServerUid(1),
        session: ProcessSession(1),
        chunk_size,
        pace: Default::default(),
    };
    let mut replica = Replica::absent(CHUNK, settings);
    let (version, epoch) = (VERSION, MasterEpoch(1));
    let out = step(&mut replica, ReplicaInput::Create { version, epoch, chunk_size });
    for effect in out {
        if let ReplicaEffect::Store { ticket, .. } = effect {
            step(&mut replica, ReplicaInput::StoreDone { ticket, result: Ok(0) });
        }
    }
    let member = Member {
        chunkserver: ServerUid(1),
        session: ProcessSession(1),
        address: "server-1:7500".to_owned(),
    };
    let (members, start) = (vec![member], LeaseStart::Equal);
    let (brief, alone) = (false, false);
    step(
        &mut replica,
        ReplicaInput::Grant { version, members, lease_ms: LEASE, start, brief, alone },
    );
    assert!(replica.lease().is_some(), "it leads");
    replica
}

fn append(replica: &mut Replica, token: Token) {
    let target = Target { handle: CHUNK, version: VERSION, epoch: MasterEpoch(1), left_ms: 1000 };
    let mutation = ChunkMutation::Append { length: 1024, source: DataSource::Inline };
    for effect in step(replica, ReplicaInput::Mutate { token, target, mutation }) {
        if let ReplicaEffect::Apply { version, serial, .. } = effect {
            let (result, short_of_space) = (Ok(()), false);
            let applied = ReplicaInput::Applied { version, serial, result, short_of_space };
            black_box(step(replica, applied));
        }
    }
}

fn step(replica: &mut Replica, input: ReplicaInput) -> Vec<ReplicaEffect> {
    let mut out = Vec::new();
    replica.step(NOW, input, &mut out);
    out
}
