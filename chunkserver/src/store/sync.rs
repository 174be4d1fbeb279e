//! Syncing many files at once: they share the commits of the file system's journal, and the flushes of the disk.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

/// Threads that sync the files of one batch: enough to share flushes, few enough not to cost more than they save.
const THREADS_MAX: usize = 4;
/// Fewer files are not worth one more thread.
const FILES_A_THREAD: usize = 4;

type Task = Box<dyn FnOnce() + Send>;

/// Threads that sync. They are started when all that there are have work, and live on: to start one and to let it end
/// costs half a sync. No batch waits for the threads of another.
pub(super) struct Syncers {
    shared: Arc<Shared>,
    builder: fn() -> Builder,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    tasks: VecDeque<Task>,
    /// Threads without work.
    idle: usize,
    ended: bool,
}

impl Default for Syncers {
    fn default() -> Self {
        Self::new(|| Builder::new().name("sync".to_owned()))
    }
}

impl fmt::Debug for Syncers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Syncers").finish_non_exhaustive()
    }
}

impl Drop for Syncers {
    fn drop(&mut self) {
        self.shared.waiting().ended = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(task) = self.next() {
            task();
        }
    }

    /// Waits for it; `None` at the end.
    fn next(&self) -> Option<Task> {
        let mut waiting = self.waiting();
        waiting.idle += 1;
        let none = |waiting: &mut Waiting| waiting.tasks.is_empty() && !waiting.ended;
        waiting = self.changed.wait_while(waiting, none).unwrap_or_else(PoisonError::into_inner);
        waiting.idle -= 1;
        waiting.tasks.pop_front()
    }
}

impl Syncers {
    fn new(builder: fn() -> Builder) -> Self {
        Self { shared: Arc::default(), builder }
    }

    /// Has it done by another thread.
    fn ask(&self, task: Task) -> io::Result<()> {
        let mut waiting = self.shared.waiting();
        if waiting.idle <= waiting.tasks.len() {
            let shared = Arc::clone(&self.shared);
            (self.builder)().spawn(move || shared.work())?;
        }
        waiting.tasks.push_back(task);
        drop(waiting);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Carries `sync` out for each item; what came of each, in their order.
    pub(super) fn all<T: Send + Sync + 'static>(
        &self,
        items: Vec<T>,
        sync: impl Fn(&T) -> io::Result<()> + Send + Sync + 'static,
    ) -> Vec<io::Result<()>> {
        let mut results: Vec<_> = items.iter().map(|_| Ok(())).collect();
        self.each(items, sync, |index, result| results[index] = result);
        results
    }

    /// Carries `sync` out for each item, and tells `done` at once what came of it, with its place. The first ones come first.
    ///
    /// This thread only reports, so that no result waits for its next sync. With no other thread to be had it does it all.
    ///
    /// # Panics
    /// When `sync` does.
    pub(super) fn each<T: Send + Sync + 'static>(
        &self,
        items: Vec<T>,
        sync: impl Fn(&T) -> io::Result<()> + Send + Sync + 'static,
        mut done: impl FnMut(usize, io::Result<()>),
    ) {
        let count = items.len();
        let round = Arc::new(Round { items, next: AtomicUsize::new(0), sync });
        let threads = (count / FILES_A_THREAD).min(THREADS_MAX);
        let mut reported = 0;
        let mut report = |(index, result)| {
            reported += 1;
            done(index, result);
        };
        if threads > 1 {
            let (sender, results) = channel();
            for _ in 0..threads {
                let (round, sender) = (Arc::clone(&round), sender.clone());
                let work = move || {
                    while let Some(result) = round.take() {
                        // The receiver is there until all is reported.
                        let _ = sender.send(result);
                    }
                };
                if let Err(error) = self.ask(Box::new(work)) {
                    tracing::warn!(%error, "no more threads (is the limit of processes reached?): syncs are made with fewer");
                    break;
                }
            }
            drop(sender);
            results.iter().for_each(&mut report);
        }
        // Nothing is left if there was a thread.
        while let Some(result) = round.take() {
            report(result);
        }
        assert_eq!(reported, count, "a thread that synced panicked");
    }
}

/// Items that are synced together.
struct Round<T, S> {
    items: Vec<T>,
    next: AtomicUsize,
    sync: S,
}

impl<T, S: Fn(&T) -> io::Result<()>> Round<T, S> {
    /// Syncs the next one.
    fn take(&self) -> Option<(usize, io::Result<()>)> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        self.items.get(index).map(|item| (index, (self.sync)(item)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_synced_once_and_results_keep_their_order() {
        let syncers = Syncers::default();
        for count in [0, 1, 3, 4, 7, 8, 9, 16, 17, 100] {
            let items: Vec<usize> = (0..count).collect();
            let results = syncers.all(items, |item| match item % 3 {
                0 => Err(io::Error::other(item.to_string())),
                _ => Ok(()),
            });
            assert_eq!(results.len(), count);
            for (item, result) in results.into_iter().enumerate() {
                let failed = result.err().map(|error| error.to_string());
                assert_eq!(failed, (item % 3 == 0).then(|| item.to_string()));
            }
        }
    }

    #[test]
    fn with_no_thread_to_be_had_every_item_is_synced_by_the_caller() {
        // More than any address space has.
        let none = Syncers::new(|| Builder::new().stack_size(1 << 56));
        let here = std::thread::current().id();
        let mut done = Vec::new();
        let sync = move |_: &usize| {
            assert_eq!(std::thread::current().id(), here);
            Ok(())
        };
        none.each(vec![7_usize; 20], sync, |index, result| {
            result.unwrap();
            done.push(index);
        });
        assert_eq!(done, (0..20).collect::<Vec<_>>());
    }
}
