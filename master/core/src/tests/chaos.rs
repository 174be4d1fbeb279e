//! Chunkservers that come, go, restart, answer late or not at all, and cannot reach each other, from a seed. A model of their replicas
//! says what may never happen; when all are well again, everything is made whole within bounded time, and then it is quiet.

mod servers;

use std::collections::{BTreeMap, BTreeSet};

use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, FileId, ProcessSession};
use gfs_types::limits::REPLICATION_DEFAULT;
use gfs_types::message::client::{LeaseTarget, Request};
use gfs_types::message::control::{Command, LeaseStart, Member, ReplicaState, ToChunkserver};
use gfs_types::region::ChunkIndex;

use super::world::{World, records};
use crate::Effect;
use crate::record::Change;
use servers::{Lease, Replica, Server};

const SERVERS: u128 = 4;
const CHUNKS: u64 = 3;
const TICK_MS: u64 = 50;

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

struct Chaos {
    world: World,
    random: Random,
    servers: BTreeMap<u128, Server>,
    /// Pairs that cannot reach each other.
    cut: BTreeSet<(u128, u128)>,
    file: FileId,
    /// Mutations of each chunk that were acknowledged.
    acknowledged: BTreeMap<ChunkHandle, BTreeSet<u32>>,
    mutations: u32,
    started: BTreeMap<ChunkHandle, ChunkVersion>,
    /// Lessons that the master was told had been good: who learned, in which run, under which version.
    lessons: BTreeSet<(ChunkHandle, u128, u64, ChunkVersion)>,
    /// Everybody is well: no delays, no failures.
    calm: bool,
    commands: u64,
    granted: u64,
    taught: u64,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut world = World::new();
        let file = world.file("/f");
        let mut chaos = Self {
            world,
            random: Random(seed),
            servers: (1..=SERVERS).map(|uid| (uid, Server::default())).collect(),
            cut: BTreeSet::new(),
            file,
            acknowledged: BTreeMap::new(),
            mutations: 0,
            started: BTreeMap::new(),
            lessons: BTreeSet::new(),
            calm: true,
            commands: 0,
            granted: 0,
            taught: 0,
        };
        (1..=SERVERS).for_each(|uid| chaos.start(uid));
        for _ in 0..30 {
            chaos.tick();
        }
        chaos
    }

    fn run(&mut self, ticks: u64) {
        self.calm = false;
        for _ in 0..ticks {
            self.misfortune();
            self.clients();
            self.tick();
        }
    }

    fn misfortune(&mut self) {
        let uid = u128::from(self.random.below(4) + 1);
        match self.random.below(160) {
            0 | 1 => self.stop(uid, false),
            2 => {
                let machine = !self.is_damaged();
                self.stop(uid, machine);
            }
            3..=9 if !self.servers[&uid].up => self.start(uid),
            10 => self.lose_link(uid),
            11..=14 if !self.servers[&uid].linked => self.register(uid),
            15 => {
                let other = u128::from(self.random.below(4) + 1);
                if other != uid {
                    self.cut.insert((uid.min(other), uid.max(other)));
                }
            }
            16..=18 => drop(self.cut.pop_first()),
            19 => self.damage(uid),
            20 if self.random.one_in(4) => self.restart_master(),
            21 => self.servers.get_mut(&uid).unwrap().frozen_until = self.world.now_ms + 4_000,
            _ => {}
        }
    }

    /// Suspects alone may lead, and damaged replicas alone may not: with both and no good one a chunk waits for a person.
    fn is_damaged(&self) -> bool {
        let mut all = self.servers.values().flat_map(|server| server.replicas.values());
        all.any(|replica| replica.state == ReplicaState::Corrupt)
    }

    fn restart_master(&mut self) {
        self.world.restart();
        for server in self.servers.values_mut() {
            server.unlink();
        }
    }

    fn clients(&mut self) {
        if self.random.one_in(6) {
            let target = LeaseTarget::Index(ChunkIndex(self.random.below(CHUNKS)));
            let not_version = self.random.one_in(8).then(|| ChunkVersion(self.random.below(30)));
            let (_, out) = self.world.send(Request::Lease { file: self.file, target, not_version });
            self.take(&out);
        }
        let holders: Vec<_> = self.leases();
        for (uid, handle) in holders {
            if self.random.one_in(3) {
                self.mutate(uid, handle);
            }
        }
    }

    fn leases(&self) -> Vec<(u128, ChunkHandle)> {
        let all = self.servers.iter().flat_map(|(uid, server)| {
            let held = server.replicas.iter().filter(|(_, replica)| replica.lease.is_some());
            held.map(|(handle, _)| (*uid, *handle))
        });
        all.collect()
    }

    /// Members apply it one after the other; it is acknowledged when all have it.
    fn mutate(&mut self, uid: u128, handle: ChunkHandle) {
        let Some(lease) = self.servers[&uid].replicas[&handle].lease.clone() else { return };
        if !lease.equal || lease.sealed || lease.members.len() == 1 {
            return;
        }
        self.mutations += 1;
        let mutation = self.mutations;
        let last = self.random.below(8);
        let mut all = true;
        for (at, member) in (0..).zip(&lease.members) {
            let stopped = last <= 3 && at > last;
            let follows = !stopped && self.follows(uid, member, handle, lease.version);
            all &= follows;
            if follows {
                self.replica(member.chunkserver.0, handle).content.insert(mutation);
            }
        }
        let now_ms = self.world.now_ms;
        if let Some(lease) = &mut self.replica(uid, handle).lease {
            lease.used = now_ms;
        }
        if all {
            self.acknowledged.entry(handle).or_default().insert(mutation);
        }
    }

    /// Whether this run can be reached by `from`, and takes orders of this version.
    fn follows(
        &self,
        from: u128,
        member: &Member,
        handle: ChunkHandle,
        version: ChunkVersion,
    ) -> bool {
        self.reaches(from, member)
            && self.servers[&member.chunkserver.0]
                .replicas
                .get(&handle)
                .is_some_and(|replica| replica.version == version)
    }

    fn reaches(&self, from: u128, member: &Member) -> bool {
        let to = member.chunkserver.0;
        let server = &self.servers[&to];
        server.up
            && self.world.now_ms >= server.frozen_until
            && ProcessSession(server.session) == member.session
            && !self.cut.contains(&(from.min(to), from.max(to)))
    }

    fn replica(&mut self, uid: u128, handle: ChunkHandle) -> &mut Replica {
        self.servers.get_mut(&uid).unwrap().replicas.get_mut(&handle).unwrap()
    }

    fn tick(&mut self) {
        let out = self.world.after_ms(TICK_MS);
        self.take(&out);
        (1..=SERVERS).for_each(|uid| self.turn(uid));
    }

    /// Carries the master's commands to their servers, and judges them.
    fn take(&mut self, out: &[Effect]) {
        for change in records(out) {
            match change {
                Change::RaiseStarted { handle, number } => {
                    self.started.insert(handle, number);
                }
                Change::Raised { handle, version, .. } => {
                    assert_eq!(
                        self.started.get(&handle),
                        Some(&version),
                        "raised, and not the last"
                    );
                }
                _ => {}
            }
        }
        for effect in out {
            let Effect::Send { link, message, .. } = effect else { continue };
            let to = self.servers.iter().find(|(_, server)| server.link == Some(*link));
            let Some(uid) = to.map(|(uid, _)| *uid) else { continue };
            self.judge(uid, message);
            let late = if self.calm { 0 } else { self.random.below(150) };
            let due = self.world.now_ms + late;
            self.servers.get_mut(&uid).unwrap().inbox.push_back((due, message.clone()));
        }
    }

    fn judge(&mut self, uid: u128, message: &ToChunkserver) {
        let server = &self.servers[&uid];
        if message.session.0 != server.session {
            return;
        }
        match &message.command {
            Command::Raise { handle, version, from } => {
                self.commands += 1;
                assert_eq!(self.started.get(handle), Some(version), "asked, and not the last");
                let Some(replica) = server.replicas.get(handle) else { return };
                let lesson = (*handle, uid, server.session, *from);
                assert!(
                    replica.version >= *from || self.lessons.contains(&lesson),
                    "{uid} is asked to store {version} and learned nothing under {from}: {replica:?}"
                );
            }
            Command::GrantLease { handle, version, members, start, .. } => {
                self.commands += 1;
                self.granted += 1;
                self.judge_grant(uid, *handle, *version, members, *start);
            }
            Command::Teach { .. } => self.commands += 1,
            Command::DeleteReplica { handle, .. } => {
                assert!(
                    !self.acknowledged.contains_key(handle),
                    "{handle} is of a file that is there"
                );
            }
            _ => {}
        }
    }

    fn judge_grant(
        &mut self,
        primary: u128,
        handle: ChunkHandle,
        version: ChunkVersion,
        members: &[Member],
        start: LeaseStart,
    ) {
        let acknowledged = self.acknowledged.entry(handle).or_default();
        let leader = &self.servers[&primary].replicas[&handle];
        if start == LeaseStart::AllSuspect {
            // What was never synced may be gone, with the machines of all that had it.
            assert_eq!(leader.state, ReplicaState::Suspect);
            acknowledged.retain(|mutation| leader.content.contains(mutation));
        } else {
            assert!(
                leader.state == ReplicaState::Unclean || leader.state == ReplicaState::Corrupt,
                "{primary} is to lead {handle}: {leader:?}"
            );
        }
        for member in members {
            let uid = member.chunkserver.0;
            let Some(replica) = self.servers[&uid].replicas.get(&handle) else { continue };
            if replica.version != version || member.session.0 != self.servers[&uid].session {
                continue; // It takes no orders of this version.
            }
            let lost = acknowledged.difference(&replica.content).next();
            let bad = matches!(replica.state, ReplicaState::Suspect | ReplicaState::Corrupt);
            assert!(lost.is_none() || bad, "{uid} lacks {lost:?} of {handle}: {replica:?}");
            let same = bad || replica.content == leader.content; // Bad since it answered.
            assert!(same || start != LeaseStart::Equal, "{uid} and {primary} differ in {handle}");
        }
    }

    /// Everybody is well from now on.
    fn heal(&mut self) {
        self.calm = true;
        self.cut.clear();
        for uid in 1..=SERVERS {
            self.servers.get_mut(&uid).unwrap().frozen_until = 0;
            if !self.servers[&uid].up {
                self.start(uid);
            } else if !self.servers[&uid].linked {
                self.register(uid);
            }
        }
    }

    fn whole(&self) -> Result<(), String> {
        for (handle, chunk) in self.world.master.durable.chunks.iter() {
            if self.world.master.durable.chunks.unborn(handle).is_some() {
                continue; // Nobody was ever told of it.
            }
            let held = self.servers.iter().filter_map(|(uid, server)| {
                server.replicas.get(&handle).map(|replica| (*uid, replica))
            });
            let held: Vec<_> = held.collect();
            let nothing = BTreeSet::new();
            let acknowledged = self.acknowledged.get(&handle).unwrap_or(&nothing);
            let good = held.iter().filter(|(_, replica)| {
                replica.version == chunk.version
                    && replica.state == ReplicaState::Clean
                    && replica.content.is_superset(acknowledged)
            });
            // Those that were given a replica: cloning to others is not there yet.
            let wanted = held.len().min(usize::from(REPLICATION_DEFAULT));
            if good.count() < wanted {
                return Err(format!("{handle}: {chunk:?}, {held:?}"));
            }
        }
        Ok(())
    }
}

