//! Syncing many files at once: they share the commits of the file system's journal, and the flushes of the disk.

use std::io;

/// Threads that sync the files of one batch: enough to share flushes, few enough not to cost more than they save.
const THREADS_MAX: usize = 4;
/// Fewer files are not worth one more thread.
const FILES_A_THREAD: usize = 4;

/// Carries `sync` out for each item; what came of each, in their order.
pub(super) fn all<T: Sync>(
    items: &[T],
    sync: impl Fn(&T) -> io::Result<()> + Sync,
) -> Vec<io::Result<()>> {
    let threads = (items.len() / FILES_A_THREAD).clamp(1, THREADS_MAX);
    let share = items.len().div_ceil(threads).max(1);
    let sync = &sync;
    let in_turn = |items: &[T]| items.iter().map(sync).collect::<Vec<_>>();
    let mut shares = items.chunks(share);
    let Some(own) = shares.next() else { return Vec::new() };
    std::thread::scope(|scope| {
        let others: Vec<_> = shares.map(|items| scope.spawn(move || in_turn(items))).collect();
        let mut results = in_turn(own);
        for other in others {
            results.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results
    })
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
}
