//! Disks that lie: bits flip, files are cut and vanish, on one replica of a chunk at a time. No reader gets a wrong byte or an
//! error.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gfs_client::Client;
use gfs_tests::cluster::{Cluster, Options};
use gfs_tests::payload;
use gfs_tests::replicas::{await_equal, files, kill, locate};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

const SEED: u64 = 4;
const SERVERS: [&str; 3] = ["cs1", "cs2", "cs3"];
const FILES: u64 = 12;
const FILE_BYTES: usize = 300_000;
/// Of files of the test: three chunks each.
const CHUNK_SIZE: &str = "128KiB";
const FLIPS: usize = 1000;
/// So many in one file a round.
const FLIPS_A_FILE: usize = 3;
/// Until three good replicas are there again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where things stand in a chunk file (docs/formats/chunk-file.md): from, to, and how often of 20 a bit flips there.
const AREAS: [(u64, u64, u64); 5] = [
    (0, 8 << 10, 4),
    (8 << 10, 12 << 10, 2),
    (32 << 10, (32 << 10) + 8, 3),
    (64 << 10, 72 << 10, 1),
    (DATA_AT, u64::MAX, 10),
];
const DATA_AT: u64 = (2 << 20) + (192 << 10);

fn server(number: u64) -> &'static str {
    SERVERS[usize::try_from(number % 3).unwrap()]
}

struct Dice(Xoshiro256PlusPlus);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    fn server(&mut self) -> &'static str {
        server(self.below(3))
    }

    fn place(&mut self, file_bytes: u64) -> u64 {
        let mut left = self.below(20);
        for (from, to, weight) in AREAS {
            if left < weight {
                return from + self.below(to.min(file_bytes) - from);
            }
            left -= weight;
        }
        unreachable!("the weights are 20 together")
    }
}

/// A bit that was flipped.
struct Flip {
    path: PathBuf,
    at: u64,
    was: u8,
    is: u8,
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

impl Flip {
    fn plant(dice: &mut Dice, path: &Path) -> Self {
        let file = open(path).unwrap();
        let at = dice.place(file.metadata().unwrap().len());
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        let is = byte[0] ^ (1 << dice.below(8));
        file.write_all_at(&[is], at).unwrap();
        Self { path: path.to_owned(), at, was: byte[0], is }
    }

    /// A bit on which nothing rests is not repaired. It must not meet the next one: two copies of a head, say.
    fn undo(&self) {
        let Ok(file) = open(&self.path) else { return };
        let mut byte = [0];
        if file.read_exact_at(&mut byte, self.at).is_ok() && byte[0] == self.is {
            file.write_all_at(&[self.was], self.at).unwrap();
        }
    }
}

fn name(file: u64) -> String {
    format!("/rot-{file}")
}

/// A cluster with files in it, and the readers that read them over and over.
struct Rot {
    cluster: Cluster,
    dice: Dice,
}

impl Rot {
    fn start(seed: u64) -> Self {
        println!("seed {seed}");
        let cluster = Cluster::start_with(&Options::with(&["--chunk-size", CHUNK_SIZE]));
        for file in 0..FILES {
            let source = cluster.scratch().join("source");
            fs::write(&source, payload::record(seed, file, FILE_BYTES)).unwrap();
            cluster.ok(&["put", source.to_str().unwrap(), &name(file)]);
        }
        await_equal(&cluster, PATIENCE);
        Self { cluster, dice: Dice(Xoshiro256PlusPlus::seed_from_u64(seed)) }
    }

    /// One replica of each chunk, or those of them that the one server has. It is always the same one of a chunk, so that two good
    /// ones are left without waiting for repairs: this is about wrong bytes (`commands.rs` is about repairs).
    fn victims(&self, down: Option<&'static str>) -> Vec<PathBuf> {
        let mut victims = Vec::new();
        for handle in (0..FILES).flat_map(|file| locate(&self.cluster, &name(file))) {
            let handle = handle.handle;
            let victim = server(u64::from_str_radix(&handle, 16).unwrap() / 2);
            if down.is_none_or(|down| down == victim) {
                victims.extend(files(&self.cluster, victim).remove(&handle));
            }
        }
        victims
    }

