//! Random sequences against the reference model, with kills and power losses in the middle of them.

use gfs_durable::fs::sim::{CrashMode, SimFs};
use gfs_types::region::ChunkSize;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use super::model::{CHUNK_BYTES, Op, config};
use super::world::World;
use crate::store::StoreConfig;

const SEEDS: u64 = if cfg!(soak) { 100_000 } else { 3000 };

struct Dice(Xoshiro256PlusPlus);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn op(&mut self, chunk_bytes: u64) -> Op {
        match self.below(32) {
            0..4 => Op::Append(1 + self.below(5000)),
            4..6 => Op::Append(1 + self.below(150_000)),
            6..10 => Op::Write(self.below(chunk_bytes), 1 + self.below(chunk_bytes / 2)),
            10..14 => Op::Write(self.below(5000), 1 + self.below(3000)),
            14..16 => Op::Pad(self.below(chunk_bytes)),
            16 => Op::Equalised(self.below(chunk_bytes)),
            17..20 => Op::Flush,
            20..22 => Op::Version,
            22..24 => Op::Clean,
            24 => Op::Unclean,
            25 => Op::Corrupt,
            26 => Op::Repair(self.below(4)),
            27 => Op::MakeEqual,
            28 => Op::Delete,
            29 => Op::Create,
            _ => Op::Reopen,
        }
    }

    fn mode(&mut self, disk: &SimFs) -> CrashMode {
        let modes = disk.crash_modes(4);
        modes[usize::try_from(self.below(modes.len() as u64)).unwrap()]
    }
}

/// Does a few operations, with crashes; the replica must be as the model says all along.
fn sequence(seed: u64) {
    let mut dice = Dice(Xoshiro256PlusPlus::seed_from_u64(seed));
    // In a large one an overwrite can be longer than a redo record.
    let chunk_bytes = if dice.one_in(16) { 4 << 20 } else { CHUNK_BYTES };
    let chunk_size = ChunkSize::new(chunk_bytes).unwrap();
    let mut disk = SimFs::new(seed);
    disk.set_short_reads(dice.one_in(4));
    let mut world = World::new(disk.clone(), StoreConfig { chunk_size, ..config() });
    let mut done = vec![Op::Create];
    assert!(world.act(Op::Create));
    for _ in 0..1 + dice.below(40) {
        let crash = dice.one_in(6);
        if crash {
            disk.fail_after(disk.operations() + dice.below(20));
        }
        let mut alive = true;
        while alive {
            let op = dice.op(chunk_bytes);
            done.push(op);
            alive = world.act(op) && crash;
        }
        let allowed = match crash {
            false => {
                let as_it_is = world.check();
                as_it_is.unwrap_or_else(|why| panic!("seed {seed}, {done:?}: {why}"));
                continue;
            }
            true if dice.one_in(2) => {
                disk = disk.kill();
                world.after_kill()
            }
            true => {
                disk = disk.crash(dice.mode(&disk));
                world.after_loss()
            }
        };
        let found = allowed.check(disk.clone());
        let found = found.unwrap_or_else(|why| panic!("seed {seed}, {done:?}, crash: {why}"));
        world = World::next(disk.clone(), &allowed, found);
    }
}

#[test]
fn the_store_does_what_the_model_does() {
    println!("seeds 0 to {}", SEEDS - 1);
    std::thread::scope(|scope| {
        for first in 0..2 {
            scope.spawn(move || (first..SEEDS).step_by(2).for_each(sequence));
        }
    });
}

/// Found by the test above: after the flush the last overwrite took the redo area of the one before it, and the older
/// record in the other area was laid over both when the killed process came back.
#[test]
fn an_older_redo_record_does_not_undo_a_newer_overwrite() {
    let disk = SimFs::new(1);
    let mut world = World::new(disk.clone(), config());
    let older = Op::Write(104_387, 93_593);
    let newer = Op::Write(80_647, 23_741);
    for op in
        [Op::Create, Op::Append(200_000), Op::Write(0, 1), older, newer, Op::Flush, Op::Write(0, 1)]
    {
        world.act(op);
        world.after_kill().check(disk.kill()).unwrap_or_else(|why| panic!("after {op:?}: {why}"));
    }
}
