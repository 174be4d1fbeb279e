//! Replicas made equal: whatever stood there, the source's bytes stand there afterwards, and until then it is suspect.

use std::path::PathBuf;
use std::sync::Arc;

use gfs_durable::fs::sim::{CrashMode, SimFs};
use gfs_durable::fs::{Fs, Open};
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ClusterUid};
use gfs_types::limits::BLOCK_BYTES;

use super::model::{CHUNK_BYTES, HANDLE, config, open, pattern};
use crate::store::layout::{DATA_AT, ENDS_AT, REDO_HEAD_BYTES, TABLE_AT, redo_at};
use crate::store::{Checksums, Found, Payload, Replica, Store, StoreConfig, StoreError};

const SOURCE: ChunkHandle = ChunkHandle(0x51);
const FRAME: u64 = 2 * BLOCK_BYTES;

fn path(name: &str) -> PathBuf {
    PathBuf::from(format!("/data/chunks/cd/{HANDLE}{name}"))
}

fn put(store: &Store, handle: ChunkHandle, seed: u64, offset: u64, length: u64) {
    store.write(handle, offset, &Payload::compute(pattern(seed, length), offset)).unwrap();
}

/// A store with a source of so many bytes, and no replica yet.
fn with_source(length: u64) -> (SimFs, Store) {
    let fs = SimFs::new(1);
    let (store, _) = open(fs.clone()).unwrap();
    store.create(SOURCE, ChunkVersion(1)).unwrap();
    if length > 0 {
        put(&store, SOURCE, 1, 0, length);
        store.flush(SOURCE, length).unwrap();
    }
    (fs, store)
}

fn source(store: &Store) -> Checksums {
    store.checksums(SOURCE).unwrap()
}

/// What the driver does: fetches what differs, in frames. Gives the number of bytes.
fn copy(store: &Store, check_all: bool) -> Result<u64, StoreError> {
    let source = store.checksums(SOURCE)?;
    let mut copied = 0;
    for run in store.differing(HANDLE, &source, check_all)? {
        let mut at = run.start;
        while at < run.end {
            let stop = run.end.min(at + FRAME);
            let bytes = store.read_verified(SOURCE, at..stop, source.length)?;
            store.repair(HANDLE, at, &Payload::compute(bytes.into(), at))?;
            copied += stop - at;
            at = stop;
        }
    }
    Ok(copied)
}

fn make_equal(store: &Store, check_all: bool) -> u64 {
    let copied = copy(store, check_all).unwrap();
    let sums = store.equalised(HANDLE, source(store).length).unwrap();
    assert_eq!(sums, source(store));
    check_equal(store);
    copied
}

fn check_equal(store: &Store) {
    assert_eq!(store.checksums(HANDLE).unwrap(), source(store));
    let length = source(store).length;
    if length > 0 {
        let all = |handle| store.read_verified(handle, 0..length, length).unwrap();
        assert!(all(HANDLE) == all(SOURCE));
    }
    let replica = store.replica(HANDLE).unwrap();
    assert!(!replica.suspect && !replica.clean && replica.damaged.is_none(), "{replica:?}");
}

fn reopen(fs: SimFs, boot: u128) -> (Store, Vec<Found>) {
    Store::open(Arc::new(fs), StoreConfig { boot, ..config() }).unwrap()
}

fn replica(found: &[Found]) -> &Replica {
    let found = found.iter().find(|found| found.handle == HANDLE).expect("it is there");
    found.replica.as_ref().unwrap()
}

#[test]
fn blocks_that_differ_are_replaced_whatever_the_lengths_are() {
    let lengths = [0, 1, 65_535, 65_536, 65_537, 140_000, 196_608, CHUNK_BYTES];
    for theirs in lengths {
        for own in lengths {
            for seed in [1, 2] {
                let (fs, store) = with_source(theirs);
                store.create(HANDLE, ChunkVersion(1)).unwrap();
                if own > 0 {
                    put(&store, HANDLE, seed, 0, own);
                }
                let copied = make_equal(&store, false);
                let bound = if seed == 2 {
                    theirs
                } else {
                    theirs.saturating_sub(own / BLOCK_BYTES * BLOCK_BYTES)
                };
                assert!(copied <= bound, "{copied} bytes for {theirs} over {own}, seed {seed}");
                // It goes on like any other.
                for handle in [SOURCE, HANDLE] {
                    store.pad(handle, CHUNK_BYTES).unwrap();
                    put(&store, handle, 3, theirs / 2, 1000);
                }
                check_equal(&store);
                let (store, found) = reopen(fs.kill(), 1);
                assert!(!replica(&found).suspect);
                check_equal(&store);
            }
        }
    }
}

