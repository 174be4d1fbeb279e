//! Replicas that are stale or damaged come back as learners (equal-4): the primary makes one equal beside the mutations, then a
//! raise takes it in.

use std::collections::{BTreeMap, BTreeSet};

use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ProcessSession, ServerUid};
use gfs_types::limits::RETURN_WAIT_MS;
use gfs_types::message::control::{Command, Member, ReplicaState};
use gfs_types::mutants::{self, Mutant};
use gfs_types::time::Instant;
use gfs_types::{DurationMs, Error};

use crate::Master;
use crate::leases::Teaching;
use crate::master::Step;
use crate::registry::{Replica, ServerIndex};

/// A learner that could not be made equal rests for so long.
const REST_MS: DurationMs = DurationMs(5_000);
/// A primary that said nothing of a learner for so long will not.
const TEACH_MS: DurationMs = DurationMs(60_000);

type Run = (ServerIndex, ProcessSession);

/// Who has learned, and who rests. Chunks whose replicas are good have no entry.
#[derive(Debug, Default)]
pub(crate) struct Learners {
    /// Made equal under this version, whose primary takes no mutation any more: good for every number above it while it is the
    /// chunk's version and their run lives.
    taught: BTreeMap<ChunkHandle, (ChunkVersion, BTreeSet<Run>)>,
    /// Not to be taught again before this.
    resting: BTreeMap<(ChunkHandle, ServerIndex), (ProcessSession, Instant)>,
}

impl Learners {
    fn has_learned(&mut self, handle: ChunkHandle, version: ChunkVersion, run: Run) {
        let (under, runs) = self.taught.entry(handle).or_insert((version, BTreeSet::new()));
        if *under != version {
            runs.clear();
            *under = version;
        }
        runs.insert(run);
    }

    fn rest(&mut self, now: Instant, handle: ChunkHandle, (server, session): Run) {
        self.resting.insert((handle, server), (session, now + REST_MS));
    }

    fn rests(&self, now: Instant, handle: ChunkHandle, (server, session): Run) -> bool {
        let rest = self.resting.get(&(handle, server));
        rest.is_some_and(|(its, until)| *its == session && now < *until)
    }

    /// It was to be raised and gave no good answer.
    pub(crate) fn failed(&mut self, now: Instant, handle: ChunkHandle, run: Run) {
        if let Some((_, runs)) = self.taught.get_mut(&handle)
            && runs.remove(&run)
        {
            self.rest(now, handle, run);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ChunkHandle, ChunkVersion, &BTreeSet<Run>)> {
        self.taught.iter().map(|(handle, (version, runs))| (*handle, *version, runs))
    }
}

impl Master {
    /// A replica that the primary of the chunk could be told to teach now.
    pub(crate) fn learner(&self, now: Instant, handle: ChunkHandle) -> Option<Replica> {
        let registry = &self.soft.registry;
        let lease = self.soft.leases.live(now, handle);
        let goal = self.durable.chunks.get(handle).map_or(0, |chunk| usize::from(chunk.goal));
        let here = |replica: &Replica| {
            let server = registry.get(replica.server);
            server.link.is_some() || now < server.changed + RETURN_WAIT_MS
        };
        if self.current(handle).filter(here).count() >= goal {
            return None;
        }
        let work = self.soft.works.get(&handle);
        let could = |replica: &Replica| {
            let server = registry.get(replica.server);
            let member = lease.is_some_and(|lease| lease.has_member(server.uid));
            let run = (replica.server, server.session);
            let alive = server.alive(now) && server.reported;
            // The raise behind the lesson is of the same work: it would leave it out too, and the next lesson would follow at once.
            let left_out = work.is_some_and(|work| work.leaves_out(now, run.0, run.1));
            alive && !member && !left_out && !self.soft.learners.rests(now, handle, run)
        };
        self.may_learn(handle).filter(could).max_by_key(|replica| replica.version)
    }

    /// Replicas in touch that are stale, or damaged. One with a version that was never started is of another history: it is left
    /// alone. Before its birth a chunk has nothing to teach.
    pub(crate) fn may_learn(&self, handle: ChunkHandle) -> impl Iterator<Item = Replica> + '_ {
        let born = self.durable.chunks.unborn(handle).is_none();
        let chunk = self.durable.chunks.get(handle).filter(|_| born);
        let range = chunk.map(|chunk| chunk.version).zip(self.durable.chunks.started(handle));
        self.soft.registry.replicas(handle).filter(move |replica| {
            let Some((version, started)) = range else { return false };
            let bad = replica.version < version
                || (replica.state == ReplicaState::Corrupt && replica.version <= started);
            bad && self.soft.registry.get(replica.server).link.is_some()
        })
    }

