//! The queue of one shard, and who works it off.
//!
//! To hand work to a sleeping thread costs more than most of the work. So whoever brings something small carries it out itself if
//! nobody else is at the shard, and all that others bring meanwhile; whoever finds the shard taken leaves its work in the queue and
//! goes. The shard's own thread does what is large, what comes by itself, and what is left over.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use gfs_types::time::Instant;

use super::guard::EndsOnPanic;
use super::handle::Work;
use super::shard::Shard;

/// Work that is taken before the batch is looked at as a whole.
const BATCH_MAX: usize = 256;
/// What a thread does for others before it leaves the rest to the shard's own.
const HELP_MAX: usize = 64;
/// A shard with nothing to do looks around this often.
const IDLE: Duration = Duration::from_secs(1);
/// The shard's own thread does not sleep.
const AWAKE: u64 = 0;

/// One shard, what waits for it, and the bell of its thread.
#[derive(Default)]
pub(super) struct Lane {
    queue: Mutex<Queue>,
    /// Nobody works without it. `None` before the start and after the end.
    shard: Mutex<Option<Shard>>,
    /// Requests in the queue. Everything else in it is bounded by what the cores asked for.
    requests: AtomicUsize,
    rung: Mutex<bool>,
    bell: Condvar,
    /// When the shard's own thread looks for itself what is due. Changed while the shard is held.
    sleeps_until: AtomicU64,
}

#[derive(Default)]
struct Queue {
    works: VecDeque<Work>,
    closed: bool,
}

impl Lane {
    /// Requests that wait.
    pub(super) fn requests(&self) -> &AtomicUsize {
        &self.requests
    }

    /// Leaves work for the shard's own thread; gives it back when the shard has ended.
    pub(super) fn leave(&self, work: Work) -> Option<Work> {
        let refused = self.put(work);
        if refused.is_none() {
            self.ring();
        }
        refused
    }

    /// Leaves work for whoever calls [`Lane::help`] next; gives it back when the shard has ended.
    pub(super) fn put(&self, work: Work) -> Option<Work> {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return Some(work);
        }
        queue.works.push_back(work);
        None
    }

    /// Works while there is something and nobody else does. Whoever holds the shard looks into the queue again after it let
    /// go of it: what is put there before a failed attempt is not overlooked.
    pub(super) fn help(&self) {
        let mut done = 0;
        while !lock(&self.queue).works.is_empty() {
            if done >= HELP_MAX {
                return self.ring();
            }
            let mut shard = match self.shard.try_lock() {
                Ok(shard) => shard,
                Err(TryLockError::Poisoned(shard)) => shard.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            if shard.is_none() {
                return self.ring();
            }
            done += self.work(&mut shard, HELP_MAX);
        }
    }

    /// A batch: works off what is there, then looks at what that changed. Gives how much it was.
    fn work(&self, place: &mut Option<Shard>, most: usize) -> usize {
        let _guard = EndsOnPanic;
        let Some(shard) = place else { return 0 };
        let mut taken = 0;
        while taken < most {
            // Let go of the queue before the work: it may bring more.
            let next = lock(&self.queue).works.pop_front();
            let Some(work) = next else { break };
            match work {
                Work::Stop => {
                    *place = None;
                    self.close();
                    return taken;
                }
                work => {
                    if matches!(work, Work::Request { .. }) {
                        self.requests.fetch_sub(1, Ordering::Relaxed);
                    }
                    shard.take(work);
                }
            }
            taken += 1;
        }
        shard.settle();
        if shard.due().is_some_and(|at| at.nanos < self.sleeps_until.load(Ordering::Relaxed)) {
            self.ring();
        }
        taken
    }

    /// What is left when the shard ends is dropped.
    fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.closed = true;
        queue.works.clear();
        drop(queue);
        self.ring();
    }

    fn ring(&self) {
        *lock(&self.rung) = true;
        self.bell.notify_one();
    }

    /// Waits for the bell.
    pub(super) fn rest(&self, at_most: Duration) {
        let rung = lock(&self.rung);
        let waited = self.bell.wait_timeout_while(rung, at_most, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }

    /// The shard's own thread: until it is told to stop.
    pub(super) fn run(&self, shard: Shard) {
        let clock = shard.clock();
        *lock(&self.shard) = Some(shard);
        loop {
            let due = {
                let mut shard = lock(&self.shard);
                self.sleeps_until.store(AWAKE, Ordering::Relaxed);
                while self.work(&mut shard, BATCH_MAX) > 0 {}
                let Some(shard) = &*shard else { return };
                let due = shard.due();
                let until = due.map_or(u64::MAX, |at| at.nanos);
                self.sleeps_until.store(until, Ordering::Relaxed);
                due
            };
            if lock(&self.queue).works.is_empty() {
                self.rest(due.map_or(IDLE, |at: Instant| clock.until(at)).min(IDLE));
            }
        }
    }

    /// For a stand-in of the shard.
    #[cfg(test)]
    pub(super) fn take(&self) -> Option<Work> {
        lock(&self.queue).works.pop_front()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
