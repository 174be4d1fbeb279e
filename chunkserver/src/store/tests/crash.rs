//! Every crash point of every sequence of up to two operations, on replicas in every condition; the recovery is
//! crashed too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gfs_durable::fs::sim::{CrashMode, Operation, SimFs};

use super::model::{CHUNK_BYTES, Op, config};
use super::tear::TearFs;
use super::world::{Allowed, World, is_off};
use crate::store::Store;

const OPS: [Op; 21] = [
    Op::Create,
    Op::Birth,
    Op::Append(10),
    Op::Append(65_536 - 110),
    Op::Append(70_000),
    Op::Write(5, 90),
    Op::Write(60, 70_000),
    Op::Write(150_000, 10),
    Op::Pad(CHUNK_BYTES),
    Op::Flush,
    Op::Version,
    Op::Unclean,
    Op::Clean,
    Op::Corrupt,
    Op::Equalised(50),
    Op::Equalised(65_536),
    Op::Equalised(CHUNK_BYTES),
    Op::Repair(1),
    Op::MakeEqual,
    Op::Delete,
    Op::Reopen,
];

/// Operations of the longest sequences. A quarter of an hour with three:
/// `RUSTFLAGS="--cfg soak" cargo test --profile ci -p gfs-chunkserver store::tests`.
const LENGTH: usize = if cfg!(soak) { 3 } else { 2 };

/// What the replica went through before, completely.
struct Before {
    ops: &'static [Op],
    /// Then the machine restarted so many times.
    restarts: u32,
}

const fn before(ops: &'static [Op]) -> Before {
    Before { ops, restarts: 0 }
}

const BEFORE: [Before; 13] = [
    before(&[]),
    before(&[Op::Create]),
    // Clean with data.
    before(&[Op::Create, Op::Append(66_000), Op::Clean]),
    // With a tail that is not durable, behind overwrites or not.
    before(&[Op::Create, Op::Append(100), Op::Flush, Op::Append(70_000)]),
    before(&[Op::Create, Op::Append(66_000), Op::Clean, Op::Write(65_000, 700)]),
    before(&[
        Op::Create,
        Op::Append(80),
        Op::Flush,
        Op::Append(70_000),
        Op::Write(69_000, 50),
        Op::Write(3, 40),
    ]),
    // Overwrites of bytes that are not durable yet.
    before(&[
        Op::Create,
        Op::Append(80),
        Op::Write(9, 1),
        Op::Append(70_000),
        Op::Write(69_000, 50),
    ]),
    // Suspect.
    Before { ops: &[Op::Create, Op::Append(66_000), Op::Write(9, 100)], restarts: 1 },
    // Suspect since an earlier run of the kernel.
    Before { ops: &[Op::Create, Op::Append(66_000), Op::Write(9, 100)], restarts: 2 },
    // Corrupt, and written since.
    before(&[Op::Create, Op::Append(66_000), Op::Corrupt, Op::Append(50)]),
    // Clean again, and still corrupt.
    before(&[Op::Create, Op::Append(140_000), Op::Corrupt, Op::Version, Op::Clean]),
    // Blocks are being replaced.
    before(&[Op::Create, Op::Append(150_000), Op::Write(9, 9), Op::Repair(1), Op::Repair(2)]),
    // Gone.
    before(&[Op::Create, Op::Append(70_000), Op::Flush, Op::Delete]),
];

fn prepare(seed: u64, before: &Before) -> (SimFs, World) {
    let mut disk = SimFs::new(seed);
    let mut world = World::new(disk.clone(), config());
    assert!(world.run(before.ops), "{:?}", before.ops);
    for _ in 0..before.restarts {
        let allowed = world.after_loss();
        disk = disk.crash(CrashMode::Everything);
        let found = allowed.check(disk.clone()).expect("it is as it was");
        world = World::next(disk.clone(), &allowed, found);
    }
    (disk, world)
}

/// Crashes that were tried.
#[derive(Default)]
struct Tally(AtomicU64);

impl Tally {
    /// One of the allowed states must be found by the next process.
    fn check(&self, disk: &SimFs, allowed: &Allowed, what: &str) {
        self.0.fetch_add(1, Ordering::Relaxed);
        let found = allowed.check(disk.clone());
        if let Err(why) = found {
            panic!("{what}: {why}");
        }
    }

    /// As [`Tally::check`], and the replica must be of use again.
    fn check_and_go_on(&self, disk: &SimFs, allowed: &Allowed, what: &str) {
        self.0.fetch_add(1, Ordering::Relaxed);
        let found = allowed.check(disk.clone());
        let found = found.unwrap_or_else(|why| panic!("{what}: {why}"));
        let mut world = World::next(disk.clone(), allowed, found);
        let more = [Op::Append(9), Op::Write(3, 5), Op::Version];
        world.run(&[&[Op::Create], &more[..], &[Op::MakeEqual], &more[..]].concat());
        let then = format!("{what}; then used again");
        world.check().unwrap_or_else(|why| panic!("{then}: {why}"));
        self.check(&disk.kill(), &world.after_kill(), &then);
        self.check(&disk.crash(CrashMode::Nothing), &world.after_loss(), &then);
    }

