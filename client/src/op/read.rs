//! Reading a range of one chunk: nearest replica first, no byte unverified, no acknowledged byte missing.
//!
//! What a replica leaves out below the length of the file is zeros only if the chunk really ends there; a replica
//! that is behind, or not to be believed yet, answers short too. So a short answer is checked against the length of
//! the chunk as its primary knows it.

use std::collections::BTreeMap;

use bytes::Bytes;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ServerUid};
use gfs_types::limits::EVIDENCE_BYTES_MAX;
use gfs_types::message::client::{ChunkLocation, ReplicaLocation};
use gfs_types::topology::Topology;
use gfs_types::{Error as WireError, ErrorKind};

use super::End;
use crate::push::nearest;
use crate::retry::{Attempt, Backoff, Failure, Next, next};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Find out where the chunk is; from the master itself if `fresh`.
    Locate {
        /// The cache will not do.
        fresh: bool,
    },
    /// Ask a replica.
    Ask(Question),
    /// Find out how long the chunk is.
    Length,
    /// Pause, in milliseconds.
    Pause(u64),
    /// These bytes, then so many zeros.
    Done(Vec<Bytes>, u64),
    /// It cannot be read.
    End(End),
}

/// A question to one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// The chunk.
    pub(crate) chunk: ChunkLocation,
    /// The replica.
    pub(crate) replica: ReplicaLocation,
    /// From here in the chunk.
    pub(crate) offset: u64,
    /// So many bytes.
    pub(crate) length: u64,
    /// The length of the chunk that was seen.
    pub(crate) seen_length: u64,
    /// Checked by the server too, in order with the mutations.
    pub(crate) verify: bool,
}

/// What a replica answered, verified, from the offset asked for on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The bytes; fewer at the end of the replica.
    pub(crate) bytes: Bytes,
    /// Its committed length.
    pub(crate) committed_length: u64,
}

/// A replica that its own server found corrupt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Corruption {
    pub(crate) handle: ChunkHandle,
    pub(crate) version: ChunkVersion,
    pub(crate) chunkserver: ServerUid,
    pub(crate) evidence: String,
}

/// What came of a step.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Of `Locate`: `None` is a hole.
    Located(Result<Option<ChunkLocation>, WireError>),
    /// Of `Ask`.
    Answered(Result<Answer, Failure>),
    /// Of `Length`.
    Length(Result<u64, WireError>),
    /// The pause is over.
    Rested,
}

/// One range of one chunk.
#[derive(Debug)]
pub(crate) struct Session {
    at: u64,
    end: u64,
    near: Topology,
    got: Vec<Bytes>,
    /// The length of the chunk, once it was found out.
    length: Option<u64>,
    seen_length: u64,
    chunk: Option<ChunkLocation>,
    /// Replicas that brought nothing; true for those found corrupt.
    failed: BTreeMap<ServerUid, bool>,
    /// When those that are busy want to be asked again.
    retry_after_ms: u32,
    primary_first: bool,
    /// How often a replica refused where the place was looked up for it.
    refreshed: u32,
    backoff: Backoff,
    step: Step,
    corruption: Option<Corruption>,
    last: String,
}

impl Session {
    /// Bytes `offset..offset + length` of a chunk, all below the length of the file.
    pub(crate) fn new(offset: u64, length: u64, near: Topology, seed: u64) -> Self {
        Self {
            at: offset,
            end: offset.saturating_add(length),
            near,
            got: Vec::new(),
            length: None,
            seen_length: 0,
            chunk: None,
            failed: BTreeMap::new(),
            retry_after_ms: 0,
            primary_first: false,
            refreshed: 0,
            backoff: Backoff::new(seed),
            step: Step::Locate { fresh: false },
            corruption: None,
            last: "nothing was tried yet".to_owned(),
        }
    }

    /// The next step.
    pub(crate) fn step(&self) -> &Step {
        &self.step
    }

    /// The last thing that went wrong.
    pub(crate) fn last(&self) -> &str {
        &self.last
    }

    /// What the master has to be told, once.
    pub(crate) fn take_corruption(&mut self) -> Option<Corruption> {
        self.corruption.take()
    }

