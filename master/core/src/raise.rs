//! Raises (raise-1 to raise-7 of the chunk protocol): the only way members or primary of a chunk change.
//!
//! A [`Work`] is what goes on with one chunk that somebody wants mutations of: waiting for members to come back, a birth or
//! raise whose answers are awaited, or replicas found unequal, where equalising will begin.

mod round;

use std::collections::BTreeSet;

use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ServerUid};
use gfs_types::limits::{MEMBER_WAIT_MS, REPLICATION_MAX};
use gfs_types::message::client::Response;
use gfs_types::message::control::{Command, ReplicaState};
use gfs_types::region::ChunkIndex;
use gfs_types::time::Instant;
use gfs_types::{DurationMs, Error};

use crate::leases::SETTLE_MS;
use crate::master::{Caller, Step};
use crate::record::Change;
use crate::registry::{Replica, ServerIndex};
use crate::{Connection, Master};

pub(crate) use round::{Answer, Asked, Round};

/// Unequal replicas are looked at again after this time.
const UNEQUAL_RETRY_MS: DurationMs = DurationMs(1_000);

/// A client that waits for a lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiter {
    pub(crate) to: Caller,
    pub(crate) file: gfs_types::ids::FileId,
    pub(crate) index: ChunkIndex,
    pub(crate) since: Instant,
}

/// What goes on with a chunk.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) waiters: Vec<Waiter>,
    pub(crate) stage: Stage,
    /// The primary's or a client's word that this version is of no more use.
    pub(crate) spent: Option<ChunkVersion>,
    /// Left out: they failed or gave no answer (raise-3, raise-4).
    pub(crate) left_out: BTreeSet<ServerIndex>,
    /// No wait for members that are not here: their absence is the reason, or was waited for.
    pub(crate) hurry: bool,
}

/// How far it is.
#[derive(Debug)]
pub(crate) enum Stage {
    /// For enough members (raise-6), or for the end of a lease (raise-7).
    Waiting,
    /// For answers.
    Asked(Round),
    /// The replicas that stored the number differ. Equalising (equal-1) will begin here; until it is built, clients are told.
    Unequal {
        /// When to look again.
        until: Instant,
        /// What was found.
        found: String,
    },
}

impl Work {
    pub(crate) fn new() -> Self {
        Self {
            waiters: Vec::new(),
            stage: Stage::Waiting,
            spent: None,
            left_out: BTreeSet::new(),
            hurry: false,
        }
    }
}

impl Master {
    /// Does what can be done now for a chunk somebody waits for.
    pub(crate) fn advance(&mut self, step: &mut Step<'_>, handle: ChunkHandle) {
        let Some(work) = self.soft.works.get(&handle) else { return };
        match &work.stage {
            Stage::Waiting => self.advance_waiting(step, handle),
            Stage::Asked(round) if round.is_over(step.now) => self.conclude(step, handle),
            Stage::Asked(_) => {}
            Stage::Unequal { until, found } => {
                if step.now >= *until {
                    let work = self.soft.works.get_mut(&handle).expect("it was there a moment ago");
                    work.stage = Stage::Waiting;
                    self.advance_waiting(step, handle);
                } else {
                    let error = busy(found.clone(), 500);
                    self.fail_waiters(step, handle, &error);
                }
            }
        }
    }

    fn advance_waiting(&mut self, step: &mut Step<'_>, handle: ChunkHandle) {
        if self.answer_from_lease(step, handle) || self.reallocate(step, handle) {
            return;
        }
        let Some(work) = self.soft.works.get(&handle) else { return };
        if work.waiters.is_empty() && work.spent.is_none() {
            self.soft.works.remove(&handle);
            return;
        }
        match self.members_of_raise(step.now, handle) {
            Ok(members) => self.start_raise(step, handle, members),
            Err(_) => {
                self.expire_waiters(step, handle);
                if self.soft.works.get(&handle).is_some_and(|work| work.waiters.is_empty()) {
                    self.soft.works.remove(&handle);
                }
            }
        }
    }

