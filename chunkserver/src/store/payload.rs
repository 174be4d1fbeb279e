//! Bytes on their way from a connection into a chunk, with the checksums their writer computed.

use std::sync::Arc;

use bytes::Bytes;
use gfs_protocol::checksum::{self, combine, crc32c};
use gfs_types::Error;
use gfs_types::limits::BLOCK_BYTES;

use super::StoreError;

/// Bytes of one frame with their writer's CRC-32C for each block they touch. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    bytes: Bytes,
    offset: u64,
    checksums: Arc<[u32]>,
}

/// The bytes of a mutation: one part, or several when they came in several frames. Cheap to clone.
///
/// The checksums of a part are cut by the place its writer expected. Where the bytes land elsewhere, they are cut
/// anew and the new checksums are proved against the old ones, so that no byte is ever covered only by a checksum
/// that was computed after a copy (§5.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payload {
    parts: Vec<Part>,
}

/// A run of bytes within one block of the chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where in the chunk, in bytes.
    pub at: u64,
    /// How many bytes.
    pub length: u64,
    pub checksum: u32,
}

impl Part {
    /// Bytes that were verified against `checksums`, cut as if they began at `offset` of a chunk.
    ///
    /// # Errors
    /// When the number of checksums does not fit.
    pub fn new(bytes: Bytes, offset: u64, checksums: Vec<u32>) -> Result<Self, Error> {
        let expected = checksum::count(offset, bytes.len() as u64);
        if expected != checksums.len() as u64 {
            let (count, length) = (checksums.len(), bytes.len());
            return Err(Error::invalid(format!(
                "{count} checksums for {length} bytes at offset {offset}: {expected} expected"
            )));
        }
        Ok(Self { bytes, offset, checksums: checksums.into() })
    }

    /// Bytes without a writer's checksums: they are computed here.
    #[must_use]
    pub fn compute(bytes: Bytes, offset: u64) -> Self {
        let checksums = checksum::blocks(offset, &bytes).into();
        Self { bytes, offset, checksums }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The place in a chunk that the checksums were cut for.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// One for each block of the chunk, cut by [`Part::offset`].
    #[must_use]
    pub fn checksums(&self) -> &[u32] {
        &self.checksums
    }

    /// How many bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The same bytes with checksums cut for another place.
    ///
    /// # Errors
    /// When the bytes do not match the checksums they came with.
    pub fn aligned_to(&self, offset: u64) -> Result<Self, StoreError> {
        if offset % BLOCK_BYTES == self.offset % BLOCK_BYTES {
            return Ok(Self { offset, ..self.clone() });
        }
        let mut pieces = Vec::new();
        self.cut(offset, &mut |piece| pieces.push(piece))?;
        let checksums = fold(pieces).into();
        Ok(Self { bytes: self.bytes.clone(), offset, checksums })
    }

    /// Cuts the bytes at block borders as if they began at `offset`, and where the writer cut them. Whole cuts keep
    /// the writer's checksum; others are computed, and proved against it.
    fn cut(&self, offset: u64, put: &mut impl FnMut(Piece)) -> Result<(), StoreError> {
        let mut at = offset;
        for (source, &expected) in checksum::pieces(self.offset, &self.bytes).zip(&*self.checksums)
        {
            let mut proof = 0;
            for bytes in checksum::pieces(at, source) {
                let length = bytes.len() as u64;
                let checksum = if bytes.len() == source.len() { expected } else { crc32c(bytes) };
                proof = if length == 0 { proof } else { combine(proof, checksum, length) };
                put(Piece { at, length, checksum });
                at += length;
            }
            if proof != expected {
                return Err(StoreError::Payload { at: at - offset });
            }
        }
        Ok(())
    }

    /// Two parts, the first with `first` bytes.
    fn split(&self, first: usize) -> Result<(Self, Self), StoreError> {
        let border = self.offset + first as u64;
        let mut sums = (Vec::new(), Vec::new());
        let mut at = self.offset;
        for (source, &expected) in checksum::pieces(self.offset, &self.bytes).zip(&*self.checksums)
        {
            let end = at + source.len() as u64;
            if end <= border {
                sums.0.push(expected);
            } else if at >= border {
                sums.1.push(expected);
            } else {
                let (a, b) = source.split_at(usize::try_from(border - at).unwrap_or(source.len()));
                let (a_sum, b_sum) = (crc32c(a), crc32c(b));
                if combine(a_sum, b_sum, b.len() as u64) != expected {
                    return Err(StoreError::Payload { at: at - self.offset });
                }
                sums.0.push(a_sum);
                sums.1.push(b_sum);
            }
            at = end;
        }
        let part = |bytes, offset, sums: Vec<u32>| Self { bytes, offset, checksums: sums.into() };
        Ok((
            part(self.bytes.slice(..first), self.offset, sums.0),
            part(self.bytes.slice(first..), border, sums.1),
        ))
    }
}

impl Payload {
    /// The parts, in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// How many bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.parts.iter().map(Part::length).sum()
    }

    /// Bytes without a writer's checksums, for a place in a chunk: they are computed here.
    #[must_use]
    pub fn compute(bytes: Bytes, offset: u64) -> Self {
        Part::compute(bytes, offset).into()
    }

