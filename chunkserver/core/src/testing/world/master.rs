//! The master of the world: it raises, grants, has learners taught, and gives up half of what it begins.

use std::collections::{BTreeMap, BTreeSet};

use gfs_types::fence::{ChunkVersion, MasterEpoch};
use gfs_types::ids::ServerUid;
use gfs_types::message::control::{
    FromChunkserver, LeaseStart, Member, RaisedReplica, ReplicaState,
};

use super::World;
use crate::testing::bench::{LEASE, settings};
use crate::{Input, Peer};

#[derive(Debug, Default)]
pub(super) struct Master {
    /// The last that was raised, and with whom.
    pub(super) version: ChunkVersion,
    members: BTreeMap<ServerUid, Peer>,
    /// The highest number that was ever asked for.
    pub(super) started: ChunkVersion,
    round: Option<Round>,
    births: BTreeSet<ServerUid>,
    pub(super) lease: Option<(ChunkVersion, Peer)>,
    /// Runs that a primary named.
    failed: BTreeSet<Peer>,
    /// Runs that were made equal under the version.
    taught: BTreeSet<Peer>,
    wanted: bool,
}

#[derive(Debug)]
struct Round {
    number: ChunkVersion,
    asked: BTreeMap<ServerUid, Peer>,
    answers: BTreeMap<ServerUid, RaisedReplica>,
}

const EPOCH: MasterEpoch = MasterEpoch(1);

impl World {
    pub(super) fn give_birth(&mut self) {
        (self.master.version, self.master.started) = (ChunkVersion(1), ChunkVersion(1));
        let chunk_size = settings(1).chunk_size;
        for uid in self.servers.keys().copied().collect::<Vec<_>>() {
            self.command(uid, Input::Create { version: ChunkVersion(1), epoch: EPOCH, chunk_size });
        }
    }

    pub(super) fn is_born(&self) -> bool {
        self.master.births.len() == self.servers.len()
    }

    fn peer(&self, uid: ServerUid) -> Peer {
        Peer { chunkserver: uid, session: self.servers[&uid].settings.session }
    }

    /// A server said something, in this run of it.
    pub(super) fn hear(&mut self, uid: ServerUid, message: FromChunkserver) {
        let from = self.peer(uid);
        let master = &mut self.master;
        match message {
            FromChunkserver::ReplicaCreated { result: Ok(()), .. } => {
                master.births.insert(uid);
                if self.is_born() && self.master.members.is_empty() {
                    let members = self.servers.keys().map(|uid| (*uid, self.peer(*uid)));
                    self.master.members = members.collect();
                    self.grant(uid, LeaseStart::Equal);
                }
            }
            FromChunkserver::Raised { version, result: Ok(raised), .. } => {
                if let Some(round) = &mut master.round
                    && round.number == version
                    && round.asked.get(&uid) == Some(&from)
                {
                    round.answers.insert(uid, raised);
                }
            }
            FromChunkserver::Raised { result: Err(_), .. } => drop(master.taught.remove(&from)),
            FromChunkserver::LeaseGivenUp { version, .. } => {
                master.lease.take_if(|lease| *lease == (version, from));
                master.wanted |= version == master.version;
            }
            FromChunkserver::MemberFailed { version, member, session, .. }
                if version == master.version =>
            {
                master.failed.insert(Peer { chunkserver: member, session });
                master.wanted = true;
            }
            FromChunkserver::LearnerTaught {
                version, learner, session, result: Ok(()), ..
            } if version == master.version => {
                self.lessons += 1;
                master.taught.insert(Peer { chunkserver: learner, session });
                master.wanted = true;
            }
            _ => {}
        }
    }

    fn grant(&mut self, primary: ServerUid, start: LeaseStart) {
        let member = |peer: &Peer| {
            let (chunkserver, session) = (peer.chunkserver, peer.session);
            Member { chunkserver, session, address: String::new() }
        };
        let members: Vec<_> = self.master.members.values().map(member).collect();
        let version = self.master.version;
        self.leases += 1;
        self.starts[start as usize - 1] += 1;
        self.master.lease = self.master.members.get(&primary).map(|peer| (version, *peer));
        let brief = self.random.percent(20);
        let (lease_ms, alone) = (LEASE, members.len() == 1);
        self.command(primary, Input::Grant { version, members, lease_ms, start, brief, alone });
    }

    /// The master looks at the chunk.
    pub(super) fn decide(&mut self) {
        if !self.is_born() {
            return;
        }
        if self.master.round.is_some() {
            return self.conclude();
        }
        let alive = |peer: &Peer| {
            let server = &self.servers[&peer.chunkserver];
            server.up && server.settings.session == peer.session
        };
        let lease = self.master.lease.filter(|(_, peer)| alive(peer));
        // A member that is another run now is taken in again (equal-3).
        let again = self.master.members.values().any(|peer| {
            let server = &self.servers[&peer.chunkserver];
            server.up && server.settings.session != peer.session
        });
        let whim = !self.healing && self.random.percent(2);
        if lease.is_none() || self.master.wanted || again || whim {
            return self.start_raise(None);
        }
        let stale: Vec<_> = self
            .servers
            .iter()
            .filter(|(uid, server)| {
                let report = server.replica.report();
                let bad = report.is_some_and(|report| {
                    report.version < self.master.version || report.state == ReplicaState::Corrupt
                });
                server.up && bad && !self.master.members.contains_key(uid)
            })
            .map(|(uid, _)| *uid)
            .collect();
        if let (Some((version, primary)), false) = (lease, stale.is_empty()) {
            let learner = stale[self.random.below(stale.len())];
            let learner = self.member(learner);
            self.command(primary.chunkserver, Input::Teach { version, learner });
        }
    }

