//! Becoming equal to a primary: as a member of its lease (equal-1), or as a learner that is none yet (equal-4).
//!
//! The copying is the shell's; here is decided whether it may be done, what it is worth, and what follows. From the moment it
//! begins nothing is shown, and from the first block that is changed the replica is suspect: half of it is another's.

use gfs_types::Error;
use gfs_types::fence::{ChunkVersion, SerialNumber};
use gfs_types::marks::{Mark, hit};
use gfs_types::message::data::{DataResponse, Equalise, Target};
use gfs_types::mutants::{Mutant, runs};

use super::state::{Condition, Event};
use super::{Pending, Replica, Role};
use crate::effect::{Effect, StoreOp};
use crate::input::{Copied, Job, Peer, Token};
use crate::secondary::Secondary;
use crate::sequence::Sequence;

/// A replica that is being made equal, or was and waits for the raise that takes it in.
#[derive(Debug)]
pub(crate) struct Pupil {
    /// Whose bytes it gets.
    primary: Peer,
    /// The version of that lease.
    pub(crate) version: ChunkVersion,
    pub(crate) part: Part,
    /// Its stored checksums are not to be trusted: every block is read.
    check_all: bool,
    /// The copy under way.
    pass: Option<Pass>,
}

/// As what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// A member of the lease: it follows the primary when it is equal.
    Member,
    /// None yet: when it is `equal`, a raise may make it one.
    Learner { equal: bool },
}

/// One copy.
#[derive(Debug)]
struct Pass {
    job: Job,
    last: bool,
    /// The newest request, which is owed the answer.
    token: Token,
    /// Everything was copied; it is being made durable.
    finishing: bool,
}

/// What becomes of a request to be equal.
enum Taken {
    /// It was, and follows that primary since.
    Already,
    /// Its copy is under way.
    GoesOn,
    Begins(Part),
}

impl Pupil {
    /// Wants no more of that primary.
    pub(crate) fn stop(mut self, why: &str, out: &mut Vec<Effect>) {
        self.stop_pass(&Error::stale(why), out);
    }

    fn stop_pass(&mut self, why: &Error, out: &mut Vec<Effect>) {
        if let Some(pass) = self.pass.take() {
            out.push(Effect::StopCopy { job: pass.job });
            out.push(Effect::Reply { token: pass.token, result: Err(why.clone()) });
        }
    }

    /// Whether it is a learner that holds all that was or will be acknowledged under this version.
    pub(crate) fn is_taught(&self, version: ChunkVersion) -> bool {
        self.part == Part::Learner { equal: true } && self.version == version
    }

    fn copies(&self, job: Job) -> bool {
        self.pass.as_ref().is_some_and(|pass| pass.job == job && !pass.finishing)
    }

    fn take_pass(&mut self, job: Job) -> Option<Pass> {
        self.pass.take_if(|pass| pass.job == job)
    }

    /// A bad block was found: what was copied so far may be under it.
    pub(super) fn doubt(&mut self, out: &mut Vec<Effect>) {
        self.check_all = true;
        if let Part::Learner { equal } = &mut self.part {
            *equal = false;
        }
        self.stop_pass(&Error::busy("a block of the replica went bad while it was copied"), out);
    }
}

impl Replica {
    /// A primary wants this replica equal to its own.
    pub(super) fn equalise(
        &mut self,
        token: Token,
        target: &Target,
        from: Peer,
        equalise: Equalise,
        out: &mut Vec<Effect>,
    ) {
        let refused = match self.may_become_equal(target, from, equalise.last) {
            Ok(Taken::Already) => {
                let result = Ok(DataResponse::Equalised { copied_bytes: 0 });
                return out.push(Effect::Reply { token, result });
            }
            Ok(Taken::GoesOn) => return self.owe_equal(token, out),
            Ok(Taken::Begins(Part::Member)) if !equalise.last => {
                Error::invalid(format!("chunk {}: a member has one pass, the last", self.handle))
            }
            // What was asked of the disk before must not come behind what is copied.
            Ok(Taken::Begins(_)) if !self.pending.is_empty() => {
                Error::busy(format!("chunk {}: its disk has other work first", self.handle))
            }
            Ok(Taken::Begins(part)) => {
                return self.begin_pass(token, *target, from, equalise, part, out);
            }
            Err(error) => error,
        };
        out.push(Effect::Reply { token, result: Err(refused) });
    }

