//! What the store does when nothing fails.

use bytes::Bytes;
use gfs_durable::fs::Fs;
use gfs_durable::fs::sim::{CrashMode, Operation, SimFs};
use gfs_types::ErrorKind;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;
use gfs_types::limits::BLOCK_BYTES;

use super::model::{CHUNK_BYTES, HANDLE, config, open, pattern};
use super::tear::TearFs;
use crate::store::{Payload, Store, StoreConfig, StoreError};

fn store() -> (SimFs, Store) {
    let fs = SimFs::new(1);
    let (store, found) = open(fs.clone()).unwrap();
    assert!(found.is_empty());
    store.create(HANDLE, ChunkVersion(1)).unwrap();
    (fs, store)
}

fn put(store: &Store, offset: u64, length: u64) -> Result<u64, StoreError> {
    store.write(HANDLE, offset, &Payload::compute(pattern(1, length), offset))
}

#[test]
fn a_replica_is_born_once_and_dies_with_its_version() {
    let (_, store) = store();
    assert!(matches!(store.create(HANDLE, ChunkVersion(1)), Err(StoreError::Exists { .. })));
    assert!(matches!(store.delete(HANDLE, ChunkVersion(2)), Err(StoreError::OtherVersion { .. })));
    store.delete(HANDLE, ChunkVersion(1)).unwrap();
    assert!(matches!(store.replica(HANDLE), Err(StoreError::NotFound(HANDLE))));
    store.create(HANDLE, ChunkVersion(3)).unwrap();
    assert_eq!(store.replica(HANDLE).unwrap().version, ChunkVersion(3));
}

#[test]
fn versions_only_rise() {
    let (_, store) = store();
    store.set_version(HANDLE, ChunkVersion(5)).unwrap();
    for version in [4, 5] {
        let error = store.set_version(HANDLE, ChunkVersion(version)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Stale);
    }
}

#[test]
fn a_raise_is_one_header_and_one_sync() {
    let (fs, store) = store();
    put(&store, 0, 100).unwrap();
    store.mark_clean(HANDLE, 100).unwrap();
    let before = fs.operations();
    store.set_version(HANDLE, ChunkVersion(5)).unwrap();
    assert_eq!(fs.operations() - before, 2, "a write and a sync");
    let (_, found) = open(fs.crash(CrashMode::Nothing)).unwrap();
    let replica = found[0].replica.as_ref().unwrap();
    assert!(!replica.clean && replica.version == ChunkVersion(5), "{replica:?}");
}

#[test]
fn flags_follow_what_happens_and_outlive_the_process() {
    let (fs, store) = store();
    assert!(store.replica(HANDLE).unwrap().clean);
    put(&store, 0, 100).unwrap();
    store.mark_clean(HANDLE, 90).unwrap();
    let replica = store.replica(HANDLE).unwrap();
    assert!(replica.clean && !replica.overwritten);
    assert_eq!((replica.length, replica.committed_length), (100, 90));
    put(&store, 50, 10).unwrap();
    let replica = store.replica(HANDLE).unwrap();
    assert!(!replica.clean && replica.overwritten && !replica.suspect);

    let same_boot = open(fs.kill()).unwrap().1.remove(0).replica.unwrap();
    assert_eq!(same_boot, replica);
    let other = StoreConfig { boot: 2, ..config() };
    let disk = fs.kill();
    for _ in 0..2 {
        let (store, mut found) =
            Store::open(std::sync::Arc::new(disk.clone()), other.clone()).unwrap();
        assert!(found.remove(0).replica.unwrap().suspect);
        drop(store);
    }
    let (store, _) = Store::open(std::sync::Arc::new(disk.clone()), other.clone()).unwrap();
    store.equalised(HANDLE, 100).unwrap();
    let (_, mut found) = Store::open(std::sync::Arc::new(disk), other).unwrap();
    assert!(!found.remove(0).replica.unwrap().suspect);
}

