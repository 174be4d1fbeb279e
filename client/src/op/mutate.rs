//! Writes and record appends (§3.1, §3.3): lease, push, commit, and all the ways back.

use gfs_types::fence::ChunkVersion;
use gfs_types::message::client::{LeaseGrant, LeaseTarget};
use gfs_types::region::ChunkIndex;
use gfs_types::{Error as WireError, ErrorKind};

use super::End;
use crate::retry::{Attempt, Backoff, Failure, Next, next};

/// What the bytes are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// At an offset of a chunk.
    Write(ChunkIndex),
    /// Where the primary decides; copies would be seen.
    Append,
    /// Where the primary decides; readers know copies.
    RecordAppend,
}

/// Which lease a session wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// On which chunk.
    pub(crate) target: LeaseTarget,
    /// A lease on this chunk with this version, or an older one, will not do: it was refused.
    pub(crate) refused: Option<(ChunkIndex, ChunkVersion)>,
    /// Even the master's answer with this version was refused.
    pub(crate) not_version: Option<ChunkVersion>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Find out who takes mutations.
    Lease(Wanted),
    /// Push the data to all members, or to the primary alone, which gives it to the others (mut-2).
    Push {
        /// Under this lease.
        grant: LeaseGrant,
        /// Along the whole chain.
        whole_chain: bool,
    },
    /// Ask the primary to apply it.
    Commit(LeaseGrant),
    /// Pause, in milliseconds.
    Pause(u64),
    /// It is committed.
    Done(Committed),
    /// It is not, or nobody knows.
    End(End),
}

/// Where the mutation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    /// Under which lease.
    pub(crate) grant: LeaseGrant,
    /// Offset in the chunk; for a write the one that was asked for is not repeated here.
    pub(crate) offset: u64,
    /// Length of the chunk with it.
    pub(crate) length: u64,
    /// Under which version: the lease's or a higher one.
    pub(crate) version: ChunkVersion,
}

/// What came of a step.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Of `Lease`.
    Lease(Result<LeaseGrant, WireError>),
    /// Of `Push`.
    Push(Result<(), Failure>),
    /// Of `Commit`: offset in the chunk, length of the chunk, and its version.
    Commit(Result<(u64, u64, ChunkVersion), Failure>),
    /// The pause is over.
    Rested,
}

/// One mutation of one chunk.
#[derive(Debug)]
pub(crate) struct Session {
    kind: Kind,
    /// The data goes ahead of the mutation, not inside.
    pushed_ahead: bool,
    backoff: Backoff,
    wanted: Wanted,
    whole_chain: bool,
    step: Step,
    after_pause: Option<Step>,
    /// A commit was sent and its outcome is not known.
    maybe_applied: bool,
    last: String,
}

impl Session {
    pub(crate) fn new(kind: Kind, pushed_ahead: bool, seed: u64) -> Self {
        let target = match kind {
            Kind::Write(index) => LeaseTarget::Index(index),
            Kind::Append | Kind::RecordAppend => LeaseTarget::Last,
        };
        let wanted = Wanted { target, refused: None, not_version: None };
        Self {
            kind,
            pushed_ahead,
            backoff: Backoff::new(seed),
            wanted,
            whole_chain: true,
            step: Step::Lease(wanted),
            after_pause: None,
            maybe_applied: false,
            last: "nothing was tried yet".to_owned(),
        }
    }

    /// The next step.
    pub(crate) fn step(&self) -> &Step {
        &self.step
    }

    /// A raw mutation may have happened although no success was seen. A write or framed record that is given up
    /// half way may have happened too.
    pub(crate) fn maybe_applied(&self) -> bool {
        self.maybe_applied
    }

    /// The last thing that went wrong.
    pub(crate) fn last(&self) -> &str {
        &self.last
    }

    /// Takes what came of the step.
    pub(crate) fn on(&mut self, event: Event) {
        match event {
            Event::Lease(Ok(grant)) => self.granted(grant),
            Event::Lease(Err(error)) => self.end(error),
            Event::Push(Ok(())) => self.pushed(),
            Event::Push(Err(failure)) => self.push_failed(&failure),
            Event::Commit(Ok((offset, length, version))) => {
                self.committed(offset, length, version);
            }
            Event::Commit(Err(failure)) => self.commit_failed(&failure),
            Event::Rested => {
                if let Some(step) = self.after_pause.take() {
                    self.step = step;
                }
            }
        }
    }

    fn attempt(&self) -> Attempt {
        match self.kind {
            Kind::Write(_) => Attempt::Write,
            Kind::Append => Attempt::Append,
            Kind::RecordAppend => Attempt::RecordAppend,
        }
    }