impl Lease {
    fn new(
        version: ChunkVersion,
        members: Vec<Member>,
        start: LeaseStart,
        brief: bool,
        now_ms: u64,
    ) -> Self {
        let equal = start == LeaseStart::Equal;
        let ends = now_ms + 10_000;
        Self { version, members, equal, brief, sealed: false, used: now_ms, ends, silent: None }
    }
}

#[test]
fn whatever_fails_nothing_acknowledged_is_lost_and_all_is_made_whole_again() {
    let (mut granted, mut taught, mut acknowledged) = (0, 0, 0);
    for seed in 0..80 {
        let mut chaos = Chaos::new(seed);
        for storm in 0..3 {
            chaos.run(300);
            chaos.heal();
            let mut ticks = 0;
            // 30 s, half of it for leases that nobody gives back.
            while let Err(reason) = chaos.whole() {
                ticks += 1;
                assert!(ticks < 30_000 / TICK_MS, "seed {seed}, storm {storm}: {reason}");
                chaos.tick();
            }
            (0..400).for_each(|_| chaos.tick());
            let before = chaos.commands;
            (0..400).for_each(|_| chaos.tick());
            assert_eq!(chaos.commands, before, "seed {seed}, storm {storm}: it is not quiet");
            assert_eq!(chaos.world.master.repairs(), (0, 0), "seed {seed}, storm {storm}");
        }
        chaos.world.check_digests();
        granted += chaos.granted;
        taught += chaos.taught;
        acknowledged += chaos.acknowledged.values().map(BTreeSet::len).sum::<usize>();
    }
    assert!(
        granted > 1_000 && taught > 100 && acknowledged > 10_000,
        "{granted} {taught} {acknowledged}"
    );
}
