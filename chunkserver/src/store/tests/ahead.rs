//! Space that is taken ahead of the bytes: when, how much, and that it is given back.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use gfs_durable::fs::Fs;
use gfs_durable::fs::real::RealFs;
use gfs_durable::fs::sim::{Operation, SimFs};
use gfs_types::fence::ChunkVersion;

use super::model::{CHUNK_BYTES, HANDLE, config, open, pattern};
use crate::store::layout::DATA_AT;
use crate::store::{Payload, Store, StoreConfig, StoreError};

/// So much has its space after 100,000 bytes, of which as much again would be more than a quarter of a chunk.
const AHEAD: u64 = 100_000 + CHUNK_BYTES / 4;

fn put(store: &Store, offset: u64, length: u64) -> Result<u64, StoreError> {
    store.write(HANDLE, offset, &Payload::compute(pattern(1, length), offset))
}

fn used(fs: &SimFs) -> u64 {
    let space = fs.free_space(Path::new("/")).unwrap();
    space.total_bytes - space.available_bytes
}

/// A replica that is about to be written.
fn born() -> (SimFs, Store) {
    let fs = SimFs::new(1);
    let (store, _) = open(fs.clone()).unwrap();
    store.give_birth(&[(HANDLE, ChunkVersion(1))]).remove(0).unwrap();
    (fs, store)
}

#[test]
fn what_was_taken_is_given_back_when_the_replica_ends_clean() {
    let (fs, store) = born();
    put(&store, 0, 100_000).unwrap();
    assert_eq!(used(&fs), DATA_AT + AHEAD);
    store.flush(HANDLE, 100_000).unwrap();
    assert_eq!(used(&fs), DATA_AT + AHEAD, "whoever syncs may go on");
    store.mark_clean(HANDLE, 100_000).unwrap();
    assert_eq!(used(&fs), DATA_AT + 100_000);
    assert!(store.read_verified(HANDLE, 0..100_000, 100_000).unwrap() == pattern(1, 100_000));
}

/// A replica on a real disk, and the blocks that its file has.
fn born_on(dir: &Path) -> (Store, impl Fn() -> u64) {
    let config = StoreConfig { dir: dir.to_owned(), ..config() };
    let (store, _) = Store::open(Arc::new(RealFs), config).unwrap();
    store.give_birth(&[(HANDLE, ChunkVersion(1))]).remove(0).unwrap();
    let path = crate::store::directory::path(dir, HANDLE);
    (store, move || std::fs::metadata(&path).unwrap().blocks())
}

#[test]
fn a_real_disk_gives_it_back_too() {
    let dir = tempfile::tempdir().unwrap();
    let (store, blocks) = born_on(dir.path());
    put(&store, 0, 100_000).unwrap();
    // Of what was not synced not every file system knows yet how many blocks it takes.
    store.flush(HANDLE, 100_000).unwrap();
    let ahead = blocks();
    store.mark_clean(HANDLE, 100_000).unwrap();
    assert!(blocks() + 50_000 / 512 < ahead, "{} of {ahead} blocks are left", blocks());
}

#[test]
fn padding_takes_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, blocks) = born_on(dir.path());
    let empty = blocks();
    put(&store, 0, 100_000).unwrap();
    store.pad(HANDLE, CHUNK_BYTES).unwrap();
    store.flush(HANDLE, CHUNK_BYTES).unwrap();
    assert!(blocks() < empty + 140_000 / 512, "{} blocks, {empty} of them empty", blocks());
}

#[test]
fn what_a_killed_process_took_the_next_one_gives_back() {
    let (fs, store) = born();
    put(&store, 0, 100_000).unwrap();
    store.flush(HANDLE, 100_000).unwrap();
    // With nothing behind the last flush a start has nothing to cut.
    store.set_version(HANDLE, ChunkVersion(2)).unwrap();
    let fs = fs.kill();
    let (store, _) = open(fs.clone()).unwrap();
    assert_eq!(used(&fs), DATA_AT + AHEAD);
    store.mark_clean(HANDLE, 100_000).unwrap();
    assert_eq!(used(&fs), DATA_AT + 100_000);
}

#[test]
fn where_nothing_can_be_had_ahead_the_bytes_take_their_space_as_they_come() {
    let (fs, store) = born();
    fs.fail_nth(Operation::Write, 0);
    assert_eq!(put(&store, 0, 100_000).unwrap(), 100_000);
    assert_eq!((fs.failures(), used(&fs)), (1, DATA_AT + 100_000));
}

#[test]
fn a_disk_without_plenty_of_space_gives_none_ahead() {
    // 64 times as much has to be free, besides the margin of a sixteenth.
    let plenty = ((64 * AHEAD + DATA_AT) * 16).div_ceil(15).next_multiple_of(16);
    for (total, expected) in [(plenty, AHEAD), (plenty - 16, 100_000)] {
        let (fs, store) = born();
        fs.set_capacity(total);
        put(&store, 0, 100_000).unwrap();
        assert_eq!(used(&fs) - DATA_AT, expected, "of {total} bytes");
    }
}

#[test]
fn what_has_its_space_is_written_on_a_full_disk() {
    let (fs, store) = born();
    put(&store, 0, 100_000).unwrap();
    fs.set_capacity(used(&fs));
    assert_eq!(put(&store, 100_000, AHEAD - 100_000).unwrap(), AHEAD);
    let error = put(&store, AHEAD, 1).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
}
