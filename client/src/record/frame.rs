//! One frame: header of 40 bytes, then the payload.
//!
//! | at | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic `GFSA` |
//! | 4 | 1 | format version, 1 |
//! | 5 | 1 | mask: every stored payload byte is the original XOR this |
//! | 6 | 2 | reserved, zero |
//! | 8 | 4 | bytes of payload, little-endian like all numbers |
//! | 12 | 4 | CRC-32C of the header with this field zero, and the payload as stored |
//! | 16 | 16 | writer id |
//! | 32 | 8 | sequence, from 1 |

use bytes::{BufMut, Bytes, BytesMut};
use gfs_protocol::checksum::{combine, crc32c};
use gfs_types::limits::record_bytes_max;
use gfs_types::region::ChunkSize;

use super::WriterId;

/// What a frame begins with.
pub const MAGIC: [u8; 4] = *b"GFSA";
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 40;
const VERSION: u8 = 1;

/// Bytes of the longest payload in a cluster with chunks of this size.
#[must_use]
pub const fn payload_bytes_max(chunk: ChunkSize) -> u64 {
    record_bytes_max(chunk.bytes()) - HEADER_BYTES as u64
}

/// What stands at the beginning of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// A whole frame.
    Frame {
        /// Who wrote it.
        writer: WriterId,
        /// Its number within its writer.
        seq: u64,
        /// As it was written.
        payload: Bytes,
        /// Bytes of the frame.
        bytes: usize,
    },
    /// It may become a frame of so many bytes with more bytes behind.
    Incomplete {
        /// Bytes needed at least.
        bytes: usize,
    },
    /// Never a frame, whatever follows.
    Nothing,
}

/// Appends the frame of a record to `out`.
///
/// # Panics
/// With a payload of 4 GiB or more; callers check against [`payload_bytes_max`], which is far below.
pub fn encode(out: &mut BytesMut, writer: WriterId, seq: u64, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a payload is at most a quarter of a chunk");
    let mask = mask_for(payload);
    let start = out.len();
    out.reserve(HEADER_BYTES + payload.len());
    out.put_slice(&MAGIC);
    out.put_slice(&[VERSION, mask, 0, 0]);
    out.put_u32_le(length);
    out.put_u32_le(0);
    out.put_u128_le(writer.0);
    out.put_u64_le(seq);
    out.put_slice(payload);
    if mask != 0 {
        out[start + HEADER_BYTES..].iter_mut().for_each(|byte| *byte ^= mask);
    }
    let checksum = crc32c(&out[start..]);
    out[start + 12..start + 16].copy_from_slice(&checksum.to_le_bytes());
}

/// A mask under which no magic stands in the payload. So a payload that holds whole frames cannot show them to a
/// reader who meets but a fragment of it. (A payload made on purpose to spoil all 256 masks keeps none.)
fn mask_for(payload: &[u8]) -> u8 {
    let mut spoiled = [false; 256];
    for window in payload.windows(MAGIC.len()) {
        let mask = window[0] ^ MAGIC[0];
        if window.iter().zip(MAGIC).all(|(byte, magic)| byte ^ mask == magic) {
            spoiled[usize::from(mask)] = true;
        }
    }
    (0..=u8::MAX).find(|mask| !spoiled[usize::from(*mask)]).unwrap_or(0)
}

/// Reads the frame that `bytes` begin with. Total: any bytes are fine.
#[must_use]
pub fn decode(bytes: &[u8]) -> Decoded {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        let known = MAGIC.len().min(bytes.len());
        return if bytes[..known] == MAGIC[..known] {
            Decoded::Incomplete { bytes: HEADER_BYTES }
        } else {
            Decoded::Nothing
        };
    };
    if header[..4] != MAGIC || header[4] != VERSION || header[6..8] != [0, 0] {
        return Decoded::Nothing;
    }
    let length = u32::from_le_bytes(array(header, 8)) as usize;
    let Some(stored) = rest.get(..length) else {
        return Decoded::Incomplete { bytes: HEADER_BYTES.saturating_add(length) };
    };
    let mut zeroed = *header;
    zeroed[12..16].fill(0);
    let checksum = combine(crc32c(&zeroed), crc32c(stored), length as u64);
    let (writer, seq) =
        (u128::from_le_bytes(array(header, 16)), u64::from_le_bytes(array(header, 32)));
    if checksum != u32::from_le_bytes(array(header, 12)) || seq == 0 {
        return Decoded::Nothing;
    }
    let mask = header[5];
    let payload = match mask {
        0 => Bytes::copy_from_slice(stored),
        _ => stored.iter().map(|byte| byte ^ mask).collect::<Vec<u8>>().into(),
    };
    Decoded::Frame { writer: WriterId(writer), seq, payload, bytes: HEADER_BYTES + length }
}

fn array<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|i| header[at + i])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(payload: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        encode(&mut out, WriterId(7), 9, payload);
        out
    }

    fn whole(payload: &[u8]) -> Decoded {
        let payload = Bytes::copy_from_slice(payload);
        let bytes = HEADER_BYTES + payload.len();
        Decoded::Frame { writer: WriterId(7), seq: 9, payload, bytes }
    }

    #[test]
    fn the_layout_is_frozen() {
        let frame = framed(b"hello");
        let expected = "4746534101000000050000001f8b2ff00700000000000000000000000000000009000000\
                        0000000068656c6c6f";
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected.replace(char::is_whitespace, ""));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let frame = framed(b"some payload");
        for bit in 0..frame.len() * 8 {
            let mut bad = frame.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(decode(&bad), Decoded::Frame { .. }), "bit {bit}");
        }
    }

    #[test]
    fn a_cut_frame_says_how_much_is_missing() {
        let frame = framed(b"some payload");
        for cut in 0..frame.len() {
            let wanted = if cut < HEADER_BYTES { HEADER_BYTES } else { frame.len() };
            assert_eq!(decode(&frame[..cut]), Decoded::Incomplete { bytes: wanted });
        }
    }

    #[test]
    fn a_payload_never_shows_a_magic() {
        let inner = framed(b"inner");
        let frame = framed(&inner);
        assert_eq!(decode(&frame), whole(&inner));
        assert!(!frame[1..].windows(4).any(|window| window == MAGIC));
    }

    #[test]
    fn the_longest_record_is_a_quarter_of_a_chunk() {
        let chunk = ChunkSize::new(128 << 10).unwrap();
        assert_eq!(payload_bytes_max(chunk) + HEADER_BYTES as u64, 32 << 10);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(decode(&framed(&payload)), whole(&payload));
        }

        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let found = decode(&bytes);
            let is_frame = matches!(found, Decoded::Frame { .. });
            prop_assert!(!is_frame);
        }
    }
}
