//! Every crash point of every sequence of up to two operations, on replicas in several conditions; the recovery is
//! crashed too.

use std::sync::Arc;

use gfs_durable::fs::Fs;
use gfs_durable::fs::sim::{CrashMode, SimFs};
use gfs_types::fence::ChunkVersion;

use super::model::{CHUNK_BYTES, HANDLE, Model, Op, config, open};
use super::tear::TearFs;
use crate::store::{Found, Store, StoreConfig, StoreError};

const OPS: [Op; 11] = [
    Op::Append(10),
    Op::Append(65_536 - 110),
    Op::Append(70_000),
    Op::Write(5, 90),
    Op::Write(60, 70_000),
    Op::Write(150_000, 10),
    Op::Pad(CHUNK_BYTES),
    Op::Flush,
    Op::Version,
    Op::Clean,
    Op::Truncate(50),
];

/// What the replica went through before, completely.
const BEFORE: [&[Op]; 5] = [
    &[],
    &[Op::Append(100), Op::Flush],
    &[Op::Append(66_000), Op::Clean, Op::Write(65_000, 700)],
    &[Op::Append(80), Op::Flush, Op::Append(70_000), Op::Write(69_000, 50), Op::Write(3, 40)],
    // Overwrites of bytes that are not durable yet.
    &[Op::Append(80), Op::Write(9, 1), Op::Append(70_000), Op::Write(69_000, 50)],
];

/// A run of the store that stopped at a crash.
struct Run {
    /// States that may be found after the process was killed.
    after_kill: Vec<Model>,
    /// States that may be found after a power loss.
    after_loss: Vec<Model>,
    finished: bool,
}

fn is_durable(op: Op) -> bool {
    matches!(op, Op::Flush | Op::Version | Op::Clean | Op::Truncate(_))
}

/// A replica in some condition, in a store that is still open.
struct Prepared {
    store: Store,
    model: Model,
    after_loss: Vec<Model>,
}

fn prepare(disk: impl Fs, before: &[Op]) -> Prepared {
    let (store, _) = open(disk).expect("the disk is good");
    store.create(HANDLE, ChunkVersion(1)).expect("the disk is good");
    let model = Model { version: 1, ..Model::default() };
    let run = run(&store, &model, vec![model.clone()], before);
    assert!(run.finished, "{before:?}");
    let model = run.after_kill.last().expect("the last state").clone();
    Prepared { store, model, after_loss: run.after_loss }
}

/// Runs until the disk stops.
fn run(store: &Store, model: &Model, mut after_loss: Vec<Model>, ops: &[Op]) -> Run {
    let mut model = model.clone();
    for &op in ops {
        let states = model.run(op);
        after_loss.extend(states.iter().cloned());
        if model.act(store, op).is_err() {
            let after_kill = [vec![model], states].concat();
            return Run { after_kill, after_loss, finished: false };
        }
        model = states.last().expect("there is always one").clone();
        if is_durable(op) {
            after_loss = vec![model.clone()];
        }
    }
    Run { after_kill: vec![model], after_loss, finished: true }
}

/// After the death of the process: the machine is the same.
fn check(disk: SimFs, allowed: &[Model], what: &str) -> SimFs {
    check_in_boot(1, disk, allowed, what)
}

/// After a power loss: the machine restarted.
fn check_restarted(disk: SimFs, allowed: &[Model], what: &str) -> SimFs {
    check_in_boot(2, disk, allowed, what)
}

fn open_in_boot(boot: u128, disk: &SimFs) -> Result<(Store, Vec<Found>), StoreError> {
    Store::open(Arc::new(disk.clone()), StoreConfig { boot, ..config() })
}

fn check_in_boot(boot: u128, disk: SimFs, allowed: &[Model], what: &str) -> SimFs {
    let opened = open_in_boot(boot, &disk);
    let (store, found) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(found.len(), 1, "{what}: {found:?}");
    let replica = found[0].replica.as_ref().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(replica.damaged, None, "{what}");
    let versions: Vec<_> = allowed.iter().map(|model| model.version).collect();
    assert!(versions.contains(&replica.version.0), "{what}: {replica:?} but versions {versions:?}");
    let wrong: Vec<_> = allowed.iter().map_while(|model| model.check_bytes(&store).err()).collect();
    assert!(wrong.len() < allowed.len(), "{what}: none of the states it may have: {wrong:?}");
    disk
}

