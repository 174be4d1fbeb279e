//! Chunkservers as far as the master sees them: replicas, their versions, and sets of mutations in place of bytes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gfs_types::Error;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ProcessSession, ServerUid};
use gfs_types::message::control::{
    Command, FromChunkserver, HeldLease, Member, RaisedReplica, ReplicaReport, ReplicaState,
    ToChunkserver,
};

use super::Chaos;
use crate::tests::world::space;
use crate::{Input, Link};

#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) up: bool,
    pub(super) linked: bool,
    pub(super) link: Option<Link>,
    pub(super) session: u64,
    /// It is stopped, and knows nothing of it.
    pub(super) frozen_until: u64,
    pub(super) replicas: BTreeMap<ChunkHandle, Replica>,
    pub(super) inbox: VecDeque<(u64, ToChunkserver)>,
    outbox: VecDeque<(u64, FromChunkserver)>,
    changed: BTreeSet<ChunkHandle>,
    beat: u64,
}

#[derive(Debug)]
pub(super) struct Replica {
    pub(super) version: ChunkVersion,
    pub(super) state: ReplicaState,
    pub(super) content: BTreeSet<u32>,
    /// Made equal under this version in this run.
    learned: Option<ChunkVersion>,
    pub(super) lease: Option<Lease>,
}

#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) version: ChunkVersion,
    pub(super) members: Vec<Member>,
    pub(super) equal: bool,
    pub(super) brief: bool,
    pub(super) sealed: bool,
    pub(super) used: u64,
    pub(super) ends: u64,
    /// Since when some member does not answer, and whether the master was told.
    pub(super) silent: Option<(u64, bool)>,
}

impl Server {
    pub(super) fn unlink(&mut self) {
        self.linked = false;
        self.link = None;
        self.inbox.clear();
        self.outbox.clear();
    }
}

impl Replica {
    fn report(&self, handle: ChunkHandle) -> ReplicaReport {
        let length = self.content.len() as u64;
        ReplicaReport { handle, version: self.version, length, state: self.state }
    }

    fn answer(&self, state: ReplicaState) -> RaisedReplica {
        let mix = |sum: u32, one: &u32| (sum ^ *one).wrapping_mul(0x0100_0193);
        let digest = self.content.iter().fold(17, mix);
        RaisedReplica { length: self.content.len() as u64, digest, state }
    }
}

impl Chaos {
    fn server(&mut self, uid: u128) -> &mut Server {
        self.servers.get_mut(&uid).unwrap()
    }

    pub(super) fn start(&mut self, uid: u128) {
        let server = self.server(uid);
        server.up = true;
        server.session += 1;
        self.register(uid);
    }

    pub(super) fn register(&mut self, uid: u128) {
        if !self.servers[&uid].up {
            return;
        }
        let now = self.world.now_ms;
        let server = self.server(uid);
        server.unlink();
        server.changed.clear();
        let held = server.replicas.iter().filter_map(|(handle, replica)| {
            let lease = replica.lease.as_ref()?;
            Some(HeldLease {
                handle: *handle,
                version: lease.version,
                left_ms: lease.ends.saturating_sub(now),
                members: lease.members.iter().map(|member| member.chunkserver).collect(),
            })
        });
        let (held, session): (Vec<_>, u64) = (held.collect(), server.session);
        let pages = server.replicas.iter().map(|(handle, replica)| replica.report(*handle));
        let replicas: Vec<_> = pages.collect();
        let out = self.world.register(uid, session, held);
        let link = self.world.link(uid);
        let server = self.server(uid);
        server.linked = true;
        server.link = Some(link);
        self.take(&out);
        self.say(uid, FromChunkserver::ReportPage { replicas, last: true });
    }

    pub(super) fn lose_link(&mut self, uid: u128) {
        if let Some(link) = self.servers[&uid].link {
            self.server(uid).unlink();
            let out = self.world.step(Input::ChunkserverGone { link });
            self.take(&out);
        }
    }

    /// Its process dies; with its machine, what was not synced may be gone.
    pub(super) fn stop(&mut self, uid: u128, machine: bool) {
        let others = self.random.next();
        let server = self.server(uid);
        server.up = false;
        for replica in server.replicas.values_mut() {
            replica.lease = None;
            replica.learned = None;
            if machine && replica.state == ReplicaState::Unclean {
                replica.state = ReplicaState::Suspect;
                replica.content.retain(|one| (others >> (one % 64)) & 3 != 0);
            }
        }
        self.lose_link(uid);
    }

    /// A block of one of its replicas goes bad, and it finds it: never of the last good one.
    pub(super) fn damage(&mut self, uid: u128) {
        let handle = ChunkHandle(self.random.below(super::CHUNKS) + 1);
        let good = |state| matches!(state, ReplicaState::Clean | ReplicaState::Unclean);
        let version = self.world.master.durable.chunks.get(handle).map(|chunk| chunk.version);
        let others = self.servers.iter().filter(|(other, server)| {
            let its = server.replicas.get(&handle);
            **other != uid && its.is_some_and(|one| good(one.state) && Some(one.version) >= version)
        });
        if others.count() < 2 || !self.servers[&uid].up {
            return;
        }
        let Some(replica) = self.server(uid).replicas.get_mut(&handle) else { return };
        replica.state = ReplicaState::Corrupt;
        replica.learned = None;
        if replica.lease.take().is_some() {
            let (version, length) = (replica.version, replica.content.len() as u64);
            self.say(uid, FromChunkserver::LeaseGivenUp { handle, version, length });
        }
        self.server(uid).changed.insert(handle);
    }