    /// A lease that is out and of use is what the waiters get.
    fn answer_from_lease(&mut self, step: &mut Step<'_>, handle: ChunkHandle) -> bool {
        let Some(lease) = self.soft.leases.live(step.now, handle) else { return false };
        let Some(work) = self.soft.works.get(&handle) else { return false };
        let primary = self.soft.registry.get(lease.primary);
        let here = primary.session == lease.session && primary.link.is_some();
        let settling = step.now < lease.granted + SETTLE_MS;
        let spent = work.spent == Some(lease.version) && (work.hurry || !settling);
        if !here || spent {
            return false;
        }
        let Some(grant) = self.grant_of(step.now, handle, lease) else { return false };
        let work = self.soft.works.remove(&handle).expect("it was there a moment ago");
        for waiter in work.waiters {
            let grant =
                gfs_types::message::client::LeaseGrant { index: waiter.index, ..grant.clone() };
            self.reply(step, waiter.to, Ok(Response::Lease(grant)));
        }
        true
    }

    /// Current replicas (raise-5): with a version from the last raised to the highest started.
    pub(crate) fn current(&self, handle: ChunkHandle) -> impl Iterator<Item = &Replica> + '_ {
        let chunk = self.durable.chunks.get(handle);
        let highest = self.durable.chunks.started(handle);
        let range = chunk.map(|chunk| chunk.version).zip(highest);
        self.soft.registry.replicas(handle).iter().filter(move |replica| {
            range.is_some_and(|(low, high)| (low..=high).contains(&replica.version))
                && replica.state != ReplicaState::Corrupt
        })
    }

    /// The members of a raise that may begin now (raise-1, raise-4, raise-6, raise-7, equal-2); or what it waits for.
    fn members_of_raise(
        &self,
        now: Instant,
        handle: ChunkHandle,
    ) -> Result<Vec<ServerIndex>, Error> {
        let (Some(work), Some(chunk)) =
            (self.soft.works.get(&handle), self.durable.chunks.get(handle))
        else {
            return Err(Error::internal(format!("chunk {handle} is not there")));
        };
        let here: Vec<&Replica> = self
            .current(handle)
            .filter(|replica| !work.left_out.contains(&replica.server))
            .filter(|replica| self.soft.registry.get(replica.server).link.is_some())
            .take(usize::from(REPLICATION_MAX))
            .collect();
        let expected = usize::from(chunk.members);
        if here.len() < expected && !work.hurry && now < self.members_may_return_until(handle) {
            return Err(busy(self.missing(handle, here.len(), expected), 200));
        }
        let suspects = here.iter().filter(|replica| replica.state == ReplicaState::Suspect).count();
        if here.is_empty() || (suspects == here.len() && here.len() < expected) {
            return Err(busy(self.missing(handle, here.len() - suspects, expected), 1_000));
        }
        if let Some(lease) = self.soft.leases.live(now, handle)
            && !here.iter().any(|replica| replica.server == lease.primary)
            && self.soft.registry.get(lease.primary).session == lease.session
        {
            let left = lease.expires.ms_since(now);
            return Err(busy(
                format!(
                    "chunk {handle}: its primary {} is out of reach and may hold the lease for {left}; try again then",
                    self.soft.registry.get(lease.primary).uid
                ),
                u32::try_from(left.0).unwrap_or(u32::MAX),
            ));
        }
        Ok(here.iter().map(|replica| replica.server).collect())
    }

    /// Until when a raise waits for members that are not here: this process is young, or one that held the chunk went a moment
    /// ago, or one came and has not told yet what it holds.
    fn members_may_return_until(&self, handle: ChunkHandle) -> Instant {
        let registry = &self.soft.registry;
        let mut last = self.serving_since().unwrap_or_default();
        if let Some(members) = self.durable.chunks.unborn(handle) {
            let told = |uid: &ServerUid| {
                registry.by_uid(*uid).is_some_and(|index| registry.get(index).reported)
            };
            if members.iter().all(told) {
                last = Instant::default();
            }
        }
        let gone = self.current(handle).map(|replica| registry.get(replica.server));
        let gone = gone.filter(|server| server.link.is_none());
        let silent = registry.iter().map(|(_, server)| server);
        let silent = silent.filter(|server| server.link.is_some() && !server.reported);
        let last = gone.chain(silent).map(|server| server.changed).fold(last, Instant::max);
        last + MEMBER_WAIT_MS
    }

    /// For a person: which replicas are not here.
    fn missing(&self, handle: ChunkHandle, here: usize, expected: usize) -> String {
        let registry = &self.soft.registry;
        let away: Vec<String> = self
            .current(handle)
            .map(|replica| registry.get(replica.server))
            .filter(|server| server.link.is_none())
            .map(|server| format!("{} at {}", server.uid, server.address))
            .collect();
        let who = if away.is_empty() {
            "the missing ones have not reported since the master started".to_owned()
        } else {
            format!("out of touch: {}", away.join(", "))
        };
        format!(
            "chunk {handle}: {here} of {expected} current replicas can take part in a new version; {who}; \
             bring those chunkservers back, or try again"
        )
    }

    /// raise-1: logs a new number, asks all of M to store it.
    pub(crate) fn start_raise(
        &mut self,
        step: &mut Step<'_>,
        handle: ChunkHandle,
        members: Vec<ServerIndex>,
    ) {
        let chunk = self.durable.chunks.get(handle).expect("a chunk being raised is there");
        let from = chunk.version;
        let started = self.durable.chunks.started(handle).expect("a chunk being raised is there");
        let number = started.next();
        self.commit(step, None, Change::RaiseStarted { handle, number });
        for member in &members {
            self.send(step, *member, Command::Raise { handle, version: number, from });
        }
        let round = Round::new(step.now, number, false, self.asked(members));
        if let Some(work) = self.soft.works.get_mut(&handle) {
            work.stage = Stage::Asked(round);
        }
    }

    pub(crate) fn asked(&self, members: Vec<ServerIndex>) -> Vec<Asked> {
        let asked = |server| Asked {
            server,
            session: self.soft.registry.get(server).session,
            answer: Answer::Awaited,
        };
        members.into_iter().map(asked).collect()
    }

    /// The members were found unequal: nothing was acknowledged under the number, so it is left as it is.
    fn unequal(&mut self, step: &mut Step<'_>, handle: ChunkHandle, found: String) {
        let error = busy(found.clone(), 500);
        self.fail_waiters(step, handle, &error);
        if let Some(work) = self.soft.works.get_mut(&handle) {
            work.hurry = false;
            work.spent = None;
            work.left_out.clear();
            work.stage = Stage::Unequal { until: step.now + UNEQUAL_RETRY_MS, found };
        }
    }

    /// Those who waited long enough are told to come again.
    fn expire_waiters(&mut self, step: &mut Step<'_>, handle: ChunkHandle) {
        let reason = match self.members_of_raise(step.now, handle) {
            Ok(_) => {
                busy(format!("chunk {handle}: its members take long to answer; try again"), 200)
            }
            Err(reason) => reason,
        };
        let Some(work) = self.soft.works.get_mut(&handle) else { return };
        let now = step.now;
        let over: Vec<_> =
            work.waiters.extract_if(.., |waiter| now >= waiter.since + MEMBER_WAIT_MS).collect();
        for waiter in over {
            self.reply(step, waiter.to, Err(reason.clone()));
        }
    }

    /// What time brings: answers that do not come, waits that end.
    pub(crate) fn advance_all(&mut self, step: &mut Step<'_>) {
        let all: Vec<_> = self.soft.works.keys().copied().collect();
        for handle in all {
            self.advance(step, handle);
            if self.soft.works.get(&handle).is_some_and(|work| !work.waiters.is_empty()) {
                self.expire_waiters(step, handle);
            }
        }
    }

    pub(crate) fn fail_waiters(&mut self, step: &mut Step<'_>, handle: ChunkHandle, error: &Error) {
        let Some(work) = self.soft.works.get_mut(&handle) else { return };
        for waiter in std::mem::take(&mut work.waiters) {
            self.reply(step, waiter.to, Err(error.clone()));
        }
    }

    pub(crate) fn fail_all_waiters(&mut self, step: &mut Step<'_>) {
        let Err(error) = self.lifecycle.check_serving() else { return };
        for (_, work) in std::mem::take(&mut self.soft.works) {
            for waiter in work.waiters {
                self.reply(step, waiter.to, Err(error.clone()));
            }
        }
    }

    pub(crate) fn forget_waiters_of(&mut self, connection: Connection) {
        for work in self.soft.works.values_mut() {
            work.waiters.retain(|waiter| waiter.to.connection != connection);
        }
    }
}

pub(crate) fn busy(message: String, retry_after_ms: u32) -> Error {
    Error { retry_after_ms, ..Error::busy(message) }
}
