//! How long a chunk is: what was acknowledged to anybody.
//!
//! While it is leased its primary knows. After an ordered end all replicas know. Otherwise nobody may be believed
//! until a new lease made the replicas equal (equal-1), so one is asked for.

use gfs_types::Error as WireError;
use gfs_types::ids::ServerUid;
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
    /// Ask this replica's server.
    Inspect(ChunkLocation, ReplicaLocation),
    /// Ask for a lease, so that there is a primary.
    Lease,
    /// Pause, in milliseconds.
    Pause(u64),
    /// So long, in bytes.
    Done(u64),
    /// It cannot be found out.
    End(End),
}

/// What came of a step.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Of `Locate`: `None` is a hole.
    Located(Result<Option<ChunkLocation>, WireError>),
    /// Of `Inspect`.
    Inspected(Result<ReplicaInfo, Failure>),
    /// Of `Lease`.
    Leased(Result<(), WireError>),
    /// The pause is over.
    Rested,
}

/// One question.
#[derive(Debug)]
pub(crate) struct Session {
    step: Step,
    backoff: Backoff,
    /// Clean replicas that did not answer.
    silent: Vec<ServerUid>,
    /// A lease was asked for and granted since the last pause.
    leased: bool,
    last: String,
}

impl Session {
    pub(crate) fn new(seed: u64) -> Self {
        let last = "nothing was tried yet".to_owned();
        let (silent, leased) = (Vec::new(), false);
        Self { step: Step::Locate, backoff: Backoff::new(seed), silent, leased, last }
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
            Event::Located(Ok(None)) => self.step = Step::Done(0),
            Event::Located(Ok(Some(chunk))) => self.located(chunk),
            Event::Located(Err(error)) | Event::Leased(Err(error)) => {
                self.step = Step::End(End::Refused(error));
            }
            Event::Leased(Ok(())) => (self.leased, self.step) = (true, Step::Locate),
            Event::Rested => (self.leased, self.step) = (false, Step::Locate),
            Event::Inspected(result) => self.inspected(result),
        }
    }

    fn located(&mut self, chunk: ChunkLocation) {
        if let Some(primary) = chunk.primary {
            let replica = chunk.replicas.iter().find(|r| r.chunkserver == primary).cloned();
            match replica {
                Some(replica) => self.step = Step::Inspect(chunk, replica),
                None => self.pause(0, "the primary is not among the replicas"),
            }
            return;
        }
        let all_clean = chunk.replicas.iter().all(|r| r.state == ReplicaState::Clean);
        let answers = |r: &&ReplicaLocation| !self.silent.contains(&r.chunkserver);
        match chunk.replicas.iter().find(answers).cloned() {
            _ if chunk.replicas.is_empty() => self.pause(0, "no replica of the chunk is known yet"),
            Some(replica) if all_clean => self.step = Step::Inspect(chunk, replica),
            // Each may cost a raise: one that was over before it was of use is not asked for again at once.
            _ if self.leased => self.pause(0, "the lease that was asked for is over already"),
            _ => self.step = Step::Lease,
        }
    }

    fn inspected(&mut self, result: Result<ReplicaInfo, Failure>) {
        let Step::Inspect(chunk, replica) = &self.step else { return };
        let asked_primary = chunk.primary == Some(replica.chunkserver);
        let uid = replica.chunkserver;
        match result {
            Ok(info) if info.primary || (!asked_primary && info.state == ReplicaState::Clean) => {
                self.step = Step::Done(info.committed_length);
            }
            Ok(_) => self.pause(0, "the lease has just ended"),
            Err(failure) => {
                if next(Attempt::Read, &failure) == Next::OtherReplica && !asked_primary {
                    self.silent.push(uid);
                }
                self.pause(failure.retry_after_ms(), failure.text());
            }
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
    use crate::op::tests::{location, unreachable};
    use gfs_types::fence::ChunkVersion;

    fn info(committed_length: u64, primary: bool, state: ReplicaState) -> ReplicaInfo {
        ReplicaInfo { version: ChunkVersion(5), committed_length, primary, state }
    }

    fn unleased(state: ReplicaState) -> ChunkLocation {
        let mut chunk = location(0, 5);
        chunk.primary = None;
        chunk.replicas.iter_mut().for_each(|r| r.state = state);
        chunk
    }

    #[test]
    fn a_hole_has_no_bytes() {
        let mut session = Session::new(1);
        session.on(Event::Located(Ok(None)));
        assert_eq!(*session.step(), Step::Done(0));
    }

    #[test]
    fn the_primary_knows_while_it_is_the_primary() {
        let mut session = Session::new(1);
        session.on(Event::Located(Ok(Some(location(0, 5)))));
        assert!(matches!(session.step(), Step::Inspect(_, r) if r.chunkserver == ServerUid(1)));
        session.on(Event::Inspected(Ok(info(10, false, ReplicaState::Unclean))));
        assert!(matches!(session.step(), Step::Pause(_)), "one that is no longer primary");
        session.on(Event::Rested);
        session.on(Event::Located(Ok(Some(location(0, 5)))));
        session.on(Event::Inspected(Ok(info(12, true, ReplicaState::Unclean))));
        assert_eq!(*session.step(), Step::Done(12));
    }

    #[test]
    fn clean_replicas_all_know_and_the_next_is_asked_when_one_is_silent() {
        let mut session = Session::new(1);
        session.on(Event::Located(Ok(Some(unleased(ReplicaState::Clean)))));
        session.on(Event::Inspected(Err(unreachable())));
        session.on(Event::Rested);
        session.on(Event::Located(Ok(Some(unleased(ReplicaState::Clean)))));
        assert!(matches!(session.step(), Step::Inspect(_, r) if r.chunkserver == ServerUid(2)));
        session.on(Event::Inspected(Ok(info(9, false, ReplicaState::Clean))));
        assert_eq!(*session.step(), Step::Done(9));
    }

    #[test]
    fn replicas_that_ended_in_disorder_are_not_believed() {
        let mut session = Session::new(1);
        session.on(Event::Located(Ok(Some(unleased(ReplicaState::Unclean)))));
        assert_eq!(*session.step(), Step::Lease);
        session.on(Event::Leased(Ok(())));
        assert_eq!(*session.step(), Step::Locate);
    }

    #[test]
    fn a_lease_that_is_over_at_once_is_asked_for_again_after_a_pause() {
        let mut session = Session::new(1);
        for _ in 0..3 {
            session.on(Event::Located(Ok(Some(unleased(ReplicaState::Unclean)))));
            assert_eq!(*session.step(), Step::Lease);
            session.on(Event::Leased(Ok(())));
            session.on(Event::Located(Ok(Some(unleased(ReplicaState::Unclean)))));
            assert!(matches!(session.step(), Step::Pause(_)), "{:?}", session.step());
            session.on(Event::Rested);
        }
    }

    #[test]
    fn a_chunk_whose_servers_are_still_coming_back_is_waited_for() {
        let mut session = Session::new(1);
        let nowhere = ChunkLocation { replicas: Vec::new(), ..unleased(ReplicaState::Clean) };
        session.on(Event::Located(Ok(Some(nowhere))));
        assert!(matches!(session.step(), Step::Pause(_)));
        assert!(session.last().contains("no replica"));
    }
}
