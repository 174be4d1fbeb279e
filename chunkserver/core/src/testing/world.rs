//! Three replicas of one chunk, a master that raises, grants and has learners taught, clients, and a network that delays,
//! reorders, repeats and loses; processes die, machines lose power, disks lie: all from a seed. After every step what was
//! acknowledged must be where it was said to be; and when all of that ends, the replicas become equal and clean.

mod checks;
mod copies;
mod master;
mod server;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gfs_types::fence::{MasterEpoch, SerialNumber};
use gfs_types::ids::{DataId, ServerUid};
use gfs_types::message::control::Member;
use gfs_types::message::data::{DataResponse, DataSource, Target};
use gfs_types::time::Instant;
use gfs_types::{DurationMs, Error};

use super::bench::{CHUNK, LEASE, settings, uid};
use crate::{
    Condition, Effect, Input, MemberAnswer, Message, MessageBody, Mutation, Peer, Said, Token,
};
use master::Master;
use server::{Owed, ROT, Server};

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

enum Packet {
    Member { from: Peer, message: Message, data: Option<u32> },
    Answer { to: Peer, answer: MemberAnswer },
    Command { to: Member, input: Input },
}

/// What happens in a world beside the network.
#[derive(Debug, Clone, Copy)]
struct Weather {
    /// In a thousand turns.
    deaths: u64,
    power_losses: u64,
    rot: u64,
    overwrites: bool,
}

struct World {
    random: Random,
    weather: Weather,
    now: Instant,
    servers: BTreeMap<ServerUid, Server>,
    net: Vec<Packet>,
    master: Master,
    healing: bool,
    /// What came of requests of copies.
    read_out: BTreeMap<Token, Vec<u32>>,
    copy_answers: BTreeMap<Token, Result<DataResponse, Error>>,
    tokens: u64,
    mutations: u32,
    /// What a client was told: where each record stands.
    acknowledged: BTreeMap<u32, (u64, u64)>,
    /// Which of those are on the disks, as a sync said.
    synced: BTreeSet<u32>,
    /// What was acknowledged when a sync was asked for.
    syncs: BTreeMap<u32, Vec<u32>>,
    asked: BTreeMap<u32, u64>,
    /// Where a client ever wrote over what may be there: no record is looked for at these places.
    overwritten: Vec<(u64, u64)>,
    /// Every byte that a reader ever could see.
    shown: Vec<u32>,
    leases: u32,
    starts: [u32; 3],
    lessons: u32,
    lost: u32,
    /// Writes that were carried out with one before them.
    joined: u64,
}

