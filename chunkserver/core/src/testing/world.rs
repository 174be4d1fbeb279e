//! Three replicas of one chunk, a master that raises and grants, a client, and a network that delays, reorders,
//! repeats and loses: from a seed. After every step everything that was acknowledged must be where it was said to be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gfs_types::DurationMs;
use gfs_types::fence::{ChunkVersion, MasterEpoch, SerialNumber};
use gfs_types::ids::{DataId, ProcessSession, ServerUid};
use gfs_types::message::control::{
    FromChunkserver, LeaseStart, Member, RaisedReplica, ReplicaState,
};
use gfs_types::message::data::{DataResponse, DataSource, Target};
use gfs_types::time::Instant;

use super::bench::{CHUNK, LEASE, settings, uid};
use crate::{
    Condition, Effect, Input, LocalWrite, MemberAnswer, Message, MessageBody, Mutation, Peer,
    Recovered, Replica, Said, Settings, StoreOp, Ticket, Token,
};

const SERVERS: u128 = 3;

/// A small generator: the same numbers for the same seed, for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }
}

/// What is on the disk (and in the page cache, which outlives the process).
#[derive(Default, Clone)]
struct Disk {
    version: ChunkVersion,
    clean: bool,
    /// For each byte the mutation that wrote it; 0 for zeros.
    bytes: Vec<u32>,
    committed_length: u64,
    overwritten: bool,
}

struct Server {
    replica: Replica,
    settings: Settings,
    disk: Disk,
    data: BTreeMap<SerialNumber, u32>,
    /// Bytes of requests that are neither kept nor answered.
    staged: BTreeMap<Token, u32>,
    jobs: VecDeque<(Ticket, StoreOp)>,
    /// What it owes: to the client, or to the primary that ordered.
    owed: BTreeMap<Token, Owed>,
    /// (version, serial) of everything applied, and what it was.
    history: BTreeMap<(ChunkVersion, SerialNumber), (u64, u64, u32)>,
}

enum Owed {
    Client(u32),
    Primary { to: Peer, version: ChunkVersion, said: Said },
}

enum Packet {
    Member { from: Peer, message: Message, data: Option<u32> },
    Answer { to: Peer, answer: MemberAnswer },
    Command { to: Member, input: Input },
}

#[derive(Default)]
struct Master {
    version: ChunkVersion,
    raised: BTreeMap<ServerUid, RaisedReplica>,
    births: BTreeSet<ServerUid>,
    primary: Option<ServerUid>,
}