#[test]
fn before_the_first_byte_changes_the_replica_is_suspect_on_disk_and_stays_so_until_the_end() {
    let (fs, store) = with_source(200_000);
    store.create(HANDLE, ChunkVersion(1)).unwrap();
    put(&store, HANDLE, 2, 0, 200_000);
    store.mark_clean(HANDLE, 200_000).unwrap();
    let before = store.checksums(HANDLE).unwrap();
    let operations = fs.operations();
    copy(&store, false).unwrap();
    let total = fs.operations() - operations;
    store.equalised(HANDLE, 200_000).unwrap();
    for stop in 0..total {
        let (fs, store) = with_source(200_000);
        store.create(HANDLE, ChunkVersion(1)).unwrap();
        put(&store, HANDLE, 2, 0, 200_000);
        store.mark_clean(HANDLE, 200_000).unwrap();
        fs.fail_after(operations + stop);
        assert!(copy(&store, false).is_err());
        let mut disks = vec![(fs.kill(), 1)];
        disks.extend(fs.crash_modes(2).into_iter().map(|mode| (fs.crash(mode), 2)));
        for (disk, boot) in disks {
            let (store, found) = reopen(disk, boot);
            let found = replica(&found);
            if found.suspect || found.damaged.is_some() {
                assert!(!found.clean && (found.overwritten || found.damaged.is_some()));
            } else {
                assert_eq!(store.checksums(HANDLE).unwrap(), before, "stopped at {stop}");
                store.read_verified(HANDLE, 0..200_000, 200_000).unwrap();
            }
            make_equal(&store, false);
        }
    }
}

#[test]
fn a_repaired_replica_counts_only_when_everything_is_on_disk() {
    for stop in 0.. {
        let (fs, store) = with_source(140_000);
        store.create(HANDLE, ChunkVersion(1)).unwrap();
        put(&store, HANDLE, 2, 0, 200_000);
        copy(&store, false).unwrap();
        store.flush(SOURCE, 140_000).unwrap();
        fs.fail_after(fs.operations() + stop);
        let done = store.equalised(HANDLE, 140_000).is_ok();
        for (disk, boot) in fs.crash_modes(8).into_iter().map(|mode| (fs.crash(mode), 2)) {
            let (store, found) = reopen(disk.clone(), 1);
            let found = replica(&found);
            if !found.suspect && found.damaged.is_none() {
                check_equal(&store);
            } else {
                assert!(!done, "{found:?}");
            }
            drop(store);
            let (store, _) = reopen(disk, boot);
            make_equal(&store, false);
        }
        if done {
            break;
        }
    }
}

#[test]
fn a_block_with_the_right_entry_and_wrong_bytes_is_found_when_all_are_read() {
    for (at, length) in
        [(DATA_AT + 5, 200_000), (DATA_AT + 199_999, 200_000), (TABLE_AT + 5, 200_000)]
    {
        let (fs, store) = with_source(length);
        store.create(HANDLE, ChunkVersion(1)).unwrap();
        put(&store, HANDLE, 1, 0, length);
        fs.flip(&path(".chunk"), at, 3).unwrap();
        assert!((1..=BLOCK_BYTES).contains(&make_equal(&store, true)));
        assert_eq!(make_equal(&store, true), 0);
    }
}

#[test]
fn the_blocks_of_a_replica_that_is_in_doubt_are_all_read() {
    let (fs, store) = with_source(200_000);
    store.create(HANDLE, ChunkVersion(1)).unwrap();
    put(&store, HANDLE, 1, 0, 200_000);
    fs.flip(&path(".chunk"), DATA_AT + 70_000, 3).unwrap();
    assert_eq!(copy(&store, false).unwrap(), 0, "nothing tells that it is bad");
    store.mark_corrupt(HANDLE).unwrap();
    assert_eq!(make_equal(&store, false), BLOCK_BYTES);
}

#[test]
fn an_older_redo_record_does_not_undo_a_repair() {
    let (fs, store) = with_source(200_000);
    store.create(HANDLE, ChunkVersion(1)).unwrap();
    put(&store, HANDLE, 2, 0, 200_000);
    put(&store, HANDLE, 3, 60_000, 80_000);
    put(&store, HANDLE, 4, 100, 50);
    copy(&store, false).unwrap();
    let (store, found) = reopen(fs.kill(), 1);
    assert!(replica(&found).suspect && replica(&found).damaged.is_none());
    assert_eq!(copy(&store, true).unwrap(), 0, "what was repaired stays repaired");
    make_equal(&store, false);
}

