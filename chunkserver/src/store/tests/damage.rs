//! Bits that flipped on the disk are found, and a file that is not ours is refused and kept.

use std::path::PathBuf;
use std::sync::Arc;

use gfs_durable::fs::sim::{CrashMode, SimFs};
use gfs_durable::fs::{Fs, Open};
use gfs_types::ErrorKind;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ClusterUid};
use gfs_types::region::ChunkSize;

use super::model::{HANDLE, config, open, pattern};
use crate::store::layout::{DATA_AT, ENDS_AT, REDO_HEAD_BYTES, TABLE_AT, redo_at};
use crate::store::{Payload, Store, StoreConfig};

fn path() -> PathBuf {
    PathBuf::from(format!("/data/chunks/cd/{HANDLE}.chunk"))
}

/// A clean replica of two blocks and a bit.
fn disk() -> SimFs {
    let fs = SimFs::new(1);
    let (store, _) = open(fs.clone()).unwrap();
    store.create(HANDLE, ChunkVersion(1)).unwrap();
    store.write(HANDLE, 0, &Payload::compute(pattern(1, 140_000), 0)).unwrap();
    store.mark_clean(HANDLE, 140_000).unwrap();
    fs
}

#[test]
fn what_rots_after_a_flush_is_damage_and_never_cut_off() {
    for flip in [DATA_AT, DATA_AT + 139_999, TABLE_AT + 5] {
        let fs = SimFs::new(1);
        let (store, _) = open(fs.clone()).unwrap();
        store.create(HANDLE, ChunkVersion(1)).unwrap();
        store.write(HANDLE, 0, &Payload::compute(pattern(1, 140_000), 0)).unwrap();
        store.flush(HANDLE, 140_000).unwrap();
        let killed = fs.kill();
        killed.flip(&path(), flip, 4).unwrap();
        let (_, found) = open(killed).unwrap();
        let replica = found[0].replica.as_ref().unwrap();
        let why = replica.damaged.as_deref().expect("an older state was taken for the newest");
        assert!(why.contains("changed on the disk"), "{why}");
    }
}

#[test]
fn what_rots_before_any_flush_is_damage_and_never_cut_off() {
    for flip in [DATA_AT, DATA_AT + 139_999, TABLE_AT + 5] {
        let fs = SimFs::new(1);
        let (store, _) = open(fs.clone()).unwrap();
        store.create(HANDLE, ChunkVersion(1)).unwrap();
        store.write(HANDLE, 0, &Payload::compute(pattern(1, 70_000), 0)).unwrap();
        store.write(HANDLE, 70_000, &Payload::compute(pattern(2, 70_000), 70_000)).unwrap();
        let killed = fs.kill();
        killed.flip(&path(), flip, 4).unwrap();
        let (_, found) = open(killed).unwrap();
        let replica = found[0].replica.as_ref().unwrap();
        assert!(replica.damaged.is_some(), "{} bytes are called all there is", replica.length);
    }
}

/// Seed 150 of the simulator: the replica of which one byte could not be read was gone for ever, and those beside it, which
/// had lost power, waited for it.
#[test]
fn a_sector_that_cannot_be_read_is_damage_and_not_the_end_of_the_replica() {
    for at in [DATA_AT, DATA_AT + 139_999, TABLE_AT + 5] {
        let fs = SimFs::new(1);
        let (store, _) = open(fs.clone()).unwrap();
        store.create(HANDLE, ChunkVersion(1)).unwrap();
        store.write(HANDLE, 0, &Payload::compute(pattern(1, 140_000), 0)).unwrap();
        let killed = fs.kill();
        killed.spoil(&path(), at).unwrap();
        let (_, found) = open(killed).unwrap();
        let replica = found[0].replica.as_ref().expect("what can be read of it is of use");
        assert_eq!(replica.version, ChunkVersion(1));
        assert!(replica.damaged.is_some(), "{} bytes are called all there is", replica.length);
    }
}

