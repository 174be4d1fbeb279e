//! What only the simulated disk can do: lose power, fail, fill up, rot.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::fs::sim::{CrashMode, Operation, SECTOR_BYTES, SimFs};

const PATH: &str = "/file";

/// A disk with one durable file.
fn disk_with(bytes: &[u8]) -> (SimFs, Arc<dyn File>) {
    let disk = SimFs::new(1);
    let file = disk.open(Path::new(PATH), Open::CreateNew).expect("a new file");
    file.write_all_at(bytes, 0).expect("the disk is fine");
    file.sync_data().expect("the disk is fine");
    disk.sync_dir(Path::new("/")).expect("the disk is fine");
    (disk, file)
}

fn content(disk: &SimFs) -> Vec<u8> {
    disk.read(Path::new(PATH), 1 << 20).expect("the file is there")
}

/// Every content that some crash leaves.
fn outcomes(disk: &SimFs) -> BTreeSet<Vec<u8>> {
    disk.crash_modes(256).into_iter().map(|mode| content(&disk.crash(mode))).collect()
}

#[test]
fn what_is_synced_survives_and_the_rest_may_not() {
    let (disk, file) = disk_with(b"old");
    file.write_all_at(b"new!", 0).expect("the disk is fine");
    assert_eq!(content(&disk), b"new!", "the running system sees it");
    assert_eq!(content(&disk.crash(CrashMode::Nothing)), b"old");
    assert_eq!(content(&disk.crash(CrashMode::Everything)), b"new!");
    assert_eq!(content(&disk.kill()), b"new!", "the page cache survives the process");
    file.sync_data().expect("the disk is fine");
    assert_eq!(disk.unsynced(), 0);
    assert_eq!(content(&disk.crash(CrashMode::Nothing)), b"new!");
}

#[test]
fn writes_are_lost_kept_and_reordered_each_on_its_own() {
    let (disk, file) = disk_with(b"..");
    file.write_all_at(b"a", 0).expect("the disk is fine");
    file.write_all_at(b"b", 1).expect("the disk is fine");
    let all = [b"..", b"a.", b".b", b"ab"].map(|bytes| bytes.to_vec());
    assert_eq!(outcomes(&disk), BTreeSet::from(all));
}

#[test]
fn a_write_is_torn_between_sectors_and_only_there() {
    let (disk, file) = disk_with(&[0; 3 * SECTOR_BYTES]);
    file.write_all_at(&[1; 2 * SECTOR_BYTES], 256).expect("the disk is fine");
    let outcomes = outcomes(&disk);
    assert_eq!(outcomes.len(), 8, "three sectors, each old or new");
    for bytes in outcomes {
        for sector in bytes[..].chunks(SECTOR_BYTES) {
            let changed = sector.iter().filter(|byte| **byte == 1).count();
            assert!([0, 256, SECTOR_BYTES].contains(&changed), "a sector was torn: {changed}");
        }
    }
}

#[test]
fn a_longer_file_may_come_back_with_zeros() {
    let (disk, file) = disk_with(b"");
    file.write_all_at(b"abc", 0).expect("the disk is fine");
    let all = [b"".to_vec(), b"\0\0\0".to_vec(), b"abc".to_vec()];
    assert_eq!(outcomes(&disk), BTreeSet::from(all));
}

#[test]
fn names_need_a_sync_of_their_directory() {
    let (disk, file) = disk_with(b"old");
    let new = disk.open(Path::new("/new"), Open::CreateNew).expect("a new file");
    new.write_all_at(b"new", 0).expect("the disk is fine");
    new.sync_all().expect("the disk is fine");
    disk.rename(Path::new("/new"), Path::new(PATH)).expect("the disk is fine");
    let all = [b"old".to_vec(), b"new".to_vec()];
    assert_eq!(outcomes(&disk), BTreeSet::from(all));
    disk.sync_dir(Path::new("/")).expect("the disk is fine");
    assert_eq!(outcomes(&disk), BTreeSet::from([b"new".to_vec()]));
    disk.remove_file(Path::new(PATH)).expect("it is there");
    assert!(disk.crash(CrashMode::Nothing).exists(Path::new(PATH)).expect("no error"));
    assert!(!disk.crash(CrashMode::Everything).exists(Path::new(PATH)).expect("no error"));
    drop(file);
}

#[test]
fn a_machine_that_is_off_does_nothing_more() {
    let (disk, file) = disk_with(b"old");
    disk.fail_after(disk.operations() + 1);
    file.write_all_at(b"1", 0).expect("one more is allowed");
    let writes = file.write_all_at(b"2", 0);
    let syncs = file.sync_data();
    let reads = file.read_at(&mut [0], 0).map(|_| ());
    for result in [writes, syncs, reads] {
        assert!(result.expect_err("it is off").to_string().contains("the machine is off"));
    }
    assert_eq!(content(&disk.crash(CrashMode::Everything)), b"1ld");
}