impl World {
    fn new(seed: u64, weather: Weather) -> Self {
        let mut world = Self {
            random: Random(seed),
            weather,
            now: Instant::from_ms(1_000),
            servers: (1..=SERVERS).map(|n| (uid(n), Server::absent(settings(n)))).collect(),
            net: Vec::new(),
            master: Master::default(),
            healing: false,
            read_out: BTreeMap::new(),
            copy_answers: BTreeMap::new(),
            tokens: 0,
            mutations: 0,
            acknowledged: BTreeMap::new(),
            synced: BTreeSet::new(),
            syncs: BTreeMap::new(),
            asked: BTreeMap::new(),
            overwritten: Vec::new(),
            shown: Vec::new(),
            leases: 0,
            starts: [0; 3],
            lessons: 0,
            lost: 0,
            joined: 0,
        };
        world.give_birth();
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

    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    fn step(&mut self, uid: ServerUid, input: Input, data: Option<(Token, u32)>) {
        if !input.is_of_mutations() {
            self.write_out(uid);
        }
        let server = self.servers.get_mut(&uid).unwrap();
        server.staged.extend(data);
        let mut out = Vec::new();
        server.replica.step(self.now, input, &mut out);
        self.look();
        self.carry_out(uid, out);
    }

    /// Carries out the write that a server was asked for, with what joined it, and those that follow.
    fn write_out(&mut self, uid: ServerUid) {
        loop {
            let server = self.servers.get_mut(&uid).unwrap();
            let Some(asked) = server.unwritten.take() else { return };
            let version = asked.0;
            // Now and then there is no space for a while.
            let full = self.random.percent(1) && !self.healing;
            let (serial, result) = match full {
                true => {
                    let joined = server.replica.join_writes(u64::MAX);
                    (joined.map_or(asked.1, |(last, _)| last), Err(Error::busy("full")))
                }
                false => (server.apply_joined(asked), Ok(())),
            };
            self.joined += serial.0 - asked.1.0;
            let input = Input::Applied { version, serial, result, short_of_space: full };
            let mut out = Vec::new();
            server.replica.step(self.now, input, &mut out);
            self.carry_out(uid, out);
        }
    }

    fn carry_out(&mut self, uid: ServerUid, out: Vec<Effect>) {
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
                    let before = server.unwritten.replace((version, serial, write));
                    assert!(before.is_none(), "one write at a time");
                }
                Effect::Store { ticket, op } => server.jobs.push_back((ticket, op)),
                Effect::Send(message) => {
                    let data = match &message.body {
                        MessageBody::Order { order, .. } => server.data.get(&order.serial).copied(),
                        MessageBody::Committed { .. } | MessageBody::Equalise { .. } => None,
                    };
                    let session = server.settings.session;
                    let from = Peer { chunkserver: uid, session };
                    self.net.push(Packet::Member { from, message, data });
                }
                Effect::Reply { token, result } => self.reply(uid, token, result),
                Effect::ToMaster(message) => self.hear(uid, message),
                Effect::Copy { job, from, target, check_all, .. } => {
                    assert!(check_all || !server.disk.corrupt, "{uid} trusts its checksums");
                    server.begin_copy(job, from, target);
                }
                Effect::StopCopy { job } => {
                    server.copy.take_if(|copy| copy.job == job);
                }
                Effect::Repair { token, offset, length } => {
                    server.repair(offset, length);
                    self.reply(uid, token, Ok(DataResponse::Done));
                }
                Effect::ReadOut { token, .. } => {
                    let bytes = server.disk.bytes.clone();
                    self.read_out.insert(token, bytes);
                }
                Effect::Publish(_) => {}
                Effect::Gone => unreachable!("nothing is collected here"),
            }
        }
    }

    fn reply(&mut self, uid: ServerUid, token: Token, result: Result<DataResponse, Error>) {
        match self.servers.get_mut(&uid).unwrap().owed.remove(&token) {
            Some(Owed::Client(id)) => self.client_hears(id, &result),
            Some(Owed::Primary { to, version, said }) => {
                let session = self.servers[&uid].settings.session;
                let member = Peer { chunkserver: uid, session };
                let answer = MemberAnswer { member, version, said, result };
                self.net.push(Packet::Answer { to, answer });
            }
            Some(Owed::Copy) => drop(self.copy_answers.insert(token, result)),
            None => panic!("a request is answered once"),
        }
    }

    fn client_hears(&mut self, id: u32, result: &Result<DataResponse, Error>) {
        match result {
            Ok(DataResponse::Appended { offset, .. }) => {
                let place = (*offset, self.asked[&id]);
                if !self.overwritten.iter().any(|other| touch(place, *other)) {
                    self.acknowledged.insert(id, place);
                }
            }
            Ok(DataResponse::Committed { .. }) => {
                self.synced.extend(self.syncs.remove(&id).unwrap_or_default());
            }
            _ => {}
        }
    }

    /// All machines that counted lost power: only what was synced is promised (equal-2).
    fn lose_what_was_not_synced(&mut self) {
        let before = self.acknowledged.len();
        self.acknowledged.retain(|id, _| self.synced.contains(id));
        self.lost += u32::try_from(before - self.acknowledged.len()).unwrap();
        self.shown.clear();
    }

    fn turn(&mut self) {
        // In most turns what was asked for is written at once; else more may come before.
        if self.random.percent(70) {
            let all: Vec<_> = self.servers.keys().copied().collect();
            all.into_iter().for_each(|uid| self.write_out(uid));
        }
        let fate = self.random.next() % 1_000;
        let Weather { deaths, power_losses, rot, .. } = self.weather;
        if !self.healing && fate < deaths + power_losses + rot {
            match fate {
                _ if !self.is_born() => {}
                _ if fate < deaths => self.die(),
                _ if fate < deaths + power_losses => self.lose_power(),
                _ => self.rot(),
            }
            return;
        }
        match self.random.below(100) {
            0..=47 => self.deliver(),
            48..=61 => self.finish_job(),
            62..=73 => self.copy_on(),
            74..=81 if self.healing => self.deliver(),
            74..=81 => self.ask(),
            82..=90 => self.let_time_pass(),
            91..=95 => self.decide(),
            96..=97 => self.rise(),
            98 if self.random.percent(10) && !self.healing => self.revoke(),
            _ => self.extend(),
        }
    }

    fn deliver(&mut self) {
        if self.net.is_empty() {
            return;
        }
        let index = self.random.below(self.net.len());
        let packet = self.net.swap_remove(index);
        let lossy = !self.healing && !matches!(packet, Packet::Command { .. });
        if lossy && self.random.percent(4) {
            return; // Lost.
        }
        match packet {
            Packet::Command { to, input } => {
                if self.is_there(to.chunkserver) && self.member(to.chunkserver) == to {
                    self.step(to.chunkserver, input, None);
                }
            }
            Packet::Answer { to, answer } => {
                if self.random.percent(4) {
                    self.net.push(Packet::Answer { to, answer: answer.clone() });
                }
                if self.is_run(to) {
                    self.step(to.chunkserver, Input::MemberAnswered(answer), None);
                }
            }
            Packet::Member { from, message, data } => {
                if self.random.percent(4) {
                    self.net.push(Packet::Member { from, message: message.clone(), data });
                }
                let to = Peer { chunkserver: message.to.chunkserver, session: message.to.session };
                if self.is_run(to) {
                    self.member_hears(from, message, data);
                } else if self.is_there(to.chunkserver) {
                    self.refuse_another_run(from, &message);
                }
            }
        }
    }

    fn is_there(&self, uid: ServerUid) -> bool {
        self.servers[&uid].up
    }

    fn is_run(&self, peer: Peer) -> bool {
        let server = &self.servers[&peer.chunkserver];
        server.up && server.settings.session == peer.session
    }

    /// The shell drops what is meant for an earlier run, and says so.
    fn refuse_another_run(&mut self, to: Peer, message: &Message) {
        let member = Peer { chunkserver: message.to.chunkserver, session: message.to.session };
        let said = match &message.body {
            MessageBody::Order { order, .. } => Said::Order(order.serial),
            MessageBody::Committed { serial, .. } => Said::Committed(*serial),
            MessageBody::Equalise { pass, .. } => Said::Equalise(*pass),
        };
        let result = Err(Error::stale("another run"));
        let answer = MemberAnswer { member, version: message.target.version, said, result };
        self.net.push(Packet::Answer { to, answer });
    }

    fn member_hears(&mut self, from: Peer, message: Message, data: Option<u32>) {
        let token = self.token();
        let (to, target) = (message.to.chunkserver, message.target);
        let version = target.version;
        let (input, said, data) = match message.body {
            MessageBody::Order { order, with_data } => {
                // Pushed data may have aged out; what comes along is there.
                let has_data = data.is_some() && (with_data || self.random.percent(80));
                let data = data.filter(|_| has_data).map(|id| (token, id));
                let said = Said::Order(order.serial);
                (Input::Order { token, target, from, order, has_data }, said, data)
            }
            MessageBody::Equalise { pass, equalise } => {
                (Input::Equalise { token, target, from, equalise }, Said::Equalise(pass), None)
            }
            MessageBody::Committed { serial, length } => {
                let input = Input::Committed { token, target, from, serial, length };
                (input, Said::Committed(serial), None)
            }
        };
        let owed = Owed::Primary { to: from, version, said };
        self.servers.get_mut(&to).unwrap().owed.insert(token, owed);
        self.step(to, input, data);
    }

    fn finish_job(&mut self) {
        let uid = self.any();
        let server = self.servers.get_mut(&uid).unwrap();
        let Some((ticket, op)) = server.jobs.pop_front() else { return };
        let digest = server.carry_out(op);
        self.step(uid, Input::StoreDone { ticket, result: Ok(digest) }, None);
    }

    fn any(&mut self) -> ServerUid {
        uid(1 + self.random.next() as u128 % SERVERS)
    }

    /// A client asks whom the master named; now and then one that was named before.
    fn ask(&mut self) {
        let named = self.master.lease.map(|(_, peer)| peer.chunkserver);
        let primary = match named {
            Some(primary) if self.random.percent(85) => primary,
            _ => self.any(),
        };
        let Some(report) = self.servers[&primary].replica.report() else { return };
        if !self.is_there(primary) {
            return;
        }
        let token = self.token();
        self.mutations += 1;
        let id = self.mutations;
        let length = 1 + self.random.next() % 300;
        let source = match self.random.percent(50) {
            true => DataSource::Inline,
            false => DataSource::Pushed(DataId { client: 1, seq: u64::from(id) }),
        };
        let end = self.servers[&primary].disk.bytes.len() as u64;
        let mutation = match self.random.below(40) {
            0..=2 => Mutation::Sync,
            3 if self.weather.overwrites => {
                Mutation::Write { offset: self.random.next() % (end + 500), length, source }
            }
            _ => Mutation::Append { length, source },
        };
        self.asked.insert(id, length);
        self.servers.get_mut(&primary).unwrap().owed.insert(token, Owed::Client(id));
        let (version, epoch) = (report.version, MasterEpoch(1));
        let left_ms = if self.random.percent(50) { 300 } else { 10_000 };
        let target = Target { handle: CHUNK, version, epoch, left_ms };
        match mutation {
            Mutation::Write { offset, length, .. } => {
                self.acknowledged.retain(|_, place| !touch(*place, (offset, length)));
                self.overwritten.push((offset, length));
            }
            Mutation::Sync => {
                self.syncs.insert(id, self.acknowledged.keys().copied().collect());
            }
            Mutation::Append { .. } => {}
        }
        self.step(primary, Input::Mutate { token, target, mutation }, Some((token, id)));
    }

    fn let_time_pass(&mut self) {
        // Now and then long enough for a lease to be idle.
        let longest = match self.random.below(100) {
            0..=1 => 6_000,
            2..=10 => 600,
            _ => 30,
        };
        self.now = self.now + DurationMs(1 + self.random.next() % longest);
        let due = |server: &Server| server.replica.wakeup().is_some_and(|at| at <= self.now);
        let due: Vec<_> = self
            .servers
            .iter()
            .filter(|(_, server)| server.up && due(server))
            .map(|(uid, _)| *uid)
            .collect();
        for uid in due {
            self.step(uid, Input::Tick, None);
        }
    }

    fn revoke(&mut self) {
        if let Some((version, primary)) = self.master.lease {
            self.command(primary.chunkserver, Input::Revoke { version });
        }
    }

    /// The heartbeat, for leases that are wanted.
    fn extend(&mut self) {
        let Some((version, primary)) = self.master.lease else { return };
        let lease = self.servers[&primary.chunkserver].replica.lease();
        if self.is_run(primary) && lease.is_some_and(|lease| lease.wanted) {
            let until = self.now + LEASE;
            self.step(primary.chunkserver, Input::Extended { version, until }, None);
        }
    }

    /// The process dies; its page cache stays, what it promised in memory is gone.
    fn die(&mut self) {
        let uid = self.any();
        let server = self.servers.get_mut(&uid).unwrap();
        if server.up {
            server.die(&mut self.random);
        }
    }

    /// One machine, or all of them, without power at once.
    fn lose_power(&mut self) {
        let all = self.random.percent(20);
        let one = self.any();
        for (_, server) in self.servers.iter_mut().filter(|(uid, _)| all || **uid == one) {
            server.lose_power(&mut self.random);
        }
    }

    /// A disk lies about a block, and that is found.
    fn rot(&mut self) {
        let uid = self.any();
        let version = self.master.version;
        let others = self.servers.iter().filter(|(other, server)| {
            let good = !server.disk.suspect && !server.disk.corrupt;
            **other != uid && good && server.disk.version >= version
        });
        let others = others.count();
        let server = self.servers.get_mut(&uid).unwrap();
        let length = server.disk.bytes.len();
        let there = !matches!(server.replica.condition(), Condition::Absent | Condition::Creating);
        if others < 2 || length == 0 || !server.up || !there {
            return;
        }
        let at = self.random.below(length);
        server.disk.bytes[at] = ROT;
        self.step(uid, Input::BlockMismatch, None);
    }

    /// A process starts again.
    fn rise(&mut self) {
        let uid = self.any();
        self.servers.get_mut(&uid).unwrap().rise();
    }
}

fn touch(a: (u64, u64), b: (u64, u64)) -> bool {
    a.0 < b.0 + b.1 && b.0 < a.0 + a.1
}
