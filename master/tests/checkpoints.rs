//! Damaged, missing and foreign checkpoints and logs: the older one and more log, or a refusal,
//! never an empty or an older state.

#![allow(clippy::unwrap_used, reason = "a failure in a helper of a test fails the test")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gfs_durable::fs::sim::{Operation, SimFs};
use gfs_durable::fs::{Fs, Open};
use gfs_master::checkpoint::file;
use gfs_master::oplog::CHECKPOINT_DIR;
use gfs_types::fence::LogPosition;
use support::engine::{DIR, Engine, checkpoints, new_cluster};

fn dir() -> PathBuf {
    Path::new(DIR).join(CHECKPOINT_DIR)
}

fn disk(fs: &SimFs) -> Arc<dyn Fs> {
    Arc::new(fs.clone())
}

/// A cluster with two checkpoints, a log that begins behind the first record, and what it holds.
fn two_checkpoints() -> (SimFs, LogPosition, u64) {
    let fs = new_cluster(7);
    let mut engine = Engine::start(&fs).unwrap();
    for _ in 0..2 {
        for _ in 0..20 {
            engine.create(&"name".repeat(50));
        }
        engine.flush().unwrap();
        engine.checkpoint().unwrap();
    }
    engine.create("behind");
    engine.flush().unwrap();
    assert!(engine.log.positions().first > LogPosition(1), "the log is cut");
    let state = engine.state();
    (fs, state.position(), state.digest())
}

fn damage(fs: &SimFs, position: LogPosition) {
    let path = file::path(&dir(), position);
    let len = disk(fs).metadata(&path).unwrap().len;
    fs.flip(&path, len / 2, 0x10).unwrap();
}

#[test]
fn two_checkpoints_are_kept_and_the_log_between_them() {
    let (fs, position, digest) = two_checkpoints();
    let kept = checkpoints(&disk(&fs));
    assert_eq!(kept.len(), 2);
    let recovered = Engine::recover(&fs).unwrap();
    assert_eq!(recovered.checkpoint, kept[1]);
    assert_eq!((recovered.state.position(), recovered.state.digest()), (position, digest));
    assert!(recovered.log.positions().first <= kept[0].next(), "the older one can still be used");
    let mut engine = Engine::start(&fs).unwrap();
    for _ in 0..3 {
        engine.create("more");
        engine.flush().unwrap();
        engine.checkpoint().unwrap();
        assert_eq!(checkpoints(&disk(&fs)).len(), 2);
    }
}

#[test]
fn every_byte_of_damage_to_the_newest_checkpoint_falls_back_to_the_one_before() {
    let (fs, position, digest) = two_checkpoints();
    let kept = checkpoints(&disk(&fs));
    let path = file::path(&dir(), kept[1]);
    let len = disk(&fs).metadata(&path).unwrap().len;
    for offset in 0..len {
        let damaged = fs.kill();
        damaged.flip(&path, offset, 0x04).unwrap();
        let recovered = Engine::recover(&damaged).unwrap();
        assert_eq!(recovered.checkpoint, kept[0], "byte {offset}");
        assert_eq!((recovered.state.position(), recovered.state.digest()), (position, digest));
    }
}

#[test]
fn a_cut_checkpoint_falls_back_too() {
    let (fs, position, digest) = two_checkpoints();
    let newest = checkpoints(&disk(&fs))[1];
    let path = file::path(&dir(), newest);
    let len = disk(&fs).metadata(&path).unwrap().len;
    for left in (0..len).step_by(7) {
        let damaged = fs.kill();
        disk(&damaged).open(&path, Open::Write).unwrap().set_len(left).unwrap();
        let recovered = Engine::recover(&damaged).unwrap();
        assert_eq!((recovered.state.position(), recovered.state.digest()), (position, digest));
    }
}

#[test]
fn without_a_good_checkpoint_a_cut_log_is_refused_and_never_an_empty_cluster() {
    let (fs, ..) = two_checkpoints();
    for position in checkpoints(&disk(&fs)) {
        damage(&fs, position);
    }
    let error = Engine::recover(&fs).unwrap_err().to_string();
    assert!(error.contains("log"), "{error}");
    for position in checkpoints(&disk(&fs)) {
        file::remove(disk(&fs).as_ref(), &dir(), position).unwrap();
    }
    Engine::recover(&fs).unwrap_err();
}