#[test]
fn planned_failures_hit_once_and_a_failed_sync_has_lost_the_writes() {
    let (disk, file) = disk_with(b"old");
    disk.fail_nth(Operation::Read, 1);
    file.read_at(&mut [0], 0).expect("the first one works");
    disk.quietly(|| file.read_at(&mut [0], 0)).expect("who only looks meets none");
    file.read_at(&mut [0], 0).expect_err("the second one does not");
    file.read_at(&mut [0], 0).expect("the third one works");
    disk.fail_nth(Operation::Write, 0);
    file.write_all_at(b"NEWS", 0).expect_err("planned");
    assert_eq!(content(&disk), b"NEd", "a part was written");
    disk.fail_nth(Operation::Sync, 0);
    file.sync_data().expect_err("planned");
    file.sync_data().expect("the second try claims success");
    assert_eq!(content(&disk.crash(CrashMode::Everything)), b"old", "but the pages were dropped");
}

#[test]
fn a_bad_sector_fails_to_read_until_it_is_written_or_restored() {
    let (disk, file) = disk_with(b"abcd");
    let name = Path::new(PATH);
    disk.spoil(name, 4).expect_err("there is no such byte");
    disk.spoil(name, 2).expect("a byte");
    let read = |file: &dyn File, offset| file.read_at(&mut [0; 2], offset).is_ok();
    assert!(read(&*file, 0) && !read(&*file, 1) && !read(&*file, 2) && read(&*file, 3));
    assert_eq!(disk.failures(), 2);
    let killed = disk.kill();
    let again = killed.open(name, Open::Write).expect("it is there");
    assert!(!read(&*again, 2), "it is the disk that is bad");
    again.write_all_at(b"XY", 1).expect("another place is taken for it");
    assert!(read(&*again, 2));
    let rotten = killed.spoil(name, 0).expect("a byte");
    assert!(!read(&*again, 0));
    killed.restore(&rotten).expect("it is there");
    assert!(read(&*again, 0));
}

#[test]
fn a_full_disk_takes_what_fits() {
    let (disk, file) = disk_with(b"old");
    disk.set_capacity(5);
    let error = file.write_all_at(b"12345678", 0).expect_err("three too many");
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(content(&disk), b"12345");
    assert_eq!(file.set_len(6).expect_err("full").kind(), ErrorKind::StorageFull);
    assert_eq!(file.allocate(0, 6).expect_err("full").kind(), ErrorKind::StorageFull);
    assert_eq!(disk.free_space(Path::new("/")).expect("no error").available_bytes, 0);
    file.allocate(0, 5).expect("so much is free");
    file.set_len(1).expect("a cut gives room");
    assert_eq!(disk.free_space(Path::new("/")).expect("no error").available_bytes, 4);
}

#[test]
fn what_is_restored_is_good_on_the_disk_too_whenever_it_got_there() {
    let (disk, file) = disk_with(b"old");
    file.write_all_at(b"new", 0).expect("it fits");
    let rotten = disk.flip(Path::new(PATH), 1, 0xff).expect("the byte is there");
    // What was in flight reaches the disk as it was written, and what is cached stays rotten.
    file.sync_data().expect("no error");
    assert_eq!(content(&disk), b"n\x9aw");
    assert_eq!(content(&disk.crash(CrashMode::Nothing)), b"new");
    disk.restore(&rotten).expect("it is there");
    assert_eq!(content(&disk), b"new");
    assert_eq!(content(&disk.crash(CrashMode::Nothing)), b"new");
    let rotten = disk.flip(Path::new(PATH), 1, 0xff).expect("the byte is there");
    file.write_all_at(b"E", 1).expect("it fits");
    disk.restore(&rotten).expect("it is there");
    assert_eq!(content(&disk), b"nEw", "it was written over");
    assert_eq!(content(&disk.crash(CrashMode::Nothing)), b"new");
}

#[test]
fn rot_is_there_before_and_after_a_crash() {
    let (disk, _) = disk_with(b"old");
    disk.flip(Path::new(PATH), 1, 0xff).expect("the byte is there");
    disk.flip(Path::new(PATH), 3, 1).expect_err("no such byte");
    let rotten = [b'o', b'l' ^ 0xff, b'd'];
    assert_eq!(content(&disk), rotten);
    assert_eq!(content(&disk.crash(CrashMode::Nothing)), rotten);
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let life = || {
        let (disk, file) = disk_with(&[0; 4 * SECTOR_BYTES]);
        disk.set_short_reads(true);
        file.write_all_at(&[1; 4 * SECTOR_BYTES], 0).expect("the disk is fine");
        let read = file.read_at(&mut [0; 1000], 0).expect("the disk is fine");
        (read, content(&disk.crash(CrashMode::Subset(5))))
    };
    assert_eq!(life(), life());
}

#[test]
fn a_lock_does_not_survive_its_machine() {
    let disk = SimFs::new(1);
    let lock = disk.try_lock(Path::new("/LOCK")).expect("no error");
    assert!(lock.is_some());
    assert!(disk.kill().try_lock(Path::new("/LOCK")).expect("no error").is_some());
}
