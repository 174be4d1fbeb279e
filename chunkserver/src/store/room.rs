//! Space on the disk, less the reserve that is never given to chunks, and the margin before it.
//!
//! When only the margin is left the server is *short of space*: no new mutation is taken, and those that are on their way
//! fit into it. So the end of the disk is hardly ever met in the middle of a mutation.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gfs_durable::fs::Fs;
use gfs_types::limits::{SPACE_MARGIN_BYTES, SPACE_MARGIN_SHARE};
use gfs_types::message::control::Space;

/// Bytes that may be written before the file system is asked again.
const STEP_BYTES: u64 = 16 << 20;

/// Space is taken ahead of need where so many times as much is free.
const PLENTY: u64 = 64;

/// Keeps writes away from the reserve without asking the file system each time.
#[derive(Debug)]
pub(super) struct Room {
    reserve: u64,
    /// Bytes that are known to be free above reserve and margin.
    known: AtomicU64,
    /// As of the last look.
    short: AtomicBool,
}

/// What a look at the disk found.
struct Look {
    total: u64,
    /// Bytes above the reserve.
    free: u64,
    margin: u64,
}

impl Room {
    pub(super) fn new(reserve: u64) -> Self {
        Self { reserve, known: AtomicU64::new(0), short: AtomicBool::new(false) }
    }

    fn look(&self, fs: &dyn Fs, dir: &Path, needed: u64) -> io::Result<Look> {
        let space = fs.free_space(dir)?;
        let total = space.total_bytes;
        let free = space.available_bytes.saturating_sub(self.reserve);
        let margin = SPACE_MARGIN_BYTES.min(total / SPACE_MARGIN_SHARE);
        self.short.store(free < margin, Ordering::Relaxed);
        let known = free.saturating_sub(margin).saturating_sub(needed);
        self.known.store(known.min(STEP_BYTES), Ordering::Relaxed);
        Ok(Look { total, free, margin })
    }

    /// Room for new chunks.
    pub(super) fn space(&self, fs: &dyn Fs, dir: &Path) -> io::Result<Space> {
        let Look { total, free, margin } = self.look(fs, dir, 0)?;
        Ok(Space { capacity_bytes: total, free_bytes: free.saturating_sub(margin) })
    }

    /// Whether `bytes` more may be written.
    pub(super) fn take(&self, fs: &dyn Fs, dir: &Path, bytes: u64) -> io::Result<bool> {
        let take = |known: u64| known.checked_sub(bytes);
        if self.known.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            return Ok(true);
        }
        Ok(self.look(fs, dir, bytes)?.free >= bytes)
    }

    /// Whether so much may be taken for bytes that nobody wrote yet: as long as there is no shortage that it could make worse.
    pub(super) fn has_plenty(&self, fs: &dyn Fs, dir: &Path, bytes: u64) -> bool {
        let least = bytes.saturating_mul(PLENTY);
        self.look(fs, dir, bytes).is_ok_and(|look| look.free.saturating_sub(look.margin) >= least)
    }

    /// The file system said that it is full: what was known is wrong.
    pub(super) fn used_up(&self) {
        self.known.store(0, Ordering::Relaxed);
        self.short.store(true, Ordering::Relaxed);
    }

    /// Whether only the margin is left. It ends by itself: while it lasts every call asks the file system.
    pub(super) fn is_short(&self, fs: &dyn Fs, dir: &Path) -> bool {
        if !self.short.load(Ordering::Relaxed) {
            return false;
        }
        // A disk that does not tell has no space.
        self.look(fs, dir, 0).map_or(true, |look| look.free < look.margin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfs_durable::fs::Open;
    use gfs_durable::fs::sim::SimFs;

    const ROOT: &str = "/";

    /// A disk of so many bytes of which so many are free.
    fn disk(total: u64, free: u64) -> SimFs {
        let fs = SimFs::new(1);
        fs.set_capacity(total);
        let file = fs.open(Path::new("/used"), Open::CreateNew).unwrap();
        file.allocate(0, total - free).unwrap();
        fs
    }

    #[test]
    fn the_reserve_is_kept() {
        let fs = disk(1 << 20, 1000);
        let room = Room::new(400);
        assert!(room.take(&fs, Path::new(ROOT), 600).unwrap());
        assert!(!room.take(&fs, Path::new(ROOT), 601).unwrap());
    }

    #[test]
    fn a_server_is_short_of_space_when_only_the_margin_is_left_and_no_longer_when_it_is_freed() {
        let large = SPACE_MARGIN_BYTES * SPACE_MARGIN_SHARE;
        for (total, margin) in [(large * 2, SPACE_MARGIN_BYTES), (16_000, 1000)] {
            let room = Room::new(400);
            let short = |fs: &SimFs| room.is_short(fs, Path::new(ROOT));
            let free = |fs: &SimFs| room.space(fs, Path::new(ROOT)).unwrap().free_bytes;
            let (at_limit, past_it) = (disk(total, 400 + margin), disk(total, 399 + margin));
            assert_eq!((free(&at_limit), short(&at_limit)), (0, false));
            assert_eq!((free(&past_it), short(&past_it)), (0, true), "one byte past the limit");
            assert_eq!((short(&disk(total, 401 + margin)), short(&past_it)), (false, false));
            assert_eq!(free(&disk(total, 401 + margin)), 1, "placement does not count the margin");
        }
    }

    #[test]
    fn the_margin_can_be_used_up_and_a_full_disk_is_believed() {
        let fs = disk(16_000, 1400);
        let room = Room::new(400);
        assert!(room.take(&fs, Path::new(ROOT), 1000).unwrap(), "by what is on its way");
        assert!(!room.take(&fs, Path::new(ROOT), 1001).unwrap());
        room.used_up();
        assert!(!room.is_short(&fs, Path::new(ROOT)), "it looks again");
        fs.set_capacity(15_984);
        room.used_up();
        assert!(room.is_short(&fs, Path::new(ROOT)));
    }

    #[test]
    fn a_look_for_the_heartbeat_notices_what_others_used() {
        let fs = disk(1 << 40, 1 << 30);
        let room = Room::new(0);
        assert!(room.take(&fs, Path::new(ROOT), 1).unwrap());
        let file = fs.open(Path::new("/ballast"), Open::CreateNew).unwrap();
        file.allocate(0, 1 << 30).unwrap();
        assert!(room.take(&fs, Path::new(ROOT), 1).unwrap(), "within the step");
        room.space(&fs, Path::new(ROOT)).unwrap();
        assert!(!room.take(&fs, Path::new(ROOT), 1).unwrap());
        assert!(room.is_short(&fs, Path::new(ROOT)));
    }
}