    fn may_become_equal(&self, target: &Target, from: Peer, last: bool) -> Result<Taken, Error> {
        let (handle, version) = (self.handle, target.version);
        let stale = |why: String| Err(Error::stale(format!("chunk {handle}: {why}")));
        if self.condition.reported().is_none() {
            return Err(self.not_here());
        }
        if target.epoch < self.epoch {
            return stale(format!("version {} is of epoch {}", self.stored, self.epoch));
        }
        match &self.role {
            _ if version < self.promised && !runs(Mutant::OldEqualiseObeyed) => {
                stale(format!("version {} was accepted, {version} is lower", self.promised))
            }
            Role::Pupil(pupil) if version < pupil.version => {
                stale(format!("this replica learns version {}", pupil.version))
            }
            Role::Pupil(pupil) if version == pupil.version && pupil.primary != from => {
                let primary = pupil.primary.chunkserver;
                stale(format!("the primary of this version is chunkserver {primary}"))
            }
            Role::Pupil(pupil) if version == pupil.version => match (&pupil.pass, pupil.part) {
                (Some(pass), _) if pass.last == last => Ok(Taken::GoesOn),
                (_, Part::Member) => Ok(Taken::Begins(Part::Member)),
                (_, Part::Learner { .. }) => Ok(Taken::Begins(Part::Learner { equal: false })),
            },
            // What it follows is over: that version was raised.
            _ if version > self.promised => Ok(Taken::Begins(Part::Learner { equal: false })),
            Role::Secondary(secondary) if secondary.follows(from) => Ok(Taken::Already),
            Role::Ready => Ok(Taken::Begins(Part::Member)),
            // Nothing tells what a lease did with it before: a raise of all members does (equal-3).
            _ => stale("this run of the replica was not raised to that version".to_owned()),
        }
    }

    /// The same pass was asked for again; the older request is told that the work goes on.
    fn owe_equal(&mut self, token: Token, out: &mut Vec<Effect>) {
        let Role::Pupil(Pupil { pass: Some(pass), .. }) = &mut self.role else { return };
        let older = std::mem::replace(&mut pass.token, token);
        let result = Err(Error::busy(format!("chunk {}: it is being made equal", self.handle)));
        out.push(Effect::Reply { token: older, result });
    }

    fn begin_pass(
        &mut self,
        token: Token,
        target: Target,
        from: Peer,
        equalise: Equalise,
        part: Part,
        out: &mut Vec<Effect>,
    ) {
        let check_all = match &self.role {
            Role::Pupil(pupil) if pupil.version == target.version => pupil.check_all,
            _ => !self.condition.may_mutate(),
        };
        let handle = self.handle;
        self.stop_following(&format!("chunk {handle}: it is made equal in another pass"), out);
        self.overwrites.clear();
        self.committed.serial = SerialNumber(0);
        self.readable = false;
        self.publish(out); // Before the first block changes.
        self.jobs += 1;
        let job = Job(self.jobs);
        let pass = Some(Pass { job, last: equalise.last, token, finishing: false });
        let version = target.version;
        self.role = Role::Pupil(Pupil { primary: from, version, part, check_all, pass });
        out.push(Effect::Copy { job, from, source: equalise.source, target, check_all });
    }

    /// Bytes came: they are put here only while the copy they are of is wanted.
    pub(super) fn piece(
        &mut self,
        token: Token,
        job: Job,
        offset: u64,
        length: u64,
        out: &mut Vec<Effect>,
    ) {
        let (handle, chunk) = (self.handle, self.settings.chunk_size.bytes());
        let wanted = matches!(&self.role, Role::Pupil(pupil) if pupil.copies(job));
        let fits = offset.checked_add(length).is_some_and(|end| end <= chunk);
        if !wanted || !fits {
            let text = format!("chunk {handle}: {length} bytes at {offset} are not wanted here");
            return out.push(Effect::Reply { token, result: Err(Error::stale(text)) });
        }
        if self.condition.may_mutate() {
            hit(Mark::MemberChanged);
            self.become_after(Event::Repairing);
        }
        // What a restart may show must not have been changed: the source's bytes may not be committed (mut-4).
        self.overwritten |= offset < self.committed.length;
        out.push(Effect::Repair { token, offset, length });
    }

