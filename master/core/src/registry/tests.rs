//! The registry beside the plain one: a list of replicas for each chunk, a set of chunks for each server.

use gfs_types::ids::ClusterUid;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    /// Server and whether it is another run of it.
    Register(usize, bool),
    Report(usize, ReplicaReport),
    /// A report of all: those chunks whose bit is set.
    TellAll(usize, u8),
    Forget(usize, u64),
}

/// What the registry should say.
#[derive(Debug, Default)]
struct Naive {
    replicas: BTreeMap<ChunkHandle, Vec<(usize, ReplicaReport)>>,
    unnamed: BTreeMap<usize, BTreeSet<ChunkHandle>>,
    lost: BTreeSet<ChunkHandle>,
}

impl Naive {
    fn held_by(&self, server: usize) -> BTreeSet<ChunkHandle> {
        let its = self.replicas.iter();
        let its = its.filter(|(_, all)| all.iter().any(|(one, _)| *one == server));
        its.map(|(handle, _)| *handle).collect()
    }

    fn register(&mut self, server: usize) {
        let held = self.held_by(server);
        self.replicas.values_mut().for_each(|all| all.retain(|(one, _)| *one != server));
        self.unnamed.entry(server).or_default().extend(held);
    }

    fn report(&mut self, server: usize, report: ReplicaReport) {
        let all = self.replicas.entry(report.handle).or_default();
        match all.iter_mut().find(|(one, _)| *one == server) {
            Some((_, known)) if known.version > report.version => {}
            Some((_, known)) => *known = report,
            None => all.push((server, report)),
        }
        self.unnamed.entry(server).or_default().remove(&report.handle);
    }

    fn told_all(&mut self, server: usize) {
        self.lost.extend(self.unnamed.remove(&server).unwrap_or_default());
    }

    fn forget(&mut self, server: usize, handle: ChunkHandle) {
        self.replicas.entry(handle).or_default().retain(|(one, _)| *one != server);
        self.unnamed.entry(server).or_default().remove(&handle);
    }
}

const SERVERS: usize = 5;
const CHUNKS: u64 = 8;

fn report() -> impl Strategy<Value = ReplicaReport> {
    let version = prop_oneof![9 => 1..3_u64, 1 => Just(1_u64 << 40)];
    let state = prop_oneof![6 => Just(0_usize), 1 => 0..4_usize];
    (0..CHUNKS, version, 7..9_u64, state).prop_map(|(handle, version, length, state)| {
        let (handle, version) = (ChunkHandle(handle), ChunkVersion(version));
        ReplicaReport { handle, version, length, state: ReplicaState::ALL[state] }
    })
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        1 => (0..SERVERS, any::<bool>()).prop_map(|(server, new)| Op::Register(server, new)),
        6 => (0..SERVERS, report()).prop_map(|(server, report)| Op::Report(server, report)),
        2 => (0..SERVERS, any::<u8>()).prop_map(|(server, all)| Op::TellAll(server, all)),
        1 => (0..SERVERS, 0..CHUNKS).prop_map(|(server, handle)| Op::Forget(server, handle)),
    ];
    prop::collection::vec(op, 0..200)
}

fn registration(server: usize, session: u64) -> Registration {
    Registration {
        cluster: Some(ClusterUid(1)),
        chunkserver: ServerUid(server as u128),
        session: ProcessSession(session),
        address: String::new(),
        http_address: String::new(),
        topology: Topology::default(),
        space: Space::default(),
        epoch: gfs_types::fence::MasterEpoch(1),
        leases: Vec::new(),
    }
}

struct Both {
    registry: Registry,
    naive: Naive,
    sessions: [u64; SERVERS],
    links: u64,
}

impl Both {
    fn new() -> Self {
        let mut both = Self {
            registry: Registry::default(),
            naive: Naive::default(),
            sessions: [1; SERVERS],
            links: 0,
        };
        (0..SERVERS).for_each(|server| both.register(server));
        both
    }

    fn register(&mut self, server: usize) {
        self.links += 1;
        let who = registration(server, self.sessions[server]);
        self.registry.register(Instant::default(), Link(self.links), &who).unwrap();
        self.naive.register(server);
    }

    fn index(&self, server: usize) -> ServerIndex {
        self.registry.by_uid(ServerUid(server as u128)).unwrap()
    }