struct World {
    random: Random,
    now: Instant,
    servers: BTreeMap<ServerUid, Server>,
    net: Vec<Packet>,
    master: Master,
    tokens: u64,
    mutations: u32,
    /// What the client was told: where each record stands.
    acknowledged: BTreeMap<u32, (u64, u64)>,
    asked: BTreeMap<u32, u64>,
    /// Where this client ever wrote over what may be there: no record is looked for at these places.
    overwritten: Vec<(u64, u64)>,
    leases: u32,
    crashed: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let server = |number| {
            let settings = settings(number);
            let replica = Replica::absent(CHUNK, settings);
            let server = Server {
                replica,
                settings,
                disk: Disk::default(),
                data: BTreeMap::new(),
                staged: BTreeMap::new(),
                jobs: VecDeque::new(),
                owed: BTreeMap::new(),
                history: BTreeMap::new(),
            };
            (uid(number), server)
        };
        let mut world = Self {
            random: Random(seed),
            now: Instant::from_ms(1_000),
            servers: (1..=SERVERS).map(server).collect(),
            net: Vec::new(),
            master: Master { version: ChunkVersion(1), ..Master::default() },
            tokens: 0,
            mutations: 0,
            acknowledged: BTreeMap::new(),
            asked: BTreeMap::new(),
            overwritten: Vec::new(),
            leases: 0,
            crashed: false,
        };
        let chunk_size = settings(1).chunk_size;
        for number in 1..=SERVERS {
            let (version, epoch) = (ChunkVersion(1), MasterEpoch(1));
            world.command(uid(number), Input::Create { version, epoch, chunk_size });
        }
        world
    }

    fn member(&self, uid: ServerUid) -> Member {
        let session = self.servers[&uid].settings.session;
        Member { chunkserver: uid, session, address: String::new() }
    }

    fn command(&mut self, uid: ServerUid, input: Input) {
        let to = self.member(uid);
        self.net.push(Packet::Command { to, input });
    }

    fn step(&mut self, uid: ServerUid, input: Input, data: Option<(Token, u32)>) {
        let server = self.servers.get_mut(&uid).unwrap();
        server.staged.extend(data);
        let mut out = Vec::new();
        server.replica.step(self.now, input, &mut out);
        let mut queue = VecDeque::from(out);
        while let Some(effect) = queue.pop_front() {
            let server = self.servers.get_mut(&uid).unwrap();
            match effect {
                Effect::Keep { token, serial } => {
                    let id = server.staged.remove(&token).expect("bytes came along");
                    server.data.insert(serial, id);
                }
                Effect::Drop { through: SerialNumber(u64::MAX) } => server.data.clear(),
                Effect::Drop { through } => {
                    server.data = server.data.split_off(&through.next());
                }
                Effect::Apply { version, serial, write } => {
                    server.apply(version, serial, write);
                    let mut out = Vec::new();
                    let (result, short_of_space) = (Ok(()), false);
                    let input = Input::Applied { version, serial, result, short_of_space };
                    server.replica.step(self.now, input, &mut out);
                    queue.extend(out);
                }
                Effect::Store { ticket, op } => server.jobs.push_back((ticket, op)),
                Effect::Send(message) => {
                    let MessageBody::Order { order, .. } = &message.body else {
                        self.send_member(uid, message, None);
                        continue;
                    };
                    let data = server.data.get(&order.serial).copied();
                    self.send_member(uid, message, data);
                }
                Effect::Reply { token, result } => self.reply(uid, token, result),
                Effect::ToMaster(message) => self.hear(uid, message),
                Effect::Publish(_)
                | Effect::Gone
                | Effect::Copy { .. }
                | Effect::StopCopy { .. }
                | Effect::Repair { .. }
                | Effect::ReadOut { .. } => {}
            }
        }
    }

    fn send_member(&mut self, from: ServerUid, message: Message, data: Option<u32>) {
        let session = self.servers[&from].settings.session;
        let from = Peer { chunkserver: from, session };
        self.net.push(Packet::Member { from, message, data });
    }

    fn reply(
        &mut self,
        uid: ServerUid,
        token: Token,
        result: Result<DataResponse, gfs_types::Error>,
    ) {
        match self.servers.get_mut(&uid).unwrap().owed.remove(&token) {
            Some(Owed::Client(id)) => {
                if let Ok(DataResponse::Appended { offset, .. }) = result {
                    let place = (offset, self.asked[&id]);
                    if !self.overwritten.iter().any(|other| touch(place, *other)) {
                        self.acknowledged.insert(id, place);
                    }
                }
            }
            Some(Owed::Primary { to, version, said }) => {
                let session = self.servers[&uid].settings.session;
                let member = Peer { chunkserver: uid, session };
                let answer = MemberAnswer { member, version, said, result };
                self.net.push(Packet::Answer { to, answer });
            }
            None => panic!("a request is answered once"),
        }
    }

    /// The master: births, then a lease; after its end a raise of all, and a lease if they are equal.
    fn hear(&mut self, uid: ServerUid, message: FromChunkserver) {
        let all = usize::try_from(SERVERS).unwrap();
        match message {
            FromChunkserver::ReplicaCreated { result, .. } => {
                assert_eq!(result, Ok(()));
                self.master.births.insert(uid);
                if self.master.births.len() == all {
                    self.grant();
                }
            }
            FromChunkserver::Raised { version, result: Ok(raised), .. }
                if version == self.master.version =>
            {
                self.master.raised.insert(uid, raised);
                let mut kinds =
                    self.master.raised.values().map(|raised| (raised.length, raised.digest));
                let first = kinds.next();
                let equal = kinds.all(|kind| Some(kind) == first);
                let clean =
                    self.master.raised.values().all(|raised| raised.state == ReplicaState::Clean);
                assert!(equal || !clean, "replicas that ended in order are equal");
                if equal && self.master.raised.len() == all {
                    self.grant();
                }
            }
            FromChunkserver::LeaseGivenUp { version, .. } if version == self.master.version => {
                self.master.primary = None;
                self.master.raised.clear();
                let from = self.master.version;
                self.master.version = from.next();
                let version = self.master.version;
                let epoch = MasterEpoch(1);
                for number in 1..=SERVERS {
                    self.command(super::bench::uid(number), Input::Raise { version, from, epoch });
                }
            }
            _ => {}
        }
    }

    fn grant(&mut self) {
        let primary = uid(1 + self.random.next() as u128 % SERVERS);
        let members = self.servers.keys().map(|uid| self.member(*uid)).collect();
        let (version, lease_ms) = (self.master.version, LEASE);
        self.master.primary = Some(primary);
        self.leases += 1;
        let (start, brief) = (LeaseStart::Equal, false);
        self.command(primary, Input::Grant { version, members, lease_ms, start, brief });
    }

    fn turn(&mut self) {
        match self.random.below(100) {
            0..=59 => self.deliver(),
            60..=74 => self.finish_job(),
            75..=82 => self.ask(),
            83..=97 => self.let_time_pass(),
            98 if self.random.percent(20) => self.revoke(),
            99 if self.random.percent(1) => self.crash(),
            _ => self.extend(),
        }
    }

    fn deliver(&mut self) {
        if self.net.is_empty() {
            return;
        }
        let index = self.random.below(self.net.len());
        let packet = self.net.swap_remove(index);
        let lossy = !matches!(packet, Packet::Command { .. });
        if lossy && self.random.percent(4) {
            return; // Lost.
        }
        match packet {
            Packet::Command { to, input } => {
                if self.member(to.chunkserver) == to {
                    self.step(to.chunkserver, input, None);
                }
            }
            Packet::Answer { to, answer } => {
                if self.random.percent(4) {
                    self.net.push(Packet::Answer { to, answer: answer.clone() });
                }
                if self.servers[&to.chunkserver].settings.session == to.session {
                    self.step(to.chunkserver, Input::MemberAnswered(answer), None);
                }
            }
            Packet::Member { from, message, data } => {
                if self.random.percent(4) {
                    self.net.push(Packet::Member { from, message: message.clone(), data });
                }
                if self.member(message.to.chunkserver) == message.to {
                    self.member_hears(from, message, data);
                }
            }
        }
    }

    fn member_hears(&mut self, from: Peer, message: Message, data: Option<u32>) {
        self.tokens += 1;
        let token = Token(self.tokens);
        let (to, target) = (message.to.chunkserver, message.target);
        let version = target.version;
        let (input, owed, data) = match message.body {
            MessageBody::Order { order, with_data } => {
                // Pushed data may have aged out; what comes along is there.
                let has_data = data.is_some() && (with_data || self.random.percent(80));
                let owed = Owed::Primary { to: from, version, said: Said::Order(order.serial) };
                let data = data.filter(|_| has_data).map(|id| (token, id));
                (Input::Order { token, target, from, order, has_data }, owed, data)
            }
            MessageBody::Equalise { .. } => return,
            MessageBody::Committed { serial, length } => {
                let owed = Owed::Primary { to: from, version, said: Said::Committed(serial) };
                (Input::Committed { token, target, from, serial, length }, owed, None)
            }
        };
        self.servers.get_mut(&to).unwrap().owed.insert(token, owed);
        self.step(to, input, data);
    }

    fn finish_job(&mut self) {
        let uid = uid(1 + self.random.next() as u128 % SERVERS);
        let server = self.servers.get_mut(&uid).unwrap();
        let Some((ticket, op)) = server.jobs.pop_front() else { return };
        let digest = server.carry_out(op);
        self.step(uid, Input::StoreDone { ticket, result: Ok(digest) }, None);
    }

    fn ask(&mut self) {
        let Some(primary) = self.master.primary else { return };
        self.tokens += 1;
        self.mutations += 1;
        let (token, id) = (Token(self.tokens), self.mutations);
        let length = 1 + self.random.next() % 300;
        let source = match self.random.percent(50) {
            true => DataSource::Inline,
            false => DataSource::Pushed(DataId { client: 1, seq: u64::from(id) }),
        };
        let end = self.servers[&primary].disk.bytes.len() as u64;
        let mutation = match self.random.below(40) {
            0 => Mutation::Sync,
            1 => Mutation::Write { offset: self.random.next() % (end + 500), length, source },
            _ => Mutation::Append { length, source },
        };
        self.asked.insert(id, length);
        self.servers.get_mut(&primary).unwrap().owed.insert(token, Owed::Client(id));
        let (version, epoch) = (self.master.version, MasterEpoch(1));
        let target = Target { handle: CHUNK, version, epoch, left_ms: 3_000 };
        if let Mutation::Write { offset, length, .. } = mutation {
            self.acknowledged.retain(|_, place| !touch(*place, (offset, length)));
            self.overwritten.push((offset, length));
        }
        self.step(primary, Input::Mutate { token, target, mutation }, Some((token, id)));
    }

    fn let_time_pass(&mut self) {
        // Now and then long enough for a lease to be idle.
        let longest = if self.random.percent(2) { 6_000 } else { 30 };
        self.now = self.now + DurationMs(1 + self.random.next() % longest);
        let due = |server: &Server| server.replica.wakeup().is_some_and(|at| at <= self.now);
        let due: Vec<_> =
            self.servers.iter().filter(|(_, server)| due(server)).map(|(uid, _)| *uid).collect();
        for uid in due {
            self.step(uid, Input::Tick, None);
        }
    }

    fn revoke(&mut self) {
        if let Some(primary) = self.master.primary {
            self.command(primary, Input::Revoke { version: self.master.version });
        }
    }

    fn extend(&mut self) {
        let (version, until) = (self.master.version, self.now + LEASE);
        if let Some(primary) = self.master.primary {
            self.step(primary, Input::Extended { version, until }, None);
        }
    }

    /// The process dies and starts again; its page cache stays, what it promised in memory is gone.
    fn crash(&mut self) {
        self.crashed = true;
        let uid = uid(1 + self.random.next() as u128 % SERVERS);
        let server = self.servers.get_mut(&uid).unwrap();
        if server.disk.version == ChunkVersion(0) {
            return;
        }
        let session = ProcessSession(server.settings.session.0 + 1);
        server.settings.session = session;
        let disk = &server.disk;
        let found = Recovered {
            version: disk.version,
            length: disk.bytes.len() as u64,
            committed_length: disk.committed_length,
            overwritten: disk.overwritten,
            state: if disk.clean { ReplicaState::Clean } else { ReplicaState::Unclean },
        };
        server.replica = Replica::recovered(CHUNK, server.settings, found, &mut Vec::new());
        server.data.clear();
        server.staged.clear();
        server.jobs.clear();
        server.owed.clear();
        if self.master.primary == Some(uid) {
            self.master.primary = None;
        }
    }

    fn check(&self) {
        for (uid, server) in &self.servers {
            let view = server.replica.view();
            assert!(view.committed_length <= server.disk.bytes.len() as u64);
            if matches!(server.replica.condition(), Condition::Absent | Condition::Creating) {
                continue;
            }
            for (id, (offset, length)) in &self.acknowledged {
                let place =
                    usize::try_from(*offset).unwrap()..usize::try_from(offset + length).unwrap();
                let there = server.disk.bytes.get(place);
                assert!(
                    there.is_some_and(|bytes| bytes.iter().all(|byte| byte == id)),
                    "A1: record {id} at {offset} is not on {uid}"
                );
            }
            for (other, twin) in &self.servers {
                server.agrees_with(twin, &format!("{uid} and {other}"));
            }
        }
        let mut places: Vec<_> = self.acknowledged.values().collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "A3");
    }

    /// Nothing above the primary's knowledge of what is committed is shown by a secondary.
    fn check_committed(&self) {
        let Some(primary) = self.master.primary else { return };
        let primary = &self.servers[&primary].replica;
        if primary.lease().is_none() {
            return;
        }
        for server in self.servers.values() {
            let (mine, theirs) = (primary.view(), server.replica.view());
            if mine.version == theirs.version && theirs.readable {
                assert!(theirs.committed_length <= mine.committed_length, "mut-4");
            }
        }
    }
}

