//! The ring of the newest ends: (sequence, length, checksum of the last block), one record a mutation.
//!
//! A mutation at the end writes its bytes, then the checksums of the blocks it made whole, then its record. Until the
//! record is there the one before it holds: its bytes were not touched, and the checksum of its last block stands in
//! the record itself.

use gfs_durable::fs::File;
use gfs_protocol::checksum::crc32c;
use gfs_types::ids::ChunkHandle;

use super::layout::{END_BYTES, ENDS, ENDS_AT, End, Fields};

const MAGIC: &[u8; 4] = b"GFSE";
const BYTES: usize = 36;

/// Where the record goes, and its bytes.
pub(super) fn record(handle: ChunkHandle, end: End) -> (u64, [u8; BYTES]) {
    let mut bytes = [0; BYTES];
    let mut fields = Fields(&mut bytes[..]);
    fields.put(0, MAGIC);
    fields.put(8, &handle.0.to_le_bytes());
    fields.put(16, &end.seq.to_le_bytes());
    fields.put(24, &end.length.to_le_bytes());
    fields.put(32, &end.tail.to_le_bytes());
    let checksum = crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    (ENDS_AT + end.seq % ENDS * END_BYTES, bytes)
}

/// All valid records, in no order.
pub(super) fn read(file: &dyn File, handle: ChunkHandle) -> std::io::Result<Vec<End>> {
    let mut bytes = [0; 4096];
    file.read_exact_at(&mut bytes, ENDS_AT)?;
    let size = usize::try_from(END_BYTES).expect("64 fits");
    Ok(bytes.chunks(size).filter_map(|bytes| decode(handle, &bytes[..BYTES])).collect())
}

fn decode(handle: ChunkHandle, bytes: &[u8]) -> Option<End> {
    let fields = Fields(bytes);
    let valid =
        &bytes[..4] == MAGIC && fields.u32(4) == crc32c(&bytes[8..]) && fields.u64(8) == handle.0;
    valid.then(|| End { seq: fields.u64(16), length: fields.u64(24), tail: fields.u32(32) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_every_flipped_bit_is_seen() {
        let end = End { seq: 70, length: 9, tail: 3 };
        let (at, bytes) = record(ChunkHandle(1), end);
        assert_eq!(at, ENDS_AT + 6 * END_BYTES);
        assert_eq!(decode(ChunkHandle(1), &bytes), Some(end));
        assert_eq!(decode(ChunkHandle(2), &bytes), None);
        for bit in 0..BYTES * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(ChunkHandle(1), &bytes), None, "bit {bit}");
        }
    }
}