    fn granted(&mut self, grant: LeaseGrant) {
        self.step = if self.pushed_ahead {
            Step::Push { grant, whole_chain: self.whole_chain }
        } else {
            Step::Commit(grant)
        };
    }

    fn pushed(&mut self) {
        if let Some(grant) = self.grant() {
            self.step = Step::Commit(grant);
        }
    }

    fn committed(&mut self, offset: u64, length: u64, version: ChunkVersion) {
        if let Some(grant) = self.grant() {
            self.maybe_applied = false;
            self.step = Step::Done(Committed { grant, offset, length, version });
        }
    }

    /// A chain that breaks somewhere is no reason to change the lease: the primary alone gets the data and finds out
    /// itself which member fails (raise-4). Only a primary that cannot be reached is.
    fn push_failed(&mut self, failure: &Failure) {
        self.note(failure);
        let Some(grant) = self.grant() else { return };
        match next(Attempt::Push, failure) {
            Next::Fail => self.refuse(failure),
            Next::Wait | Next::PushAgain => {
                self.pause(failure, Step::Push { grant, whole_chain: self.whole_chain });
            }
            _ if self.whole_chain => {
                self.whole_chain = false;
                self.step = Step::Push { grant, whole_chain: false };
            }
            _ => self.refresh(failure, &grant),
        }
    }

    fn commit_failed(&mut self, failure: &Failure) {
        self.note(failure);
        let Some(grant) = self.grant() else { return };
        let undecided = match failure {
            Failure::Refused(error) => error.kind == ErrorKind::Unknown,
            Failure::Unreachable(_) => false,
            Failure::Lost(_) | Failure::Mismatch(_) => true,
        };
        self.maybe_applied |= undecided;
        match next(self.attempt(), failure) {
            Next::Fail => self.refuse(failure),
            Next::TellUnknown => self.step = Step::End(End::Unknown(self.last.clone())),
            Next::Successor => self.next_chunk(grant.index),
            Next::PushAgain if self.pushed_ahead => {
                self.pause(failure, Step::Push { grant, whole_chain: true });
            }
            Next::Wait | Next::PushAgain => self.pause(failure, Step::Commit(grant)),
            Next::Refresh | Next::OtherReplica => self.refresh(failure, &grant),
        }
    }

    /// The chunk was padded: its successor is made if it is not there. Others may be ahead already, so the answer to
    /// "the next one" and not to "the last one" is what cannot be the full chunk again.
    fn next_chunk(&mut self, full: ChunkIndex) {
        self.backoff.reset();
        let target = LeaseTarget::Index(ChunkIndex(full.0 + 1));
        self.wanted = Wanted { target, refused: None, not_version: None };
        self.step = Step::Lease(self.wanted);
    }

    /// Asks the master who has the lease now. If it named the same version before and that was refused again, it is
    /// told that an answer with it is of no use.
    fn refresh(&mut self, failure: &Failure, grant: &LeaseGrant) {
        let refused = (grant.index, grant.version);
        let again = self.wanted.refused == Some(refused);
        self.wanted.refused = Some(refused);
        self.wanted.not_version = again.then_some(grant.version);
        self.whole_chain = true;
        if again {
            self.pause(failure, Step::Lease(self.wanted));
        } else {
            self.step = Step::Lease(self.wanted);
        }
    }

    fn pause(&mut self, failure: &Failure, then: Step) {
        self.after_pause = Some(then);
        self.step = Step::Pause(self.backoff.pause_ms(failure.retry_after_ms()));
    }

    fn refuse(&mut self, failure: &Failure) {
        let error = match failure {
            Failure::Refused(error) => error.clone(),
            other => WireError::internal(other.text()),
        };
        self.end(error);
    }

    fn end(&mut self, error: WireError) {
        self.last.clone_from(&error.message);
        self.step = Step::End(if self.maybe_applied {
            End::Unknown(error.message)
        } else {
            End::Refused(error)
        });
    }

    fn note(&mut self, failure: &Failure) {
        failure.text().clone_into(&mut self.last);
    }

