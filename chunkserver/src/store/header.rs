//! The header of a chunk's file: two slots in turn, each with two copies.
//!
//! A crash can spoil at most the slot that is being written, and of that only one copy, whatever part of the write
//! reached the disk: a slot without a valid copy is damage, never the trace of a crash. So an older header is never
//! taken for the newest one.

use gfs_durable::fs::File;
use gfs_protocol::checksum::crc32c;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ClusterUid};

use super::layout::{COPY_AT, End, FORMAT, Fields, SLOT_BYTES};

const MAGIC: &[u8; 4] = b"GFSC";
const BYTES: usize = 128;

const CLEAN: u16 = 1;
const OVERWRITTEN: u16 = 2;
const SUSPECT: u16 = 4;
const CORRUPT: u16 = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Counts the headers of this file.
    pub sequence: u64,
    pub cluster: ClusterUid,
    pub handle: ChunkHandle,
    pub chunk_bytes: u64,
    pub version: ChunkVersion,
    pub clean: bool,
    pub overwritten: bool,
    pub suspect: bool,
    /// A block was found that does not match its checksum.
    pub corrupt: bool,
    /// The kernel's run in which the replica became unclean.
    pub boot: u128,
    /// Committed length as of the last flush.
    pub committed: u64,
    /// An end that was durable before this header was written.
    pub base: End,
    /// The end that became durable together with this header, if its sync came to its end.
    pub next: End,
}

/// Why there is no header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("not a chunk file, or its head is damaged: header slot {slot} has no valid copy")]
    Damaged { slot: usize },
    #[error(
        "chunk file of format {found}; this server knows format {FORMAT}: it was written by a newer one"
    )]
    Format { found: u16 },
    #[error("cannot read the head of the chunk file: {0}")]
    Read(String),
}

impl Header {
    /// From now on it may change, in this run of the kernel.
    pub(super) fn unclean(&mut self, boot: u128) {
        if self.clean {
            self.clean = false;
            self.boot = boot;
        }
    }

    fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let mut fields = Fields(&mut bytes[..]);
        let flag = |on: bool, bit: u16| if on { bit } else { 0 };
        let flags = flag(self.clean, CLEAN)
            | flag(self.overwritten, OVERWRITTEN)
            | flag(self.suspect, SUSPECT)
            | flag(self.corrupt, CORRUPT);
        fields.put(0, MAGIC);
        fields.put(4, &FORMAT.to_le_bytes());
        fields.put(6, &flags.to_le_bytes());
        fields.put(8, &self.sequence.to_le_bytes());
        fields.put(16, &self.cluster.0.to_le_bytes());
        fields.put(32, &self.handle.0.to_le_bytes());
        fields.put(40, &self.chunk_bytes.to_le_bytes());
        fields.put(48, &self.version.0.to_le_bytes());
        fields.put(56, &self.committed.to_le_bytes());
        fields.put(64, &self.boot.to_le_bytes());
        fields.put(80, &self.base.seq.to_le_bytes());
        fields.put(88, &self.base.length.to_le_bytes());
        fields.put(96, &self.next.seq.to_le_bytes());
        fields.put(104, &self.next.length.to_le_bytes());
        fields.put(112, &self.base.tail.to_le_bytes());
        fields.put(116, &self.next.tail.to_le_bytes());
        let checksum = crc32c(&bytes[..BYTES - 4]);
        bytes[BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// `Ok(None)`: not a valid copy.
    fn decode(bytes: &[u8]) -> Result<Option<Self>, HeaderError> {
        let fields = Fields(&bytes[..BYTES]);
        if &bytes[..4] != MAGIC || crc32c(&bytes[..BYTES - 4]) != fields.u32(BYTES - 4) {
            return Ok(None);
        }
        if fields.u16(4) != FORMAT {
            return Err(HeaderError::Format { found: fields.u16(4) });
        }
        let flags = fields.u16(6);
        let end = |at: usize, tail: usize| End {
            seq: fields.u64(at),
            length: fields.u64(at + 8),
            tail: fields.u32(tail),
        };
        Ok(Some(Self {
            sequence: fields.u64(8),
            cluster: ClusterUid(fields.u128(16)),
            handle: ChunkHandle(fields.u64(32)),
            chunk_bytes: fields.u64(40),
            version: ChunkVersion(fields.u64(48)),
            clean: flags & CLEAN != 0,
            overwritten: flags & OVERWRITTEN != 0,
            suspect: flags & SUSPECT != 0,
            corrupt: flags & CORRUPT != 0,
            boot: fields.u128(64),
            committed: fields.u64(56),
            base: end(80, 112),
            next: end(96, 116),
        }))
    }

    /// The slot this header goes to, and its bytes.
    pub(super) fn slot(&self) -> (u64, Vec<u8>) {
        let mut bytes = vec![0; SLOT_BYTES];
        let copy = self.encode();
        bytes[..BYTES].copy_from_slice(&copy);
        bytes[COPY_AT..COPY_AT + BYTES].copy_from_slice(&copy);
        (self.sequence % 2 * SLOT_BYTES as u64, bytes)
    }

    /// The newest header of a file.
    pub(super) fn read(file: &dyn File) -> Result<Self, HeaderError> {
        let mut bytes = vec![0; 2 * SLOT_BYTES];
        file.read_exact_at(&mut bytes, 0).map_err(|error| HeaderError::Read(error.to_string()))?;
        let mut newest: Option<Self> = None;
        for (slot, bytes) in bytes.chunks(SLOT_BYTES).enumerate() {
            let copies = [Self::decode(bytes)?, Self::decode(&bytes[COPY_AT..])?];
            let best = copies.into_iter().flatten().max_by_key(|header| header.sequence);
            let best = best.ok_or(HeaderError::Damaged { slot })?;
            if newest.as_ref().is_none_or(|newest| newest.sequence < best.sequence) {
                newest = Some(best);
            }
        }
        newest.ok_or(HeaderError::Damaged { slot: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let end = |seq| End { seq, length: 10 * seq, tail: 7 };
        Header {
            sequence: 5,
            cluster: ClusterUid(1 << 100),
            handle: ChunkHandle(2),
            chunk_bytes: 64 << 20,
            version: ChunkVersion(4),
            clean: true,
            overwritten: false,
            suspect: true,
            corrupt: true,
            boot: 9,
            committed: 20,
            base: end(3),
            next: end(4),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Header::decode(&header().encode()), Ok(Some(header())));
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        for bit in 0..BYTES * 8 {
            let mut bytes = header().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bytes), Ok(None), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut bytes = header().encode();
        bytes[4] = 2;
        let checksum = crc32c(&bytes[..BYTES - 4]);
        bytes[BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
        let error = Header::decode(&bytes).unwrap_err();
        assert!(error.to_string().contains("format 2"), "{error}");
    }
}
