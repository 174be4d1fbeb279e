//! What the master commands: birth, raise, lease, deletion.

use gfs_types::Error;
use gfs_types::fence::{ChunkVersion, MasterEpoch};
use gfs_types::marks::{Mark, hit};
use gfs_types::message::control::{FromChunkserver, LeaseStart, RaisedReplica};
use gfs_types::mutants::{Mutant, runs};
use gfs_types::region::ChunkSize;
use gfs_types::time::Instant;

use super::state::{Condition, Event};
use super::{Pending, Replica, Role};
use crate::effect::{Effect, StoreOp};
use crate::primary::{Grant, Primary};
use crate::sequence::Sequence;

impl Replica {
    /// Birth: an empty replica, durable before it is answered.
    pub(super) fn create(
        &mut self,
        now: Instant,
        version: ChunkVersion,
        epoch: MasterEpoch,
        chunk_size: ChunkSize,
        out: &mut Vec<Effect>,
    ) {
        if self.condition == Condition::Absent && self.deleted {
            let text = format!("chunk {}: its replica was deleted here", self.handle);
            return self.answer_created(now, version, Err(Error::stale(text)), out);
        }
        if self.condition == Condition::Absent {
            self.become_after(Event::Create);
            self.promised = version;
            self.epoch = epoch;
            self.settings.chunk_size = chunk_size;
            self.store(StoreOp::Create { version, chunk_size }, Pending::Create { version }, out);
            return;
        }
        if self.condition == Condition::Creating && self.promised == version {
            return; // The answer comes when it is on disk.
        }
        // Born in this session and untouched: the command came twice, the answer was lost.
        let newborn = matches!(self.role, Role::Ready) && self.raised.is_none() && self.length == 0;
        if newborn && self.stored == version {
            self.answer_created(now, version, Ok(()), out);
            return;
        }
        let (handle, stored) = (self.handle, self.stored);
        let text = format!("chunk {handle}: a replica of version {stored} is here already");
        self.answer_created(now, version, Err(Error::already_exists(text)), out);
    }

    pub(super) fn answer_created(
        &mut self,
        now: Instant,
        version: ChunkVersion,
        result: Result<(), Error>,
        out: &mut Vec<Effect>,
    ) {
        if result.is_ok() {
            self.answered = now;
        }
        let handle = self.handle;
        out.push(Effect::ToMaster(FromChunkserver::ReplicaCreated { handle, version, result }));
    }

    /// raise-2: accepts a version above everything it has or promised, if its own is not below `from`.
    pub(super) fn raise(
        &mut self,
        now: Instant,
        version: ChunkVersion,
        from: ChunkVersion,
        epoch: MasterEpoch,
        out: &mut Vec<Effect>,
    ) {
        if version == self.promised && self.condition.reported().is_some() {
            match self.raised {
                Some(raised) if self.stored == version => {
                    hit(Mark::RaiseAnsweredAgain);
                    self.answer_raised_again(raised, out);
                }
                // Being stored: the answer comes then.
                _ if self.stored < version => {}
                // Stored before a restart, or at birth.
                _ if matches!(self.role, Role::Idle | Role::Ready) => {
                    self.accept(now, version, epoch, out);
                }
                _ => {
                    let text = format!("chunk {}: a lease runs on version {version}", self.handle);
                    self.answer_raised(now, version, Err(Error::stale(text)), out);
                }
            }
            return;
        }
        match self.refusal(version, from) {
            Some(error) => self.answer_raised(now, version, Err(error), out),
            None => self.accept(now, version, epoch, out),
        }
    }

    fn refusal(&self, version: ChunkVersion, from: ChunkVersion) -> Option<Error> {
        let handle = self.handle;
        if self.condition.reported().is_none() {
            return Some(Error::not_found(format!("chunk {handle}: no replica of it is here")));
        }
        if version < self.promised && !runs(Mutant::LowerVersionStored) {
            hit(Mark::LowerVersionRefused);
            let promised = self.promised;
            let text =
                format!("chunk {handle}: version {promised} was accepted, {version} is lower");
            return Some(Error::stale(text));
        }
        if runs(Mutant::UntaughtLearnerIsRaised) {
            return None;
        }
        if self.is_learner() {
            let text = format!("chunk {handle}: this replica was not made equal under {from}");
            let taught = self.is_taught(from) && version > from;
            hit(if taught { Mark::LearnerRaised } else { Mark::UntaughtRefusedRaise });
            return (!taught).then(|| Error::stale(text));
        }
        if self.stored < from {
            hit(Mark::StaleRefusedRaise);
            let stored = self.stored;
            let text = format!(
                "chunk {handle}: this replica has version {stored}, {from} was raised since"
            );
            return Some(Error::stale(text));
        }
        None
    }

    /// From here on every order of a lower version is refused, before the new one is on disk.
    fn accept(
        &mut self,
        now: Instant,
        version: ChunkVersion,
        epoch: MasterEpoch,
        out: &mut Vec<Effect>,
    ) {
        let error = format!("chunk {}: version {version} was raised meanwhile", self.handle);
        self.carry_over(now, &error, out);
        self.promised = version;
        self.epoch = epoch;
        self.raised = None;
        self.unclean_raise();
        let was = self.condition.reported().expect("only a replica that is here is raised");
        self.store(StoreOp::SetVersion { version }, Pending::Raise { version, was }, out);
    }

