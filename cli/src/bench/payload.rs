//! The bytes a bench writes: a few pieces used again and again, so that making them costs nothing, and every place
//! of a file still says whether it holds what was written there.

use bytes::Bytes;
use gfs_protocol::checksum;
pub(super) use gfs_types::limits::BLOCK_BYTES;

/// A small set of pieces of one size.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    pieces: Vec<Bytes>,
    /// Of each piece, the checksums of its blocks, noted when it was made.
    checksums: Vec<Vec<u32>>,
}

/// Different pieces: a number that no power of two divides, so that neighbouring chunks differ.
const PIECES: u64 = 7;

impl Payload {
    /// Pieces of so many bytes.
    pub(super) fn new(piece_bytes: usize) -> Self {
        let pieces: Vec<Bytes> = (0..PIECES).map(|seed| piece(seed, piece_bytes)).collect();
        let checksums = pieces.iter().map(|piece| checksum::blocks(0, piece)).collect();
        Self { pieces, checksums }
    }

    /// The piece for operation `number` of caller `caller`.
    pub(super) fn piece(&self, caller: u32, number: u64) -> &Bytes {
        &self.pieces[self.index(caller, number)]
    }

    fn index(&self, caller: u32, number: u64) -> usize {
        let count = self.pieces.len() as u64;
        usize::try_from((u64::from(caller) + number) % count).unwrap_or_default()
    }

    /// The checksum of the block at `offset` of the caller's file, where pieces are whole blocks.
    pub(super) fn block_checksum(&self, caller: u32, offset: u64) -> u32 {
        let piece_bytes = self.pieces[0].len() as u64;
        let blocks = &self.checksums[self.index(caller, offset / piece_bytes)];
        let block = usize::try_from(offset % piece_bytes / BLOCK_BYTES).unwrap_or_default();
        blocks[block]
    }

    /// Whether `bytes`, read at `offset` of the caller's file, are those that were written there.
    pub(super) fn matches(&self, caller: u32, offset: u64, bytes: &[u8]) -> bool {
        let piece_bytes = self.pieces[0].len();
        let (mut offset, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let piece = self.piece(caller, offset / piece_bytes as u64);
            let within = usize::try_from(offset % piece_bytes as u64).unwrap_or_default();
            let expected = &piece[within..];
            let count = expected.len().min(rest.len());
            if rest[..count] != expected[..count] {
                return false;
            }
            offset += count as u64;
            rest = &rest[count..];
        }
        true
    }

    /// Whether these are the bytes of any piece.
    pub(super) fn has(&self, bytes: &[u8]) -> bool {
        self.pieces.iter().any(|piece| piece == bytes)
    }
}

/// Bytes without a pattern that a disk or a network could shorten.
fn piece(seed: u64, bytes: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut piece = Vec::with_capacity(bytes + 8);
    while piece.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        piece.extend_from_slice(&state.to_le_bytes());
    }
    piece.truncate(bytes);
    Bytes::from(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_differ_and_the_same_place_is_always_the_same() {
        let payload = Payload::new(1001);
        assert_eq!(payload.piece(3, 10).len(), 1001);
        assert_eq!(payload.piece(3, 10), Payload::new(1001).piece(3, 10));
        assert_ne!(payload.piece(3, 10), payload.piece(3, 11));
        assert_ne!(payload.piece(3, 10), payload.piece(4, 10));
        assert!(payload.has(payload.piece(0, 0)) && !payload.has(b"else"));
    }

    #[test]
    fn the_checksum_of_a_block_is_that_of_the_bytes_written_there() {
        let blocks = 3 * usize::try_from(BLOCK_BYTES).unwrap();
        let payload = Payload::new(blocks);
        let file: Vec<u8> = (0..4).flat_map(|number| payload.piece(5, number).to_vec()).collect();
        for (number, block) in file.chunks(blocks / 3).enumerate() {
            let offset = number as u64 * BLOCK_BYTES;
            assert_eq!(payload.block_checksum(5, offset), checksum::crc32c(block), "{number}");
        }
    }

    #[test]
    fn what_was_written_is_known_by_its_offset() {
        let payload = Payload::new(10);
        let file: Vec<u8> = (0..20).flat_map(|number| payload.piece(2, number).to_vec()).collect();
        assert!(payload.matches(2, 0, &file));
        assert!(payload.matches(2, 37, &file[37..95]));
        assert!(!payload.matches(2, 36, &file[37..95]));
        assert!(!payload.matches(3, 0, &file));
        let mut wrong = file.clone();
        wrong[150] ^= 1;
        assert!(!payload.matches(2, 0, &wrong) && payload.matches(2, 0, &[]));
    }
}
