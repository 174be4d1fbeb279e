//! Where the driver and the log thread meet: records go in, effects come out when they may.
//!
//! The rule is that of [`GroupCommit`]; this adds the lock around it and the waiting. The driver lets effects
//! out, and the log thread when there is no driver any more; one at a time, so that their order is kept.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gfs_master_core::Effect;
use gfs_types::fence::LogPosition;
use tokio::sync::Notify;

use crate::outbox::Outbox;
use crate::release::{Batch, GroupCommit};

/// Bytes of records that may wait for the log: the driver takes no more input beyond, so that a slow
/// disk slows the clients and fills no memory.
pub const GATHERING_BYTES_MAX: u64 = 16 << 20;
/// Effects that may wait likewise.
pub const HELD_EFFECTS_MAX: usize = 256 << 10;
/// Effects that are let out in one go.
const LET_OUT: usize = 1024;

/// What the log thread has to do next.
#[derive(Debug)]
pub enum Job {
    /// Append and flush.
    Write(Batch),
    /// Remove segments with only records before this position.
    RemoveBefore(LogPosition),
    /// Nothing came for a while.
    Idle,
    /// Nothing will come any more.
    End,
}

/// The meeting place.
#[derive(Debug)]
pub struct Commit {
    state: Mutex<State>,
    /// The log thread waits here.
    work: Condvar,
    /// The driver waits here for what becomes durable.
    durable: Notify,
    /// Whoever holds it lets effects out; what it holds is empty in between.
    turn: Mutex<Vec<Effect>>,
    outbox: Arc<Outbox>,
}

#[derive(Debug)]
struct State {
    group: GroupCommit<Effect>,
    remove_before: Option<LogPosition>,
    /// The log thread was told that it is idle, and nothing came since.
    idle_told: bool,
    ended: bool,
}