    /// Crashes the recovery at each of its operations, by the death of the process and by power loss.
    fn crash_recovery(&self, disk: &SimFs, killed: &Allowed, lost: &Allowed, what: &str) {
        for stop in 0.. {
            let again = disk.kill();
            again.fail_after(stop);
            drop(Store::open(Arc::new(again.clone()), killed.config.clone()));
            let finished = !is_off(&again);
            let what = format!("{what}, recovery stopped at {stop}");
            self.check(&again.kill(), killed, &what);
            for mode in [CrashMode::Nothing, CrashMode::Subset(stop)] {
                self.check(&again.crash(mode), lost, &what);
            }
            if finished {
                break;
            }
        }
    }

    /// Tells how much was tried; so much it must have been: a test that tries nothing passes.
    fn tell(&self, test: &str, least: u64) {
        let tried = self.0.load(Ordering::Relaxed);
        println!("{test}: {tried} crash points");
        assert!(tried >= least, "{test}: only {tried} crash points were tried");
    }
}

/// All sequences of so many operations.
fn sequences(length: usize) -> Vec<Vec<Op>> {
    let longer = |shorter: Vec<Vec<Op>>| {
        shorter.iter().flat_map(|ops| OPS.map(|op| [&ops[..], &[op]].concat())).collect()
    };
    (0..length).fold(vec![Vec::new()], |shorter, _| longer(shorter))
}

/// Stops the disk before each operation of the last step in turn: those of the steps before are of shorter sequences.
fn at_every_operation(before: &Before, ops: &[Op], mut check: impl FnMut(&SimFs, &World, &str)) {
    let (last, first) = ops.split_last().expect("a sequence is not empty");
    for stop in 0.. {
        let (disk, mut world) = prepare(stop, before);
        assert!(world.run(first), "the disk is not off yet");
        disk.fail_after(disk.operations() + stop);
        let finished = world.act(*last);
        check(&disk, &world, &format!("{:?} {ops:?} stopped at {stop}", before.ops));
        if finished {
            break;
        }
    }
}

