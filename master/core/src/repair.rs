//! Chunks that are made equal, or get their learners back, without waiting for a writer (equal-5). A few at a time, and again
//! later and later where it does not succeed. A chunk whose replicas are good has no entry here.

use std::collections::{BTreeMap, BTreeSet};

use gfs_types::DurationMs;
use gfs_types::ids::ChunkHandle;
use gfs_types::message::control::{ReplicaReport, ReplicaState};
use gfs_types::time::Instant;

use crate::Master;
use crate::leases::CALM_MS;
use crate::master::Step;
use crate::raise::Work;

/// Chunks that are looked at in one tick.
const LOOKS_A_TICK: usize = 256;
/// A chunk that still needs repair is looked at again after this time, then after twice that, and so on.
const FIRST_DELAY_MS: DurationMs = DurationMs(1_000);
/// Not later than this: what heals without anybody coming anew (a network between chunkservers) is found within it.
const LAST_DELAY_MS: DurationMs = DurationMs(10_000);

/// Chunks that may need repair, and when each is looked at.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    chunks: BTreeMap<ChunkHandle, Candidate>,
    queue: BTreeSet<(Instant, ChunkHandle)>,
    /// Begun, and neither over nor taken up by a client.
    running: BTreeSet<ChunkHandle>,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    due: Instant,
    delay: DurationMs,
}

/// What a look at a chunk found.
enum Look {
    /// Nothing to do here.
    Healthy,
    /// It is to be looked at again when something can have come of it.
    Later,
    /// It is to be looked at again, and not sooner than before: this did not succeed yet.
    Tried,
    /// There is something to do, as soon as others are done.
    Full,
    /// Not before this.
    NotBefore(Instant),
}

impl Repairs {
    /// Something happened after which a chunk may need repair, or be ready for it. The time since it was last tried still counts.
    pub(crate) fn note(&mut self, due: Instant, handle: ChunkHandle) {
        if !self.chunks.contains_key(&handle) {
            self.put(handle, Candidate { due, delay: FIRST_DELAY_MS });
        }
    }

    /// One came that a chunk may have waited for: it is looked at now.
    pub(crate) fn hasten(&mut self, now: Instant, handle: ChunkHandle) {
        if self.chunks.contains_key(&handle) {
            self.put(handle, Candidate { due: now, delay: FIRST_DELAY_MS });
        }
    }

    fn put(&mut self, handle: ChunkHandle, candidate: Candidate) {
        if let Some(old) = self.chunks.insert(handle, candidate) {
            self.queue.remove(&(old.due, handle));
        }
        self.queue.insert((candidate.due, handle));
    }

    /// The first that is due; it stays in the table.
    fn take_due(&mut self, now: Instant) -> Option<(ChunkHandle, Candidate)> {
        let (due, handle) = *self.queue.first().filter(|(due, _)| *due <= now)?;
        self.queue.remove(&(due, handle));
        self.chunks.remove(&handle).map(|candidate| (handle, candidate))
    }

    /// This one, if it is due.
    fn take_if_due(&mut self, now: Instant, handle: ChunkHandle) -> Option<Candidate> {
        let due =
            self.chunks.get(&handle).map(|candidate| candidate.due).filter(|due| *due <= now)?;
        self.queue.remove(&(due, handle));
        self.chunks.remove(&handle)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.chunks.len()
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn is_consistent(&self) -> bool {
        let queued = |(handle, candidate): (&ChunkHandle, &Candidate)| {
            self.queue.contains(&(candidate.due, *handle))
        };
        self.queue.len() == self.chunks.len() && self.chunks.iter().all(queued)
    }
}

impl Master {
    /// Chunks that wait to be looked at or made equal, and those at which it is going on: for metrics.
    #[must_use]
    pub fn repairs(&self) -> (usize, usize) {
        (self.soft.repairs.waiting(), self.soft.repairs.running())
    }

    /// A replica was reported. Cheap where it is as it should be: that is nearly always.
    pub(crate) fn note_report(&mut self, now: Instant, report: &ReplicaReport, came: bool) {
        let Some(chunk) = self.durable.chunks.get(report.handle) else { return };
        let few = chunk.members < chunk.goal;
        if report.state != ReplicaState::Clean || report.version < chunk.version || few {
            self.soft.repairs.note(now, report.handle);
        }
        if came {
            self.soft.repairs.hasten(now, report.handle);
        }
    }

    /// Looks for replicas that servers came back without, in some of the chunks.
    pub(crate) fn note_lost(&mut self, now: Instant) {
        for lost in self.soft.registry.search_lost() {
            self.soft.repairs.note(now, lost);
        }
    }

    /// Looks at those that are due, and begins what it may.
    pub(crate) fn repair_some(&mut self, step: &mut Step<'_>) {
        let running = std::mem::take(&mut self.soft.repairs.running);
        for handle in running {
            if self.is_repaired(step.now, handle) {
                self.soft.repairs.running.insert(handle);
            }
        }
        // First what goes on: its next step must not wait behind those that may not begin before it is done.
        for handle in self.soft.repairs.running.clone() {
            if let Some(old) = self.soft.repairs.take_if_due(step.now, handle) {
                self.look_and_put(step, handle, old);
            }
        }
        for _ in 0..LOOKS_A_TICK {
            let Some((handle, old)) = self.soft.repairs.take_due(step.now) else { break };
            if !self.look_and_put(step, handle, old) {
                break;
            }
        }
    }

