//! Where things stand in a chunk's file. The contract is docs/formats/chunk-file.md.
//!
//! | from | bytes | what |
//! |---|---|---|
//! | 0 | 4 KiB | header slot A |
//! | 4 KiB | 4 KiB | header slot B |
//! | 8 KiB | 4 KiB | 64 records of the newest ends |
//! | 32 KiB | 32 KiB | checksums of whole blocks, 4 bytes each |
//! | 64 KiB | 1 MiB + 64 KiB | redo area 0 |
//! | 1 MiB + 128 KiB | 1 MiB + 64 KiB | redo area 1 |
//! | 2 MiB + 192 KiB | | the chunk's bytes, to the end of the file |

use gfs_types::limits::{BLOCK_BYTES, CHUNK_BYTES_MAX};

pub(super) const FORMAT: u16 = 1;

/// One header slot; there are two, from the start of the file.
pub(super) const SLOT_BYTES: usize = 4096;
/// The second copy of a header within its slot: in another sector.
pub(super) const COPY_AT: usize = 2048;
pub(super) const ENDS_AT: u64 = 8 << 10;
pub(super) const END_BYTES: u64 = 64;
pub(super) const ENDS: u64 = 64;
pub(super) const TABLE_AT: u64 = 32 << 10;
pub(super) const REDO_AT: u64 = 64 << 10;
pub(super) const REDO_HEAD_BYTES: usize = 4096;
/// Bytes of one overwrite: more are cut into several.
pub(super) const REDO_DATA_MAX: u64 = 1 << 20;
const REDO_BYTES: u64 = (64 << 10) + REDO_DATA_MAX;
/// The chunk's first byte: at a block border, so that reads can be sent from the file as they are.
pub(super) const DATA_AT: u64 = REDO_AT + 2 * REDO_BYTES;

const _: () = assert!(DATA_AT.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(TABLE_AT + 4 * (CHUNK_BYTES_MAX / BLOCK_BYTES) <= REDO_AT);
const _: () = assert!(ENDS_AT + ENDS * END_BYTES <= TABLE_AT);

/// Where redo area 0 or 1 begins.
pub(super) const fn redo_at(area: u64) -> u64 {
    REDO_AT + area * REDO_BYTES
}

/// Where the entry of a block stands.
pub(super) const fn entry_at(block: u64) -> u64 {
    TABLE_AT + 4 * block
}

/// How far a replica has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct End {
    /// Counts the mutations of this file: of two ends the one with the higher number is later.
    pub seq: u64,
    /// Bytes of the chunk.
    pub length: u64,
    /// CRC-32C of the bytes of the last block if that is not whole; 0 (that of no bytes) if it is.
    pub tail: u32,
}

/// Fixed-place little-endian fields.
pub(super) struct Fields<B>(pub B);

impl Fields<&mut [u8]> {
    pub(super) fn put(&mut self, at: usize, field: &[u8]) {
        self.0[at..at + field.len()].copy_from_slice(field);
    }
}

impl Fields<&[u8]> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|index| self.0[at + index])
    }
    pub(super) fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }
    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }
    pub(super) fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }
    pub(super) fn u128(&self, at: usize) -> u128 {
        u128::from_le_bytes(self.array(at))
    }
}