fn kill(tally: &Tally, length: usize) {
    for before in BEFORE {
        for ops in sequences(length) {
            at_every_operation(&before, &ops, |disk, world, what| {
                if length == 1 || cfg!(soak) {
                    tally.check_and_go_on(&disk.kill(), &world.after_kill(), what);
                } else {
                    tally.check(&disk.kill(), &world.after_kill(), what);
                }
            });
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let tally = Tally::default();
    (1..=LENGTH).for_each(|length| kill(&tally, length));
    tally.tell("killed processes", 20_000);
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

fn lose_power(tally: &Tally, length: usize) {
    for before in BEFORE {
        for ops in sequences(length) {
            at_every_operation(&before, &ops, |disk, world, what| {
                let allowed = world.after_loss();
                for mode in few(disk.crash_modes(3)) {
                    let what = format!("{what}, {mode:?}");
                    if matches!(mode, CrashMode::Subset(0)) {
                        tally.check_and_go_on(&disk.crash(mode), &allowed, &what);
                    } else {
                        tally.check(&disk.crash(mode), &allowed, &what);
                    }
                }
            });
        }
    }
}

#[test]
fn a_power_loss_takes_nothing_that_was_synced_and_shows_nothing_torn() {
    let tally = Tally::default();
    (1..=LENGTH).for_each(|length| lose_power(&tally, length));
    tally.tell("power losses", 100_000);
}

/// Lets each sync of the last step fail in turn, at which the process ends.
fn fail_syncs(tally: &Tally, before: &Before, ops: &[Op]) {
    let (last, first) = ops.split_last().expect("a sequence is not empty");
    for nth in 0.. {
        let (disk, mut world) = prepare(nth, before);
        assert!(world.run(first), "the disk is not off yet");
        disk.fail_nth(Operation::Sync, nth);
        disk.end_at_failure();
        if world.act(*last) {
            break;
        }
        let what = format!("{:?} {ops:?}, sync {nth} failed", before.ops);
        let (next, allowed) = (disk.kill(), world.after_kill());
        let found = allowed.check(next.clone()).unwrap_or_else(|why| panic!("{what}: {why}"));
        let read = World::next(next.clone(), &allowed, found);
        let what = format!("{what}, and what was read then was lost");
        tally.check(&next.crash(CrashMode::Nothing), &read.after_loss(), &what);
        tally.check_and_go_on(&disk.kill(), &allowed, &what);
    }
}

/// The kernel has what the disk has not: what the next process reads is on the disk before it tells of it.
#[test]
fn what_is_read_after_a_failed_sync_is_durable() {
    let tally = Tally::default();
    for before in BEFORE {
        (1..=LENGTH).flat_map(sequences).for_each(|ops| fail_syncs(&tally, &before, &ops));
    }
    tally.tell("failed syncs", 1_000);
}

fn crash_recovery(tally: &Tally, length: usize) {
    for before in BEFORE {
        for ops in sequences(length) {
            at_every_operation(&before, &ops, |disk, world, what| {
                let allowed = world.after_loss();
                tally.crash_recovery(disk, &world.after_kill(), &allowed, what);
                for mode in [CrashMode::Everything, CrashMode::Nothing, CrashMode::Subset(1)] {
                    let what = format!("{what}, {mode:?}");
                    tally.crash_recovery(&disk.crash(mode), &allowed, &allowed, &what);
                }
            });
        }
    }
}

#[test]
fn a_crash_of_the_recovery_changes_nothing() {
    let tally = Tally::default();
    (1..LENGTH).for_each(|length| crash_recovery(&tally, length));
    tally.tell("recoveries", 50_000);
}

/// What a process that was killed in the middle of a write left.
fn tear(tally: &Tally, before: &Before, ops: &[Op], writes: i64) {
    for (write, part) in (0..writes).flat_map(|write| [1, 120, 500, 999].map(|part| (write, part)))
    {
        let disk = SimFs::new(1);
        let tear = TearFs::new(disk.clone());
        let mut world = World::new(tear.clone(), config());
        assert!(world.run(before.ops) && before.restarts == 0);
        tear.tear(write, part);
        let finished = world.run(ops);
        assert_eq!(tear.torn(), !finished);
        let what = format!("{:?} {ops:?} write {write} torn at {part}/1000", before.ops);
        tally.check(&disk.kill(), &world.after_kill(), &what);
    }
}

#[test]
fn a_write_that_was_cut_short_is_as_if_it_never_was_or_was_whole() {
    let tally = Tally::default();
    let more = [Op::Write(0, 60), Op::Append(9)];
    for before in BEFORE.iter().filter(|before| before.restarts == 0) {
        let ops = OPS.iter().map(std::slice::from_ref).chain([&more[..]]);
        ops.for_each(|ops| tear(&tally, before, ops, 12));
    }
    tally.tell("torn writes", 5000);
}

#[test]
fn an_overwrite_that_was_cut_short_takes_no_earlier_one_along() {
    // The first overwrite makes everything before it durable; those of later bytes need no sync.
    const SHORT: &[Op] =
        &[Op::Create, Op::Append(80), Op::Write(9, 1), Op::Append(70_000), Op::Write(69_000, 50)];
    const LONG: &[Op] = &[SHORT[0], SHORT[1], SHORT[2], SHORT[3], SHORT[4], Op::Write(500, 9)];
    let tally = Tally::default();
    let ops = [Op::Write(69_010, 10), Op::Write(3, 40), Op::Write(500, 70), Op::Write(60, 69_900)];
    for ops in ops.iter().map(std::slice::from_ref) {
        tear(&tally, &before(SHORT), ops, 4);
        tear(&tally, &before(LONG), ops, 4);
    }
}

/// Found by the kills above: the name of a file is not durable before its folder is, and the next process took it for
/// granted.
#[test]
fn a_replica_found_after_a_kill_outlives_a_power_loss() {
    for stop in 0..12 {
        let disk = SimFs::new(stop);
        let mut world = World::new(disk.clone(), config());
        disk.fail_after(disk.operations() + stop);
        world.act(Op::Create);
        let killed = disk.kill();
        let allowed = world.after_kill();
        let found = allowed.check(killed.clone()).unwrap();
        let mut world = World::next(killed.clone(), &allowed, found);
        world.run(&[Op::Append(9), Op::Flush]);
        let what = format!("stopped at {stop}");
        Tally::default().check(&killed.crash(CrashMode::Nothing), &world.after_loss(), &what);
    }
}

/// Found by the recoveries above: an overwrite whose redo record was written and not synced when the process was killed
/// was put in place by the recovery, and a power loss took the record and left a part of the bytes.
#[test]
fn an_overwrite_is_done_again_only_when_its_redo_record_is_on_the_disk() {
    for stop in 0..12 {
        let disk = SimFs::new(stop);
        let mut world = World::new(disk.clone(), config());
        world.run(&[Op::Create, Op::Append(66_000), Op::Clean]);
        disk.fail_after(disk.operations() + stop);
        world.act(Op::Write(60, 60_000));
        let what = format!("stopped at {stop}");
        Tally::default().crash_recovery(&disk, &world.after_kill(), &world.after_loss(), &what);
    }
}

/// Found by the sequences above: a replica that was suspect and ended clean was repaired under a header that still said
/// so.
#[test]
fn a_replica_that_is_being_repaired_is_never_clean() {
    let ops = &[Op::Create, Op::Append(66_000), Op::Write(9, 100)];
    let (disk, mut world) = prepare(1, &Before { ops, restarts: 1 });
    world.run(&[Op::Clean, Op::Repair(1)]);
    Tally::default().check(&disk.kill(), &world.after_kill(), "repaired");
}
