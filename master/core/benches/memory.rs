//! Memory of the master's durable state, and the time to fill, write, load, look up and list it:
//! `cargo bench -p gfs-master-core --bench memory -- [FILES [FILES-A-DIRECTORY [random|numbered|upload]]]`.
//!
//! Each file has a name of 20 bytes and one chunk of three members, made by the records that make it in life. `numbered`
//! names come in their order; `random` ones in none, and all directories at once; `upload` ones are made in `/.gfs/tmp`
//! under a random name and renamed into their place. Bytes are those asked of the allocator.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a bench reads the clock")]
#![allow(missing_docs, reason = "a program")]

use std::time::Instant;

use gfs_master_core::record::{Change, Record};
use gfs_master_core::{Durable, image};
use gfs_types::fence::MasterEpoch;
use gfs_types::ids::{ChunkHandle, ClusterUid, FileId, ROOT, ServerUid};
use gfs_types::message::client::Attributes;
use gfs_types::region::{ChunkIndex, ChunkSize};
use gfs_types::time::WallTime;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The first free place of a new tree, and `/.gfs/tmp`.
const FIRST: u64 = 5;
const UPLOADS: FileId = FileId(3);

#[derive(Clone, Copy, PartialEq)]
enum Names {
    Random,
    Numbered,
    Upload,
}

fn main() {
    let mut wanted = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut number =
        |default| wanted.next().map_or(default, |text| text.parse().expect("a number"));
    let (files, each): (u64, u64) = (number(1_000_000), number(1_000));
    let names = match wanted.next().as_deref() {
        Some("random") => Names::Random,
        Some("upload") => Names::Upload,
        _ => Names::Numbered,
    };
    let before = MEMORY.current_usage();
    let (durable, seconds) = timed(|| filled(files, each, names));
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let a_file = |amount: f64| amount / files as f64;
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let bytes = (MEMORY.current_usage() - before) as f64;
    println!("{files} files, {each} a directory");
    println!("live memory: {:.1} bytes a file", a_file(bytes));
    println!("made: {:.0} ns a file", a_file(seconds) * 1e9);
    let (sections, seconds) = timed(|| image::sections(&durable).collect::<Vec<_>>());
    let size: usize = sections.iter().map(Vec::len).sum();
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let size = size as f64;
    println!("image: {:.1} bytes, {:.0} ns a file", a_file(size), a_file(seconds) * 1e9);
    let digest = durable.digest();
    drop(durable);
    let before = MEMORY.current_usage();
    let (loaded, seconds) = timed(|| load(&sections));
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let bytes = (MEMORY.current_usage() - before) as f64;
    println!("loaded: {:.0} ns, {:.1} bytes a file", a_file(seconds) * 1e9, a_file(bytes));
    assert_eq!(loaded.digest(), digest);
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let begun = Instant::now();
    let done = work();
    (done, begun.elapsed().as_secs_f64())
}

fn load(sections: &[Vec<u8>]) -> Durable {
    let mut loader = image::Loader::new();
    sections.iter().for_each(|section| loader.section(section).expect("a section just written"));
    loader.finish().expect("a whole image")
}

fn apply(durable: &mut Durable, change: Change) {
    let record = Record { wall: WallTime { ms: 1_790_000_000_000 }, request: None, change };
    let position = durable.position().next();
    durable.apply(position, MasterEpoch(1), &record).expect("a record that fits");
}

fn filled(files: u64, each: u64, names: Names) -> Durable {
    let mut durable = Durable::blank();
    let chunk_size = ChunkSize::default();
    apply(&mut durable, Change::Formatted { cluster: ClusterUid(1), chunk_size });
    let directories = files.div_ceil(each);
    for number in 0..directories {
        let made = vec![(FileId(FIRST + number), format!("directory-{number:08}"))];
        apply(&mut durable, Change::DirectoriesMade { parent: ROOT, made });
    }
    let members = vec![ServerUid(1), ServerUid(2), ServerUid(3)];
    for number in 0..files {
        let file = FileId(FIRST + directories + number);
        let handle = ChunkHandle(number + 1);
        let (directory, name) = match names {
            Names::Numbered => (number / each, format!("part-{number:011}.dat")),
            _ => (number % directories, random_name(number)),
        };
        let parent = FileId(FIRST + directory);
        let (born_in, replication) = (if names == Names::Upload { UPLOADS } else { parent }, 3);
        let attributes =
            Attributes { modified: WallTime { ms: 1_790_000_000_000 + number }, executable: false };
        let made =
            Change::Created { file, parent: born_in, name: name.clone(), replication, attributes };
        apply(&mut durable, made);
        let (index, members) = (ChunkIndex(0), members.clone());
        apply(&mut durable, Change::ChunkAllocated { file, index, handle, members });
        apply(&mut durable, Change::ChunkBorn { handle });
        apply(&mut durable, Change::LengthSet { file, length: 1 << 26, attributes: None });
        if names == Names::Upload {
            apply(&mut durable, Change::Renamed { entry: file, parent, name, replaced: None });
        }
    }
    durable
}

/// 20 characters, another for each number.
fn random_name(number: u64) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mix = |from: u64| {
        let mixed = (from ^ (from >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xc4ce_b9fe_1a85_ec53)
    };
    let (high, low) = (mix(number + 1), mix(number ^ u64::MAX));
    #[allow(clippy::cast_possible_truncation, reason = "it is below 32")]
    let part = |bits: u64| {
        (0..10).map(move |digit| char::from(LETTERS[(bits >> (5 * digit + 14) & 31) as usize]))
    };
    part(high).chain(part(low)).collect()
}
