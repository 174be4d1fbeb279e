//! Makes checksums right, so that a changed input gets behind them. Only what is whole is sealed; nothing else is changed.

use gfs_protocol::checksum::crc32c;

/// Puts the checksum of `bytes` but its own four at `at`, there.
pub(super) fn around(bytes: &mut [u8], at: usize) {
    if let Some((before, rest)) = bytes.split_at_mut_checked(at)
        && let Some((field, after)) = rest.split_first_chunk_mut::<4>()
    {
        *field = crc32c(&[&*before, &*after].concat()).to_le_bytes();
    }
}

/// Puts the checksum of `bytes[from..to]` at `at`.
pub(super) fn over(bytes: &mut [u8], from: usize, to: usize, at: usize) {
    let sum = bytes.get(from..to).map(crc32c);
    if let (Some(sum), Some(field)) = (sum, bytes.get_mut(at..at + 4)) {
        field.copy_from_slice(&sum.to_le_bytes());
    }
}

/// The little-endian word at `at`, if it is there.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

/// The pieces of an input that each say their length in two bytes first. The last one may be cut.
pub(super) fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// The input that has these pieces.
pub(super) fn joined<P: AsRef<[u8]>>(pieces: impl IntoIterator<Item = P>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        let length = u16::try_from(piece.as_ref().len()).expect("a piece of a sample is short");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(piece.as_ref());
    }
    bytes
}
