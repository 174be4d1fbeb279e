//! Having one chunk on disk on every replica (mut-5).
//!
//! The primary does it, by an order like any other. Without a lease there is nothing to do where every replica ended the last one in
//! order: it flushed everything before. Otherwise nobody may be believed who flushes what it has: it may have lost what was
//! acknowledged with its power, or lack what only an absent one has. A new lease makes the members equal first (equal-1).

use gfs_types::Error as WireError;
use gfs_types::message::client::{ChunkLocation, ReplicaLocation};
use gfs_types::message::control::ReplicaState;
use gfs_types::message::data::ReplicaInfo;

use super::End;
use crate::retry::{Attempt, Backoff, Failure, Next, next};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask the master where the chunk is now.
    Locate,
    /// Ask the primary to sync.
    Sync(ChunkLocation, ReplicaLocation),
    /// Ask each replica whether it is clean: the master says so, but may have heard it before the last lease.
    Inspect(ChunkLocation),
    /// Ask for a lease, so that there is a primary.
    Lease,
    /// Pause, in milliseconds.
    Pause(u64),
    /// It is on disk. The length of the chunk, if the primary told it.
    Done(Option<u64>),
    /// It cannot be done.
    End(End),
}

/// What came of a step.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Of `Locate`: `None` is a hole.
    Located(Result<Option<ChunkLocation>, WireError>),
    /// Of `Sync`: the length of the chunk.
    Synced(Result<u64, Failure>),
    /// Of `Inspect`: what each says.
    Inspected(Vec<Result<ReplicaInfo, Failure>>),
    /// Of `Lease`.
    Leased(Result<(), WireError>),
    /// The pause is over.
    Rested,
}

/// One chunk.
#[derive(Debug)]
pub(crate) struct Session {
    step: Step,
    /// A lease was asked for and granted since the last pause.
    leased: bool,
    backoff: Backoff,
    last: String,
}

impl Session {
    pub(crate) fn new(seed: u64) -> Self {
        let last = "nothing was tried yet".to_owned();
        Self { step: Step::Locate, leased: false, backoff: Backoff::new(seed), last }
    }

    /// The next step.
    pub(crate) fn step(&self) -> &Step {
        &self.step
    }

    /// The last thing that went wrong.
    pub(crate) fn last(&self) -> &str {
        &self.last
    }

    /// Takes what came of the step.
    pub(crate) fn on(&mut self, event: Event) {
        match event {
            Event::Located(Ok(None)) => self.step = Step::Done(None),
            Event::Located(Ok(Some(chunk))) => self.located(chunk),
            Event::Located(Err(error)) | Event::Leased(Err(error)) => {
                self.step = Step::End(End::Refused(error));
            }
            Event::Synced(Ok(length)) => self.step = Step::Done(Some(length)),
            Event::Synced(Err(failure)) => self.failed(&failure),
            Event::Inspected(replicas) => self.inspected(&replicas),
            Event::Leased(Ok(())) => (self.leased, self.step) = (true, Step::Locate),
            Event::Rested => (self.leased, self.step) = (false, Step::Locate),
        }
    }

    fn located(&mut self, chunk: ChunkLocation) {
        if let Some(primary) = chunk.primary {
            let replica = chunk.replicas.iter().find(|r| r.chunkserver == primary).cloned();
            match replica {
                Some(replica) => self.step = Step::Sync(chunk, replica),
                None => self.pause(0, "the primary is not among the replicas"),
            }
            return;
        }
        if chunk.replicas.is_empty() {
            self.pause(0, "no replica of the chunk is known yet");
            return;
        }
        let clean = chunk.replicas.iter().all(|replica| replica.state == ReplicaState::Clean);
        if clean && all_named(&chunk) {
            self.step = Step::Inspect(chunk);
        } else {
            self.lease();
        }
    }

    fn inspected(&mut self, replicas: &[Result<ReplicaInfo, Failure>]) {
        let clean = |replica: &Result<ReplicaInfo, Failure>| {
            replica.as_ref().is_ok_and(|info| info.state == ReplicaState::Clean)
        };
        if replicas.iter().all(clean) {
            self.step = Step::Done(None);
        } else {
            self.lease();
        }
    }

    /// Each may cost a raise: one that was over before it was of use is not asked for again at once.
    fn lease(&mut self) {
        if self.leased {
            self.pause(0, "the lease that was asked for is over already");
        } else {
            self.step = Step::Lease;
        }
    }

    fn failed(&mut self, failure: &Failure) {
        match (next(Attempt::Sync, failure), failure) {
            (Next::Fail, Failure::Refused(error)) => {
                self.step = Step::End(End::Refused(error.clone()));
            }
            _ => self.pause(failure.retry_after_ms(), failure.text()),
        }
    }

    fn pause(&mut self, at_least_ms: u32, why: &str) {
        why.clone_into(&mut self.last);
        self.step = Step::Pause(self.backoff.pause_ms(at_least_ms));
    }
}

