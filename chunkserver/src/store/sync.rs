//! Syncing many files at once: they share the commits of the file system's journal, and the flushes of the disk.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread::Builder;

/// Threads that sync the files of one batch: enough to share flushes, few enough not to cost more than they save.
const THREADS_MAX: usize = 4;
/// Fewer files are not worth one more thread.
const FILES_A_THREAD: usize = 4;

/// Carries `sync` out for each item; what came of each, in their order.
pub(super) fn all<T: Sync>(
    items: &[T],
    sync: impl Fn(&T) -> io::Result<()> + Sync,
) -> Vec<io::Result<()>> {
    let mut results: Vec<_> = items.iter().map(|_| Ok(())).collect();
    each(items, sync, |index, result| results[index] = result);
    results
}

/// Carries `sync` out for each item, and tells `done` at once what came of it, with its place. The first ones come first.
pub(super) fn each<T: Sync>(
    items: &[T],
    sync: impl Fn(&T) -> io::Result<()> + Sync,
    done: impl FnMut(usize, io::Result<()>),
) {
    each_by(|| Builder::new().name("sync".to_owned()), items, sync, done);
}

/// This thread only reports, so that no result waits for its next sync. With no other thread to be had it does it all.
fn each_by<T: Sync>(
    builder: impl Fn() -> Builder,
    items: &[T],
    sync: impl Fn(&T) -> io::Result<()> + Sync,
    mut done: impl FnMut(usize, io::Result<()>),
) {
    let next = AtomicUsize::new(0);
    let take = &|| {
        let index = next.fetch_add(1, Ordering::Relaxed);
        items.get(index).map(|item| (index, sync(item)))
    };
    let threads = (items.len() / FILES_A_THREAD).min(THREADS_MAX);
    if threads > 1 {
        std::thread::scope(|scope| {
            let (sender, results) = channel();
            for _ in 0..threads {
                let sender = sender.clone();
                let work = move || {
                    while let Some(result) = take() {
                        // The receiver outlives this thread.
                        let _ = sender.send(result);
                    }
                };
                if let Err(error) = builder().spawn_scoped(scope, work) {
                    tracing::warn!(%error, "no more threads (is the limit of processes reached?): syncs are made with fewer");
                    break;
                }
            }
            drop(sender);
            results.iter().for_each(|(index, result)| done(index, result));
        });
    }
    // Nothing is left if there was a thread.
    while let Some((index, result)) = take() {
        done(index, result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_synced_once_and_results_keep_their_order() {
        for count in [0, 1, 3, 4, 7, 8, 9, 16, 17, 100] {
            let items: Vec<usize> = (0..count).collect();
            let results = all(&items, |item| match item % 3 {
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
        let none = || Builder::new().stack_size(1 << 56);
        let here = std::thread::current().id();
        let mut done = Vec::new();
        let sync = |_: &usize| {
            assert_eq!(std::thread::current().id(), here);
            Ok(())
        };
        each_by(none, &[7_usize; 20], sync, |index, result| {
            result.unwrap();
            done.push(index);
        });
        assert_eq!(done, (0..20).collect::<Vec<_>>());
    }
}