#[test]
fn reads_end_at_the_length_that_may_be_shown() {
    let (_, store) = store();
    put(&store, 0, 100_000).unwrap();
    let bytes = pattern(1, 100_000);
    for shown in [1, 65_535, 65_536, 65_537, 99_999, 100_000] {
        let plan = store.read_plan(HANDLE, 0..CHUNK_BYTES, shown).unwrap();
        assert_eq!((plan.offset, plan.length), (0, shown));
        let shown = usize::try_from(shown).unwrap();
        let read = plan.read().unwrap();
        assert_eq!(read, bytes[..shown]);
        assert_eq!(plan.checksums, gfs_protocol::checksum::blocks(0, &read));
        assert_eq!(
            store.read_verified(HANDLE, 0..CHUNK_BYTES, shown as u64).unwrap(),
            bytes[..shown]
        );
    }
    let plan = store.read_plan(HANDLE, 70_000..70_001, 99_999).unwrap();
    assert_eq!((plan.offset, plan.length), (BLOCK_BYTES, 99_999 - BLOCK_BYTES));
    assert_eq!(plan.file_offset % BLOCK_BYTES, 0);
    assert_eq!(store.read_verified(HANDLE, 65_530..65_540, 99_999).unwrap(), bytes[65_530..65_540]);
    for (range, shown) in [(100_000..100_001, 100_000), (0..1, 100_001), (7..7, 100)] {
        let error = store.read_plan(HANDLE, range, shown).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[test]
fn a_tail_that_nobody_remembers_is_computed_from_a_verified_block() {
    let (_, store) = store();
    for at in 0..200 {
        put(&store, at, 1).unwrap();
    }
    for shown in [1, 2, 199] {
        let plan = store.read_plan(HANDLE, 0..shown, shown).unwrap();
        assert_eq!(plan.checksums, gfs_protocol::checksum::blocks(0, &plan.read().unwrap()));
    }
}

#[test]
fn a_chunk_takes_as_much_as_it_has_and_not_a_byte_more() {
    let (_, store) = store();
    assert_eq!(put(&store, CHUNK_BYTES - 1, 1).unwrap(), CHUNK_BYTES);
    for (offset, length) in [(CHUNK_BYTES - 1, 2), (CHUNK_BYTES, 1), (u64::MAX, 1)] {
        let data = Payload::compute(pattern(1, length), 0);
        let error = store.write(HANDLE, offset, &data).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{offset}");
    }
    assert!(store.pad(HANDLE, CHUNK_BYTES + 1).is_err());
}

#[test]
fn a_hole_verifies_as_zeros_and_takes_no_bytes_of_the_payload() {
    let (_, store) = store();
    put(&store, 10, 5).unwrap();
    store.pad(HANDLE, 200_000).unwrap();
    put(&store, 250_000, 5).unwrap();
    let mut expected = vec![0; 250_005];
    expected[10..15].copy_from_slice(&pattern(1, 5));
    expected[250_000..].copy_from_slice(&pattern(1, 5));
    assert_eq!(store.read_verified(HANDLE, 0..CHUNK_BYTES, 250_005).unwrap(), expected);
    assert_eq!(
        store.checksums(HANDLE).unwrap().table,
        gfs_protocol::checksum::blocks(0, &expected)
    );
}

#[test]
fn equal_replicas_have_equal_digests() {
    let handle = ChunkHandle(9);
    let (_, store) = store();
    store.create(handle, ChunkVersion(1)).unwrap();
    put(&store, 0, 100_000).unwrap();
    let data = |from, to| Payload::compute(pattern(1, 100_000).slice(from..to), 0);
    store.write(handle, 0, &data(0, 1000)).unwrap();
    assert_ne!(store.checksums(handle).unwrap().digest, store.checksums(HANDLE).unwrap().digest);
    store.write(handle, 1000, &data(1000, 100_000)).unwrap();
    store.write(handle, 20, &data(20, 99_000)).unwrap();
    assert_eq!(store.checksums(handle).unwrap(), store.checksums(HANDLE).unwrap());
}

#[test]
fn a_full_disk_is_busy_names_the_server_and_loses_nothing() {
    let (fs, store) = store();
    put(&store, 0, 1000).unwrap();
    let space = fs.free_space(std::path::Path::new("/")).unwrap();
    fs.set_capacity(space.total_bytes - space.available_bytes + 30_000);
    for offset in [1000, 500] {
        let error = put(&store, offset, 100_000).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert!(error.to_string().contains("cs1"), "{error}");
    }
    fs.set_capacity(1 << 30);
    store.pad(HANDLE, 2000).unwrap();
    let mut expected = pattern(1, 1000).to_vec();
    expected.resize(2000, 0);
    assert!(store.read_verified(HANDLE, 0..2000, 2000).unwrap() == expected);
}

#[test]
fn a_failed_sync_is_fatal() {
    let (fs, store) = store();
    put(&store, 0, 1000).unwrap();
    fs.fail_nth(Operation::Sync, 0);
    assert!(store.flush(HANDLE, 1000).unwrap_err().is_fatal());
}

#[test]
fn a_write_that_fails_half_way_is_made_once_more() {
    let mutations: [(u64, u64); 3] = [(1000, 70_000), (500, 400), (900, 80_000)];
    for nth in 0.. {
        let (fs, store) = store();
        put(&store, 0, 1000).unwrap();
        put(&store, 10, 20).unwrap();
        fs.fail_nth(Operation::Write, nth);
        let mut expected = pattern(1, 1000).to_vec();
        expected[10..30].copy_from_slice(&pattern(1, 20));
        for (offset, length) in mutations {
            put(&store, offset, length).unwrap();
            store.flush(HANDLE, 1000).unwrap();
            let (from, bytes) = (usize::try_from(offset).unwrap(), pattern(1, length));
            let end = from + bytes.len();
            expected.resize(expected.len().max(end), 0);
            expected[from..end].copy_from_slice(&bytes);
        }
        let length = expected.len() as u64;
        let read = |store: &Store| store.read_verified(HANDLE, 0..length, length).unwrap();
        assert_eq!(read(&store), expected, "write {nth} failed");
        let (store, _) = open(fs.kill()).unwrap();
        assert_eq!(read(&store), expected, "write {nth} failed, and a start");
        if fs.failures() == 0 {
            assert!(nth > 6, "each mutation writes several times");
            break;
        }
    }
}

#[test]
fn one_that_fails_again_closes_the_replica_until_a_restart_recovers_it() {
    let (fs, store) = store();
    put(&store, 0, 1000).unwrap();
    (2..20).for_each(|nth| fs.fail_nth(Operation::Write, nth));
    assert!(put(&store, 1000, 70_000).is_err());
    assert_eq!(store.pad(HANDLE, 5000).unwrap_err().kind(), ErrorKind::Corrupt);
    let (store, _) = open(fs.kill()).unwrap();
    assert_eq!(store.read_verified(HANDLE, 0..1000, 1000).unwrap(), pattern(1, 1000));
    assert_eq!(store.replica(HANDLE).unwrap().length, 1000);
}

#[test]
fn appends_and_reads_go_on_while_a_flush_waits_for_the_disk() {
    let disk = SimFs::new(1);
    let slow = TearFs::new(disk.clone());
    let (store, _) = open(slow.clone()).unwrap();
    store.create(HANDLE, ChunkVersion(1)).unwrap();
    put(&store, 0, 1000).unwrap();
    slow.hold_syncs(true);
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| store.flush(HANDLE, 1000));
        slow.await_sync();
        put(&store, 1000, 500).unwrap();
        assert_eq!(store.read_plan(HANDLE, 0..1500, 1200).unwrap().length, 1200);
        assert_eq!(store.read_verified(HANDLE, 0..1500, 1500).unwrap().len(), 1500);
        slow.hold_syncs(false);
        flush.join().unwrap().unwrap();
    });
    // The flush covers what was there when it began.
    let (_, found) = open(disk.crash(CrashMode::Nothing)).unwrap();
    let replica = found[0].replica.as_ref().unwrap();
    assert!(replica.length >= 1000 && replica.committed_length == 1000, "{replica:?}");
}

#[test]
fn an_empty_write_changes_nothing() {
    let (fs, store) = store();
    let before = fs.operations();
    assert_eq!(store.write(HANDLE, 77, &Payload::compute(Bytes::new(), 0)).unwrap(), 0);
    assert_eq!(fs.operations(), before);
}

#[test]
fn what_a_crash_left_half_made_is_no_replica() {
    for stop in 0.. {
        let fs = SimFs::new(stop);
        let (store, _) = open(fs.clone()).unwrap();
        fs.fail_after(fs.operations() + stop);
        let created = store.create(HANDLE, ChunkVersion(1)).is_ok();
        let (killed, found) = open(fs.kill()).unwrap();
        assert!(created <= (found.len() == 1));
        assert!(found.iter().all(|found| found.replica.is_ok()));
        if found.is_empty() {
            killed.create(HANDLE, ChunkVersion(1)).unwrap();
        }
        for mode in fs.crash_modes(8) {
            let (_, found) = open(fs.crash(mode)).unwrap();
            assert!(created <= (found.len() == 1), "{mode:?}");
            assert!(found.iter().all(|found| found.replica.is_ok()), "{mode:?}");
        }
        if created {
            break;
        }
    }
}