    /// Does it to the files while the servers run, or while the one of them does not.
    fn strike<T>(
        &mut self,
        down: Option<&'static str>,
        mut strike: impl FnMut(&mut Dice, &Path) -> T,
    ) -> Vec<T> {
        let victims = self.victims(down);
        if let Some(server) = down {
            kill(&self.cluster, server);
        }
        let struck = victims.iter().map(|path| strike(&mut self.dice, path)).collect();
        if let Some(server) = down {
            self.cluster.restart(server);
        }
        struck
    }

    /// A command reads each file, too.
    fn cat_all(&self, seed: u64) {
        for file in 0..FILES {
            let output = gfs_tests::command::run(&mut self.cluster.gfs(&["cat", &name(file)]));
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "cat of {}: {said}", name(file));
            assert!(output.stdout == payload::record(seed, file, FILE_BYTES), "a wrong byte");
        }
    }
}

/// Reads all files until told to stop, each with a client that knows nothing yet; gives the number of reads.
async fn read_all(masters: &str, seed: u64, stop: &AtomicBool, reads: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let client = Client::connect(masters).await.unwrap();
        for file in 0..FILES {
            let open = client.open(name(file)).await.unwrap();
            let read = open.read_at(0, 2 * FILE_BYTES as u64).await;
            let bytes = read.unwrap_or_else(|error| panic!("a read of {}: {error}", name(file)));
            assert!(
                bytes == payload::record(seed, file, FILE_BYTES),
                "{}: a wrong byte",
                name(file)
            );
            reads.fetch_add(1, Ordering::Relaxed);
        }
        client.close().await;
    }
}

/// Runs `work` while readers read; any wrong byte and any read that fails is a failure.
fn under_readers(seed: u64, work: impl FnOnce(&mut Rot)) {
    let mut rot = Rot::start(seed);
    let (stop, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let masters = rot.cluster.masters.clone();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(read_all(&masters, seed, &stop, &reads));
        });
        let end = Stop(&stop);
        work(&mut rot);
        drop(end);
        reader.join().unwrap();
    });
    println!("{} reads", reads.load(Ordering::Relaxed));
    assert!(reads.load(Ordering::Relaxed) > 100, "hardly anything was read");
}

/// The readers stop when the work fails, too.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_thousand_flipped_bits_deliver_no_wrong_byte() {
    under_readers(SEED, |rot| {
        let mut planted = 0;
        for round in 0.. {
            if planted >= FLIPS {
                break;
            }
            // Each third time they flip while the server is down: it finds them by itself, or when they are read.
            let down = (round % 3 == 2).then(|| rot.dice.server());
            let flips =
                rot.strike(down, |dice, path| [(); FLIPS_A_FILE].map(|()| Flip::plant(dice, path)));
            planted += flips.len() * FLIPS_A_FILE;
            rot.cat_all(SEED);
            // The latest first: two may have hit one byte.
            flips.iter().flatten().rev().for_each(Flip::undo);
        }
        println!("{planted} bits flipped");
    });
}

#[test]
fn files_that_are_cut_or_gone_deliver_no_wrong_byte() {
    under_readers(SEED + 1, |rot| {
        for down in [None, Some("cs2")] {
            rot.strike(down, |dice, path| {
                // A repair may have put a new file in its place just now.
                let Ok(file) = open(path) else { return };
                let length = file.metadata().unwrap().len();
                file.set_len(dice.below(length)).unwrap();
            });
            rot.cat_all(SEED + 1);
            rot.strike(down, |_, path| fs::remove_file(path).ok());
            rot.cat_all(SEED + 1);
        }
    });
}
