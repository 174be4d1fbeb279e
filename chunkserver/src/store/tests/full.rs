//! FULL-1 on a chunkserver's disk: what needs no space goes on, what does is refused whole, and it ends by itself.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use gfs_durable::fs::Fs;
use gfs_durable::fs::real::RealFs;
use gfs_durable::fs::sim::SimFs;
use gfs_types::ErrorKind;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;
use gfs_types::limits::CHUNK_BYTES_DEFAULT;
use gfs_types::region::ChunkSize;

use super::model::{HANDLE, config, open, pattern};
use crate::store::{Payload, Store, StoreConfig, StoreError};

fn put(store: &Store, offset: u64, length: u64) -> Result<u64, StoreError> {
    store.write(HANDLE, offset, &Payload::compute(pattern(1, length), offset))
}

/// Takes all that is free.
fn fill(fs: &SimFs) {
    let space = fs.free_space(Path::new("/")).unwrap();
    fs.set_capacity(space.total_bytes - space.available_bytes);
}

#[test]
fn full_1_on_a_full_disk_replicas_are_read_raised_flushed_ended_and_deleted() {
    let fs = SimFs::new(1);
    let (store, _) = open(fs.clone()).unwrap();
    store.create(HANDLE, ChunkVersion(1)).unwrap();
    put(&store, 0, 100_000).unwrap();
    assert!(!store.is_short_of_space());
    fill(&fs);
    assert_eq!(put(&store, 100_000, 70_000).unwrap_err().kind(), ErrorKind::Busy);
    assert!(store.is_short_of_space());
    assert_eq!(store.space().unwrap().free_bytes, 0);
    let other = ChunkHandle(2);
    let error = store.create(other, ChunkVersion(1)).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    for word in ["cs1", "free space", "by itself"] {
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    let read = store.read_verified(HANDLE, 0..100_000, 100_000).unwrap();
    assert!(read == pattern(1, 100_000));
    store.set_version(HANDLE, ChunkVersion(2)).unwrap();
    store.flush(HANDLE, 100_000).unwrap();
    store.mark_clean(HANDLE, 100_000).unwrap();
    store.mark_unclean(HANDLE).unwrap();
    store.mark_corrupt(HANDLE).unwrap();
    store.equalised(HANDLE, 60_000).unwrap();
    drop(store);
    let (store, found) = open(fs.clone()).unwrap();
    assert_eq!(found.len(), 1, "nothing half-made is left, and a start needs no space");
    assert_eq!(store.replica(HANDLE).unwrap().length, 60_000);
    store.delete(HANDLE, ChunkVersion(2)).unwrap();
    // What the deleted one had is enough for the other.
    store.create(other, ChunkVersion(1)).unwrap();
    fs.set_capacity(1 << 40);
    assert!(!store.is_short_of_space(), "by itself");
}

/// A mutation must not find room for its bytes and none for the record that makes them count: the replica would be closed.
#[test]
fn a_replica_has_the_space_of_its_head_from_birth() {
    let dir = tempfile::tempdir().unwrap();
    // Of so large a chunk the bytes here are too few to take space ahead.
    let chunk_size = ChunkSize::new(CHUNK_BYTES_DEFAULT).unwrap();
    let config = StoreConfig { dir: dir.path().to_owned(), chunk_size, ..config() };
    let (store, _) = Store::open(Arc::new(RealFs), config).unwrap();
    store.create(HANDLE, ChunkVersion(1)).unwrap();
    let taken = || {
        let folder = dir.path().join("chunks").join(format!("{:02x}", (HANDLE.0 >> 8) & 0xff));
        let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap();
        file.metadata().unwrap().blocks() * 512
    };
    let at_birth = taken();
    store.mark_unclean(HANDLE).unwrap();
    store.set_version(HANDLE, ChunkVersion(2)).unwrap();
    let mut length = 0;
    for _ in 0..100 {
        length = put(&store, length, 1).unwrap();
    }
    put(&store, length, 65_536 - length).unwrap();
    store.flush(HANDLE, 65_536).unwrap();
    store.mark_clean(HANDLE, 65_536).unwrap();
    assert_eq!(taken(), at_birth + 65_536, "the data is all that needed space");
}