    /// Takes what came of the step.
    pub(crate) fn on(&mut self, event: Event) {
        match event {
            Event::Located(Ok(None)) => self.zeros(),
            Event::Located(Ok(Some(chunk))) => self.located(chunk),
            Event::Located(Err(error)) | Event::Length(Err(error)) => {
                self.step = Step::End(End::Refused(error));
            }
            Event::Answered(Ok(answer)) => self.answered(answer),
            Event::Answered(Err(failure)) => self.failed(&failure),
            Event::Length(Ok(length)) => self.found_length(length),
            Event::Rested => self.step = Step::Locate { fresh: true },
        }
    }

    fn located(&mut self, chunk: ChunkLocation) {
        self.chunk = Some(chunk);
        self.ask_next();
    }

    /// Asks the best replica that has not failed yet; when all have, begins anew after a pause.
    fn ask_next(&mut self) {
        let Some(chunk) = self.chunk.clone() else {
            self.step = Step::Locate { fresh: true };
            return;
        };
        let primary = chunk.primary.filter(|_| self.primary_first);
        let order = nearest(&self.near, &chunk.replicas, chunk.handle.0, primary);
        let best = order.into_iter().find(|r| !self.failed.contains_key(&r.chunkserver)).cloned();
        match best {
            Some(replica) => self.ask(chunk, replica, false),
            None => self.all_failed(&chunk),
        }
    }

    fn ask(&mut self, chunk: ChunkLocation, replica: ReplicaLocation, verify: bool) {
        let (offset, length) = (self.at, self.end - self.at);
        let seen_length = self.seen_length;
        self.step = Step::Ask(Question { chunk, replica, offset, length, seen_length, verify });
    }

    fn all_failed(&mut self, chunk: &ChunkLocation) {
        let corrupt = |r: &ReplicaLocation| self.failed.get(&r.chunkserver) == Some(&true);
        if !chunk.replicas.is_empty() && chunk.replicas.iter().all(corrupt) {
            let message = format!("every replica of chunk {} is corrupt here", chunk.handle);
            self.step = Step::End(End::Refused(WireError::corrupt(message)));
            return;
        }
        if chunk.replicas.is_empty() {
            self.last = format!("no replica of chunk {} is known yet", chunk.handle);
        }
        self.failed.retain(|_, corrupt| *corrupt);
        let retry_after_ms = std::mem::take(&mut self.retry_after_ms);
        self.pause(retry_after_ms);
    }

    fn answered(&mut self, answer: Answer) {
        let Step::Ask(question) = &self.step else { return };
        let question = question.clone();
        let got = (answer.bytes.len() as u64).min(self.end - self.at);
        self.at += got;
        self.got.push(answer.bytes.slice(..usize::try_from(got).unwrap_or(usize::MAX)));
        let has_more = answer.committed_length > self.at;
        if self.at == self.end {
            self.step = Step::Done(std::mem::take(&mut self.got), 0);
        } else if has_more && got > 0 {
            self.ask(question.chunk, question.replica, false);
        } else if has_more {
            self.last = "a replica gave nothing of what it has".to_owned();
            self.exclude(question.replica.chunkserver, false);
        } else {
            self.ended_early(question.replica.chunkserver);
        }
    }

    /// The replica has no more, the file has: a gap that was never written, or a replica that is behind.
    fn ended_early(&mut self, replica: ServerUid) {
        match self.length {
            None => self.step = Step::Length,
            Some(length) if length <= self.at => self.zeros(),
            Some(length) => {
                self.last = format!("a replica has less than the {length} bytes of the chunk");
                self.exclude(replica, false);
            }
        }
    }

    fn found_length(&mut self, length: u64) {
        self.length = Some(length);
        self.seen_length = self.seen_length.max(length);
        if length <= self.at {
            self.zeros();
        } else {
            self.primary_first = true;
            self.step = Step::Locate { fresh: false };
        }
    }

    fn failed(&mut self, failure: &Failure) {
        failure.text().clone_into(&mut self.last);
        let Step::Ask(question) = self.step.clone() else { return };
        let uid = question.replica.chunkserver;
        self.retry_after_ms = self.retry_after_ms.max(failure.retry_after_ms());
        match failure {
            Failure::Mismatch(_) if !question.verify => {
                self.ask(question.chunk, question.replica, true);
                return;
            }
            Failure::Refused(error) if error.kind == ErrorKind::Corrupt => {
                self.corruption = Some(Corruption {
                    handle: question.chunk.handle,
                    version: question.chunk.version,
                    chunkserver: uid,
                    evidence: error.message.chars().take(EVIDENCE_BYTES_MAX / 4).collect(),
                });
                self.exclude(uid, true);
                return;
            }
            _ => {}
        }
        match next(Attempt::Read, failure) {
            Next::Fail => {
                let error = WireError::new(ErrorKind::Invalid, failure.text());
                self.step = Step::End(End::Refused(error));
            }
            Next::Refresh => self.refresh(failure, uid),
            _ => self.exclude(uid, false),
        }
    }

