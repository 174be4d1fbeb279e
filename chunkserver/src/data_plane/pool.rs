//! Buffers for payloads, used again and again: fresh memory costs more than the bytes in it.

use std::sync::{Arc, Mutex, PoisonError};

use gfs_types::limits::FRAME_BYTES_MAX;

/// Smaller buffers are cheap enough to be made anew.
const POOLED_MIN: usize = 64 << 10;
/// Buffers of each size that are kept while nobody uses them.
const KEPT_MAX: usize = 32;
/// Sizes from 128 KiB to a frame, each twice the one before.
const CLASSES: usize = 4;

const _: () = assert!((POOLED_MIN as u64) << CLASSES == FRAME_BYTES_MAX);

/// Buffers that wait for their next use.
#[derive(Debug, Default)]
pub(super) struct Pool([Mutex<Vec<Vec<u8>>>; CLASSES]);

/// A buffer of a pool; dropped, it goes back.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    length: usize,
    pool: Arc<Pool>,
}

/// Which pool a length belongs to.
fn class(length: usize) -> Option<usize> {
    if length <= POOLED_MIN {
        return None;
    }
    (0..CLASSES).find(|class| length <= POOLED_MIN << (class + 1))
}

/// Memory that a buffer for so many bytes takes.
pub(super) fn memory(length: usize) -> usize {
    class(length).map_or(length, |class| POOLED_MIN << (class + 1))
}

impl Pool {
    /// A buffer of this length. What is in it is left over from before.
    pub(super) fn get(self: &Arc<Self>, length: usize) -> Buffer {
        let kept = class(length)
            .and_then(|class| self.0[class].lock().unwrap_or_else(PoisonError::into_inner).pop());
        let bytes = kept.unwrap_or_else(|| vec![0; memory(length)]);
        Buffer { bytes, length, pool: self.clone() }
    }
}

impl Buffer {
    pub(super) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(class) = class(self.bytes.len()) {
            let mut kept = self.pool.0[class].lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < KEPT_MAX {
                kept.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_buffers_come_back_and_no_more_than_so_many_are_kept() {
        let pool = Arc::new(Pool::default());
        let frame = usize::try_from(FRAME_BYTES_MAX).unwrap();
        for (length, bytes) in [
            (0, 0),
            (10, 10),
            (65_536, 65_536),
            (65_537, 131_072),
            (200_000, 262_144),
            (frame, frame),
        ] {
            assert_eq!(memory(length), bytes);
            assert_eq!(pool.get(length).as_ref().len(), length);
        }
        let many: Vec<_> = (0..KEPT_MAX + 5).map(|_| pool.get(frame)).collect();
        drop(many);
        assert_eq!(pool.0[CLASSES - 1].lock().unwrap().len(), KEPT_MAX);
        let _taken = pool.get(frame);
        assert_eq!(pool.0[CLASSES - 1].lock().unwrap().len(), KEPT_MAX - 1);
    }
}