/// Whether no member is away: what one of them ended in order, another that is out of touch may have only in memory.
fn all_named(chunk: &ChunkLocation) -> bool {
    let members = usize::try_from(chunk.members).unwrap_or(usize::MAX);
    members > 0 && chunk.replicas.len() >= members
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{location, lost, refused};
    use gfs_types::ErrorKind;
    use gfs_types::fence::ChunkVersion;
    use gfs_types::ids::ServerUid;

    fn unleased(states: [ReplicaState; 3]) -> ChunkLocation {
        let mut chunk = location(0, 5);
        chunk.primary = None;
        for (replica, state) in chunk.replicas.iter_mut().zip(states) {
            replica.state = state;
        }
        chunk
    }

    fn info(state: ReplicaState) -> ReplicaInfo {
        ReplicaInfo { version: ChunkVersion(5), committed_length: 9, primary: false, state }
    }

    #[test]
    fn the_primary_syncs_a_leased_chunk_and_a_lost_answer_is_asked_for_again() {
        let mut session = Session::new(1);
        session.on(Event::Located(Ok(Some(location(0, 5)))));
        assert!(matches!(session.step(), Step::Sync(_, r) if r.chunkserver == ServerUid(1)));
        session.on(Event::Synced(Err(lost())));
        session.on(Event::Rested);
        assert_eq!(*session.step(), Step::Locate);
        session.on(Event::Located(Ok(Some(location(0, 6)))));
        session.on(Event::Synced(Ok(9)));
        assert_eq!(*session.step(), Step::Done(Some(9)));
    }

    #[test]
    fn dur_2_without_a_lease_nobody_is_believed_to_have_all_who_did_not_end_the_last_one_in_order()
    {
        use ReplicaState::{Clean, Corrupt, Suspect, Unclean};
        for state in [Unclean, Suspect, Corrupt] {
            let mut session = Session::new(1);
            session.on(Event::Located(Ok(Some(unleased([Clean, state, Clean])))));
            assert_eq!(*session.step(), Step::Lease, "one is {state:?}");
            session.on(Event::Leased(Ok(())));
            session.on(Event::Located(Ok(Some(location(0, 6)))));
            assert!(matches!(session.step(), Step::Sync(..)), "{:?}", session.step());
        }
    }

    #[test]
    fn dur_2_replicas_are_clean_when_they_say_so_themselves() {
        use ReplicaState::{Clean, Unclean};
        let inspected = |replicas| {
            let mut session = Session::new(1);
            session.on(Event::Located(Ok(Some(unleased([Clean; 3])))));
            assert_eq!(*session.step(), Step::Inspect(unleased([Clean; 3])));
            session.on(Event::Inspected(replicas));
            session.step().clone()
        };
        let clean = || Ok(info(Clean));
        assert_eq!(inspected(vec![clean(), clean(), clean()]), Step::Done(None));
        assert_eq!(inspected(vec![clean(), Ok(info(Unclean)), clean()]), Step::Lease);
        assert_eq!(inspected(vec![clean(), clean(), Err(lost())]), Step::Lease);
        assert_eq!(inspected(vec![clean(), clean(), Err(refused(ErrorKind::Stale))]), Step::Lease);
    }

    #[test]
    fn dur_2_one_that_is_away_may_have_lost_what_the_others_ended_in_order() {
        let located = |named: usize, members: u32| {
            let mut chunk = unleased([ReplicaState::Clean; 3]);
            chunk.replicas.truncate(named);
            chunk.members = members;
            let mut session = Session::new(1);
            session.on(Event::Located(Ok(Some(chunk))));
            session.step().clone()
        };
        for (named, members) in [(1, 3), (2, 3), (1, 2), (3, 0)] {
            assert_eq!(located(named, members), Step::Lease, "{named} of {members}");
        }
        // One more was taught since; a chunk that never had two.
        for (named, members) in [(3, 3), (3, 2), (1, 1)] {
            assert!(matches!(located(named, members), Step::Inspect(_)), "{named} of {members}");
        }
    }

    #[test]
    fn a_lease_that_is_over_at_once_is_asked_for_again_after_a_pause() {
        let mut session = Session::new(1);
        for _ in 0..3 {
            session.on(Event::Located(Ok(Some(unleased([ReplicaState::Unclean; 3])))));
            assert_eq!(*session.step(), Step::Lease);
            session.on(Event::Leased(Ok(())));
            session.on(Event::Located(Ok(Some(unleased([ReplicaState::Unclean; 3])))));
            assert!(matches!(session.step(), Step::Pause(_)), "{:?}", session.step());
            session.on(Event::Rested);
        }
    }

    #[test]
    fn a_hole_needs_no_sync_and_no_replica_is_no_success() {
        let mut session = Session::new(1);
        session.on(Event::Located(Ok(None)));
        assert_eq!(*session.step(), Step::Done(None));
        let mut session = Session::new(1);
        let nowhere = ChunkLocation { replicas: vec![], ..unleased([ReplicaState::Clean; 3]) };
        session.on(Event::Located(Ok(Some(nowhere))));
        assert!(matches!(session.step(), Step::Pause(_)));
    }
}