    /// Who was made equal under the chunk's version in the run that is here now.
    pub(crate) fn taught(&self, handle: ChunkHandle) -> Vec<ServerIndex> {
        let version = self.durable.chunks.get(handle).map(|chunk| chunk.version);
        if mutants::runs(Mutant::UntaughtLearnerIsRaised) {
            return self.may_learn(handle).map(|replica| replica.server).collect();
        }
        let Some((under, runs)) = self.soft.learners.taught.get(&handle) else { return Vec::new() };
        if Some(*under) != version {
            return Vec::new();
        }
        let here = |(server, session): &&Run| {
            let its = self.soft.registry.get(*server);
            its.session == *session && its.link.is_some()
        };
        runs.iter().filter(here).map(|(server, _)| *server).collect()
    }

    /// Has the primary of a lease that runs teach one. Says whether it was told.
    pub(crate) fn teach(&mut self, step: &mut Step<'_>, handle: ChunkHandle) -> bool {
        let Some(learner) = self.learner(step.now, handle).map(|replica| replica.server) else {
            return false;
        };
        let Some(version) = self.durable.chunks.get(handle).map(|chunk| chunk.version) else {
            return false;
        };
        let Some(lease) = self.soft.leases.live(step.now, handle) else { return false };
        let primary = self.soft.registry.get(lease.primary);
        let here = primary.link.is_some() && primary.session == lease.session;
        if !here || lease.version != version || lease.teaching.is_some() {
            return false;
        }
        let primary = lease.primary;
        let session = self.soft.registry.get(learner).session;
        if let Some(lease) = self.soft.leases.last_of_mut(handle) {
            lease.teaching = Some(Teaching { server: learner, session, since: step.now });
        }
        self.order_lesson(step, primary, handle);
        true
    }

    /// Tells a primary whom to teach. Again where it comes on another stream than the one it was told on: what either said of a lesson
    /// may be lost with that one, and to be told twice is the same as once.
    pub(crate) fn order_lesson(
        &mut self,
        step: &mut Step<'_>,
        primary: ServerIndex,
        handle: ChunkHandle,
    ) {
        if !self.is_teaching(step.now, handle) {
            return;
        }
        let lease = self.soft.leases.last_of(handle).filter(|lease| lease.primary == primary);
        let Some((version, lesson)) = lease.map(|lease| (lease.version, lease.teaching)) else {
            return;
        };
        let Some(Teaching { server, session, .. }) = lesson else { return };
        let server = self.soft.registry.get(server);
        let learner = Member { chunkserver: server.uid, session, address: server.address.clone() };
        self.send(step, primary, Command::Teach { handle, version, learner });
    }

    /// A learner whose run is over, or of which nothing was heard for long, is given up. Says whether one is still being taught.
    pub(crate) fn is_teaching(&mut self, now: Instant, handle: ChunkHandle) -> bool {
        let Some(lease) = self.soft.leases.last_of_mut(handle) else { return false };
        let Some(Teaching { server, session, since }) = lease.teaching else { return false };
        let over = now >= lease.expires;
        let silent = now >= since + TEACH_MS;
        let lost = self.soft.registry.get(server).session != session;
        if over || silent || lost {
            lease.teaching = None;
            self.soft.learners.rest(now, handle, (server, session));
            return false;
        }
        true
    }

    /// What became of `Teach`. From a good answer on the primary takes no mutation, whether its learner is still here or not: a
    /// raise follows in any case.
    pub(crate) fn learner_taught(
        &mut self,
        step: &mut Step<'_>,
        primary: ServerIndex,
        (handle, version): (ChunkHandle, ChunkVersion),
        (learner, session): (ServerUid, ProcessSession),
        result: &Result<(), Error>,
    ) {
        let run = self.soft.registry.get(primary).session;
        let pupil = self.soft.registry.by_uid(learner);
        let Some(lease) = self.soft.leases.last_of_mut(handle).filter(|lease| {
            lease.version == version && lease.primary == primary && lease.session == run
        }) else {
            return;
        };
        let its = |one: &mut Teaching| Some(one.server) == pupil && one.session == session;
        lease.teaching.take_if(its);
        self.soft.repairs.note(step.now, handle);
        match (result, pupil) {
            (Err(_), Some(pupil)) => {
                self.soft.learners.rest(step.now, handle, (pupil, session));
            }
            (Err(_), None) => {}
            (Ok(()), pupil) => {
                let raised = self.durable.chunks.get(handle).map(|chunk| chunk.version);
                if raised != Some(version) {
                    return;
                }
                if let Some(pupil) = pupil {
                    self.soft.learners.has_learned(handle, version, (pupil, session));
                }
                self.spend(handle, version);
                self.advance(step, handle);
            }
        }
    }

    /// Forgets what is of no more use.
    pub(crate) fn sweep_learners(&mut self, now: Instant) {
        let chunks = &self.durable.chunks;
        let learners = &mut self.soft.learners;
        learners.taught.retain(|handle, (version, _)| {
            chunks.get(*handle).is_some_and(|chunk| chunk.version == *version)
        });
        learners.resting.retain(|_, (_, until)| now < *until);
    }
}