    fn say(&mut self, uid: u128, message: FromChunkserver) {
        let late = if self.calm { 0 } else { self.random.below(150) };
        let due = self.world.now_ms + late;
        let server = self.server(uid);
        if server.linked {
            server.outbox.push_back((due, message));
        }
    }

    /// What a server does in one tick.
    pub(super) fn turn(&mut self, uid: u128) {
        let now = self.world.now_ms;
        let server = &self.servers[&uid];
        if !server.up || now < server.frozen_until {
            return;
        }
        if !server.linked {
            if self.calm || self.random.one_in(40) {
                self.register(uid);
            }
            return;
        }
        while let Some((due, _)) = self.servers[&uid].inbox.front()
            && *due <= now
        {
            let (_, message) = self.server(uid).inbox.pop_front().unwrap();
            if message.session == ProcessSession(self.servers[&uid].session) {
                self.obey(uid, message.command);
            }
        }
        let handles: Vec<_> = self.servers[&uid].replicas.keys().copied().collect();
        handles.into_iter().for_each(|handle| self.lead(uid, handle));
        if now >= self.servers[&uid].beat + 500 {
            self.beat(uid);
        }
        while let Some((due, _)) = self.servers[&uid].outbox.front()
            && *due <= now
        {
            let (_, message) = self.server(uid).outbox.pop_front().unwrap();
            let out = self.world.tell(uid, message);
            self.take(&out);
        }
    }

    fn beat(&mut self, uid: u128) {
        let now = self.world.now_ms;
        let server = self.server(uid);
        server.beat = now;
        let changed = std::mem::take(&mut server.changed);
        let reports = changed.iter();
        let changed = reports.filter_map(|one| Some(server.replicas.get(one)?.report(*one)));
        let changed: Vec<_> = changed.collect();
        let held = server
            .replicas
            .iter()
            .filter_map(|(handle, replica)| Some((*handle, replica.lease.as_ref()?.version)));
        let extend = held.collect();
        let beat = FromChunkserver::Heartbeat { seq: now, space: space(), changed, extend };
        self.say(uid, beat);
    }

    fn obey(&mut self, uid: u128, command: Command) {
        let now = self.world.now_ms;
        match command {
            Command::CreateReplica { handle, version } => {
                let server = self.server(uid);
                let made = !server.replicas.contains_key(&handle);
                if made {
                    let (state, content) = (ReplicaState::Unclean, BTreeSet::new());
                    let fresh = Replica { version, state, content, learned: None, lease: None };
                    server.replicas.insert(handle, fresh);
                    server.changed.insert(handle);
                }
                let result = if made { Ok(()) } else { Err(Error::already_exists("it is there")) };
                self.say(uid, FromChunkserver::ReplicaCreated { handle, version, result });
            }
            Command::Raise { handle, version, from } => self.store(uid, handle, version, from),
            Command::GrantLease { handle, version, members, start, brief, alone, .. } => {
                assert_eq!(alone, members.len() == 1, "mut-6: {members:?}");
                let here = self.server(uid).replicas.get_mut(&handle);
                let good = |one: &&mut Replica| one.state != ReplicaState::Corrupt;
                match here.filter(good).filter(|one| one.version == version) {
                    Some(replica) => {
                        let lease = super::Lease::new(version, members, start, brief, now);
                        if !lease.equal && replica.state == ReplicaState::Suspect {
                            replica.state = ReplicaState::Unclean;
                        }
                        replica.lease = Some(lease);
                    }
                    None => self.give_up(uid, handle, version),
                }
            }
            Command::Teach { handle, version, learner } => {
                self.teach(uid, handle, version, &learner);
            }
            Command::HeartbeatAnswer { extended, lease_ms, seq } => {
                for (handle, version) in extended {
                    if let Some(replica) = self.server(uid).replicas.get_mut(&handle)
                        && let Some(lease) = &mut replica.lease
                        && lease.version == version
                    {
                        lease.ends = lease.ends.max(seq + lease_ms);
                    }
                }
            }
            Command::DeleteReplica { handle, version } => {
                let its = self.servers[&uid].replicas.get(&handle);
                let result = match its.is_none_or(|one| one.version == version) {
                    true => {
                        self.server(uid).replicas.remove(&handle);
                        Ok(())
                    }
                    false => Err(Error::stale("another version")),
                };
                self.say(uid, FromChunkserver::ReplicaDeleted { handle, version, result });
            }
            Command::Welcome { .. } | Command::Refused(_) | Command::RevokeLease { .. } => {}
        }
    }

