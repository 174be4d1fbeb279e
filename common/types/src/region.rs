//! Where bytes are: chunks of a file, blocks of a chunk, ranges of both.

use std::fmt;
use std::ops::Range;

use crate::limits::{BLOCK_BYTES, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN};

/// The place of a chunk in its file, from 0.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct ChunkIndex(pub u64);

impl fmt::Display for ChunkIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The size of every chunk of a cluster, in bytes: whole blocks, within the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkSize(u64);

/// A chunk size that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a chunk size of {0} bytes is not possible: it is a multiple of {BLOCK_BYTES}, \
     from {CHUNK_BYTES_MIN} to {CHUNK_BYTES_MAX}"
)]
pub struct ChunkSizeError(u64);

/// A part of a file that lies in one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkPart {
    /// Which chunk of the file.
    pub index: ChunkIndex,
    /// Where in that chunk, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
}

impl ChunkSize {
    /// Checks a size.
    ///
    /// # Errors
    /// When it is not whole blocks or outside of the limits.
    pub const fn new(bytes: u64) -> Result<Self, ChunkSizeError> {
        if !bytes.is_multiple_of(BLOCK_BYTES) || bytes < CHUNK_BYTES_MIN || bytes > CHUNK_BYTES_MAX
        {
            return Err(ChunkSizeError(bytes));
        }
        Ok(Self(bytes))
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// How many blocks a whole chunk has.
    #[must_use]
    pub const fn blocks(self) -> u64 {
        self.0 / BLOCK_BYTES
    }

    /// The chunk that holds byte `offset` of a file, and where in it.
    #[must_use]
    pub const fn locate(self, offset: u64) -> (ChunkIndex, u64) {
        (ChunkIndex(offset / self.0), offset % self.0)
    }

    /// The offset in its file of the first byte of a chunk.
    #[must_use]
    pub const fn file_offset(self, index: ChunkIndex) -> u64 {
        index.0.saturating_mul(self.0)
    }

    /// Cuts a range of a file at chunk borders, in order.
    pub fn split(self, range: Range<u64>) -> impl Iterator<Item = ChunkPart> {
        let mut at = range.start;
        std::iter::from_fn(move || {
            if at >= range.end {
                return None;
            }
            let (index, offset) = self.locate(at);
            let length = (self.0 - offset).min(range.end - at);
            at += length;
            Some(ChunkPart { index, offset, length })
        })
    }
}

impl Default for ChunkSize {
    fn default() -> Self {
        Self(crate::limits::CHUNK_BYTES_DEFAULT)
    }
}

/// The numbers of the blocks that a range of a chunk touches.
#[must_use]
pub const fn blocks_of(offset: u64, length: u64) -> Range<u64> {
    if length == 0 {
        return offset / BLOCK_BYTES..offset / BLOCK_BYTES;
    }
    offset / BLOCK_BYTES..offset.saturating_add(length).div_ceil(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_at_chunk_borders() {
        let size = ChunkSize::new(CHUNK_BYTES_MIN).unwrap();
        let c = size.bytes();
        let parts: Vec<_> = size.split(c - 10..2 * c + 5).collect();
        let part = |index, offset, length| ChunkPart { index: ChunkIndex(index), offset, length };
        assert_eq!(parts, [part(0, c - 10, 10), part(1, 0, c), part(2, 0, 5)]);
        assert_eq!(size.split(7..7).count(), 0);
    }

    #[test]
    fn chunk_sizes_have_limits() {
        assert!(ChunkSize::new(CHUNK_BYTES_MIN).is_ok());
        assert!(ChunkSize::new(CHUNK_BYTES_MIN - BLOCK_BYTES).is_err());
        assert!(ChunkSize::new(CHUNK_BYTES_MAX).is_ok());
        assert!(ChunkSize::new(CHUNK_BYTES_MAX + BLOCK_BYTES).is_err());
        assert!(ChunkSize::new(CHUNK_BYTES_MIN + 1).is_err());
    }

    #[test]
    fn blocks_touched_by_a_range() {
        assert_eq!(blocks_of(0, 1), 0..1);
        assert_eq!(blocks_of(BLOCK_BYTES - 1, 2), 0..2);
        assert_eq!(blocks_of(BLOCK_BYTES, BLOCK_BYTES), 1..2);
        assert!(blocks_of(5, 0).is_empty());
    }
}
