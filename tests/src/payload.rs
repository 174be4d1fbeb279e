//! Records that prove who wrote them: writer, sequence, and bytes that follow from both.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// Bytes of the shortest record: writer and sequence.
pub const HEAD_BYTES: usize = 16;

/// The record `seq` of `writer`, `length` bytes long.
///
/// # Panics
/// When `length` is below [`HEAD_BYTES`].
#[must_use]
pub fn record(writer: u64, seq: u64, length: usize) -> Vec<u8> {
    assert!(length >= HEAD_BYTES, "a record holds at least its writer and sequence");
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(&writer.to_be_bytes());
    bytes.extend_from_slice(&seq.to_be_bytes());
    bytes.resize(length, 0);
    generator(writer, seq).fill_bytes(&mut bytes[HEAD_BYTES..]);
    bytes
}

/// Writer and sequence of a record, if every byte of it is as it was written.
#[must_use]
pub fn check(bytes: &[u8]) -> Option<(u64, u64)> {
    let (head, _) = bytes.split_at_checked(HEAD_BYTES)?;
    let (writer, seq) = head.split_at(8);
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
    let (writer, seq) = (number(writer)?, number(seq)?);
    (record(writer, seq, bytes.len()) == bytes).then_some((writer, seq))
}

/// A length from `min` to `max`, small ones as likely as large ones: the logarithm is uniform.
#[must_use]
pub fn length(writer: u64, seq: u64, min: usize, max: usize) -> usize {
    let mut generator = generator(writer ^ 0x5eed, seq);
    let doublings = (max / min).ilog2() + 1;
    let scaled = min << (generator.next_u64() % u64::from(doublings));
    let jitter = usize::try_from(generator.next_u64() % scaled as u64).unwrap_or(0);
    (scaled + jitter).clamp(min, max)
}

/// Any number; the same for the same arguments.
#[must_use]
pub fn draw(stream: u64, turn: u64) -> u64 {
    generator(stream ^ 0xd4a3, turn).next_u64()
}

fn generator(writer: u64, seq: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(writer.rotate_left(32) ^ seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_proves_itself_and_nothing_else_does() {
        let good = record(3, 9, 1000);
        assert_eq!(check(&good), Some((3, 9)));
        for at in [0, 8, 16, 999] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(check(&bad), None, "byte {at}");
        }
        assert_eq!(check(&good[..15]), None);
        assert_eq!(check(&good[..999]), Some((3, 9)), "a shorter record is another whole record");
    }

    #[test]
    fn lengths_keep_their_bounds_and_reach_both_ends() {
        let lengths: Vec<usize> = (0..5000).map(|seq| length(1, seq, 100, 1 << 20)).collect();
        assert!(lengths.iter().all(|length| (100..=1 << 20).contains(length)));
        assert!(lengths.iter().any(|length| *length < 200));
        assert!(lengths.iter().any(|length| *length > 500_000));
    }
}
