//! Payloads as they arrive: each block is checked while it is hot, and passed on only when it is good.

use std::io::{self, Read};

use gfs_protocol::checksum::{crc32c, pieces};

/// Bytes that are passed on at once: a few blocks, so that they are still in cache.
const PIECE_BYTES: usize = 256 << 10;

/// A block that is not what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadBlock {
    /// Which of the frame.
    pub block: usize,
    pub expected: u32,
    pub found: u32,
}

/// Fills `buffer`, whose first byte belongs at `offset` of a chunk, and hands good pieces to `pass_on` as they come.
/// After a bad block the rest is still read, so that the next frame is found, but nothing more is passed on.
pub(super) fn receive(
    reader: &mut impl Read,
    buffer: &mut [u8],
    offset: u64,
    checksums: &[u32],
    mut pass_on: impl FnMut(&[u8]),
) -> io::Result<Result<(), BadBlock>> {
    let lengths: Vec<usize> = pieces(offset, buffer).map(<[u8]>::len).collect();
    let mut start = 0;
    let mut block = 0;
    while start < buffer.len() {
        let mut end = start;
        let first = block;
        while block < lengths.len() && end - start < PIECE_BYTES {
            end += lengths[block];
            block += 1;
        }
        reader.read_exact(&mut buffer[start..end])?;
        if let Some(bad) = check(&buffer[start..end], first, &lengths[first..block], checksums) {
            reader.read_exact(&mut buffer[end..])?;
            return Ok(Err(bad));
        }
        pass_on(&buffer[start..end]);
        start = end;
    }
    Ok(Ok(()))
}

fn check(mut bytes: &[u8], first: usize, lengths: &[usize], checksums: &[u32]) -> Option<BadBlock> {
    for (index, length) in lengths.iter().enumerate() {
        let (block, rest) = bytes.split_at(*length);
        let found = crc32c(block);
        let expected = checksums.get(first + index).copied();
        if expected != Some(found) {
            let expected = expected.unwrap_or_default();
            return Some(BadBlock { block: first + index, expected, found });
        }
        bytes = rest;
    }
    None
}

/// Reads a payload away.
pub(super) fn skip(reader: &mut impl Read, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut reader.take(length), &mut io::sink())?;
    if skipped == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfs_protocol::checksum::blocks;

    #[test]
    fn good_pieces_are_passed_on_and_nothing_from_a_bad_block_on() {
        let bytes: Vec<u8> = (0..700_000u32).map(|i| i.to_le_bytes()[1]).collect();
        for offset in [0, 1, 65_535] {
            let sums = blocks(offset, &bytes);
            let mut passed = Vec::new();
            let mut buffer = vec![0; bytes.len()];
            let good = receive(&mut &bytes[..], &mut buffer, offset, &sums, |piece| {
                passed.extend_from_slice(piece);
            });
            assert_eq!(good.unwrap(), Ok(()));
            assert!(passed == bytes && buffer == bytes);

            let mut flipped = bytes.clone();
            flipped[400_000] ^= 1;
            let mut passed = 0;
            let mut reader = &flipped[..];
            let bad =
                receive(&mut reader, &mut buffer, offset, &sums, |piece| passed += piece.len());
            let bad = bad.unwrap().unwrap_err();
            assert_eq!(bad.block as u64, (400_000 + offset) / 65_536);
            assert!(passed <= 400_000 && reader.is_empty());
        }
    }

    #[test]
    fn a_payload_that_is_cut_short_is_an_error() {
        let bytes = vec![1; 100_000];
        let sums = blocks(0, &bytes);
        let mut buffer = vec![0; bytes.len()];
        for cut in [0, 1, 65_536, 99_999] {
            let got = receive(&mut &bytes[..cut], &mut buffer, 0, &sums, |_| ());
            assert_eq!(got.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            assert!(skip(&mut &bytes[..cut], 100_000).is_err());
        }
    }
}
