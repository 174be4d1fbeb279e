//! A stale or damaged replica learns what the members hold, and is taken in by the raise that follows (equal-4).
//!
//! It copies beside the mutations first. When little is left, none is taken until it has the rest. Then the primary is sealed: it never
//! takes a mutation of this version again, so the learner lacks nothing that is ever acknowledged under it.

use std::collections::VecDeque;

use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;
use gfs_types::limits::{
    EQUALISE_MS, FREEZE_MS, LEARNERS_WAITING_MAX, MEMBER_SILENT_MS, SEALED_MS, TEACH_PASSES_MAX,
};
use gfs_types::marks::{Mark, hit};
use gfs_types::message::control::{FromChunkserver, Member};
use gfs_types::message::data::{DataResponse, Equalise, Target};
use gfs_types::time::Instant;
use gfs_types::{Error, ErrorKind};

use super::equalise::{MEMBERS_PASS, again};
use super::{Phase, Primary};
use crate::effect::{Effect, Message, MessageBody};
use crate::input::{Peer, ReadOut};
use crate::replica::{Replica, Role};

/// Who learns, and who waits for it.
#[derive(Debug)]
pub(crate) struct School {
    learner: Option<Learner>,
    waiting: VecDeque<Member>,
    /// Names the last pass that was asked for.
    pass: u64,
}

/// The one that learns.
#[derive(Debug)]
struct Learner {
    member: Member,
    stage: Stage,
    began: Instant,
    /// Passes it made beside the mutations.
    passes: u32,
    sent: Instant,
    heard: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It copies, mutations go on.
    Copying,
    /// No mutation is taken; those in flight, and syncs, come to their end.
    Freezing { since: Instant },
    /// Nothing changes any more: the last pass. `compared`: it asked for the checksums since, so that its answer is no older.
    Last { since: Instant, compared: bool },
    /// It is equal, and the version takes no mutation ever again.
    Sealed { since: Instant },
}

impl Default for School {
    fn default() -> Self {
        Self { learner: None, waiting: VecDeque::new(), pass: MEMBERS_PASS }
    }
}

impl Learner {
    fn run(&self) -> Peer {
        run(&self.member)
    }

    fn since(&self) -> Option<Instant> {
        match self.stage {
            Stage::Copying => None,
            Stage::Freezing { since } | Stage::Last { since, .. } | Stage::Sealed { since } => {
                Some(since)
            }
        }
    }

    /// What is due for it that no message will bring.
    fn wakeup(&self) -> Instant {
        let overdue = again(self.sent, self.heard);
        match self.stage {
            Stage::Copying => overdue,
            Stage::Freezing { since } => since + FREEZE_MS,
            Stage::Last { since, .. } => overdue.min(since + FREEZE_MS),
            Stage::Sealed { since } => since + SEALED_MS,
        }
    }
}

fn taught(
    handle: ChunkHandle,
    version: ChunkVersion,
    learner: &Member,
    result: Result<(), Error>,
) -> Effect {
    let (learner, session) = (learner.chunkserver, learner.session);
    Effect::ToMaster(FromChunkserver::LearnerTaught { handle, version, learner, session, result })
}

fn run(member: &Member) -> Peer {
    Peer { chunkserver: member.chunkserver, session: member.session }
}

impl Primary {
    fn stage(&self) -> Option<Stage> {
        self.school.learner.as_ref().map(|learner| learner.stage)
    }

    /// equal-4: no mutation of this version is taken ever again.
    pub(crate) fn is_sealed(&self) -> bool {
        matches!(self.stage(), Some(Stage::Sealed { .. }))
    }

    /// Whether mutations have to wait for a learner.
    pub(super) fn is_frozen(&self) -> bool {
        self.stage().is_some_and(|stage| stage != Stage::Copying)
    }

    /// Whether nobody learns or waits, or was taught.
    pub(super) fn school_is_empty(&self) -> bool {
        self.school.learner.is_none() && self.school.waiting.is_empty()
    }

    /// Whether a learner is at work, or about to be.
    pub(super) fn teaches(&self) -> bool {
        let at_work = self.school.learner.is_some() && !self.is_sealed();
        at_work || !self.school.waiting.is_empty()
    }

    pub(super) fn learns(&self, who: Peer) -> bool {
        self.school.learner.as_ref().is_some_and(|learner| learner.run() == who)
    }

    pub(super) fn teach_wakeup(&self) -> Option<Instant> {
        let learner = self.school.learner.as_ref().filter(|_| self.phase == Phase::Serving);
        learner.map(Learner::wakeup)
    }