/// Recovers, with a crash at every operation of the recovery; then once more.
fn check_and_crash(disk: &SimFs, allowed: &[Model], what: &str) {
    let quiet = check_restarted(disk.kill(), allowed, what);
    check_restarted(quiet.crash(CrashMode::Nothing), allowed, &format!("{what}, then power loss"));
    for stop in 0.. {
        let again = disk.kill();
        again.fail_after(stop);
        let finished = open_in_boot(2, &again).is_ok();
        let what = format!("{what}, recovery stopped at {stop}");
        check_restarted(again.kill(), allowed, &what);
        for mode in [CrashMode::Nothing, CrashMode::Subset(stop)] {
            check_restarted(again.crash(mode), allowed, &what);
        }
        if finished {
            break;
        }
    }
}

fn sequences() -> Vec<Vec<Op>> {
    let one = OPS.iter().map(|op| vec![*op]);
    let two = OPS.iter().flat_map(|a| OPS.iter().map(|b| vec![*a, *b]));
    one.chain(two).collect()
}

/// Stops the disk before each operation in turn.
fn at_every_operation(before: &[Op], ops: &[Op], mut check: impl FnMut(&SimFs, &Run, &str)) {
    for stop in 0.. {
        let disk = SimFs::new(stop);
        let Prepared { store, model, after_loss } = prepare(disk.clone(), before);
        disk.fail_after(disk.operations() + stop);
        let run = run(&store, &model, after_loss, ops);
        check(&disk, &run, &format!("{before:?} {ops:?} stopped at {stop}"));
        if run.finished {
            break;
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    for before in BEFORE {
        for ops in sequences() {
            at_every_operation(before, &ops, |disk, run, what| {
                check(disk.kill(), &run.after_kill, what);
            });
        }
    }
}

#[test]
fn a_write_that_was_cut_short_is_as_if_it_never_was_or_was_whole() {
    for before in BEFORE {
        for ops in OPS.map(|op| vec![op]).into_iter().chain([vec![Op::Write(0, 60), Op::Append(9)]])
        {
            for (writes, part) in
                (0..12).flat_map(|writes| [1, 120, 500, 999].map(|part| (writes, part)))
            {
                let disk = SimFs::new(1);
                let tear = TearFs::new(disk.clone());
                let Prepared { store, model, .. } = prepare(tear.clone(), before);
                tear.tear(writes, part);
                let run = run(&store, &model, Vec::new(), &ops);
                assert_eq!(tear.torn(), !run.finished);
                let what = format!("{before:?} {ops:?} write {writes} torn at {part}/1000");
                check(disk.kill(), &run.after_kill, &what);
            }
        }
    }
}

#[test]
fn an_overwrite_that_was_cut_short_takes_no_earlier_one_along() {
    // The first overwrite makes everything before it durable; those of later bytes need no sync.
    let first = [Op::Append(80), Op::Write(9, 1)];
    let before = [&first[..], &[Op::Append(70_000), Op::Write(69_000, 50), Op::Write(500, 9)]];
    let before = before.concat();
    let ops = [Op::Write(69_010, 10), Op::Write(3, 40), Op::Write(500, 70), Op::Write(60, 69_900)];
    for before in [&before[..4], &before[..]] {
        for op in ops {
            for (writes, part) in (0..4).flat_map(|writes| [1, 120, 500, 999].map(|p| (writes, p)))
            {
                let disk = SimFs::new(1);
                let tear = TearFs::new(disk.clone());
                let Prepared { store, model, .. } = prepare(tear.clone(), before);
                tear.tear(writes, part);
                let run = run(&store, &model, Vec::new(), &[op]);
                let what = format!("{before:?} {op:?} write {writes} torn at {part}/1000");
                check(disk.kill(), &run.after_kill, &what);
            }
        }
    }
}

#[test]
fn a_power_loss_takes_nothing_that_was_synced_and_shows_nothing_torn() {
    for before in BEFORE {
        for ops in sequences() {
            at_every_operation(before, &ops, |disk, run, what| {
                for mode in few(disk.crash_modes(3)) {
                    check_restarted(
                        disk.crash(mode),
                        &run.after_loss,
                        &format!("{what}, {mode:?}"),
                    );
                }
            });
        }
    }
}

/// Of the many ways to tear a long write, some.
fn few(modes: Vec<CrashMode>) -> impl Iterator<Item = CrashMode> {
    modes.into_iter().filter(|mode| match mode {
        CrashMode::TornHead(sectors) | CrashMode::TornTail(sectors) => {
            [1, 4, 8, 60].contains(sectors)
        }
        _ => true,
    })
}

#[test]
fn a_crash_of_the_recovery_changes_nothing() {
    for before in BEFORE {
        for op in OPS {
            at_every_operation(before, &[op], |disk, run, what| {
                check_and_crash(&disk.crash(CrashMode::Everything), &run.after_loss, what);
                for mode in [CrashMode::Nothing, CrashMode::Subset(1)] {
                    let what = format!("{what}, {mode:?}");
                    check_and_crash(&disk.crash(mode), &run.after_loss, &what);
                }
            });
        }
    }
}
