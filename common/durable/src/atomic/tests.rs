//! The old bytes or the new ones, whatever happens in between.

use std::io::ErrorKind;

use super::*;
use crate::fs::sim::{CrashMode, Operation, SimFs};
use crate::testing::{SUBSETS, every_crash, on_both};

const PATH: &str = "/file";

fn read(fs: &dyn Fs) -> Option<Vec<u8>> {
    match fs.read(Path::new(PATH), 1 << 20) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            None
        }
    }
}

/// The contents that are put one after the other.
fn contents() -> [Vec<u8>; 3] {
    [vec![1; 1500], vec![], vec![2; 700]]
}

/// Puts all contents; returns how many were put for certain.
fn put_all(disk: &SimFs, put: impl Fn(&SimFs, &[u8]) -> io::Result<()>) -> usize {
    contents().iter().take_while(|bytes| put(disk, bytes).is_ok()).count()
}

fn check(disk: &SimFs, certain: usize, context: &str) {
    let found = read(disk);
    let possible = |count: usize| match count {
        0 => Some(None),
        count => contents().get(count - 1).map(|bytes| Some(bytes.clone())),
    };
    let allowed = [possible(certain), possible(certain + 1)];
    assert!(allowed.contains(&Some(found.clone())), "{context}: {found:?} after {certain}");
}

fn crash_everywhere(put: impl Fn(&SimFs, &[u8]) -> io::Result<()> + Copy) {
    let work = |disk: &SimFs| put_all(disk, put);
    every_crash(&SimFs::new(1), SUBSETS, work, |disk, certain, context| {
        check(&disk, *certain, context);
        let found = read(&disk);
        remove_leftovers(&disk, Path::new("/")).expect("the disk is fine");
        assert_eq!(read(&disk), found, "{context}: tidying changed the file");
        let left = disk.read_dir(Path::new("/")).expect("a directory");
        assert!(left.iter().all(|name| !is_temporary(name)), "{context}: {left:?}");
        put(&disk, b"again").unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(read(&disk.crash(CrashMode::Nothing)).as_deref(), Some(&b"again"[..]));
    });
}

fn stream(disk: &SimFs, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(Arc::new(disk.clone()), Path::new(PATH))?;
    for piece in bytes.chunks(600) {
        file.write_all(piece)?;
        file.flush()?;
    }
    file.commit()
}

#[test]
fn every_crash_of_replace_leaves_the_old_or_the_new() {
    crash_everywhere(|disk, bytes| replace(disk, Path::new(PATH), bytes));
}

#[test]
fn every_crash_of_a_stream_leaves_the_old_or_the_new() {
    crash_everywhere(stream);
}

#[test]
fn both_ways_work_on_both_disks() {
    on_both(|fs, dir| {
        let path = dir.join("file");
        replace(&*fs, &path, b"one").expect("the disk is fine");
        assert_eq!(fs.read(&path, 9).expect("it is there"), b"one");
        let mut file = AtomicFile::create(fs.clone(), &path).expect("the disk is fine");
        let large: Vec<u8> = (0..255u8).cycle().take(BUFFER_BYTES * 2 + 17).collect();
        file.write_all(&large).expect("the disk is fine");
        assert_eq!(fs.read(&path, 9).expect("it is there"), b"one", "not committed yet");
        file.commit().expect("the disk is fine");
        assert_eq!(fs.read(&path, 1 << 20).expect("it is there"), large);
        assert_eq!(fs.read_dir(dir).expect("a directory").len(), 1);
    });
}

#[test]
fn a_dropped_file_leaves_nothing() {
    on_both(|fs, dir| {
        let mut file = AtomicFile::create(fs.clone(), &dir.join("file")).expect("fine");
        file.write_all(b"half").expect("the disk is fine");
        drop(file);
        assert!(fs.read_dir(dir).expect("a directory").is_empty());
    });
}

#[test]
fn a_failed_sync_is_told_and_the_old_bytes_stay() {
    let disk = SimFs::new(1);
    replace(&disk, Path::new(PATH), b"old").expect("the disk is fine");
    disk.fail_nth(Operation::Sync, 0);
    replace(&disk, Path::new(PATH), b"new").expect_err("planned");
    assert_eq!(read(&disk.crash(CrashMode::Everything)).as_deref(), Some(&b"old"[..]));
    replace(&disk, Path::new(PATH), b"new").expect("a new file, written anew");
    assert_eq!(read(&disk.crash(CrashMode::Nothing)).as_deref(), Some(&b"new"[..]));
}

#[test]
fn a_longer_leftover_does_not_shine_through() {
    on_both(|fs, dir| {
        let left = fs.open(&dir.join("file.tmp"), Open::CreateNew).expect("a new file");
        left.write_all_at(&[7; 100], 0).expect("the disk is fine");
        replace(&*fs, &dir.join("file"), b"short").expect("the disk is fine");
        assert_eq!(fs.read(&dir.join("file"), 200).expect("it is there"), b"short");
    });
}

#[test]
fn a_full_disk_is_told_and_the_old_bytes_stay() {
    let disk = SimFs::new(1);
    replace(&disk, Path::new(PATH), b"old").expect("the disk is fine");
    disk.set_capacity(100);
    for error in [
        replace(&disk, Path::new(PATH), &[1; 200]).expect_err("no room"),
        stream(&disk, &[1; 200]).expect_err("no room"),
    ] {
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    }
    assert_eq!(read(&disk).as_deref(), Some(&b"old"[..]));
    assert_eq!(disk.read_dir(Path::new("/")).expect("a directory"), ["file"], "space is back");
}

#[test]
fn leftovers_are_removed_and_nothing_else() {
    on_both(|fs, dir| {
        for name in ["a", "a.tmp", "b.tmp", "tmp"] {
            fs.open(&dir.join(name), Open::CreateNew).expect("a new file");
        }
        remove_leftovers(&*fs, dir).expect("the disk is fine");
        assert_eq!(fs.read_dir(dir).expect("a directory"), ["a", "tmp"]);
    });
}