    /// Somebody asks for what is here: if it is the learner in its last pass, its copy is not from before.
    pub(super) fn compared(&mut self, from: Peer, what: ReadOut) {
        if let Some(learner) = &mut self.school.learner
            && learner.run() == from
            && let Stage::Last { compared, .. } = &mut learner.stage
        {
            *compared |= what == ReadOut::Checksums;
        }
    }

    fn ask_learner(&mut self, target: Target, now: Instant, out: &mut Vec<Effect>) {
        let (pass, source) = (self.school.pass, self.source.clone());
        let Some(learner) = &mut self.school.learner else { return };
        learner.sent = now;
        let last = matches!(learner.stage, Stage::Last { .. });
        let body = MessageBody::Equalise { pass, equalise: Equalise { source, last } };
        out.push(Effect::Send(Message { to: learner.member.clone(), target, body }));
    }

    fn next_pass(&mut self, target: Target, now: Instant, out: &mut Vec<Effect>) {
        self.school.pass += 1;
        self.ask_learner(target, now, out);
    }

    /// Nobody learns under this lease any more: who did, or waits, is named. One that is taught stays so.
    pub(super) fn dismiss(&mut self, handle: ChunkHandle, why: &str, out: &mut Vec<Effect>) {
        let at_work = match self.is_sealed() {
            true => None,
            false => self.school.learner.take().map(|learner| learner.member),
        };
        for learner in at_work.into_iter().chain(std::mem::take(&mut self.school.waiting)) {
            out.push(taught(handle, self.version, &learner, Err(Error::busy(why))));
        }
    }
}

impl Replica {
    /// `Command::Teach`.
    pub(crate) fn teach(
        &mut self,
        now: Instant,
        version: ChunkVersion,
        learner: Member,
        out: &mut Vec<Effect>,
    ) {
        let handle = self.handle;
        let refuse = |error: Error, out: &mut Vec<Effect>| {
            out.push(taught(handle, version, &learner, Err(error)));
        };
        let bad = self.condition == crate::Condition::Corrupt;
        let Role::Primary(primary) = &mut self.role else {
            return refuse(self.not_primary(), out);
        };
        let school = &mut primary.school;
        let current = school.learner.as_ref().map(|learner| (learner.run(), learner.stage));
        match (current, primary.phase) {
            _ if primary.version != version => refuse(self.not_primary(), out),
            (Some((of, Stage::Sealed { .. })), _) if of == run(&learner) => {
                out.push(taught(handle, version, &learner, Ok(())));
            }
            (Some((_, Stage::Sealed { .. })), _) => {
                let text = format!("chunk {handle}: a raise for another learner comes first");
                refuse(Error::busy(text), out);
            }
            (_, Phase::Closing { .. } | Phase::Broken) => {
                refuse(Error::stale(format!("chunk {handle}: its lease is ending")), out);
            }
            _ if bad => {
                let text = format!("chunk {handle}: the primary's own replica has a bad block");
                refuse(Error::corrupt(text), out);
            }
            _ if primary.links.contains_key(&learner.chunkserver)
                || learner.chunkserver == self.settings.chunkserver =>
            {
                let text = format!("chunk {handle}: a member is made equal by a raise");
                refuse(Error::stale(text), out);
            }
            (Some((of, _)), _) if of == run(&learner) => {}
            (Some((of, _)), _) if of.chunkserver == learner.chunkserver => {
                primary.school.waiting.push_front(learner);
                self.teaching_failed(now, Error::stale("another run of it came"), out);
            }
            _ if school.waiting.contains(&learner) => {}
            _ if school.waiting.len() >= LEARNERS_WAITING_MAX => {
                let text = format!("chunk {handle}: {LEARNERS_WAITING_MAX} learners wait already");
                refuse(Error::busy(text), out);
            }
            _ => {
                school.waiting.push_back(learner);
                self.teach_next(now, out);
            }
        }
    }

    /// The next learner's turn, if there is one and nobody is at work.
    pub(super) fn teach_next(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let handle = self.handle;
        let Role::Primary(primary) = &mut self.role else { return };
        if primary.phase != Phase::Serving || primary.school.learner.is_some() {
            return;
        }
        let Some(member) = primary.school.waiting.pop_front() else { return };
        let (stage, passes) = (Stage::Copying, 0);
        let learner = Learner { member, stage, began: now, passes, sent: now, heard: now };
        primary.school.learner = Some(learner);
        primary.next_pass(primary.target(handle), now, out);
    }