    /// The replica has another version, is behind what was seen, or is not to be believed yet: ask where it is now, and rather the
    /// primary. Where the master has just said so, it may be a raise that ends in a moment; after that it is the replica that must
    /// change, and the others may be good.
    fn refresh(&mut self, failure: &Failure, replica: ServerUid) {
        self.primary_first = true;
        self.refreshed += 1;
        match self.refreshed {
            1 => self.step = Step::Locate { fresh: true },
            2 => self.pause(failure.retry_after_ms()),
            _ => self.exclude(replica, false),
        }
    }

    fn exclude(&mut self, replica: ServerUid, corrupt: bool) {
        self.failed.insert(replica, corrupt);
        self.ask_next();
    }

    fn zeros(&mut self) {
        self.step = Step::Done(std::mem::take(&mut self.got), self.end - self.at);
    }

    fn pause(&mut self, at_least_ms: u32) {
        self.step = Step::Pause(self.backoff.pause_ms(at_least_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfs_types::message::control::ReplicaState;

    use crate::op::tests::{location, lost, refused, unreachable};

    fn session(offset: u64, length: u64) -> Session {
        Session::new(offset, length, "b".parse().unwrap(), 1)
    }

    fn located(session: &mut Session) {
        session.on(Event::Located(Ok(Some(location(0, 5)))));
    }

    fn asked(session: &Session) -> &Question {
        match session.step() {
            Step::Ask(question) => question,
            other => panic!("expected a question, not {other:?}"),
        }
    }

    fn answer(bytes: &'static [u8], committed_length: u64) -> Event {
        Event::Answered(Ok(Answer { bytes: Bytes::from_static(bytes), committed_length }))
    }

    #[test]
    fn the_nearest_replica_answers() {
        let mut session = session(3, 4);
        located(&mut session);
        let question = asked(&session);
        assert_eq!(question.replica.chunkserver, ServerUid(2));
        assert_eq!((question.offset, question.length), (3, 4));
        session.on(answer(b"abcd", 100));
        assert_eq!(*session.step(), Step::Done(vec![Bytes::from_static(b"abcd")], 0));
    }

    #[test]
    fn a_corrupt_replica_is_asked_last_even_the_nearest() {
        let mut session = session(0, 4);
        let mut chunk = location(0, 5);
        for replica in &mut chunk.replicas {
            if replica.chunkserver == ServerUid(2) {
                replica.state = ReplicaState::Corrupt;
            }
        }
        let replicas = chunk.replicas.len();
        session.on(Event::Located(Ok(Some(chunk))));
        let mut order = Vec::new();
        for _ in 0..replicas {
            order.push(asked(&session).replica.chunkserver.0);
            session.on(Event::Answered(Err(unreachable())));
        }
        assert_eq!((order.len(), order.last()), (3, Some(&2)), "{order:?}");
    }

    #[test]
    fn when_all_are_busy_the_one_that_asks_for_most_time_is_heard() {
        let mut session = session(0, 4);
        located(&mut session);
        for retry_after_ms in [700, 900, 0] {
            let busy = WireError { retry_after_ms, ..WireError::busy("full") };
            session.on(Event::Answered(Err(Failure::Refused(busy))));
        }
        let Step::Pause(pause) = session.step() else { panic!("{:?}", session.step()) };
        assert!((900..=1_350).contains(pause), "{pause}");
    }

    #[test]
    fn a_hole_is_zeros() {
        let mut session = session(0, 9);
        session.on(Event::Located(Ok(None)));
        assert_eq!(*session.step(), Step::Done(vec![], 9));
    }

    #[test]
    fn what_was_never_written_is_zeros_once_the_primary_says_so() {
        let mut session = session(0, 10);
        located(&mut session);
        session.on(answer(b"ab", 2));
        assert_eq!(*session.step(), Step::Length);
        session.on(Event::Length(Ok(2)));
        assert_eq!(*session.step(), Step::Done(vec![Bytes::from_static(b"ab")], 8));
    }

    #[test]
    fn a_replica_that_is_behind_does_not_hide_what_was_acknowledged() {
        let mut session = session(0, 4);
        located(&mut session);
        session.on(answer(b"ab", 2));
        session.on(Event::Length(Ok(4)));
        located(&mut session);
        let question = asked(&session);
        assert_eq!(question.replica.chunkserver, ServerUid(1), "the primary");
        assert_eq!((question.offset, question.length, question.seen_length), (2, 2, 4));
        session.on(answer(b"cd", 4));
        assert!(matches!(session.step(), Step::Done(parts, 0) if parts.concat() == b"abcd"));
    }

    #[test]
    fn an_answer_in_pieces_is_put_together() {
        let mut session = session(0, 4);
        located(&mut session);
        session.on(answer(b"ab", 4));
        assert_eq!(asked(&session).offset, 2);
        session.on(answer(b"cd", 4));
        assert!(matches!(session.step(), Step::Done(parts, 0) if parts.concat() == b"abcd"));
    }

    #[test]
    fn a_mismatch_is_only_believed_when_the_server_confirms_it() {
        let mut session = session(0, 4);
        located(&mut session);
        session.on(Event::Answered(Err(Failure::Mismatch("block 0".into()))));
        assert!(asked(&session).verify);
        assert_eq!(asked(&session).replica.chunkserver, ServerUid(2), "the same replica");
        assert_eq!(session.take_corruption(), None);
        session.on(Event::Answered(Err(refused(ErrorKind::Corrupt))));
        let corruption = session.take_corruption().unwrap();
        assert_eq!(corruption.chunkserver, ServerUid(2));
        assert_ne!(asked(&session).replica.chunkserver, ServerUid(2));
        assert_eq!(session.take_corruption(), None, "told once");
    }

    #[test]
    fn a_verified_answer_clears_the_suspicion() {
        let mut session = session(0, 2);
        located(&mut session);
        session.on(Event::Answered(Err(Failure::Mismatch("block 0".into()))));
        session.on(answer(b"ab", 2));
        assert!(matches!(session.step(), Step::Done(..)));
        assert_eq!(session.take_corruption(), None);
    }

    #[test]
    fn all_corrupt_is_an_error_all_silent_is_a_pause() {
        let mut corrupt = session(0, 4);
        located(&mut corrupt);
        for _ in 0..3 {
            corrupt.on(Event::Answered(Err(refused(ErrorKind::Corrupt))));
        }
        assert!(
            matches!(corrupt.step(), Step::End(End::Refused(e)) if e.kind == ErrorKind::Corrupt)
        );
        let mut silent = session(0, 4);
        located(&mut silent);
        for failure in [lost(), unreachable(), refused(ErrorKind::Internal)] {
            silent.on(Event::Answered(Err(failure)));
        }
        assert!(matches!(silent.step(), Step::Pause(_)), "{:?}", silent.step());
        silent.on(Event::Rested);
        assert_eq!(*silent.step(), Step::Locate { fresh: true });
    }

    #[test]
    fn a_stale_place_is_looked_up_and_the_primary_asked() {
        let mut session = session(0, 4);
        located(&mut session);
        session.on(Event::Answered(Err(refused(ErrorKind::Stale))));
        assert_eq!(*session.step(), Step::Locate { fresh: true });
        located(&mut session);
        assert_eq!(asked(&session).replica.chunkserver, ServerUid(1));
    }

    /// One that lost its power refuses until a raise, which may be long: a file that nobody writes could not be read meanwhile.
    #[test]
    fn a_replica_that_goes_on_refusing_does_not_keep_the_reader_from_the_others() {
        let mut session = session(0, 4);
        located(&mut session);
        session.on(Event::Answered(Err(refused(ErrorKind::Stale))));
        located(&mut session);
        session.on(Event::Answered(Err(refused(ErrorKind::Stale))));
        assert!(matches!(session.step(), Step::Pause(_)), "a raise ends in a moment");
        session.on(Event::Rested);
        let mut refused_by = Vec::new();
        located(&mut session);
        for _ in 0..3 {
            refused_by.push(asked(&session).replica.chunkserver.0);
            session.on(Event::Answered(Err(refused(ErrorKind::Stale))));
        }
        refused_by.sort_unstable();
        assert_eq!(refused_by, [1, 2, 3]);
        assert!(matches!(session.step(), Step::Pause(_)));
    }
}
