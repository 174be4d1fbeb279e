//! Changes good bytes the way disks, networks and enemies do; the same seed makes the same changes.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// What a length or count says when it lies.
const EXTREMES: [u64; 9] =
    [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, 1 << 40, u64::MAX >> 1, u64::MAX];

/// The beginnings of `bytes`, itself left out; at most so many, evenly apart.
pub fn cuts(bytes: &[u8], most: usize) -> impl Iterator<Item = Vec<u8>> {
    let step = bytes.len().div_ceil(most.max(1)).max(1);
    (0..bytes.len()).step_by(step).map(|at| bytes[..at].to_vec())
}

/// `count` changed copies of `bytes`; some are spliced with one of `others`.
pub fn changed<'a>(
    bytes: &'a [u8],
    others: &'a [Vec<u8>],
    seed: u64,
    count: usize,
) -> impl Iterator<Item = Vec<u8>> + 'a {
    let mut dice = Dice(Xoshiro256PlusPlus::seed_from_u64(seed));
    (0..count).map(move |_| {
        let mut copy = bytes.to_vec();
        for _ in 0..=dice.below(3) {
            change(&mut copy, others, &mut dice);
        }
        copy
    })
}

struct Dice(Xoshiro256PlusPlus);

impl Dice {
    /// From 0 to `end`, that left out; 0 when there is nothing below it.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.0.next_u64() % end.max(1) as u64).unwrap_or(0)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

fn change(bytes: &mut Vec<u8>, others: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(bytes.len() + 1);
    match dice.below(8) {
        0 | 1 => flip(bytes, at, dice),
        2 | 3 => lie(bytes, at, dice),
        4 => bytes.truncate(at),
        5 => {
            let count = 1 + dice.below(9);
            let new = dice.bytes(count);
            bytes.splice(at..at, new);
        }
        6 => {
            let end = (at + 1 + dice.below(16)).min(bytes.len());
            bytes.drain(at..end);
        }
        _ => splice(bytes, at, others, dice),
    }
}

fn flip(bytes: &mut [u8], at: usize, dice: &mut Dice) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << dice.below(8);
    }
}

/// Overwrites one to eight bytes with an extreme number, or with what they say and one more or less.
fn lie(bytes: &mut [u8], at: usize, dice: &mut Dice) {
    let width = 1 << dice.below(4);
    let Some(field) = bytes.get_mut(at..at + width) else { return };
    let mut number = [0; 8];
    number[..width].copy_from_slice(field);
    let said = u64::from_le_bytes(number);
    let says = match dice.below(EXTREMES.len() + 2) {
        0 => said.wrapping_add(1),
        1 => said.wrapping_sub(1),
        choice => EXTREMES[choice - 2],
    };
    let says = if dice.below(2) == 0 { says.to_le_bytes() } else { says.to_be_bytes() };
    let start = if says[0] == 0 { 8 - width } else { 0 };
    field.copy_from_slice(&says[start..start + width]);
}

/// The beginning of one and the end of another, or a part of another in the middle.
fn splice(bytes: &mut Vec<u8>, at: usize, others: &[Vec<u8>], dice: &mut Dice) {
    let Some(other) = others.get(dice.below(others.len())) else { return };
    let from = dice.below(other.len() + 1);
    if dice.below(2) == 0 {
        bytes.truncate(at);
        bytes.extend_from_slice(&other[from..]);
    } else {
        let to = (from + dice.below(64)).min(other.len());
        bytes.splice(at..at, other[from..to].iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_file_is_cut_everywhere_and_the_same_seed_changes_the_same() {
        let bytes = b"some bytes that are good";
        assert_eq!(cuts(bytes, 300).count(), bytes.len());
        assert_eq!(cuts(&[0; 100_000], 300).count(), 300);
        let others = [b"others".to_vec()];
        let made = |seed| changed(bytes, &others, seed, 100).collect::<Vec<_>>();
        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
        let different = made(1).iter().filter(|made| made.as_slice() != bytes).count();
        assert!(different > 90, "{different} of 100 are changed");
        assert_eq!(changed(b"", &[], 1, 100).count(), 100);
    }
}
