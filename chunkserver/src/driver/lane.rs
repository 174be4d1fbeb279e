//! The queue of one shard, and who works it off.
//!
//! To hand work to a sleeping thread costs more than most of the work. So whoever brings something small carries it out itself if
//! nobody else is at the shard, and all that others bring meanwhile; whoever finds the shard taken leaves its work in the queue and
//! goes. The shard's own thread does what is large, what may wait for a disk, what comes by itself, and what is left over: whoever
//! helps may be the one reader of a connection that many chunks share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use gfs_types::limits::INLINE_BYTES_MAX;
use gfs_types::time::Instant;

use super::guard::EndsOnPanic;
use super::handle::Work;
use super::shard::Shard;

/// Work that is taken before the batch is looked at as a whole.
const BATCH_MAX: usize = 256;
/// What a thread does for others before it leaves the rest to the shard's own: pieces of work, and bytes that are written.
const HELP_MAX: usize = 64;
const HELP_BYTES_MAX: u64 = 4 * INLINE_BYTES_MAX;
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

    /// Works while there is something small at the head and nobody else works. Whoever holds the shard looks into the queue again
    /// after it let go of it: what is put there before a failed attempt is not overlooked.
    pub(super) fn help(&self) {
        let (mut pieces, mut bytes) = (HELP_MAX, HELP_BYTES_MAX);
        while !lock(&self.queue).works.is_empty() {
            let mut place = match self.shard.try_lock() {
                Ok(place) => place,
                Err(TryLockError::Poisoned(place)) => place.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            let Some(shard) = &mut *place else { return self.ring() };
            let _guard = EndsOnPanic;
            shard.begin_help(bytes);
            let goes_on = self.aid(shard, &mut pieces);
            shard.settle();
            self.wake_in_time(shard);
            let left;
            (left, bytes) = shard.end_help();
            if left || !goes_on {
                return self.ring();
            }
        }
    }

    /// Works off the head of the queue; false when something stands there that is for the shard's own thread.
    fn aid(&self, shard: &mut Shard, pieces: &mut usize) -> bool {
        // Nobody else takes from the queue meanwhile: what is put back stands where it stood.
        while let Some(work) = self.next() {
            if *pieces == 0 || !shard.may_help(&work) {
                lock(&self.queue).works.push_front(work);
                return false;
            }
            *pieces -= 1;
            self.carry_out(shard, work);
        }
        true
    }

    /// A batch of the shard's own thread: works off what is there, then looks at what that changed. Gives how much it was.
    fn work(&self, place: &mut Option<Shard>) -> usize {
        let Some(shard) = place else { return 0 };
        let mut taken = 0;
        while taken < BATCH_MAX
            && let Some(work) = self.next()
        {
            if matches!(work, Work::Stop) {
                *place = None;
                self.close();
                return taken;
            }
            self.carry_out(shard, work);
            taken += 1;
        }
        shard.settle();
        taken
    }

    /// Lets go of the queue before the work: it may bring more.
    fn next(&self) -> Option<Work> {
        lock(&self.queue).works.pop_front()
    }

    fn carry_out(&self, shard: &mut Shard, work: Work) {
        if matches!(work, Work::Request { .. }) {
            self.requests.fetch_sub(1, Ordering::Relaxed);
        }
        shard.take(work);
    }

    /// Timers are for the shard's own thread.
    fn wake_in_time(&self, shard: &Shard) {
        if shard.due().is_some_and(|at| at.nanos < self.sleeps_until.load(Ordering::Relaxed)) {
            self.ring();
        }
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

    /// From here on there is somebody to work for.
    pub(super) fn place(&self, shard: Shard) {
        *lock(&self.shard) = Some(shard);
    }

    /// Works off what is there, and says when the first timer is due; `Err` at the end of the shard.
    pub(super) fn work_off(&self) -> Result<Option<Instant>, ()> {
        let mut shard = lock(&self.shard);
        self.sleeps_until.store(AWAKE, Ordering::Relaxed);
        while self.work(&mut shard) > 0 {}
        let due = shard.as_ref().ok_or(())?.due();
        self.sleeps_until.store(due.map_or(u64::MAX, |at| at.nanos), Ordering::Relaxed);
        Ok(due)
    }

    /// The shard's own thread: until it is told to stop.
    pub(super) fn run(&self, shard: Shard) {
        let clock = shard.clock();
        self.place(shard);
        loop {
            let Ok(due) = self.work_off() else { return };
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

#[cfg(test)]
mod tests;