#[test]
fn without_a_good_checkpoint_a_whole_log_is_enough() {
    let fs = new_cluster(3);
    let mut engine = Engine::start(&fs).unwrap();
    engine.create("a");
    engine.flush().unwrap();
    engine.checkpoint().unwrap();
    let (position, digest) = (engine.state().position(), engine.state().digest());
    damage(&fs, position);
    let recovered = Engine::recover(&fs).unwrap();
    assert_eq!(recovered.checkpoint, LogPosition(0));
    assert_eq!((recovered.state.position(), recovered.state.digest()), (position, digest));
}

#[test]
fn a_damaged_checkpoint_is_replaced_by_the_next_one() {
    let (fs, ..) = two_checkpoints();
    let kept = checkpoints(&disk(&fs));
    damage(&fs, kept[1]);
    let mut engine = Engine::start(&fs).unwrap();
    engine.create("after");
    engine.flush().unwrap();
    engine.checkpoint().unwrap();
    let now = checkpoints(&disk(&fs));
    assert_eq!(now, [kept[0], engine.state().position()], "the good one stays, the bad one goes");
    let (position, digest) = (engine.state().position(), engine.state().digest());
    damage(&fs, position);
    let recovered = Engine::recover(&fs).unwrap();
    assert_eq!((recovered.state.position(), recovered.state.digest()), (position, digest));
}

#[test]
fn a_log_that_ends_before_a_checkpoint_is_refused() {
    let fs = new_cluster(4);
    let early = fs.kill();
    let mut engine = Engine::start(&fs).unwrap();
    engine.create("a");
    engine.flush().unwrap();
    engine.checkpoint().unwrap();
    let position = engine.state().position();
    let bytes = disk(&fs).read(&file::path(&dir(), position), 1 << 20).unwrap();
    let put = |bytes: &[u8]| {
        let copy = early.kill();
        let path = file::path(&dir(), position);
        gfs_durable::atomic::replace(disk(&copy).as_ref(), &path, bytes).unwrap();
        Engine::recover(&copy).unwrap_err().to_string()
    };
    assert!(put(&bytes).contains("durable"), "the log of an older backup");
    assert!(put(b"damaged").contains("durable"), "the name alone tells it");
}

#[test]
fn a_checkpoint_under_another_name_is_not_used() {
    let fs = new_cluster(5);
    let mut engine = Engine::start(&fs).unwrap();
    engine.create("a");
    engine.flush().unwrap();
    engine.checkpoint().unwrap();
    let position = engine.state().position();
    let (from, to) = (file::path(&dir(), position), file::path(&dir(), LogPosition(2)));
    disk(&fs).rename(&from, &to).unwrap();
    let recovered = Engine::recover(&fs).unwrap();
    assert_eq!(recovered.checkpoint, LogPosition(0));
    assert_eq!(recovered.state.position(), position);
}

#[test]
fn a_checkpoint_that_cannot_be_written_changes_nothing() {
    let (fs, position, digest) = two_checkpoints();
    let kept = checkpoints(&disk(&fs));
    for failing in [Operation::Write, Operation::Sync] {
        for nth in 0..2 {
            let fs = fs.kill();
            let mut engine = Engine::start(&fs).unwrap();
            let first = engine.log.positions().first;
            fs.fail_nth(failing, nth);
            engine.checkpoint().unwrap_err();
            // The name may be there already when the sync of the directory fails.
            let now = checkpoints(&disk(&fs));
            assert_eq!(now[..2], kept, "{failing:?} {nth}");
            assert_eq!(engine.log.positions().first, first);
            engine.create("it goes on");
            engine.flush().unwrap();
            let recovered = Engine::recover(&fs).unwrap();
            assert!(recovered.state.position() > position);
            assert_ne!(recovered.state.digest(), digest);
        }
    }
}
