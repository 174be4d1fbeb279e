//! Room on the master's own disk: looked at often, so that the core can refuse what would use up the reserve.
//!
//! The log never needs space in the middle of a segment: segments are zero-filled before their first use, and the next one
//! is made ready ahead. The reserve is for those, and for the checkpoints behind which old ones go
//! (docs/adr/0022-a-full-disk-of-the-master.md).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gfs_durable::fs::Fs;
use gfs_master_core::Room;
use gfs_types::limits::MASTER_RESERVE_SHARE;

/// Whether the log can grow: told by the threads that write it and make its segments ready.
#[derive(Debug, Default)]
pub struct Growth {
    /// The last try to make the next segment ready found no space.
    refused: AtomicBool,
    /// The log waits for space with a batch in its hands.
    stuck: AtomicBool,
    /// Less than a quarter of the current segment is left.
    low: AtomicBool,
}

impl Growth {
    /// The next segment was made ready, or could not be.
    pub fn prepared(&self, ready: bool) {
        self.refused.store(!ready, Ordering::Relaxed);
    }

    /// Whether the last try to make a segment ready failed.
    #[must_use]
    pub fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// The log waits for space, or goes on.
    pub fn waits(&self, stuck: bool) {
        self.stuck.store(stuck, Ordering::Relaxed);
    }

    /// Bytes that are left of a segment of so many.
    pub fn left(&self, left_bytes: u64, segment_bytes: u64) {
        self.low.store(left_bytes < segment_bytes / 4, Ordering::Relaxed);
    }

    fn cannot(&self) -> bool {
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        is(&self.stuck) || (is(&self.refused) && is(&self.low))
    }
}

/// The disk of the data directory.
#[derive(Debug)]
pub struct Disk {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    reserve_bytes: u64,
    /// Of the newest checkpoint: the next one needs as much again.
    checkpoint_bytes: AtomicU64,
    growth: Arc<Growth>,
}

impl Disk {
    /// With the reserve that the configuration names.
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>, dir: PathBuf, reserve_bytes: u64) -> Self {
        let (checkpoint_bytes, growth) = Default::default();
        Self { fs, dir, reserve_bytes, checkpoint_bytes, growth }
    }

    /// What the log's threads tell.
    #[must_use]
    pub fn growth(&self) -> Arc<Growth> {
        self.growth.clone()
    }

    /// A checkpoint of so many bytes was made, or found at start.
    pub fn checkpoint(&self, bytes: u64) {
        self.checkpoint_bytes.store(bytes, Ordering::Relaxed);
    }

    /// How much is free, and what that means.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn look(&self) -> io::Result<(u64, Room)> {
        let space = self.fs.free_space(&self.dir)?;
        let reserve = self.reserve_bytes.min(space.total_bytes / MASTER_RESERVE_SHARE);
        let reserve = reserve.saturating_add(self.checkpoint_bytes.load(Ordering::Relaxed));
        let free = space.available_bytes;
        let found = || {
            let dir = self.dir.display();
            format!("{dir} has {free} bytes free, {reserve} are kept for the log and checkpoints")
        };
        let room = match () {
            () if self.growth.cannot() => Room::Nothing(found()),
            () if free < reserve => Room::Short(found()),
            () => Room::Enough,
        };
        Ok((free, room))
    }
}

#[cfg(test)]
mod tests {
    use gfs_durable::fs::sim::SimFs;

    use super::*;

    fn disk(total: u64, reserve: u64) -> (SimFs, Disk) {
        let sim = SimFs::new(1);
        sim.set_capacity(total);
        let disk = Disk::new(Arc::new(sim.clone()), PathBuf::from("/"), reserve);
        (sim, disk)
    }

    fn room(disk: &Disk) -> Room {
        disk.look().unwrap().1
    }

    #[test]
    fn the_reserve_ends_at_its_last_byte() {
        // A disk so large that the share does not count.
        let used = 1 << 30;
        let (sim, disk) = disk(used * MASTER_RESERVE_SHARE, 1000);
        let file = sim.open(std::path::Path::new("/f"), gfs_durable::fs::Open::CreateNew).unwrap();
        let all = used * MASTER_RESERVE_SHARE;
        file.allocate(0, all - 1000).unwrap();
        assert_eq!(disk.look().unwrap(), (1000, Room::Enough));
        file.allocate(0, all - 999).unwrap();
        let Room::Short(found) = room(&disk) else { panic!("one byte past it") };
        assert!(found.contains("/ has 999 bytes free, 1000 are kept"), "{found}");
        sim.set_capacity(all + 1);
        assert_eq!(room(&disk), Room::Enough, "by itself");
        disk.checkpoint(1);
        assert!(matches!(room(&disk), Room::Short(_)), "the next checkpoint needs room too");
    }

    #[test]
    fn on_a_small_disk_the_reserve_is_a_share_of_it() {
        let (sim, disk) = disk(MASTER_RESERVE_SHARE * 100, 1 << 30);
        let file = sim.open(std::path::Path::new("/f"), gfs_durable::fs::Open::CreateNew).unwrap();
        file.allocate(0, MASTER_RESERVE_SHARE * 100 - 100).unwrap();
        assert_eq!(room(&disk), Room::Enough);
        file.allocate(0, MASTER_RESERVE_SHARE * 100 - 99).unwrap();
        assert!(matches!(room(&disk), Room::Short(_)));
    }

    #[test]
    fn a_log_that_cannot_grow_counts_when_little_of_it_is_left() {
        let (_, disk) = disk(1 << 30, 1);
        let growth = disk.growth();
        growth.left(25, 100);
        growth.prepared(false);
        assert_eq!(room(&disk), Room::Enough, "a quarter is left");
        growth.left(24, 100);
        assert!(matches!(room(&disk), Room::Nothing(_)));
        growth.prepared(true);
        assert_eq!(room(&disk), Room::Enough);
        growth.waits(true);
        assert!(matches!(room(&disk), Room::Nothing(_)));
        growth.waits(false);
        assert_eq!(room(&disk), Room::Enough);
    }
}