    /// mut-4: after a raise that did not follow a clean end, an overwritten chunk shows nothing until the
    /// members are known to be equal. One that only grew at its end keeps showing what it knew to be
    /// committed: those bytes are on every member, whoever leads next.
    fn unclean_raise(&mut self) {
        if self.condition != Condition::Clean && self.overwritten {
            self.readable = false;
        }
        self.overwrites.clear();
        self.committed.serial = gfs_types::fence::SerialNumber(0);
    }

    pub(super) fn answer_raised(
        &mut self,
        now: Instant,
        version: ChunkVersion,
        result: Result<RaisedReplica, Error>,
        out: &mut Vec<Effect>,
    ) {
        if result.is_ok() {
            self.answered = now;
        }
        let handle = self.handle;
        out.push(Effect::ToMaster(FromChunkserver::Raised { handle, version, result }));
    }

    /// The command came again. The master may have granted since the first answer, so a lease still counts from that one; and what
    /// the replica is may have changed since, so that is told as it is now: it is the last thing the master hears of it.
    fn answer_raised_again(&self, first: RaisedReplica, out: &mut Vec<Effect>) {
        let (handle, version) = (self.handle, self.stored);
        let state = self.condition.reported().unwrap_or(first.state);
        let result = Ok(RaisedReplica { length: self.length, state, ..first });
        out.push(Effect::ToMaster(FromChunkserver::Raised { handle, version, result }));
    }

    /// A lease on a version that all members have. It runs from this replica's first answer about the version,
    /// which by its clock is never later than the grant by the master's (raise-7).
    pub(super) fn grant(
        &mut self,
        now: Instant,
        grant: Grant,
        start: LeaseStart,
        out: &mut Vec<Effect>,
    ) {
        let version = grant.version;
        if matches!(&self.role, Role::Primary(primary) if primary.version == version) {
            return; // The command came twice.
        }
        let sound = self.condition.may_mutate() || runs(Mutant::SuspectLeads);
        let authority = self.condition == Condition::Suspect && start == LeaseStart::AllSuspect;
        let fresh = matches!(self.role, Role::Ready) && version > self.granted;
        let again = matches!(self.role, Role::Idle) && runs(Mutant::GrantTakenAgain);
        let takes = (fresh || again)
            && version == self.stored
            && version == self.promised
            && (sound || authority)
            && now < grant.until
            && grant.members.iter().any(|member| self.is_me(member));
        if !takes {
            hit(Mark::GrantNotTaken);
            self.give_up_at_once(version, out);
            return;
        }
        self.granted = version;
        self.carry_on(now);
        self.sequence = Sequence::default();
        let primary = Primary::new(grant, self.epoch, self.settings, self.length, now);
        self.role = Role::Primary(Box::new(primary));
        self.start(now, start, out);
    }

    /// The lease is over already, or was never taken.
    pub(crate) fn give_up_at_once(&self, version: ChunkVersion, out: &mut Vec<Effect>) {
        let (handle, length) = (self.handle, self.committed.length);
        out.push(Effect::ToMaster(FromChunkserver::LeaseGivenUp { handle, version, length }));
    }

    /// collect: obeyed only if it still has the version that was reported.
    pub(super) fn delete(&mut self, version: ChunkVersion, out: &mut Vec<Effect>) {
        let handle = self.handle;
        let answer = |result, out: &mut Vec<Effect>| {
            out.push(Effect::ToMaster(FromChunkserver::ReplicaDeleted { handle, version, result }));
        };
        match self.condition {
            Condition::Absent => {
                self.deleted = true;
                return answer(Ok(()), out);
            }
            Condition::Deleting => return,
            Condition::Creating => {
                let text = format!("chunk {handle}: being made at this moment");
                return answer(Err(Error::busy(text)), out);
            }
            _ => {}
        }
        let its = version == self.stored && version == self.promised;
        if !its && !runs(Mutant::AnyVersionIsDeleted) {
            hit(Mark::DeletionRefused);
            let has = self.promised;
            let text = format!("chunk {handle}: this replica has version {has}, not {version}");
            return answer(Err(Error::stale(text)), out);
        }
        self.stop_following(&format!("chunk {handle}: the replica is being deleted"), out);
        self.become_after(Event::Delete);
        self.readable = false;
        self.store(StoreOp::Delete { version }, Pending::Delete { version }, out);
    }

    /// Ends whatever it does under the version it follows. What is in flight stays undecided: no one will
    /// acknowledge it under this version, and the next lease decides what became of it.
    pub(crate) fn stop_following(&mut self, why: &str, out: &mut Vec<Effect>) {
        self.stop_role(why, out);
        self.drop_carried(why, out);
    }

    /// ... but those who wait for what is applied here may go on waiting.
    pub(super) fn stop_role(&mut self, why: &str, out: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.role, Role::Idle) {
            Role::Idle | Role::Ready => {}
            Role::Pupil(pupil) => pupil.stop(why, out),
            Role::Secondary(secondary) => secondary.stop(why, out),
            Role::Primary(primary) => primary.stop(self.handle, why, out),
        }
        self.refuse_held(out);
        self.sequence = Sequence::default();
        self.retry = None;
        self.no_space = None;
        out.push(Effect::Drop { through: gfs_types::fence::SerialNumber(u64::MAX) });
    }
}
