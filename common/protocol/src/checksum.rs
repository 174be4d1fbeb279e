//! CRC-32C of blocks (§5.2).

use crc_fast::CrcAlgorithm::Crc32Iscsi;
use gfs_types::limits::BLOCK_BYTES;

/// CRC-32C of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    narrow(crc_fast::checksum(Crc32Iscsi, bytes))
}

/// The checksum of two runs of bytes together, from their own: `b_bytes` is the length of the second.
#[must_use]
pub fn combine(a: u32, b: u32, b_bytes: u64) -> u32 {
    narrow(crc_fast::checksum_combine(Crc32Iscsi, u64::from(a), u64::from(b), b_bytes))
}

/// Cuts `bytes`, which begin at `offset` of a chunk, at block borders. The first and last piece may be partial blocks.
pub fn pieces(offset: u64, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let to_border = |at: u64| usize::try_from(BLOCK_BYTES - at % BLOCK_BYTES).unwrap_or(usize::MAX);
    let mut rest = bytes;
    let mut next = to_border(offset);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, tail) = rest.split_at(next.min(rest.len()));
        rest = tail;
        next = to_border(0);
        Some(piece)
    })
}

/// CRC-32C of each block of a chunk that `bytes`, beginning at `offset` of it, touch.
#[must_use]
pub fn blocks(offset: u64, bytes: &[u8]) -> Vec<u32> {
    pieces(offset, bytes).map(crc32c).collect()
}

/// How many checksums belong to `length` bytes at `offset`.
#[must_use]
pub const fn count(offset: u64, length: u64) -> u64 {
    if length == 0 { 0 } else { (offset % BLOCK_BYTES + length).div_ceil(BLOCK_BYTES) }
}

#[expect(clippy::cast_possible_truncation, reason = "a CRC-32 has 32 bits")]
const fn narrow(crc: u64) -> u32 {
    crc as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_castagnoli_polynomial() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn parts_combine_to_the_whole() {
        let bytes: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
        for cut in [0, 1, 65_535, 65_536, 199_999, 200_000] {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(combine(crc32c(a), crc32c(b), b.len() as u64), crc32c(&bytes));
        }
    }

    #[test]
    fn pieces_follow_the_blocks_of_the_chunk() {
        let bytes = vec![7u8; 150_000];
        let lengths = |offset| pieces(offset, &bytes).map(<[u8]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(0), [65_536, 65_536, 18_928]);
        assert_eq!(lengths(65_530), [6, 65_536, 65_536, 18_922]);
        for offset in [0, 1, 65_535, 65_536, 65_530] {
            assert_eq!(blocks(offset, &bytes).len() as u64, count(offset, 150_000));
        }
        assert_eq!(count(5, 0), 0);
    }
}