    fn grant(&self) -> Option<LeaseGrant> {
        match &self.step {
            Step::Push { grant, .. } | Step::Commit(grant) => Some(grant.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{grant, lost, refused, unreachable};

    fn wanted(session: &Session) -> Wanted {
        match session.step() {
            Step::Lease(wanted) => *wanted,
            other => panic!("expected to ask for a lease, not {other:?}"),
        }
    }

    /// A session that has a lease and, if it pushes, pushed.
    fn at_commit(kind: Kind, pushed_ahead: bool) -> Session {
        let mut session = Session::new(kind, pushed_ahead, 1);
        session.on(Event::Lease(Ok(grant(5))));
        if pushed_ahead {
            assert_eq!(*session.step(), Step::Push { grant: grant(5), whole_chain: true });
            session.on(Event::Push(Ok(())));
        }
        assert_eq!(*session.step(), Step::Commit(grant(5)));
        session
    }

    fn rest(session: &mut Session) {
        assert!(matches!(session.step(), Step::Pause(_)), "{:?}", session.step());
        session.on(Event::Rested);
    }

    #[test]
    fn a_small_write_goes_inside_the_request() {
        let mut session = at_commit(Kind::Write(ChunkIndex(3)), false);
        session.on(Event::Commit(Ok((0, 77, ChunkVersion(6)))));
        let done = Committed { grant: grant(5), offset: 0, length: 77, version: ChunkVersion(6) };
        assert_eq!(*session.step(), Step::Done(done));
    }

    #[test]
    fn a_stale_lease_is_asked_for_again_and_then_refused_by_version() {
        let mut session = at_commit(Kind::Write(ChunkIndex(0)), true);
        session.on(Event::Commit(Err(refused(ErrorKind::Stale))));
        let first = wanted(&session);
        assert_eq!(first.refused, Some((ChunkIndex(0), ChunkVersion(5))));
        assert_eq!(first.not_version, None);
        session.on(Event::Lease(Ok(grant(5))));
        session.on(Event::Push(Ok(())));
        session.on(Event::Commit(Err(refused(ErrorKind::Stale))));
        rest(&mut session);
        assert_eq!(wanted(&session).not_version, Some(ChunkVersion(5)));
        assert!(!session.maybe_applied());
    }

    #[test]
    fn data_the_primary_no_longer_has_is_pushed_again() {
        let mut session = at_commit(Kind::Append, true);
        session.on(Event::Commit(Err(refused(ErrorKind::NeedData))));
        rest(&mut session);
        assert_eq!(*session.step(), Step::Push { grant: grant(5), whole_chain: true });
    }

    #[test]
    fn a_broken_chain_leaves_the_rest_to_the_primary() {
        let mut session = Session::new(Kind::Append, true, 1);
        session.on(Event::Lease(Ok(grant(5))));
        session.on(Event::Push(Err(lost())));
        assert_eq!(*session.step(), Step::Push { grant: grant(5), whole_chain: false });
        session.on(Event::Push(Err(unreachable())));
        assert!(wanted(&session).refused.is_some());
    }

    #[test]
    fn a_raw_append_without_an_answer_is_of_unknown_outcome() {
        for failure in [lost(), refused(ErrorKind::Unknown)] {
            let mut session = at_commit(Kind::Append, false);
            session.on(Event::Commit(Err(failure)));
            assert!(matches!(session.step(), Step::End(End::Unknown(_))), "{:?}", session.step());
        }
    }

    #[test]
    fn an_append_that_was_never_sent_goes_to_the_next_lease() {
        let mut session = at_commit(Kind::Append, false);
        session.on(Event::Commit(Err(unreachable())));
        assert!(wanted(&session).refused.is_some());
        assert!(!session.maybe_applied());
    }

    #[test]
    fn a_framed_record_is_repeated_and_remembers_that_it_may_be_there() {
        let mut session = at_commit(Kind::RecordAppend, false);
        session.on(Event::Commit(Err(lost())));
        assert!(wanted(&session).refused.is_some());
        assert!(session.maybe_applied());
        session.on(Event::Lease(Err(WireError::not_found("the file is gone"))));
        assert!(matches!(session.step(), Step::End(End::Unknown(_))));
    }

    #[test]
    fn a_full_chunk_is_followed_by_its_successor() {
        let mut session = at_commit(Kind::Append, false);
        session.on(Event::Commit(Err(refused(ErrorKind::ChunkFull))));
        let next = wanted(&session);
        assert_eq!(next.target, LeaseTarget::Index(ChunkIndex(1)));
        assert_eq!(next.refused, None);
    }

    #[test]
    fn a_busy_primary_is_asked_again_after_its_own_time() {
        let mut session = at_commit(Kind::Write(ChunkIndex(0)), false);
        let busy = WireError { retry_after_ms: 900, ..WireError::busy("full") };
        session.on(Event::Commit(Err(Failure::Refused(busy))));
        let Step::Pause(pause) = session.step() else { panic!("{:?}", session.step()) };
        assert!((900..=1_350).contains(pause), "{pause}");
        session.on(Event::Rested);
        assert_eq!(*session.step(), Step::Commit(grant(5)));
    }

    #[test]
    fn a_refusal_by_the_master_ends_it() {
        let mut session = Session::new(Kind::Append, false, 1);
        session.on(Event::Lease(Err(WireError::not_found("no such file"))));
        let Step::End(End::Refused(error)) = session.step() else { panic!("{:?}", session.step()) };
        assert_eq!(error.kind, ErrorKind::NotFound);
    }
}