impl Server {
    fn apply(&mut self, version: ChunkVersion, serial: SerialNumber, write: LocalWrite) {
        assert!(!self.disk.clean, "clean is cleared before the first change of a lease");
        let (offset, length, id) = match write {
            LocalWrite::Bytes { offset, length, overwrite } => {
                assert_eq!(overwrite, offset < self.disk.bytes.len() as u64);
                self.disk.overwritten |= overwrite;
                (offset, length, self.data[&serial])
            }
            LocalWrite::Zeros { offset, length } => (offset, length, 0),
        };
        let (start, end) =
            (usize::try_from(offset).unwrap(), usize::try_from(offset + length).unwrap());
        if self.disk.bytes.len() < end {
            self.disk.bytes.resize(end, 0);
        }
        self.disk.bytes[start..end].fill(id);
        let before = self.history.insert((version, serial), (offset, length, id));
        assert_eq!(before, None, "a mutation is applied once");
    }

    fn carry_out(&mut self, op: StoreOp) -> u32 {
        match op {
            StoreOp::Create { version, .. } => self.disk.version = version,
            StoreOp::SetVersion { version } => {
                self.disk.version = version;
                self.disk.clean = false;
                let digest = self.disk.bytes.iter().fold(1u32, |digest, byte| {
                    digest.wrapping_mul(0x0100_0193).wrapping_add(*byte)
                });
                return digest;
            }
            StoreOp::Flush { committed_length, clean } => {
                assert!(committed_length <= self.disk.bytes.len() as u64);
                self.disk.committed_length = committed_length;
                self.disk.clean = clean;
            }
            StoreOp::MarkCorrupt | StoreOp::Delete { .. } | StoreOp::Equalised { .. } => {}
        }
        0
    }