/// Seed 4425 of the simulator: nobody doubted the sector, for it was durable long before; but all that was written since may be in the
/// kernel's memory only, and is written again.
#[test]
fn a_sector_that_cannot_be_written_again_is_damage_and_not_the_end_of_the_replica() {
    for at in [DATA_AT + 70_000, redo_at(0), redo_at(0) + REDO_HEAD_BYTES as u64, ENDS_AT] {
        let fs = SimFs::new(1);
        let (store, _) = open(fs.clone()).unwrap();
        store.create(HANDLE, ChunkVersion(1)).unwrap();
        store.write(HANDLE, 0, &Payload::compute(pattern(1, 140_000), 0)).unwrap();
        store.flush(HANDLE, 140_000).unwrap();
        store.write(HANDLE, 5, &Payload::compute(pattern(2, 600), 5)).unwrap();
        let killed = fs.kill();
        killed.spoil(&path(), at).unwrap();
        for _ in 0..2 {
            let (_, found) = open(killed.kill()).unwrap();
            let replica = found[0].replica.as_ref().expect("what can be read of it is of use");
            assert_eq!(replica.version, ChunkVersion(1));
            assert!(replica.damaged.is_some(), "at {at}: {} bytes are good", replica.length);
        }
    }
}

#[test]
fn a_flipped_bit_in_data_or_table_is_found_where_it_is() {
    for (at, block) in
        [(DATA_AT, 0), (DATA_AT + 65_536 + 9, 1), (DATA_AT + 139_999, 2), (TABLE_AT + 5, 1)]
    {
        let fs = disk();
        fs.flip(&path(), at, 4).unwrap();
        let (store, found) = open(fs).unwrap();
        assert!(found[0].replica.is_ok());
        for good in (0..3).filter(|good| *good != block) {
            let start = good * 65_536;
            store.read_verified(HANDLE, start..start + 10, 140_000).unwrap();
        }
        let start = block * 65_536;
        let error = store.read_verified(HANDLE, start..start + 10, 140_000).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(&format!("block {block}")), "{error}");
        // The plan is unverified: the reader sees it.
        let plan = store.read_plan(HANDLE, start..start + 10, 140_000).unwrap();
        assert_ne!(plan.checksums, gfs_protocol::checksum::blocks(0, &plan.read().unwrap()));
        // A part of it cannot be overwritten, for that would vouch for the rest; the whole can.
        if at >= DATA_AT {
            let part = Payload::compute(pattern(2, 5), 0);
            assert!(store.write(HANDLE, start + 20, &part).is_err());
        }
        let whole = Payload::compute(pattern(2, 65_536.min(140_000 - start)), 0);
        store.write(HANDLE, start, &whole).unwrap();
        store.read_verified(HANDLE, 0..140_000, 140_000).unwrap();
    }
}

#[test]
fn an_append_to_a_damaged_block_does_not_make_it_good() {
    let fs = disk();
    fs.flip(&path(), DATA_AT + 139_000, 1).unwrap();
    let (store, _) = open(fs).unwrap();
    store.write(HANDLE, 140_000, &Payload::compute(pattern(2, 100_000), 0)).unwrap();
    assert!(store.read_verified(HANDLE, 131_072..131_073, 240_000).is_err());
}

#[test]
fn one_flipped_bit_in_the_head_is_mended_two_are_refused() {
    for (first, second) in [(4096, 4096 + 2048), (0, 2048)] {
        let fs = disk();
        fs.flip(&path(), first + 50, 1).unwrap();
        let (store, found) = open(fs.clone()).unwrap();
        assert!(found[0].replica.as_ref().unwrap().clean);
        store.read_verified(HANDLE, 0..140_000, 140_000).unwrap();
        fs.flip(&path(), second + 50, 1).unwrap();
        let (store, found) = open(fs.clone()).unwrap();
        let error = found[0].replica.as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("header slot"), "{error}");
        assert!(store.delete(HANDLE, ChunkVersion(1)).is_err());
        assert!(store.create(HANDLE, ChunkVersion(1)).is_err());
        assert!(fs.exists(&path()).unwrap());
    }
}

