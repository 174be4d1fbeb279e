//! Redo records: an overwrite is written here, whole, before the first byte is changed in place.

use std::io::{self, IoSlice};

use gfs_durable::fs::File;
use gfs_protocol::checksum::crc32c;
use gfs_types::ids::ChunkHandle;
use gfs_types::limits::BLOCK_BYTES;
use gfs_types::region::blocks_of;

use super::layout::{End, Fields, REDO_DATA_MAX, REDO_HEAD_BYTES, redo_at};
use super::payload::Payload;

const MAGIC: &[u8; 4] = b"GFSR";
const SUMS_AT: usize = 64;
const SUMS_MAX: u64 = REDO_DATA_MAX / BLOCK_BYTES + 1;

/// An overwrite, less its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redo {
    /// The replica's end with it; `seq` is its own.
    pub end: End,
    /// Where in the chunk.
    pub offset: u64,
    pub length: u64,
    /// CRC-32C of its bytes.
    pub checksum: u32,
    /// Those of the blocks it touches, as they are with it. Of a last block that is not whole: 0, see `end.tail`.
    pub sums: Vec<u32>,
}

impl Redo {
    fn head(&self, handle: ChunkHandle) -> Vec<u8> {
        let mut bytes = vec![0; REDO_HEAD_BYTES];
        let mut fields = Fields(&mut bytes[..]);
        fields.put(0, MAGIC);
        fields.put(8, &handle.0.to_le_bytes());
        fields.put(16, &self.end.seq.to_le_bytes());
        fields.put(24, &self.end.length.to_le_bytes());
        fields.put(32, &self.offset.to_le_bytes());
        fields.put(40, &self.length.to_le_bytes());
        fields.put(48, &self.end.tail.to_le_bytes());
        fields.put(52, &self.checksum.to_le_bytes());
        for (index, sum) in self.sums.iter().enumerate() {
            fields.put(SUMS_AT + 4 * index, &sum.to_le_bytes());
        }
        let checksum = crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(handle: ChunkHandle, bytes: &[u8]) -> Option<Self> {
        let fields = Fields(bytes);
        let valid = &bytes[..4] == MAGIC
            && fields.u32(4) == crc32c(&bytes[8..])
            && fields.u64(8) == handle.0;
        let (offset, length) = (fields.u64(32), fields.u64(40));
        if !valid || length > REDO_DATA_MAX {
            return None;
        }
        let blocks = blocks_of(offset, length);
        let count = usize::try_from((blocks.end - blocks.start).min(SUMS_MAX)).ok()?;
        Some(Self {
            end: End { seq: fields.u64(16), length: fields.u64(24), tail: fields.u32(48) },
            offset,
            length,
            checksum: fields.u32(52),
            sums: (0..count).map(|index| fields.u32(SUMS_AT + 4 * index)).collect(),
        })
    }

    /// Writes the record into an area; nothing is synced.
    pub(super) fn write(
        &self,
        file: &dyn File,
        handle: ChunkHandle,
        area: u64,
        data: &Payload,
    ) -> io::Result<()> {
        let head = self.head(handle);
        let mut buffers = vec![IoSlice::new(&head)];
        buffers.extend(data.parts().iter().map(|part| IoSlice::new(part.bytes())));
        file.write_all_vectored_at(&buffers, redo_at(area))
    }

    /// The record in an area with its bytes, if it is whole.
    pub(super) fn read(
        file: &dyn File,
        handle: ChunkHandle,
        area: u64,
    ) -> io::Result<Option<(Self, Vec<u8>)>> {
        let mut head = vec![0; REDO_HEAD_BYTES];
        file.read_exact_at(&mut head, redo_at(area))?;
        let Some(redo) = Self::decode(handle, &head) else { return Ok(None) };
        let mut data = vec![0; usize::try_from(redo.length).map_err(io::Error::other)?];
        file.read_exact_at(&mut data, redo_at(area) + REDO_HEAD_BYTES as u64)?;
        Ok((crc32c(&data) == redo.checksum).then_some((redo, data)))
    }

    /// Blocks it touches that are whole, with their checksums.
    pub(super) fn whole_blocks(&self) -> impl Iterator<Item = (u64, u32)> {
        let whole = self.end.length / BLOCK_BYTES;
        let blocks = blocks_of(self.offset, self.length);
        blocks.zip(self.sums.iter().copied()).filter(move |(block, _)| *block < whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_back_and_damage_is_seen() {
        let redo = Redo {
            end: End { seq: 3, length: 200_000, tail: 4 },
            offset: 65_000,
            length: 100_000,
            checksum: 1,
            sums: vec![5, 6, 7],
        };
        let head = redo.head(ChunkHandle(1));
        assert_eq!(Redo::decode(ChunkHandle(1), &head), Some(redo.clone()));
        assert_eq!(Redo::decode(ChunkHandle(2), &head), None);
        assert_eq!(redo.whole_blocks().collect::<Vec<_>>(), [(0, 5), (1, 6), (2, 7)]);
        for byte in 0..REDO_HEAD_BYTES {
            let mut head = head.clone();
            head[byte] ^= 0x10;
            assert_eq!(Redo::decode(ChunkHandle(1), &head), None, "byte {byte}");
        }
    }
}