    /// raise-2.
    fn store(&mut self, uid: u128, handle: ChunkHandle, version: ChunkVersion, from: ChunkVersion) {
        let server = self.server(uid);
        let here = server.replicas.get_mut(&handle);
        let takes = |one: &&mut Replica| {
            version > one.version && (one.version >= from || one.learned == Some(from))
        };
        let result = match here.filter(takes) {
            Some(replica) => {
                let was = replica.state;
                replica.version = version;
                replica.lease = None;
                if was == ReplicaState::Clean {
                    replica.state = ReplicaState::Unclean;
                }
                server.changed.insert(handle);
                Ok(server.replicas[&handle].answer(was))
            }
            None => Err(Error::stale("not this one")),
        };
        self.say(uid, FromChunkserver::Raised { handle, version, result });
    }

    fn give_up(&mut self, uid: u128, handle: ChunkHandle, version: ChunkVersion) {
        let length = self.servers[&uid].replicas.get(&handle).map_or(0, |one| one.content.len());
        let length = length as u64;
        self.say(uid, FromChunkserver::LeaseGivenUp { handle, version, length });
    }

    /// The primary makes the learner equal, and takes no mutation from then on.
    fn teach(&mut self, uid: u128, handle: ChunkHandle, version: ChunkVersion, learner: &Member) {
        let replica = self.servers[&uid].replicas.get(&handle);
        let lease = replica.and_then(|one| one.lease.as_ref());
        let leads = lease.is_some_and(|one| one.version == version && one.equal && !one.sealed);
        let pupil = learner.chunkserver.0;
        let there = self.servers[&pupil].replicas.contains_key(&handle);
        let good = leads && there && self.reaches(uid, learner);
        if good {
            let content = self.servers[&uid].replicas[&handle].content.clone();
            let replica = self.replica(pupil, handle);
            replica.content = content;
            replica.learned = Some(version);
            replica.state = ReplicaState::Unclean;
            self.server(pupil).changed.insert(handle);
            self.replica(uid, handle).lease.as_mut().unwrap().sealed = true;
            self.lessons.insert((handle, pupil, learner.session.0, version));
            self.taught += 1;
        }
        let result = if good { Ok(()) } else { Err(Error::busy("it cannot be taught")) };
        let (learner, session) = (ServerUid(pupil), learner.session);
        self.say(uid, FromChunkserver::LearnerTaught { handle, version, learner, session, result });
    }

    /// What a primary does with its lease.
    fn lead(&mut self, uid: u128, handle: ChunkHandle) {
        let now = self.world.now_ms;
        let Some(lease) = self.servers[&uid].replicas[&handle].lease.clone() else { return };
        let version = lease.version;
        if now >= lease.ends {
            self.replica(uid, handle).lease = None;
            return self.give_up(uid, handle, version);
        }
        let silent = lease.members.iter().find(|one| !self.follows(uid, one, handle, version));
        if let Some(member) = silent.cloned() {
            return self.miss(uid, handle, &member);
        }
        self.replica(uid, handle).lease.as_mut().unwrap().silent = None;
        if !lease.equal {
            self.equalise(uid, handle, &lease);
        }
        let idle = now >= lease.used + if lease.brief { 0 } else { 5_000 };
        // A sealed one waits for its raise first.
        let sealed = lease.sealed && now < lease.used + 10_000;
        if idle && !sealed {
            for member in &lease.members {
                let replica = self.replica(member.chunkserver.0, handle);
                if replica.state == ReplicaState::Unclean {
                    replica.state = ReplicaState::Clean;
                }
                self.server(member.chunkserver.0).changed.insert(handle);
            }
            self.replica(uid, handle).lease = None;
            self.give_up(uid, handle, version);
        }
    }

    /// raise-4, when it was silent for long enough.
    fn miss(&mut self, uid: u128, handle: ChunkHandle, member: &Member) {
        let now = self.world.now_ms;
        let lease = self.replica(uid, handle).lease.as_mut().unwrap();
        let (since, told) = lease.silent.unwrap_or((now, false));
        let tell = now >= since + 2_000 && !told;
        // Told again after a while: what was said may have been lost.
        lease.silent = Some(if tell { (now, false) } else { (since, told) });
        let version = lease.version;
        if tell {
            let (member, session) = (member.chunkserver, member.session);
            let reason = "no answer".to_owned();
            let message =
                FromChunkserver::MemberFailed { handle, version, member, session, reason };
            self.say(uid, message);
        }
    }

    fn equalise(&mut self, uid: u128, handle: ChunkHandle, lease: &Lease) {
        let content = self.servers[&uid].replicas[&handle].content.clone();
        for member in &lease.members {
            let replica = self.replica(member.chunkserver.0, handle);
            replica.content.clone_from(&content);
            if replica.state == ReplicaState::Suspect {
                replica.state = ReplicaState::Unclean;
            }
            self.server(member.chunkserver.0).changed.insert(handle);
        }
        self.replica(uid, handle).lease.as_mut().unwrap().equal = true;
    }
}