    /// All bytes as one part for a place in a chunk, copied only where there are several.
    ///
    /// # Errors
    /// When the bytes do not match the checksums they came with.
    pub fn in_one_part(&self, offset: u64) -> Result<Part, StoreError> {
        if let [part] = &self.parts[..] {
            return part.aligned_to(offset);
        }
        let checksums = fold(self.pieces(offset)?).into();
        let mut bytes = Vec::new();
        self.parts.iter().for_each(|part| bytes.extend_from_slice(&part.bytes));
        Ok(Part { bytes: bytes.into(), offset, checksums })
    }

    /// The pieces of all parts in order as they fall into the blocks of a chunk, when they begin at `offset`.
    pub(super) fn pieces(&self, offset: u64) -> Result<Vec<Piece>, StoreError> {
        let mut pieces = Vec::new();
        let mut at = offset;
        for part in &self.parts {
            part.cut(at, &mut |piece| pieces.push(piece))?;
            at += part.length();
        }
        Ok(pieces)
    }

    /// Two payloads, the first with `first` bytes, or fewer when there are no more.
    pub(super) fn split(&self, first: u64) -> Result<(Self, Self), StoreError> {
        let mut left = usize::try_from(first).unwrap_or(usize::MAX);
        let (mut a, mut b) = (Self::default(), Self::default());
        for part in &self.parts {
            let count = part.bytes.len();
            if left >= count {
                a.parts.push(part.clone());
            } else if left == 0 {
                b.parts.push(part.clone());
            } else {
                let (head, tail) = part.split(left)?;
                a.parts.push(head);
                b.parts.push(tail);
            }
            left = left.saturating_sub(count);
        }
        Ok((a, b))
    }
}

/// The checksums of the blocks that pieces, one behind the other, touch.
fn fold(pieces: Vec<Piece>) -> Vec<u32> {
    let mut blocks: Vec<(u64, u32)> = Vec::new();
    for piece in pieces {
        let block = piece.at / BLOCK_BYTES;
        match blocks.last_mut() {
            Some((last, sum)) if *last == block => {
                *sum = combine(*sum, piece.checksum, piece.length)
            }
            _ => blocks.push((block, piece.checksum)),
        }
    }
    blocks.into_iter().map(|(_, sum)| sum).collect()
}

impl From<Part> for Payload {
    fn from(part: Part) -> Self {
        Self { parts: vec![part] }
    }
}

impl From<Vec<Part>> for Payload {
    fn from(parts: Vec<Part>) -> Self {
        Self { parts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: usize) -> Bytes {
        (0..length).map(|i| u8::try_from(i % 251).expect("below 251")).collect()
    }

    fn check(payload: &Payload, offset: u64) {
        let flat: Vec<u8> = payload.parts().iter().flat_map(|part| part.bytes().to_vec()).collect();
        let mut at = offset;
        for piece in payload.pieces(offset).unwrap() {
            assert_eq!(piece.at, at);
            let from = usize::try_from(at - offset).unwrap();
            let to = from + usize::try_from(piece.length).unwrap();
            assert_eq!(piece.checksum, crc32c(&flat[from..to]));
            assert!(at % BLOCK_BYTES + piece.length <= BLOCK_BYTES);
            at += piece.length;
        }
        assert_eq!(at, offset + payload.length());
    }

    #[test]
    fn pieces_carry_the_checksums_of_their_bytes_wherever_they_land() {
        for (from, to, length) in [
            (0, 0, 200_000),
            (0, 5, 200_000),
            (70_000, 3, 150_000),
            (0, 65_535, 65_536),
            (9, 9, 100),
        ] {
            let part = Part::compute(bytes(length), from);
            let aligned = part.aligned_to(to).unwrap();
            assert_eq!(aligned.checksums(), checksum::blocks(to, aligned.bytes()));
            check(&part.clone().into(), to);
            check(&vec![part.clone(), part.clone(), part].into(), to);
        }
    }

    #[test]
    fn a_split_keeps_bytes_and_checksums() {
        let part = Part::compute(bytes(150_000), 100);
        let payload = Payload::from(vec![part.clone(), part]);
        for first in [0, 1, 65_436, 65_437, 149_999, 150_000, 150_001, 299_999, 300_000, 400_000] {
            let (a, b) = payload.split(first).unwrap();
            assert_eq!(a.length(), first.min(300_000));
            assert_eq!(a.length() + b.length(), 300_000);
            check(&a, 7);
            check(&b, 7);
        }
    }

    #[test]
    fn several_parts_become_one() {
        let parts = vec![Part::compute(bytes(70_000), 0), Part::compute(bytes(9), 3)];
        let one = Payload::from(parts).in_one_part(65_000).unwrap();
        assert_eq!(one.length(), 70_009);
        assert_eq!(one.checksums(), checksum::blocks(65_000, one.bytes()));
    }

    #[test]
    fn a_new_cut_is_proved_against_the_writers_checksums() {
        let good = Part::compute(bytes(70_000), 0);
        let mut changed = good.bytes().to_vec();
        changed[100] ^= 1;
        let bad = Part::new(changed.into(), 0, good.checksums().to_vec()).unwrap();
        assert!(matches!(bad.aligned_to(1), Err(StoreError::Payload { .. })));
        assert!(matches!(Payload::from(bad).split(50), Err(StoreError::Payload { .. })));
    }

    #[test]
    fn the_number_of_checksums_must_fit() {
        assert!(Part::new(bytes(65_536), 0, vec![1]).is_ok());
        assert!(Part::new(bytes(65_537), 0, vec![1]).is_err());
        assert!(Part::new(bytes(65_536), 1, vec![1]).is_err());
        assert!(Part::new(Bytes::new(), 7, vec![]).is_ok());
    }
}