    /// A copy is done, or failed. How much longer the replica became counts only when all of it is durable.
    pub(super) fn copied(
        &mut self,
        job: Job,
        result: Result<Copied, Error>,
        out: &mut Vec<Effect>,
    ) {
        let Role::Pupil(pupil) = &mut self.role else { return };
        let Some(pass) = pupil.pass.as_mut().filter(|pass| pass.job == job && !pass.finishing)
        else {
            return;
        };
        match result {
            Ok(copied) if pass.last => {
                pass.finishing = true;
                let (length, part) = (copied.length, pupil.part);
                let pending = Pending::Equalised { job, copied, part };
                self.store(StoreOp::Equalised { length }, pending, out);
            }
            Ok(Copied { copied_bytes, .. }) => {
                self.pass_over(job, Ok(DataResponse::Equalised { copied_bytes }), out);
            }
            Err(error) if error.kind == gfs_types::ErrorKind::Corrupt => {
                self.pass_over(job, Err(error.clone()), out);
                self.damaged(&error.message, out);
            }
            Err(error) => {
                // A block may have been written without its checksum.
                pupil.check_all = true;
                let text = format!("chunk {}: the copy failed: {}", self.handle, error.message);
                self.pass_over(job, Err(Error::busy(text)), out);
            }
        }
    }

    /// Everything that was copied is on this disk, which calls the replica good from now on; or its disk failed.
    pub(super) fn equalised(
        &mut self,
        job: Job,
        copied: Copied,
        part: Part,
        result: Result<u32, Error>,
        out: &mut Vec<Effect>,
    ) {
        let digest = match result {
            Ok(digest) => digest,
            Err(error) => {
                let error = Error::corrupt(error.message);
                self.pass_over(job, Err(error.clone()), out);
                return self.damaged(&error.message, out);
            }
        };
        if self.condition.reported().is_none() {
            return; // Being deleted.
        }
        self.no_longer_suspect();
        self.length = copied.length;
        self.committed.length = self.committed.length.min(self.length);
        if digest == copied.digest {
            return self.became_equal(job, part, copied.copied_bytes, out);
        }
        let text = format!("chunk {}: it differs from the primary's still", self.handle);
        if let Role::Pupil(pupil) = &mut self.role {
            pupil.check_all = true;
        }
        self.pass_over(job, Err(Error::busy(&text)), out);
        // Nothing changed at the primary of a member: this disk does not keep what it is given. A learner shows and leads nothing
        // before it is raised, and may have met a change.
        if part == Part::Member {
            self.damaged(&text, out);
        }
    }

    /// The disk says so. A bad block that was found meanwhile is marked behind it.
    pub(crate) fn no_longer_suspect(&mut self) {
        let found_bad = self.pending.values().any(|pending| *pending == Pending::Corrupt);
        if !found_bad {
            self.become_after(Event::Equalised);
        }
    }

    fn became_equal(&mut self, job: Job, part: Part, copied_bytes: u64, out: &mut Vec<Effect>) {
        let sound = self.condition.may_mutate();
        let Role::Pupil(pupil) = &mut self.role else { return };
        let Some(pass) = pupil.take_pass(job) else { return };
        pupil.check_all = !sound;
        if !sound {
            let error = Error::busy(format!("chunk {}: a block of it is bad again", self.handle));
            return out.push(Effect::Reply { token: pass.token, result: Err(error) });
        }
        match part {
            Part::Learner { .. } => pupil.part = Part::Learner { equal: true },
            Part::Member => {
                self.role = Role::Secondary(Secondary::equal_to(pupil.primary));
                self.sequence = Sequence::default();
            }
        }
        let result = Ok(DataResponse::Equalised { copied_bytes });
        out.push(Effect::Reply { token: pass.token, result });
    }

    fn pass_over(&mut self, job: Job, result: Result<DataResponse, Error>, out: &mut Vec<Effect>) {
        if let Role::Pupil(pupil) = &mut self.role
            && let Some(pass) = pupil.take_pass(job)
        {
            out.push(Effect::Reply { token: pass.token, result });
        }
    }

    /// A block was read in order with the mutations and does not match. Who others are made equal to must not have it: another
    /// shall lead.
    pub(super) fn block_mismatch(&mut self, out: &mut Vec<Effect>) {
        let why = "a block does not match its checksum";
        match &self.role {
            Role::Primary(primary) if primary.is_copied() && runs(Mutant::BlamesDownstream) => {}
            Role::Primary(primary) if primary.is_copied() => {
                hit(Mark::SourceFoundBad);
                self.broken(why, out);
            }
            _ => self.damaged(why, out),
        }
    }

    /// Whether it is no member of the lease it is made equal in.
    pub(super) fn is_learner(&self) -> bool {
        matches!(&self.role, Role::Pupil(Pupil { part: Part::Learner { .. }, .. }))
    }

    /// Whether it was made equal under `from` in this session, and may be raised by that.
    pub(super) fn is_taught(&self, from: ChunkVersion) -> bool {
        let taught = matches!(&self.role, Role::Pupil(pupil) if pupil.is_taught(from));
        taught && self.condition != Condition::Corrupt
    }
}
