//! What a power loss leaves of the changes that were not synced.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use super::SECTOR_BYTES;
use super::content::Content;
use super::disk::{Change, Disk, Image, to_usize};

/// Which of the unsynced changes survive a power loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashMode {
    /// None.
    Nothing,
    /// All.
    Everything,
    /// The first so many, in the order they were made.
    Prefix(usize),
    /// A random choice among all and, of a write, among its sectors; file lengths may have grown
    /// without the bytes.
    Subset(u64),
    /// All, but of the last write only its first so many sectors.
    TornHead(usize),
    /// All, but of the last write only what follows its first so many sectors.
    TornTail(usize),
}

/// The disk after the power loss.
pub(super) fn after(disk: &Disk, mode: CrashMode) -> Disk {
    let mut image = disk.durable.clone();
    match mode {
        CrashMode::Nothing => {}
        CrashMode::Everything => keep(&mut image, &disk.pending),
        CrashMode::Prefix(count) => {
            keep(&mut image, &disk.pending[..count.min(disk.pending.len())])
        }
        CrashMode::Subset(seed) => keep_some(&mut image, &disk.pending, seed),
        CrashMode::TornHead(sectors) => tear_last(&mut image, disk, |index| index < sectors),
        CrashMode::TornTail(sectors) => tear_last(&mut image, disk, |index| index >= sectors),
    }
    disk.settled(image)
}

/// The modes that differ from each other for this disk.
pub(super) fn modes(disk: &Disk, subsets: u64) -> Vec<CrashMode> {
    let changes = disk.pending.len();
    if changes == 0 {
        return vec![CrashMode::Nothing];
    }
    let mut modes = vec![CrashMode::Nothing, CrashMode::Everything];
    modes.extend((1..changes).map(CrashMode::Prefix));
    modes.extend((0..subsets).map(CrashMode::Subset));
    let torn = last_write(disk).map_or(0, |index| sectors(&disk.pending[index]));
    modes.extend((1..torn).map(CrashMode::TornHead));
    modes.extend((1..torn).map(CrashMode::TornTail));
    modes
}

fn keep(image: &mut Image, changes: &[Change]) {
    for change in changes {
        image.apply(change);
    }
}

fn keep_some(image: &mut Image, changes: &[Change], seed: u64) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    for change in changes {
        match rng.next_u64() % 4 {
            0 => {}
            1 => image.apply(change),
            _ => tear(image, change, |_| rng.next_u64().is_multiple_of(2)),
        }
    }
}

fn tear_last(image: &mut Image, disk: &Disk, keeps: impl FnMut(usize) -> bool) {
    let Some(last) = last_write(disk) else {
        return keep(image, &disk.pending);
    };
    keep(image, &disk.pending[..last]);
    tear(image, &disk.pending[last], keeps);
    keep(image, &disk.pending[last + 1..]);
}

fn last_write(disk: &Disk) -> Option<usize> {
    disk.pending.iter().rposition(|change| matches!(change, Change::Write { .. }))
}

/// How many sectors a write touches.
fn sectors(change: &Change) -> usize {
    match change {
        Change::Write { offset, bytes, .. } => {
            let start = to_usize(*offset);
            (start + bytes.len()).div_ceil(SECTOR_BYTES) - start / SECTOR_BYTES
        }
        _ => 1,
    }
}

/// Applies of a write the sectors that `keeps` wants, asked for each in turn and once more for the
/// new length of the file; of another change all or nothing.
fn tear(image: &mut Image, change: &Change, mut keeps: impl FnMut(usize) -> bool) {
    let Change::Write { inode, offset, bytes } = change else {
        if keeps(0) {
            image.apply(change);
        }
        return;
    };
    let start = to_usize(*offset);
    let end = start + bytes.len();
    for (index, sector) in (start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES)).enumerate() {
        let from = (sector * SECTOR_BYTES).max(start);
        let to = ((sector + 1) * SECTOR_BYTES).min(end);
        if keeps(index) {
            image.write(*inode, from as u64, &bytes[from - start..to - start]);
        }
    }
    let len = image.files.get(inode).map_or(0, Content::len);
    if keeps(sectors(change)) && len < end {
        image.set_len(*inode, end as u64);
    }
}