#[test]
fn nor_does_one_of_a_replica_of_which_no_state_verified() {
    let (fs, store) = with_source(200_000);
    store.create(HANDLE, ChunkVersion(1)).unwrap();
    put(&store, HANDLE, 2, 0, 200_000);
    store.flush(HANDLE, 200_000).unwrap();
    for seed in 3..7 {
        put(&store, HANDLE, seed, 60_000, 80_000);
    }
    let fs = fs.kill();
    fs.flip(&path(".chunk"), DATA_AT + 199_000, 3).unwrap();
    let (store, found) = reopen(fs.clone(), 1);
    assert!(replica(&found).damaged.is_some());
    copy(&store, false).unwrap();
    let (store, found) = reopen(fs.kill(), 1);
    assert!(replica(&found).damaged.is_some(), "until it is equal");
    assert_eq!(copy(&store, true).unwrap(), 0, "what was repaired stays repaired");
    make_equal(&store, false);
}

#[test]
fn a_replica_that_was_cut_short_is_taken_up_again() {
    for (cut, running) in [
        (DATA_AT + 100_000, true),
        (DATA_AT + 100_000, false),
        (9000, true),
        (9000, false),
        (0, true),
    ] {
        let (fs, store) = with_source(200_000);
        store.create(HANDLE, ChunkVersion(7)).unwrap();
        put(&store, HANDLE, 1, 0, 200_000);
        store.mark_clean(HANDLE, 200_000).unwrap();
        fs.open(&path(".chunk"), Open::Write).unwrap().set_len(cut).unwrap();
        let fs = if running { fs } else { fs.kill() };
        let store = if running { store } else { reopen(fs.clone(), 1).0 };
        assert!(make_equal(&store, true) >= 100_000);
        assert_eq!(store.replica(HANDLE).unwrap().version, ChunkVersion(7), "from the head");
        store.set_version(HANDLE, ChunkVersion(8)).unwrap();
        let (store, found) = reopen(fs.crash(CrashMode::Nothing), 1);
        assert_eq!(replica(&found).version, ChunkVersion(8));
        assert_eq!(replica(&found).damaged, None);
        store.read_verified(HANDLE, 0..200_000, 200_000).unwrap();
    }
}

#[test]
fn a_file_without_a_good_head_is_kept_under_another_name_and_a_new_one_takes_its_place() {
    let (fs, store) = with_source(200_000);
    store.create(HANDLE, ChunkVersion(7)).unwrap();
    put(&store, HANDLE, 1, 0, 200_000);
    store.flush(HANDLE, 0).unwrap();
    for _ in 0..2 {
        for copy in [50, 2048 + 50] {
            fs.flip(&path(".chunk"), copy, 1).unwrap();
        }
        let lost = fs.read(&path(".chunk"), 1 << 30).unwrap();
        let (store, found) = reopen(fs.clone(), 1);
        assert!(
            found.iter().any(|found| found.replica.as_ref().is_err_and(StoreError::is_lost_bytes))
        );
        // Until it is repaired nothing changes.
        assert!(store.create(HANDLE, ChunkVersion(9)).is_err());
        assert!(store.delete(HANDLE, ChunkVersion(7)).is_err());
        assert!(store.set_version(HANDLE, ChunkVersion(9)).is_err());
        assert!(fs.read(&path(".chunk"), 1 << 30).unwrap() == lost);
        assert_eq!(copy(&store, false).unwrap(), 200_000);
        assert!(fs.read(&path(".damaged"), 1 << 30).unwrap() == lost);
        let (_, found) = reopen(fs.kill(), 1);
        assert_eq!(found.len(), 2, "the damaged file is none of the replicas");
        assert_eq!(replica(&found).version, ChunkVersion(0));
        assert!(replica(&found).damaged.is_some(), "not before it is equal");
        make_equal(&store, false);
        store.set_version(HANDLE, ChunkVersion(8)).unwrap();
        let (_, found) = reopen(fs.kill(), 1);
        assert_eq!((replica(&found).version, replica(&found).length), (ChunkVersion(8), 200_000));
        assert_eq!(replica(&found).damaged, None);
    }
    let (store, _) = reopen(fs.clone(), 1);
    store.delete(HANDLE, ChunkVersion(8)).unwrap();
    assert!(!fs.exists(&path(".damaged")).unwrap(), "it goes with its chunk");
}

#[test]
fn a_file_that_vanished_is_made_anew() {
    let (fs, store) = with_source(200_000);
    store.create(HANDLE, ChunkVersion(7)).unwrap();
    put(&store, HANDLE, 1, 0, 200_000);
    store.flush(HANDLE, 0).unwrap();
    let (store, _) = reopen(fs.clone(), 1);
    fs.remove_file(&path(".chunk")).unwrap();
    assert!(store.read_verified(HANDLE, 0..10, 200_000).unwrap_err().is_lost_bytes());
    assert_eq!(make_equal(&store, false), 200_000);
    assert_eq!(store.replica(HANDLE).unwrap().version, ChunkVersion(7));
}