    /// Whoever is current, in touch, not known to be bad, and of which no primary said that it failed; and who was taught.
    fn start_raise(&mut self, among: Option<BTreeSet<ServerUid>>) {
        let (low, high) = (self.master.version, self.master.started);
        let mut states = BTreeMap::new();
        for (uid, server) in &self.servers {
            let among = among.as_ref().is_none_or(|among| among.contains(uid));
            let peer = self.peer(*uid);
            let Some(report) = server.replica.report().filter(|_| server.up && among) else {
                continue;
            };
            let current = (low..=high).contains(&report.version)
                && report.state != ReplicaState::Corrupt
                && !self.master.failed.contains(&peer);
            if current || self.master.taught.contains(&peer) {
                states.insert(*uid, report.state);
            }
        }
        let all_suspect = states.values().all(|state| *state == ReplicaState::Suspect);
        if states.is_empty() || (all_suspect && states.len() < self.master.members.len()) {
            // Whoever failed may have come to itself.
            self.master.failed.clear();
            self.master.wanted = true;
            return;
        }
        // One alone can only teach (mut-6), if there is somebody.
        let others =
            self.servers.iter().filter(|(uid, server)| server.up && !states.contains_key(uid));
        if states.len() == 1 && others.count() == 0 {
            self.master.wanted = true;
            return;
        }
        self.master.started = self.master.started.next();
        self.master.wanted = false;
        let asked = states.keys().map(|uid| (*uid, self.peer(*uid))).collect();
        let number = self.master.started;
        self.master.round = Some(Round { number, asked, answers: BTreeMap::new() });
        for uid in states.into_keys() {
            self.command(uid, Input::Raise { version: number, from: low, epoch: EPOCH });
        }
    }

    fn conclude(&mut self) {
        let Some(round) = self.master.round.take() else { return };
        if round.answers.len() < round.asked.len() {
            // Patience, or a new number for those who answered, or for everybody.
            if self.random.percent(97) {
                self.master.round = Some(round);
                return;
            }
            let among: BTreeSet<_> = round.answers.keys().copied().collect();
            return self.start_raise((!among.is_empty()).then_some(among));
        }
        let answers = &round.answers;
        let mut leaders: Vec<_> = answers
            .iter()
            .filter(|(_, raised)| {
                !matches!(raised.state, ReplicaState::Suspect | ReplicaState::Corrupt)
            })
            .map(|(uid, _)| *uid)
            .collect();
        let all_suspect = answers.values().all(|raised| raised.state == ReplicaState::Suspect);
        if all_suspect && answers.len() >= self.master.members.len() {
            leaders = answers.keys().copied().collect();
        }
        if leaders.is_empty() {
            self.master.wanted = true;
            return;
        }
        let clean = answers.values().all(|raised| raised.state == ReplicaState::Clean);
        let content = answers.values().map(|raised| (raised.length, raised.digest));
        let content: BTreeSet<_> = content.collect();
        // A disk that lied since is found to differ.
        let rotten = self.weather.rot > 0;
        assert!(content.len() == 1 || !clean || rotten, "replicas that ended in order are equal");
        let suspect = answers.values().any(|raised| raised.state == ReplicaState::Suspect);
        let start = match content.len() {
            _ if all_suspect => LeaseStart::AllSuspect,
            1 if !suspect => LeaseStart::Equal,
            _ => LeaseStart::Unequal,
        };
        if start == LeaseStart::AllSuspect {
            self.lose_what_was_not_synced();
        }
        self.master.version = round.number;
        self.master.members = round.asked.clone();
        self.master.failed.clear();
        self.master.taught.clear();
        let last = self.master.lease.map(|(_, peer)| peer.chunkserver);
        let again = last.filter(|last| leaders.contains(last) && self.random.percent(70));
        let primary = again.unwrap_or_else(|| leaders[self.random.below(leaders.len())]);
        self.grant(primary, start);
    }

    /// Whether the chunk waits for a replica that counted and has gone bad: then nobody may decide but a person.
    pub(super) fn is_lost(&self) -> bool {
        let (low, high) = (self.master.version, self.master.started);
        let states = self.servers.values().filter_map(|server| server.replica.report());
        let current = states.filter(|report| (low..=high).contains(&report.version));
        let bad = |state| matches!(state, ReplicaState::Suspect | ReplicaState::Corrupt);
        let states: Vec<_> = current.map(|report| report.state).collect();
        states.iter().all(|state| bad(*state)) && states.contains(&ReplicaState::Corrupt)
    }
}
