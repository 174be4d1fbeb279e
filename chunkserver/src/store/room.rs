//! Space on the disk, less the reserve that is never given to chunks.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use gfs_durable::fs::Fs;
use gfs_types::message::control::Space;

/// Bytes that may be written before the file system is asked again.
const STEP_BYTES: u64 = 16 << 20;

/// Keeps writes away from the reserve without asking the file system each time.
#[derive(Debug)]
pub(super) struct Room {
    reserve: u64,
    /// Bytes that are known to be free above the reserve.
    known: AtomicU64,
}

impl Room {
    pub(super) fn new(reserve: u64) -> Self {
        Self { reserve, known: AtomicU64::new(0) }
    }

    pub(super) fn space(&self, fs: &dyn Fs, dir: &Path) -> io::Result<Space> {
        let space = fs.free_space(dir)?;
        let free_bytes = space.available_bytes.saturating_sub(self.reserve);
        Ok(Space { capacity_bytes: space.total_bytes, free_bytes })
    }

    /// Whether `bytes` more may be written.
    pub(super) fn take(&self, fs: &dyn Fs, dir: &Path, bytes: u64) -> io::Result<bool> {
        let take = |known: u64| known.checked_sub(bytes);
        if self.known.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            return Ok(true);
        }
        let free = self.space(fs, dir)?.free_bytes;
        self.known.store(free.saturating_sub(bytes).min(STEP_BYTES), Ordering::Relaxed);
        Ok(free >= bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfs_durable::fs::sim::SimFs;

    #[test]
    fn the_reserve_is_kept() {
        let fs = SimFs::new(1);
        fs.set_capacity(1000);
        let room = Room::new(400);
        assert_eq!(room.space(&fs, Path::new("/")).unwrap().free_bytes, 600);
        assert!(room.take(&fs, Path::new("/"), 600).unwrap());
        assert!(!room.take(&fs, Path::new("/"), 601).unwrap());
    }
}