impl Commit {
    /// Over a log that ends, durably, at `durable`.
    #[must_use]
    pub fn new(durable: LogPosition, outbox: Arc<Outbox>) -> Self {
        Self {
            state: Mutex::new(State {
                group: GroupCommit::new(durable),
                remove_before: None,
                idle_told: false,
                ended: false,
            }),
            work: Condvar::new(),
            durable: Notify::new(),
            turn: Mutex::default(),
            outbox,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what steps of the core gave, in order, and lets out what rests on nothing new. Whoever steps waits for
    /// [`Commit::room`] before it brings more.
    pub fn accept(&self, effects: &mut Vec<Effect>) {
        if self.let_out_at_once(effects) {
            return;
        }
        let mut state = self.state();
        state.group.accept(effects.drain(..));
        let (records, ready) = (state.group.gathering_bytes() > 0, state.group.is_ready());
        drop(state);
        if records {
            self.work.notify_one();
        }
        if ready {
            self.let_out();
        }
    }

    /// Answers to questions, on a master whose records are all durable, need not be held for a moment.
    fn let_out_at_once(&self, effects: &mut Vec<Effect>) -> bool {
        if effects.iter().any(|effect| matches!(effect, Effect::Append { .. })) {
            return false;
        }
        // Somebody may be about to let out what comes before.
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = self.state().group.is_idle();
        if idle {
            self.outbox.let_out(effects.drain(..));
        }
        drop(turn);
        idle
    }

    /// Waits until effects may leave that could not before, and lets them out.
    pub async fn let_out_when_durable(&self) {
        self.durable.notified().await;
        self.let_out();
    }

    /// Waits while too much waits for the log.
    pub async fn room(&self) {
        while !self.state().has_room() {
            self.let_out_when_durable().await;
        }
    }

    /// What the log thread has to do; waits for it, but tells of idleness after `idle`, once.
    pub fn next_job(&self, idle: Duration) -> Job {
        let mut state = self.state();
        loop {
            if let Some(job) = state.take_job() {
                return job;
            }
            if state.idle_told {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (next, waited) =
                self.work.wait_timeout(state, idle).unwrap_or_else(PoisonError::into_inner);
            state = next;
            if waited.timed_out() && !state.has_job() {
                state.idle_told = true;
                return Job::Idle;
            }
        }
    }

    /// The batch is on disk: what rested on it may leave.
    pub fn flushed(&self, durable: LogPosition) {
        let mut state = self.state();
        state.group.flushed(durable);
        let driven = !state.ended;
        drop(state);
        if driven {
            self.durable.notify_one();
        } else {
            self.let_out();
        }
    }

    /// The log before this position is not needed any more.
    pub fn remove_before(&self, position: LogPosition) {
        self.state().remove_before = Some(position);
        self.work.notify_one();
    }

    /// Nothing will be accepted any more: the log thread ends when everything is durable.
    pub fn end(&self) {
        self.state().ended = true;
        self.work.notify_one();
        // A flush may have told the driver, which does not listen any more.
        self.let_out();
    }

    /// Waits; says whether [`Commit::end`] was called meanwhile or before.
    #[must_use]
    pub fn ended_within(&self, patience: Duration) -> bool {
        let running = |state: &mut State| !state.ended;
        let waited = self.work.wait_timeout_while(self.state(), patience, running);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    /// The last record that is durable.
    #[must_use]
    pub fn durable(&self) -> LogPosition {
        self.state().group.durable()
    }

    fn let_out(&self) {
        let mut effects = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut state = self.state();
            while effects.len() < LET_OUT
                && let Some(effect) = state.group.release()
            {
                effects.push(effect);
            }
            drop(state);
            if effects.is_empty() {
                return;
            }
            self.outbox.let_out(effects.drain(..));
        }
    }
}

impl State {
    fn has_room(&self) -> bool {
        let group = &self.group;
        group.gathering_bytes() <= GATHERING_BYTES_MAX && group.held() <= HELD_EFFECTS_MAX
    }

    fn has_job(&self) -> bool {
        self.group.gathering_bytes() > 0 || self.remove_before.is_some() || self.ended
    }

    fn take_job(&mut self) -> Option<Job> {
        if let Some(batch) = self.group.begin_flush() {
            self.idle_told = false;
            return Some(Job::Write(batch));
        }
        if let Some(position) = self.remove_before.take() {
            return Some(Job::RemoveBefore(position));
        }
        self.ended.then_some(Job::End)
    }
}

#[cfg(test)]
mod tests {
    use gfs_master_core::Connection;
    use gfs_types::fence::MasterEpoch;
    use gfs_types::message::client::{Reply, Response};

    use super::*;

    const SOON: Duration = Duration::ZERO;

    fn append(position: u64) -> Effect {
        let (position, epoch) = (LogPosition(position), MasterEpoch(1));
        Effect::Append { position, epoch, record: vec![7; 8] }
    }

    fn reply(connection: Connection, after: u64) -> Effect {
        let after = LogPosition(after);
        let reply =
            Reply { epoch: MasterEpoch(1), log_position: after, result: Ok(Response::Done) };
        Effect::Reply { connection, request: after.0, reply, after }
    }

    #[tokio::test]
    async fn a_reply_leaves_when_the_log_thread_says_its_record_is_durable() {
        let outbox = Arc::new(Outbox::default());
        let (client, mut replies) = outbox.open_client();
        let commit = Commit::new(LogPosition(0), outbox);
        commit.accept(&mut vec![append(1), reply(client, 1)]);
        let Job::Write(batch) = commit.next_job(SOON) else { panic!("a batch is due") };
        assert_eq!(batch.records().len(), 1);
        assert!(replies.try_recv().is_err(), "not durable yet");
        commit.flushed(LogPosition(1));
        commit.let_out_when_durable().await;
        assert_eq!(replies.try_recv().unwrap().0, 1);
        assert_eq!(commit.durable(), LogPosition(1));
    }

    #[test]
    fn what_rests_on_nothing_new_leaves_from_the_driver_itself() {
        let outbox = Arc::new(Outbox::default());
        let (client, mut replies) = outbox.open_client();
        let commit = Commit::new(LogPosition(3), outbox);
        commit.accept(&mut vec![reply(client, 3)]);
        assert_eq!(replies.try_recv().unwrap().0, 3);
    }

    #[test]
    fn behind_the_end_of_the_driver_the_log_thread_lets_out() {
        let outbox = Arc::new(Outbox::default());
        let (client, mut replies) = outbox.open_client();
        let commit = Commit::new(LogPosition(0), outbox);
        commit.accept(&mut vec![append(1), reply(client, 1)]);
        assert!(matches!(commit.next_job(SOON), Job::Write(_)));
        commit.accept(&mut vec![append(2), reply(client, 2)]);
        commit.flushed(LogPosition(1));
        commit.end();
        assert_eq!(replies.try_recv().unwrap().0, 1, "the driver was told, and ended");
        assert!(matches!(commit.next_job(SOON), Job::Write(_)));
        commit.flushed(LogPosition(2));
        assert_eq!(replies.try_recv().unwrap().0, 2);
    }

    #[test]
    fn idleness_is_told_once_until_there_is_work_again() {
        let commit = Commit::new(LogPosition(0), Arc::default());
        assert!(matches!(commit.next_job(SOON), Job::Idle));
        commit.accept(&mut vec![append(1)]);
        assert!(matches!(commit.next_job(SOON), Job::Write(_)));
        commit.flushed(LogPosition(1));
        assert!(matches!(commit.next_job(SOON), Job::Idle));
        commit.end();
        assert!(matches!(commit.next_job(SOON), Job::End), "it did not tell of idleness again");
    }

    #[test]
    fn the_end_comes_after_all_that_was_accepted() {
        let commit = Commit::new(LogPosition(0), Arc::default());
        commit.accept(&mut vec![append(1)]);
        commit.remove_before(LogPosition(1));
        commit.end();
        assert!(matches!(commit.next_job(SOON), Job::Write(_)));
        commit.flushed(LogPosition(1));
        assert!(matches!(commit.next_job(SOON), Job::RemoveBefore(LogPosition(1))));
        assert!(matches!(commit.next_job(SOON), Job::End));
    }

    #[tokio::test]
    async fn the_driver_waits_while_the_log_is_behind_and_goes_on_when_it_caught_up() {
        let commit = Commit::new(LogPosition(0), Arc::default());
        let bytes = usize::try_from(GATHERING_BYTES_MAX).unwrap();
        let large = |position, len| {
            let (position, epoch) = (LogPosition(position), MasterEpoch(1));
            Effect::Append { position, epoch, record: vec![0; len] }
        };
        commit.accept(&mut vec![large(1, bytes)]);
        commit.room().await;
        commit.accept(&mut vec![large(2, 1)]);
        let mut room = Box::pin(commit.room());
        assert!(futures::poll!(room.as_mut()).is_pending(), "one byte past the limit");
        let Job::Write(batch) = commit.next_job(SOON) else { panic!("a batch is due") };
        commit.flushed(batch.records().last().unwrap().position);
        room.await;
    }
}