    /// D4: the same serial of the same version is the same mutation; what both show is equal.
    fn agrees_with(&self, other: &Self, who: &str) {
        for (place, what) in &self.history {
            assert!(
                other.history.get(place).is_none_or(|theirs| theirs == what),
                "{who}: {place:?}"
            );
        }
        let (mine, theirs) = (self.replica.view(), other.replica.view());
        if !mine.readable || !theirs.readable {
            return;
        }
        let shown = usize::try_from(mine.committed_length.min(theirs.committed_length)).unwrap();
        let hidden = |at: usize| {
            mine.hidden.iter().chain(&theirs.hidden).any(|range| range.contains(&(at as u64)))
        };
        let differs =
            (0..shown).find(|at| self.disk.bytes[*at] != other.disk.bytes[*at] && !hidden(*at));
        assert_eq!(differs, None, "{who} show different bytes");
    }
}

fn touch(a: (u64, u64), b: (u64, u64)) -> bool {
    a.0 < b.0 + b.1 && b.0 < a.0 + a.1
}

fn run(seed: u64, turns: u32) -> World {
    let mut world = World::new(seed);
    for _ in 0..turns {
        world.turn();
        world.check_committed();
        if world.random.percent(3) {
            world.check();
        }
    }
    world.check();
    world
}

#[test]
fn whatever_the_network_does_what_was_acknowledged_is_on_every_member() {
    let (mut acknowledged, mut leases, mut calm) = (0, 0, 0);
    for seed in 0..120 {
        let world = run(seed, 3_000);
        acknowledged += world.acknowledged.len();
        if !world.crashed {
            calm += 1;
            leases += world.leases;
        }
    }
    println!("{acknowledged} records, {leases} leases in {calm} worlds without a crash");
    assert!(acknowledged > 120 * 50, "only {acknowledged} records were acknowledged");
    assert!(leases > 2 * calm, "only {leases} leases in {calm} worlds without a crash");
}

#[test]
fn a_seed_gives_the_same_world_twice() {
    let trace = |seed| {
        let world = run(seed, 1_000);
        let histories: Vec<_> =
            world.servers.values().map(|server| server.history.clone()).collect();
        (histories, world.acknowledged, world.now)
    };
    assert!((0..5).all(|seed| trace(seed) == trace(seed)));
}
