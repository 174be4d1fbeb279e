//! Having one chunk on disk on every replica (mut-5).

use gfs_types::Error as WireError;
use gfs_types::ids::ServerUid;
use gfs_types::message::client::{ChunkLocation, ReplicaLocation};
use gfs_types::message::control::ReplicaState;

use super::End;
use crate::retry::{Attempt, Backoff, Failure, Next, next};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask the master where the chunk is now.
    Locate,
    /// Ask the primary to sync.
    Sync(ChunkLocation, ReplicaLocation),
    /// Ask these replicas, each, to flush: nobody has the lease.
    Flush(ChunkLocation, Vec<ReplicaLocation>),
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
    /// Of `Flush`: who could not, and why.
    Flushed(Vec<(ServerUid, Failure)>),
    /// The pause is over.
    Rested,
}

/// One chunk.
#[derive(Debug)]
pub(crate) struct Session {
    step: Step,
    backoff: Backoff,
    last: String,
}

impl Session {
    pub(crate) fn new(seed: u64) -> Self {
        let last = "nothing was tried yet".to_owned();
        Self { step: Step::Locate, backoff: Backoff::new(seed), last }
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
            Event::Located(Err(error)) => self.step = Step::End(End::Refused(error)),
            Event::Synced(Ok(length)) => self.step = Step::Done(Some(length)),
            Event::Synced(Err(failure)) => self.failed(&failure),
            Event::Flushed(failures) => match failures.into_iter().next() {
                None => self.step = Step::Done(None),
                Some((_, failure)) => self.failed(&failure),
            },
            Event::Rested => self.step = Step::Locate,
        }
    }

    /// A clean replica flushed everything before it became clean.
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
        let dirty = |r: &&ReplicaLocation| r.state != ReplicaState::Clean;
        let dirty: Vec<_> = chunk.replicas.iter().filter(dirty).cloned().collect();
        self.step = if dirty.is_empty() { Step::Done(None) } else { Step::Flush(chunk, dirty) };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{location, lost, refused};
    use gfs_types::ErrorKind;

    fn unleased(states: [ReplicaState; 3]) -> ChunkLocation {
        let mut chunk = location(0, 5);
        chunk.primary = None;
        for (replica, state) in chunk.replicas.iter_mut().zip(states) {
            replica.state = state;
        }
        chunk
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
    fn without_a_lease_only_replicas_that_are_not_clean_are_flushed() {
        use ReplicaState::{Clean, Unclean};
        let mut session = Session::new(1);
        session.on(Event::Located(Ok(Some(unleased([Clean, Unclean, Clean])))));
        let Step::Flush(_, who) = session.step() else { panic!("{:?}", session.step()) };
        assert_eq!(who.iter().map(|r| r.chunkserver.0).collect::<Vec<_>>(), [2]);
        session.on(Event::Flushed(vec![(ServerUid(2), refused(ErrorKind::Stale))]));
        session.on(Event::Rested);
        session.on(Event::Located(Ok(Some(unleased([Clean, Clean, Clean])))));
        assert_eq!(*session.step(), Step::Done(None));
    }

    #[test]
    fn a_hole_needs_no_flush_and_no_replica_is_no_success() {
        let mut session = Session::new(1);
        session.on(Event::Located(Ok(None)));
        assert_eq!(*session.step(), Step::Done(None));
        let mut session = Session::new(1);
        let nowhere = ChunkLocation { replicas: vec![], ..unleased([ReplicaState::Clean; 3]) };
        session.on(Event::Located(Ok(Some(nowhere))));
        assert!(matches!(session.step(), Step::Pause(_)));
    }
}
