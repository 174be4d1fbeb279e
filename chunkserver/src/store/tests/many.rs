//! Births and flushes of several replicas at once, at every crash point.

use std::sync::Arc;

use gfs_durable::fs::sim::SimFs;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;

use super::model::{config, open, pattern};
use super::tear::TearFs;
use super::world::is_off;
use crate::store::{Flush, Found, Payload, Store, StoreConfig, StoreError};

/// Three in one folder, and one in another.
const HANDLES: [ChunkHandle; 4] =
    [ChunkHandle(1), ChunkHandle(2), ChunkHandle(0x101), ChunkHandle(3)];
const VERSION: ChunkVersion = ChunkVersion(1);

fn births() -> Vec<(ChunkHandle, ChunkVersion)> {
    HANDLES.map(|handle| (handle, VERSION)).to_vec()
}

fn length(handle: ChunkHandle) -> u64 {
    100 + 70_000 * (handle.0 % 3)
}

fn flushes(clean: impl Fn(ChunkHandle) -> bool) -> Vec<Flush> {
    let flush = |handle| Flush { handle, committed_length: length(handle), clean: clean(handle) };
    HANDLES.map(flush).to_vec()
}

fn flush_many(store: &Store, flushes: &[Flush]) -> Vec<Result<(), StoreError>> {
    let mut results: Vec<_> = flushes.iter().map(|_| None).collect();
    store.flush_many(flushes, |index, result| assert!(results[index].replace(result).is_none()));
    results.into_iter().map(Option::unwrap).collect()
}

fn fill(store: &Store) {
    for handle in HANDLES {
        let data = Payload::compute(pattern(handle.0, length(handle)), 0);
        store.write(handle, 0, &data).unwrap();
    }
}

/// After a power loss, or the death of the process alone.
fn reopen(disk: &SimFs, restarted: bool) -> (Store, Vec<Found>) {
    let boot = config().boot + u128::from(restarted);
    Store::open(Arc::new(disk.clone()), StoreConfig { boot, ..config() }).unwrap()
}

/// Tries every moment at which the disk can stop during `act`, with every way to lose power then and with none.
fn at_every_crash(
    prepare: impl Fn(&SimFs) -> Store,
    act: impl Fn(&Store) -> Vec<Result<(), StoreError>>,
    check: impl Fn(&str, Vec<bool>, &Store, Vec<Found>),
) {
    let mut tried = 0;
    for stop in 0.. {
        let disk = SimFs::new(stop);
        let store = prepare(&disk);
        disk.fail_after(disk.operations() + stop);
        let done: Vec<bool> = act(&store).iter().map(Result::is_ok).collect();
        let finished = !is_off(&disk);
        assert!(!finished || done.iter().all(|done| *done));
        let (store, found) = reopen(&disk.kill(), false);
        check(&format!("killed at {stop}"), done.clone(), &store, found);
        for mode in disk.crash_modes(20) {
            let (store, found) = reopen(&disk.crash(mode), true);
            check(&format!("{mode:?} at {stop}"), done.clone(), &store, found);
            tried += 1;
        }
        if finished {
            break;
        }
    }
    assert!(tried > 100, "only {tried} crash points");
}

#[test]
fn every_replica_that_was_born_in_a_batch_outlives_a_crash_whole() {
    let prepare = |disk: &SimFs| open(disk.clone()).unwrap().0;
    let act = |store: &Store| store.give_birth(&births());
    at_every_crash(prepare, act, |what, done, store, found| {
        for found in &found {
            let replica = found.replica.as_ref().unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!((replica.version, replica.length), (VERSION, 0), "{what}");
            assert!(!replica.clean && replica.damaged.is_none(), "{what}");
        }
        for (handle, done) in HANDLES.into_iter().zip(done) {
            let there = store.replica(handle).is_ok();
            assert!(there || !done, "{what}: {handle} was acknowledged and is gone");
        }
    });
}