    pub(super) fn learner_answered(
        &mut self,
        now: Instant,
        pass: u64,
        result: Result<DataResponse, Error>,
        out: &mut Vec<Effect>,
    ) {
        let handle = self.handle;
        let Role::Primary(primary) = &mut self.role else { return };
        let current = pass == primary.school.pass;
        let Some(learner) = &mut primary.school.learner else { return };
        match result {
            // Of another pass: no more than a sign of life.
            Ok(_) if !current => learner.heard = now,
            Ok(DataResponse::Equalised { copied_bytes }) => {
                learner.heard = now;
                self.pass_done(now, copied_bytes, out);
            }
            Ok(_) => {
                let text = format!("chunk {handle}: the learner answered something else");
                self.teaching_failed(now, Error::internal(text), out);
            }
            Err(error) if matches!(error.kind, ErrorKind::Busy | ErrorKind::NeedData) => {
                learner.heard = now;
            }
            Err(error) if error.kind == ErrorKind::Unknown || !current => {}
            Err(error) => self.teaching_failed(now, error, out),
        }
    }

    fn pass_done(&mut self, now: Instant, copied_bytes: u64, out: &mut Vec<Effect>) {
        let (handle, rest_bytes) = (self.handle, self.settings.pace.teach_rest_bytes);
        let Role::Primary(primary) = &mut self.role else { return };
        let (target, version) = (primary.target(handle), primary.version);
        let Some(learner) = &mut primary.school.learner else { return };
        match learner.stage {
            Stage::Copying => {
                learner.passes += 1;
                if copied_bytes > rest_bytes && learner.passes < TEACH_PASSES_MAX {
                    hit(Mark::LearnerPassedAgain);
                    return primary.next_pass(target, now, out);
                }
                learner.stage = Stage::Freezing { since: now };
                self.last_pass(now, out);
            }
            // It was answered for a copy that began before the last change.
            Stage::Last { compared: false, .. } => primary.next_pass(target, now, out),
            Stage::Last { compared: true, .. } => {
                hit(Mark::LearnerSealed);
                learner.stage = Stage::Sealed { since: now };
                out.push(taught(handle, version, &learner.member, Ok(())));
                primary.dismiss(handle, "another learner is taken in by a raise first", out);
            }
            Stage::Freezing { .. } | Stage::Sealed { .. } => {}
        }
    }

    /// Begins the last pass when nothing is under way any more.
    pub(super) fn last_pass(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let handle = self.handle;
        let Role::Primary(primary) = &mut self.role else { return };
        let busy = !primary.flight.is_empty() || !primary.syncs.is_empty();
        let target = primary.target(handle);
        let Some(learner) = &mut primary.school.learner else { return };
        if let (Stage::Freezing { since }, false) = (learner.stage, busy) {
            learner.stage = Stage::Last { since, compared: false };
            learner.heard = now;
            primary.next_pass(target, now, out);
        }
    }

    /// The learner is not equal, and the lease goes on without it.
    fn teaching_failed(&mut self, now: Instant, why: Error, out: &mut Vec<Effect>) {
        let handle = self.handle;
        let Role::Primary(primary) = &mut self.role else { return };
        let Some(learner) = primary
            .school
            .learner
            .take_if(|learner| !matches!(learner.stage, Stage::Sealed { .. }))
        else {
            return;
        };
        hit(Mark::TeachingFailed);
        primary.used = primary.used.max(now);
        out.push(taught(handle, primary.version, &learner.member, Err(why)));
        self.teach_next(now, out);
    }

    /// What is due for the learner.
    pub(super) fn press_learner(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let handle = self.handle;
        let Role::Primary(primary) = &mut self.role else { return };
        let target = primary.target(handle);
        let Some(learner) = &primary.school.learner else { return };
        let overdue = again(learner.sent, learner.heard) <= now;
        let silent = now.ms_since(learner.heard) >= MEMBER_SILENT_MS;
        let late = now.ms_since(learner.began) >= EQUALISE_MS;
        let frozen_long = learner.since().is_some_and(|since| now.ms_since(since) >= FREEZE_MS);
        match learner.stage {
            Stage::Copying if silent || late => {
                let text = format!("chunk {handle}: the learner does not get on");
                self.teaching_failed(now, Error::busy(text), out);
            }
            Stage::Freezing { .. } | Stage::Last { .. } if frozen_long => {
                let text = format!("chunk {handle}: not equal after {FREEZE_MS} without mutations");
                self.teaching_failed(now, Error::busy(text), out);
            }
            Stage::Copying | Stage::Last { .. } if overdue => {
                primary.ask_learner(target, now, out);
            }
            // A sync whose time is out does not hold it up any more.
            Stage::Freezing { .. } => self.last_pass(now, out),
            Stage::Copying | Stage::Last { .. } => {}
            // In order: the members become clean, the learner is taught again under the next lease.
            Stage::Sealed { since } if now.ms_since(since) >= SEALED_MS => self.close(now, out),
            Stage::Sealed { .. } => {}
        }
    }
}