#[test]
fn a_file_of_another_cluster_chunk_or_chunk_size_is_refused_and_kept() {
    let refused = |fs: &SimFs, config: StoreConfig, words: &str| {
        let (_, found) = Store::open(Arc::new(fs.clone()), config).unwrap();
        let bad: Vec<_> = found.iter().filter_map(|found| found.replica.as_ref().err()).collect();
        assert_eq!(bad.len(), 1);
        assert!(bad[0].to_string().contains(words), "{}", bad[0]);
        assert!(fs.exists(&path()).unwrap());
    };
    let fs = disk();
    refused(&fs, StoreConfig { cluster: ClusterUid(8), ..config() }, "cluster");
    let other = ChunkSize::new(128 << 10).unwrap();
    refused(&fs, StoreConfig { chunk_size: other, ..config() }, "chunk size");
    let moved = ChunkHandle(HANDLE.0 ^ (1 << 20));
    let (store, _) = open(fs.clone()).unwrap();
    store.create(moved, ChunkVersion(1)).unwrap();
    fs.rename(&PathBuf::from(format!("/data/chunks/cd/{moved}.chunk")), &path()).unwrap();
    refused(&fs, config(), &moved.to_string());
}

#[test]
fn a_clean_replica_that_lost_its_end_is_damaged() {
    let fs = disk();
    let file = fs.open(&path(), gfs_durable::fs::Open::Write).unwrap();
    file.set_len(DATA_AT + 139_999).unwrap();
    let (_, found) = open(fs).unwrap();
    assert!(found[0].replica.as_ref().unwrap().damaged.is_some());
}

#[test]
fn a_file_without_a_head_is_damage_and_a_stranger_is_left_alone() {
    let fs = disk();
    let strange = PathBuf::from("/data/chunks/cd/notes.txt");
    fs.open(&strange, gfs_durable::fs::Open::Create).unwrap();
    fs.open(&path(), gfs_durable::fs::Open::Write).unwrap().set_len(0).unwrap();
    let (_, found) = open(fs.clone()).unwrap();
    assert!(found[0].replica.is_err());
    assert!(fs.exists(&path()).unwrap() && fs.exists(&strange).unwrap());
}

#[test]
fn a_head_with_a_right_checksum_and_impossible_numbers_is_refused() {
    // Counts of headers and of ends, lengths of both ends.
    for field in [8, 80, 88, 96, 104] {
        let fs = disk();
        let file = fs.open(&path(), gfs_durable::fs::Open::Write).unwrap();
        for copy in [0, 2048, 4096, 6144] {
            let mut head = [0; 128];
            file.read_exact_at(&mut head, copy).unwrap();
            head[field..field + 8].fill(0xff);
            let checksum = gfs_protocol::checksum::crc32c(&head[..124]);
            head[124..].copy_from_slice(&checksum.to_le_bytes());
            file.write_all_at(&head, copy).unwrap();
        }
        let (_, found) = open(fs).unwrap();
        let error = found[0].replica.as_ref().unwrap_err();
        assert!(error.to_string().contains("cannot be"), "field {field}: {error}");
    }
}

#[test]
fn a_replica_found_to_be_corrupt_stays_so_after_a_clean_end_and_a_restart() {
    let fs = disk();
    let (store, _) = open(fs.clone()).unwrap();
    store.mark_corrupt(HANDLE).unwrap();
    store.set_version(HANDLE, ChunkVersion(2)).unwrap();
    store.mark_clean(HANDLE, 140_000).unwrap();
    for _ in 0..2 {
        let (store, found) = open(fs.crash(CrashMode::Nothing)).unwrap();
        let replica = found[0].replica.as_ref().unwrap();
        assert!(replica.damaged.is_some(), "{replica:?}");
        // It still takes versions and serves the blocks that are good.
        assert_eq!(replica.version, ChunkVersion(2));
        store.set_version(HANDLE, ChunkVersion(3)).unwrap();
        store.read_verified(HANDLE, 0..10, 140_000).unwrap();
    }
    store.equalised(HANDLE, 140_000).unwrap();
    let (_, found) = open(fs.kill()).unwrap();
    assert_eq!(found[0].replica.as_ref().unwrap().damaged, None);
}

#[test]
fn bytes_that_the_disk_does_not_give_any_more_are_lost() {
    let fs = disk();
    let (store, _) = open(fs.clone()).unwrap();
    fs.open(&path(), Open::Write).unwrap().set_len(DATA_AT + 100_000).unwrap();
    store.read_verified(HANDLE, 0..10, 140_000).unwrap();
    assert!(store.read_verified(HANDLE, 70_000..70_010, 140_000).unwrap_err().is_lost_bytes());
    let missing = ChunkHandle(1);
    assert!(!store.read_verified(missing, 0..10, 140_000).unwrap_err().is_lost_bytes());
}