#[test]
fn an_empty_chunk_replaces_a_lost_file_too() {
    let (fs, store) = with_source(0);
    store.create(HANDLE, ChunkVersion(7)).unwrap();
    drop(store);
    fs.open(&path(".chunk"), Open::Write).unwrap().set_len(0).unwrap();
    let (store, _) = reopen(fs, 1);
    assert_eq!(make_equal(&store, false), 0);
}

#[test]
fn a_lost_replica_has_version_0_when_it_is_to_be_deleted() {
    let (fs, store) = with_source(0);
    store.create(HANDLE, ChunkVersion(7)).unwrap();
    drop(store);
    fs.open(&path(".chunk"), Open::Write).unwrap().set_len(0).unwrap();
    let (store, _) = reopen(fs.clone(), 1);
    store.delete(HANDLE, ChunkVersion(0)).unwrap();
    assert!(!fs.exists(&path(".chunk")).unwrap());
    assert!(matches!(store.replica(HANDLE), Err(StoreError::NotFound(_))));
}

#[test]
fn a_foreign_or_newer_file_is_never_touched() {
    let (fs, store) = with_source(200_000);
    store.create(HANDLE, ChunkVersion(7)).unwrap();
    drop(store);
    let other = StoreConfig { cluster: ClusterUid(8), ..config() };
    let (store, found) = Store::open(Arc::new(fs.clone()), other).unwrap();
    assert!(found.iter().all(|found| !found.replica.as_ref().unwrap_err().is_lost_bytes()));
    let data = Payload::compute(pattern(1, 10), 0);
    assert!(matches!(store.repair(HANDLE, 0, &data), Err(StoreError::Foreign { .. })));
    assert!(matches!(store.equalised(HANDLE, 0), Err(StoreError::Foreign { .. })));
    assert!(store.delete(HANDLE, ChunkVersion(0)).is_err());
    assert!(fs.exists(&path(".chunk")).unwrap() && !fs.exists(&path(".damaged")).unwrap());
}

#[test]
fn what_is_no_block_of_the_source_is_refused() {
    let (_, store) = with_source(0);
    store.create(HANDLE, ChunkVersion(1)).unwrap();
    let data = Payload::compute(pattern(1, 10), 0);
    for offset in [1, BLOCK_BYTES, CHUNK_BYTES] {
        assert!(matches!(store.repair(HANDLE, offset, &data), Err(StoreError::Invalid { .. })));
    }
    let long = Payload::compute(pattern(1, CHUNK_BYTES + 1), 0);
    assert!(matches!(store.repair(HANDLE, 0, &long), Err(StoreError::Invalid { .. })));
    assert!(matches!(store.equalised(HANDLE, 1), Err(StoreError::Invalid { .. })));
    assert!(matches!(store.repair(ChunkHandle(3), 0, &data), Err(StoreError::NotFound(_))));
}

#[test]
fn a_full_disk_leaves_the_repair_to_be_tried_again() {
    let (fs, store) = with_source(200_000);
    store.create(HANDLE, ChunkVersion(1)).unwrap();
    let space = fs.free_space(&PathBuf::from("/")).unwrap();
    fs.set_capacity(space.total_bytes - space.available_bytes + 70_000);
    assert!(matches!(copy(&store, false), Err(StoreError::Full { .. })));
    fs.set_capacity(1 << 40);
    make_equal(&store, false);
}

/// The disk cannot give a sector of the data, the checksums, the ends or the overwrites: a lesson writes it again, in a new file where nothing
/// else would.
#[test]
fn a_replica_with_a_sector_that_cannot_be_read_is_made_equal() {
    for at in
        [DATA_AT + 70_000, TABLE_AT + 5, redo_at(0), redo_at(0) + REDO_HEAD_BYTES as u64, ENDS_AT]
    {
        let (fs, store) = with_source(140_000);
        store.create(HANDLE, ChunkVersion(1)).unwrap();
        put(&store, HANDLE, 1, 0, 140_000);
        store.flush(HANDLE, 140_000).unwrap();
        put(&store, HANDLE, 2, 5, 600);
        let killed = fs.kill();
        killed.spoil(&path(".chunk"), at).unwrap();
        let (store, found) = reopen(killed.clone(), 1);
        assert!(replica(&found).damaged.is_some(), "at {at}");
        make_equal(&store, false);
        let (store, found) = reopen(killed.kill(), 1);
        assert!(replica(&found).damaged.is_none(), "at {at}: {:?}", replica(&found));
        check_equal(&store);
    }
}
