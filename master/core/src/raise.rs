//! Raises (raise-1 to raise-7 of the chunk protocol): the only way members or primary of a chunk change.
//!
//! A [`Work`] is what goes on with one chunk that somebody wants mutations of, or that is to be made equal: waiting for members to
//! come back, or a birth or raise whose answers are awaited.

mod alone;
mod members;
mod round;

use std::collections::BTreeMap;

use gfs_types::Error;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ProcessSession};
use gfs_types::limits::MEMBER_WAIT_MS;
use gfs_types::message::client::Response;
use gfs_types::message::control::Command;
use gfs_types::mutants::{Mutant, runs};
use gfs_types::region::ChunkIndex;
use gfs_types::time::Instant;

use crate::leases::{Lease, SETTLE_MS};
use crate::master::{Caller, Step};
use crate::record::Change;
use crate::registry::ServerIndex;
use crate::{Connection, Master};

pub(crate) use round::{Answer, Asked, Round};

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
    /// Left out for a while, and since when: these runs failed or gave no answer (raise-3, raise-4). The next run of the same server is
    /// another matter.
    pub(crate) left_out: BTreeMap<(ServerIndex, ProcessSession), Instant>,
    /// Mutations wait at a primary: members that are not here are waited for no longer than it takes to start again.
    pub(crate) hurry: bool,
    /// Begun to make the replicas equal, not for a client (equal-5).
    pub(crate) unasked: bool,
}

/// How far it is.
#[derive(Debug)]
pub(crate) enum Stage {
    /// For enough members (raise-6), or for the end of a lease (raise-7).
    Waiting,
    /// For answers.
    Asked(Round),
}

impl Work {
    pub(crate) fn new() -> Self {
        Self {
            waiters: Vec::new(),
            stage: Stage::Waiting,
            spent: None,
            left_out: BTreeMap::new(),
            hurry: false,
            unasked: false,
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
        }
    }

    /// The lease of this version is of no more use: a raise follows, with its primary in it (raise-4).
    pub(crate) fn spend(&mut self, handle: ChunkHandle, version: ChunkVersion) -> &mut Work {
        let unasked = self.soft.leases.last_of(handle).is_some_and(|lease| lease.unasked);
        let work = self.soft.works.entry(handle).or_insert_with(|| Work { unasked, ..Work::new() });
        work.spent = Some(version);
        work.hurry = true;
        work
    }

    fn advance_waiting(&mut self, step: &mut Step<'_>, handle: ChunkHandle) {
        if self.answer_from_lease(step, handle) || self.awaits_lesson(step, handle) {
            return;
        }
        let Some(work) = self.soft.works.get(&handle) else { return };
        let wanted = !work.waiters.is_empty() || work.spent.is_some() || work.unasked;
        let members = self.members_of_raise(step.now, handle, work);
        let logged = self.soft.room.may_log().is_ok();
        match members.ok().filter(|_| wanted && logged) {
            Some(members) => self.start_raise(step, handle, members),
            None if self.reallocate(step, handle) => {}
            None => {
                self.expire_waiters(step, handle);
                self.drop_unwanted(step.now, handle);
            }
        }
    }

    /// Work that nobody waits for ends, unless a primary does: it has mutations that need a new version.
    fn drop_unwanted(&mut self, now: Instant, handle: ChunkHandle) {
        let Some(work) = self.soft.works.get(&handle) else { return };
        let primary_waits =
            self.soft.leases.live(now, handle).is_some_and(|lease| {
                self.holder_is_here(lease) && work.spent == Some(lease.version)
            });
        if work.waiters.is_empty() && !primary_waits {
            self.soft.works.remove(&handle);
            self.soft.repairs.note(now, handle);
        }
    }

    /// A lease that is out and of use is what the waiters get.
    fn answer_from_lease(&mut self, step: &mut Step<'_>, handle: ChunkHandle) -> bool {
        let Some(lease) = self.soft.leases.live(step.now, handle) else { return false };
        let Some(work) = self.soft.works.get(&handle) else { return false };
        let of_use = self.holder_is_here(lease) && !self.is_alone(handle);
        let settling = step.now < lease.granted + SETTLE_MS;
        let spent = work.spent == Some(lease.version) && (work.hurry || !settling);
        if !of_use || spent {
            return false;
        }
        let Some(grant) = self.grant_of(step.now, handle, lease) else { return false };
        if !work.waiters.is_empty()
            && let Some(lease) = self.soft.leases.last_of_mut(handle)
        {
            lease.unasked = false;
        }
        let work = self.soft.works.remove(&handle).expect("it was there a moment ago");
        for waiter in work.waiters {
            let grant =
                gfs_types::message::client::LeaseGrant { index: waiter.index, ..grant.clone() };
            self.reply(step, waiter.to, Ok(Response::Lease(grant)));
        }
        true
    }

    /// Whether the run that was granted this lease is in touch.
    fn holder_is_here(&self, lease: &Lease) -> bool {
        let primary = self.soft.registry.get(lease.primary);
        primary.link.is_some() && primary.session == lease.session
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
        let late = runs(Mutant::NumberNotLogged);
        if !late {
            self.commit(step, None, Change::RaiseStarted { handle, number });
        }
        for member in &members {
            self.send(step, *member, Command::Raise { handle, version: number, from });
        }
        if late {
            self.commit(step, None, Change::RaiseStarted { handle, number });
        }
        let until = step.now + self.settings.pace.raise_answer_ms;
        let round = Round::new(until, number, false, self.asked(members));
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

    /// Those who waited long enough are told to come again.
    fn expire_waiters(&mut self, step: &mut Step<'_>, handle: ChunkHandle) {
        let Some(work) = self.soft.works.get(&handle) else { return };
        let reason = match self.members_of_raise(step.now, handle, work) {
            Ok(_) if self.is_alone(handle) => busy(
                format!(
                    "chunk {handle}: one replica is left, and another is being made equal to it; try again"
                ),
                200,
            ),
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