    fn take(&mut self, op: Op) {
        match op {
            Op::Register(server, new) => {
                self.sessions[server] += u64::from(new);
                self.register(server);
            }
            Op::Report(server, report) => {
                self.registry.report(self.index(server), &report);
                self.naive.report(server, report);
            }
            Op::TellAll(server, all) => {
                let named = (0..CHUNKS).filter(|handle| all >> handle & 1 == 1);
                for handle in named.map(ChunkHandle) {
                    let (version, state) = (ChunkVersion(1), ReplicaState::Clean);
                    let report = ReplicaReport { handle, version, length: 7, state };
                    self.registry.report(self.index(server), &report);
                    self.naive.report(server, report);
                }
                self.registry.told_all(self.index(server));
                self.naive.told_all(server);
                self.search();
            }
            Op::Forget(server, handle) => {
                self.registry.forget(self.index(server), ChunkHandle(handle));
                self.naive.forget(server, ChunkHandle(handle));
            }
        }
    }

    /// All of it: there are few.
    fn search(&mut self) {
        self.registry.search_lost();
        assert!(self.registry.search_lost().is_empty(), "once is enough for so few");
    }

    fn check(&self) {
        assert!(self.registry.is_consistent());
        for handle in (0..CHUNKS).map(ChunkHandle) {
            let replicas = self.registry.replicas(handle);
            let mut found: Vec<_> = replicas
                .map(|Replica { server, version, length, state }| {
                    (server, ReplicaReport { handle, version, length, state })
                })
                .collect();
            let naive = self.naive.replicas.get(&handle).into_iter().flatten();
            let mut naive: Vec<_> =
                naive.map(|(server, report)| (self.index(*server), *report)).collect();
            found.sort_by_key(|(server, _)| *server);
            naive.sort_by_key(|(server, _)| *server);
            assert_eq!(found, naive, "chunk {handle}");
            assert_eq!(self.registry.lacks_a_lost(handle), self.naive.lost.contains(&handle));
        }
        for server in 0..SERVERS {
            let held = self.naive.held_by(server).len() as u64;
            assert_eq!(self.registry.replicas_on(self.index(server)), held);
        }
    }
}

proptest! {
    #[test]
    fn it_says_what_a_plain_one_says(ops in ops()) {
        let mut both = Both::new();
        for op in ops {
            both.take(op);
            both.check();
        }
    }
}

/// A server that comes and goes for ever, and names something each time, uses no more numbers than it has replicas.
#[test]
fn numbers_of_runs_are_used_again() {
    let mut both = Both::new();
    for round in 0..1_000 {
        both.take(Op::Register(0, round % 2 == 0));
        let handle = ChunkHandle(round % CHUNKS);
        let (version, state) = (ChunkVersion(1), ReplicaState::Clean);
        both.take(Op::Report(0, ReplicaReport { handle, version, length: 7, state }));
    }
    both.check();
    let most = SERVERS + usize::try_from(CHUNKS).unwrap() + 1;
    assert!(both.registry.runs.len() <= most, "{}", both.registry.runs.len());
}

#[test]
fn what_is_lost_among_many_is_found_in_pieces() {
    // Chunks at rest at first, then some of each kind, and none at rest at the end: each takes its place in a step.
    let piece = SEARCHED_MAX as u64;
    let many = 4 * piece;
    let mut both = Both::new();
    let index = both.index(0);
    let report = |handle| ReplicaReport {
        handle: ChunkHandle(handle),
        version: ChunkVersion(1),
        length: 7,
        state: match handle >= 2 * piece || handle >= piece && handle % 2 == 0 {
            true => ReplicaState::Suspect,
            false => ReplicaState::Clean,
        },
    };
    (0..many).for_each(|handle| both.registry.report(index, &report(handle)));
    both.register(0);
    assert_eq!(both.registry.replicas(ChunkHandle(1)).count(), 0, "until it is named again");
    let lost = [0, piece, piece + 1, 2 * piece, 3 * piece, many - 1];
    let held = (0..many).filter(|handle| !lost.contains(handle));
    held.for_each(|handle| both.registry.report(index, &report(handle)));
    assert!(both.registry.search_lost().is_empty(), "before it told all nothing is lost");
    both.registry.told_all(index);
    let found: Vec<_> = (0..4).map(|_| both.registry.search_lost()).collect();
    let in_step = |step: u64| lost.into_iter().filter(move |handle| handle / piece == step);
    let expected: Vec<Vec<_>> =
        (0..4).map(|step| in_step(step).map(ChunkHandle).collect()).collect();
    assert_eq!(found, expected);
    assert!(lost.iter().all(|handle| both.registry.lacks_a_lost(ChunkHandle(*handle))));
    assert!(both.registry.is_consistent());
}
