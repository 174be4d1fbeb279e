//! CRC-32C of blocks (§5.2).

use crc_fast::CrcAlgorithm::Crc32Iscsi;
use gfs_types::limits::BLOCK_BYTES;

/// CRC-32C of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    narrow(crc_fast::checksum(Crc32Iscsi, bytes))
}

/// The checksum of two runs of bytes together, from their own: `b_bytes` is the length of the second.
///
/// Every append joins the checksum of its bytes to that of the block it goes on. `crc_fast` squares a matrix of bits for each call,
/// 20 µs; here the powers are made once, and a call takes some 0.3 µs.
#[must_use]
pub fn combine(a: u32, b: u32, b_bytes: u64) -> u32 {
    if a == 0 { b } else { multiply(power_of_bytes(b_bytes), a) ^ b }
}

/// x^(8 * bytes) modulo the polynomial.
fn power_of_bytes(bytes: u64) -> u32 {
    let squares = POWERS.iter().enumerate().filter(|(bit, _)| bytes >> bit & 1 == 1);
    squares.fold(ONE, |product, (_, power)| multiply(*power, product))
}

/// The Castagnoli polynomial and its residues have the coefficient of x^0 in their highest bit.
const POLYNOMIAL: u32 = 0x82f6_3b78;
const ONE: u32 = 1 << 31;
/// x^(8 * 2^k) for every bit k of a length.
const POWERS: [u32; 64] = {
    let mut powers = [ONE >> 8; 64];
    let mut k = 1;
    while k < powers.len() {
        powers[k] = multiply(powers[k - 1], powers[k - 1]);
        k += 1;
    }
    powers
};

/// The product of two residues.
const fn multiply(a: u32, b: u32) -> u32 {
    let (mut rest, mut shifted, mut product) = (a, b, 0);
    while rest != 0 {
        if rest & ONE != 0 {
            product ^= shifted;
        }
        rest <<= 1;
        shifted = shifted >> 1 ^ if shifted & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    product
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
    fn any_length_combines_as_in_the_crate_that_computes() {
        let mut mixed = 1u64;
        for bit in 0..2_000 {
            mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(bit);
            let (a, b, length) = (narrow(mixed >> 32), narrow(mixed), mixed >> (bit % 64));
            let theirs = crc_fast::checksum_combine(Crc32Iscsi, u64::from(a), u64::from(b), length);
            assert_eq!(combine(a, b, length), narrow(theirs), "{a:x} {b:x} {length}");
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