    /// Looks at one, and says when again. `false`: enough goes on already.
    fn look_and_put(&mut self, step: &mut Step<'_>, handle: ChunkHandle, old: Candidate) -> bool {
        let again = Candidate { due: step.now + old.delay, ..old };
        let delay = DurationMs((old.delay.0 * 2).min(LAST_DELAY_MS.0));
        let look = self.look(step, handle);
        let full = matches!(look, Look::Full);
        let next = match look {
            Look::Healthy => {
                self.soft.registry.forget_lost(handle);
                return true;
            }
            Look::Later => again,
            Look::Tried => Candidate { delay, ..again },
            Look::NotBefore(due) => Candidate { due, ..old },
            Look::Full => old,
        };
        self.soft.repairs.put(handle, next);
        !full
    }

    /// Whether what was begun goes on, and not for a client.
    fn is_repaired(&mut self, now: Instant, handle: ChunkHandle) -> bool {
        let work = self.soft.works.get(&handle);
        let unasked = self.soft.leases.live(now, handle).is_some_and(|lease| lease.unasked);
        work.is_some_and(|work| work.unasked && work.waiters.is_empty())
            || (unasked && work.is_none_or(|work| work.waiters.is_empty()))
            || self.is_teaching(now, handle)
    }

    fn look(&mut self, step: &mut Step<'_>, handle: ChunkHandle) -> Look {
        if self.durable.chunks.get(handle).is_none() || !self.may_hold_something(handle) {
            return Look::Healthy;
        }
        self.note_birth(step, handle);
        if self.soft.works.contains_key(&handle) {
            return Look::Later;
        }
        if self.soft.leases.live(step.now, handle).is_some() {
            return self.look_at_leased(step, handle);
        }
        let over = self.soft.leases.last_of(handle).and_then(|lease| lease.over_since(step.now));
        if let Some(calm) = over.map(|since| since + CALM_MS).filter(|calm| step.now < *calm) {
            return Look::NotBefore(calm);
        }
        let learner = self.learner(step.now, handle).is_some();
        if !learner && !self.differs(handle) {
            self.invite(step, handle);
            return if self.wants_more(handle) { Look::Tried } else { Look::Healthy };
        }
        let work = Work { unasked: true, ..Work::new() };
        let Ok(members) = self.members_of_raise(step.now, handle, &work) else {
            return Look::Tried;
        };
        if !self.may_begin(handle) {
            return Look::Full;
        }
        self.soft.works.insert(handle, work);
        self.start_raise(step, handle, members);
        Look::Tried
    }

    /// Under a lease the primary makes the members equal; learners are all there is to do.
    fn look_at_leased(&mut self, step: &mut Step<'_>, handle: ChunkHandle) -> Look {
        if self.begun_before(handle) {
            let version = self.durable.chunks.get(handle).map(|chunk| chunk.version);
            self.spend(handle, version.unwrap_or_default());
            self.advance(step, handle);
            return Look::Tried;
        }
        if self.is_teaching(step.now, handle) {
            return Look::Later;
        }
        if self.learner(step.now, handle).is_some() {
            if !self.may_begin(handle) {
                return Look::Full;
            }
            self.teach(step, handle);
            return Look::Tried;
        }
        if self.invite(step, handle) {
            return Look::Tried;
        }
        let unasked = self.soft.leases.live(step.now, handle).is_some_and(|lease| lease.unasked);
        if unasked || self.wants_more(handle) { Look::Later } else { Look::Healthy }
    }

    /// Who rests, is silent, or is one too many now may be wanted later; or one that is not here yet.
    fn wants_more(&self, handle: ChunkHandle) -> bool {
        let may_come = self.may_learn(handle).next().is_some() || self.may_have_newcomer(handle);
        may_come && self.is_short(handle)
    }

    /// A number was started and nobody waits for the answers: by an earlier process, or the work was dropped. Whoever stored it takes no
    /// orders under the version of the lease, so that is of no more use.
    pub(crate) fn begun_before(&self, handle: ChunkHandle) -> bool {
        let version = self.durable.chunks.get(handle).map(|chunk| chunk.version);
        self.durable.chunks.started(handle) > version
    }

    /// Nothing was written to a chunk that was not born, as far as the log knows. But the record of the birth is not waited for: where
    /// machines lost power, the master's may have taken it, and readers wait for what was acknowledged, or for the word that it is gone.
    fn may_hold_something(&self, handle: ChunkHandle) -> bool {
        let suspect = |replica: crate::registry::Replica| replica.state == ReplicaState::Suspect;
        self.durable.chunks.unborn(handle).is_none()
            || self.was_written(handle)
            || (!self.was_never_granted(handle) && self.current(handle).any(suspect))
    }

    fn may_begin(&mut self, handle: ChunkHandle) -> bool {
        let running = &mut self.soft.repairs.running;
        let may = running.len() < self.settings.pace.repairs_max || running.contains(&handle);
        if may {
            running.insert(handle);
        }
        may
    }

    /// Whether a replica in touch did not end its last lease in order.
    fn differs(&self, handle: ChunkHandle) -> bool {
        let linked = |server| self.soft.registry.get(server).link.is_some();
        self.current(handle)
            .any(|replica| replica.state != ReplicaState::Clean && linked(replica.server))
    }

    /// Whether fewer good replicas are in touch than are wanted.
    fn is_short(&self, handle: ChunkHandle) -> bool {
        let goal = self.durable.chunks.get(handle).map_or(0, |chunk| usize::from(chunk.goal));
        let linked = |replica: &crate::registry::Replica| {
            self.soft.registry.get(replica.server).link.is_some()
        };
        self.current(handle).filter(linked).count() < goal
    }
}
