//! Bytes on their way from a connection into a chunk, with the checksums their writer computed.

use bytes::Bytes;
use gfs_protocol::checksum::{self, combine, crc32c};
use gfs_types::limits::BLOCK_BYTES;
use std::sync::Arc;

use super::StoreError;

/// Bytes with their writer's CRC-32C for each block they touch. Cheap to clone.
///
/// The checksums are cut by the place the writer expected ([`Payload::new`]'s `offset`). Where the bytes land
/// elsewhere, they are cut anew and the new checksums are proved against the old ones, so that no byte is ever
/// covered only by a checksum that was computed after a copy (§5.2).
#[derive(Debug, Clone, Default)]
pub struct Payload {
    bytes: Bytes,
    offset: u64,
    checksums: Arc<[u32]>,
}

/// Part of a payload that falls into one block of the chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// Where in the chunk, in bytes.
    pub at: u64,
    pub bytes: &'a [u8],
    pub checksum: u32,
}

impl Payload {
    /// Bytes that were verified against `checksums`, cut as if they began at `offset` of a chunk.
    ///
    /// # Errors
    /// When the number of checksums does not fit.
    pub fn new(bytes: Bytes, offset: u64, checksums: Vec<u32>) -> Result<Self, gfs_types::Error> {
        let expected = checksum::count(offset, bytes.len() as u64);
        if expected != checksums.len() as u64 {
            let (count, length) = (checksums.len(), bytes.len());
            return Err(gfs_types::Error::invalid(format!(
                "{count} checksums for {length} bytes at {offset}: {expected} expected"
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

    /// One for each block of the chunk, cut by [`Payload::offset`].
    #[must_use]
    pub fn checksums(&self) -> &[u32] {
        &self.checksums
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The same bytes with checksums cut for another place.
    ///
    /// # Errors
    /// When the bytes do not match the checksums they came with.
    pub fn aligned_to(&self, offset: u64) -> Result<Self, StoreError> {
        if offset % BLOCK_BYTES == self.offset % BLOCK_BYTES {
            return Ok(Self { offset, ..self.clone() });
        }
        let checksums = self.cut(offset, u64::MAX)?.iter().map(|piece| piece.checksum).collect();
        Ok(Self { bytes: self.bytes.clone(), offset, checksums })
    }

    /// Cuts the bytes as they fall into the blocks of a chunk when they begin at `offset`, and once more at
    /// `border`. Whole cuts keep the writer's checksum; others are computed, and proved against it.
    pub(super) fn cut(&self, offset: u64, border: u64) -> Result<Vec<Piece<'_>>, StoreError> {
        let mut cutter = Cutter { bytes: &self.bytes, offset, border, done: 0, pieces: Vec::new() };
        for (source, &expected) in checksum::pieces(self.offset, &self.bytes).zip(&*self.checksums) {
            cutter.take(source.len(), expected)?;
        }
        Ok(cutter.pieces)
    }
}

struct Cutter<'a> {
    bytes: &'a [u8],
    offset: u64,
    border: u64,
    done: usize,
    pieces: Vec<Piece<'a>>,
}

impl Cutter<'_> {
    /// Takes the next `length` bytes, whose checksum is known.
    fn take(&mut self, length: usize, expected: u32) -> Result<(), StoreError> {
        let (start, end) = (self.done, self.done + length);
        let mut proof = 0;
        while self.done < end {
            let at = self.offset + self.done as u64;
            let room = if at < self.border { self.border - at } else { u64::MAX };
            let room = room.min(BLOCK_BYTES - at % BLOCK_BYTES);
            let count = usize::try_from(room).unwrap_or(usize::MAX).min(end - self.done);
            let whole = count == length;
            let checksum = if whole { expected } else { crc32c(&self.bytes[self.done..][..count]) };
            proof = if whole { expected } else { combine(proof, checksum, count as u64) };
            self.put(at, count, checksum);
        }
        if proof == expected { Ok(()) } else { Err(StoreError::Payload { at: start }) }
    }

    /// Adds bytes to the piece of their block.
    fn put(&mut self, at: u64, count: usize, checksum: u32) {
        let starts = at.is_multiple_of(BLOCK_BYTES) || at == self.border;
        let from = self.done;
        self.done += count;
        match self.pieces.last_mut() {
            Some(last) if !starts => {
                last.checksum = combine(last.checksum, checksum, count as u64);
                last.bytes = &self.bytes[from - last.bytes.len()..self.done];
            }
            _ => self.pieces.push(Piece { at, bytes: &self.bytes[from..self.done], checksum }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: usize) -> Bytes {
        (0..length).map(|i| u8::try_from(i % 251).expect("below 251")).collect()
    }

    #[test]
    fn pieces_carry_the_checksums_of_their_bytes_wherever_they_land() {
        for (from, to, border, length) in [
            (0, 0, u64::MAX, 200_000),
            (0, 5, u64::MAX, 200_000),
            (70_000, 3, 100_000, 150_000),
            (0, 65_535, 65_540, 65_536),
            (0, 65_536, 65_536, 10),
            (9, 9, 30, 100),
        ] {
            let payload = Payload::compute(bytes(length), from);
            let pieces = payload.cut(to, border).unwrap();
            let mut at = to;
            for piece in &pieces {
                assert_eq!(piece.at, at);
                assert_eq!(piece.checksum, crc32c(piece.bytes));
                at += piece.bytes.len() as u64;
                assert!(at.is_multiple_of(BLOCK_BYTES) || at == border || at == to + length as u64);
            }
            assert_eq!(at, to + length as u64);
            let aligned = payload.aligned_to(to).unwrap();
            assert_eq!(aligned.checksums(), checksum::blocks(to, aligned.bytes()));
        }
    }

    #[test]
    fn a_new_cut_is_proved_against_the_writers_checksums() {
        let good = Payload::compute(bytes(70_000), 0);
        let mut changed = good.bytes().to_vec();
        changed[100] ^= 1;
        let bad = Payload::new(changed.into(), 0, good.checksums().to_vec()).unwrap();
        assert!(matches!(bad.cut(1, u64::MAX), Err(StoreError::Payload { at: 0 })));
    }

    #[test]
    fn the_number_of_checksums_must_fit() {
        assert!(Payload::new(bytes(65_536), 0, vec![1]).is_ok());
        assert!(Payload::new(bytes(65_537), 0, vec![1]).is_err());
        assert!(Payload::new(bytes(65_536), 1, vec![1]).is_err());
        assert!(Payload::new(Bytes::new(), 7, vec![]).is_ok());
    }
}
