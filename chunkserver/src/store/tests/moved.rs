//! Files that an earlier server left in other folders go to their own, at every crash point.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gfs_durable::fs::sim::{CrashMode, SimFs};
use gfs_durable::fs::{Fs, Open};
use gfs_types::fence::ChunkVersion;

use super::model::{HANDLE, config, open, pattern};
use super::world::is_off;
use crate::store::{Payload, Store};

const BYTES: u64 = 70_000;

fn place(folder: &str, ending: &str) -> PathBuf {
    PathBuf::from(format!("/data/chunks/{folder}/{HANDLE}{ending}"))
}

/// A clean replica, and the damaged file it replaced, where they were once.
fn former() -> SimFs {
    let fs = SimFs::new(1);
    let (store, _) = open(fs.clone()).unwrap();
    store.create(HANDLE, ChunkVersion(1)).unwrap();
    store.write(HANDLE, 0, &Payload::compute(pattern(1, BYTES), 0)).unwrap();
    store.mark_clean(HANDLE, BYTES).unwrap();
    let folder = Path::new("/data/chunks/ef");
    fs.create_dir_all(folder).unwrap();
    fs.open(&place("ef", ".damaged"), Open::CreateNew).unwrap();
    fs.rename(&place("cd", ".chunk"), &place("ef", ".chunk")).unwrap();
    fs.sync_dir(folder).unwrap();
    fs.sync_dir(Path::new("/data/chunks/cd")).unwrap();
    fs
}

fn check(what: &str, fs: SimFs) {
    let (store, found) = Store::open(Arc::new(fs.clone()), config()).unwrap();
    assert_eq!(found.len(), 1, "{what}");
    let replica = found[0].replica.as_ref().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!((replica.length, replica.clean), (BYTES, true), "{what}");
    let read = store.read_verified(HANDLE, 0..BYTES, BYTES).unwrap();
    assert_eq!(read, pattern(1, BYTES), "{what}");
    for ending in [".chunk", ".damaged"] {
        let places = [place("cd", ending), place("ef", ending)];
        assert_eq!(
            places.map(|place| fs.exists(&place).unwrap()),
            [true, false],
            "{what}: {ending}"
        );
    }
    store.delete(HANDLE, ChunkVersion(1)).unwrap();
    assert!(!fs.exists(&place("cd", ".damaged")).unwrap(), "{what}");
}

#[test]
fn a_file_where_an_earlier_server_left_it_goes_to_its_folder_whatever_interrupts_it() {
    let mut tried = 0;
    for stop in 0.. {
        let fs = former();
        fs.fail_after(fs.operations() + stop);
        let opened = open(fs.clone()).is_ok();
        assert!(is_off(&fs) || opened);
        check(&format!("killed at {stop}"), fs.kill());
        for mode in fs.crash_modes(20) {
            check(&format!("{mode:?} at {stop}"), fs.crash(mode));
            tried += 1;
        }
        if !is_off(&fs) {
            break;
        }
    }
    assert!(tried > 5, "only {tried} crash points");
}

#[test]
fn a_file_whose_place_is_taken_is_left_alone() {
    let fs = former();
    let folder = Path::new("/data/chunks/cd");
    fs.open(&place("cd", ".chunk"), Open::CreateNew).unwrap();
    fs.sync_dir(folder).unwrap();
    let before = fs.read(&place("ef", ".chunk"), 1 << 30).unwrap();
    let (_, found) = open(fs.crash(CrashMode::Nothing)).unwrap();
    assert!(found[0].replica.is_err(), "the one in its place is no replica");
    let (_, _) = open(fs.clone()).unwrap();
    assert!(fs.read(&place("ef", ".chunk"), 1 << 30).unwrap() == before);
}