#[test]
fn what_was_flushed_in_a_batch_outlives_a_crash_on_every_replica() {
    for (flushed_before, clean) in [(false, false), (false, true), (true, true)] {
        let prepare = |disk: &SimFs| {
            let store = open(disk.clone()).unwrap().0;
            assert!(store.give_birth(&births()).iter().all(Result::is_ok));
            fill(&store);
            if flushed_before {
                assert!(flush_many(&store, &flushes(|_| false)).iter().all(Result::is_ok));
            }
            store
        };
        // One is not to become clean.
        let ends = |handle: ChunkHandle| clean && handle.0 != 2;
        let act = |store: &Store| flush_many(store, &flushes(ends));
        at_every_crash(prepare, act, |what, done, store, _| {
            for (handle, done) in HANDLES.into_iter().zip(done) {
                let replica = store.replica(handle).unwrap();
                assert_eq!(replica.damaged, None, "{what}: {handle}");
                let whole = length(handle);
                assert!(replica.length == whole || !(done || flushed_before), "{what}: {handle}");
                if done {
                    assert_eq!(replica.committed_length, whole, "{what}: {handle}");
                    assert_eq!(replica.clean, ends(handle), "{what}: {handle}");
                }
                // Clean is only what has all that was committed.
                assert!(!replica.clean || replica.length == whole, "{what}: {handle}");
                if replica.length > 0 {
                    let read = store.read_verified(handle, 0..replica.length, replica.length);
                    assert!(pattern(handle.0, whole).starts_with(&read.unwrap()), "{what}");
                }
            }
        });
    }
}

#[test]
fn one_that_cannot_be_born_or_flushed_keeps_no_other_from_it() {
    let (store, _) = open(SimFs::new(1)).unwrap();
    store.create(HANDLES[1], VERSION).unwrap();
    let born = store.give_birth(&births());
    let exists = |result: &Result<(), _>| matches!(result, Err(StoreError::Exists { .. }));
    assert_eq!(born.iter().map(exists).collect::<Vec<_>>(), [false, true, false, false]);
    assert_eq!(born.iter().filter(|result| result.is_ok()).count(), 3);
    store.delete(HANDLES[2], VERSION).unwrap();
    let flushed = flush_many(&store, &flushes(|_| true));
    let missing = |result: &Result<(), _>| matches!(result, Err(StoreError::NotFound(_)));
    assert_eq!(flushed.iter().map(missing).collect::<Vec<_>>(), [false, false, true, false]);
    assert!(
        HANDLES
            .iter()
            .all(|handle| store.replica(*handle).is_ok_and(|r| r.clean) == (*handle != HANDLES[2]))
    );
}

/// Neither its result nor an overwrite, which needs its header, waits for the sync of another one.
#[test]
fn a_replica_of_a_batch_waits_for_no_sync_but_its_own() {
    let disk = TearFs::new(SimFs::new(1));
    let (store, _) = open(disk.clone()).unwrap();
    let handles: Vec<_> = (1..=16).map(ChunkHandle).collect();
    let data = Payload::compute(pattern(1, 100), 0);
    for handle in &handles {
        store.create(*handle, VERSION).unwrap();
        store.write(*handle, 0, &data).unwrap();
    }
    let flush =
        |handle: &ChunkHandle| Flush { handle: *handle, committed_length: 100, clean: false };
    let flushes: Vec<_> = handles.iter().map(flush).collect();
    disk.hold_one_sync();
    let mut count = 0;
    store.flush_many(&flushes, |index, result| {
        result.unwrap();
        store.write(handles[index], 10, &data).unwrap();
        count += 1;
        if count == handles.len() - 1 {
            disk.hold_syncs(false);
        }
    });
    assert_eq!(count, handles.len());
    assert!(handles.iter().all(|handle| store.replica(*handle).unwrap().overwritten));
}

/// Its sync is long: others do not wait for it.
#[test]
fn one_with_much_to_write_is_flushed_alone_and_last() {
    let (store, _) = open(SimFs::new(1)).unwrap();
    let data = Payload::compute(pattern(1, 100), 0);
    for handle in HANDLES {
        store.create(handle, VERSION).unwrap();
        store.write(handle, 0, &data).unwrap();
    }
    // Nobody knows how much was overwritten.
    store.write(HANDLES[0], 0, &data).unwrap();
    let mut order = Vec::new();
    store.flush_many(&flushes(|_| false), |index, result| {
        result.unwrap();
        order.push(index);
        if order.len() == 3 {
            // Its header is not locked yet.
            store.flush(HANDLES[0], 50).unwrap();
        }
    });
    assert_eq!(order, [1, 2, 3, 0]);
}
