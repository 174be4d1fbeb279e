//! One place of the table of nodes in 20 bytes. What does not fit stands in side tables: it is rare.

use gfs_types::ids::ChunkHandle;
use gfs_types::message::client::Attributes;
use gfs_types::time::WallTime;

use super::node::{ChunkList, FileNode};

/// No block: the node stands in no directory (the root, and what is not linked yet).
pub(super) const NO_BLOCK: u32 = u32::MAX;
/// This generation and those above stand in a table beside.
pub(super) const GENERATION_BESIDE: u32 = 0xff;

/// What a place is used for, the block of names that lists it, and 128 bits whose meaning depends on the use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed {
    pub(super) block: u32,
    /// As bytes, since a word of this width would make 32 bytes of 20.
    bits: [u8; 16],
}

/// What a place is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Free; the generation is that of the next node.
    Free,
    /// Free for ever: its generations ran out. Also place 0, so that no id is 0.
    Retired,
    /// A directory, at this place of their table.
    Directory(u32),
    /// A file that fits.
    File,
    /// A file that stands in the table of those that do not fit.
    WideFile,
}

/// A field: its first bit and how many it has.
type Field = (u32, u32);

const USE: Field = (0, 3);
const GENERATION: Field = (3, 8);
const SLOT: Field = (11, 32);
const EXECUTABLE: Field = (11, 1);
const REPLICATION: Field = (12, 3);
/// Milliseconds until the year 2248.
const MODIFIED: Field = (15, 43);
/// Bytes of one chunk of any size and more.
const LENGTH: Field = (58, 30);
/// The handle of the only chunk, at index 0; 0 for none. A trillion of them.
const HANDLE: Field = (88, 40);

impl Packed {
    pub(super) fn new(r#use: Use, generation: u32) -> Self {
        let (tag, slot) = match r#use {
            Use::Free => (0, 0),
            Use::Retired => (1, 0),
            Use::Directory(slot) => (2, slot),
            Use::File => (3, 0),
            Use::WideFile => (4, 0),
        };
        let mut packed = Self { block: NO_BLOCK, bits: [0; 16] };
        packed.set(USE, tag);
        packed.set(GENERATION, u64::from(generation.min(GENERATION_BESIDE)));
        if slot > 0 {
            packed.set(SLOT, u64::from(slot));
        }
        packed
    }

    pub(super) fn r#use(self) -> Use {
        match self.field(USE) {
            0 => Use::Free,
            1 => Use::Retired,
            2 => Use::Directory(self.small(SLOT)),
            3 => Use::File,
            _ => Use::WideFile,
        }
    }

    /// At most [`GENERATION_BESIDE`].
    pub(super) fn generation(self) -> u32 {
        self.small(GENERATION)
    }

    /// Puts what a file is, with its only chunk, at index 0, or none; if it fits.
    pub(super) fn set_file(&mut self, file: &FileNode, handle: Option<ChunkHandle>) -> bool {
        if handle == Some(ChunkHandle(0)) {
            return false;
        }
        let handle = handle.map_or(0, |handle| handle.0);
        let parts = [
            (EXECUTABLE, u64::from(file.attributes.executable)),
            (REPLICATION, u64::from(file.replication)),
            (MODIFIED, file.attributes.modified.ms),
            (LENGTH, file.length),
            (HANDLE, handle),
        ];
        if parts.iter().any(|((_, bits), value)| value >> bits != 0) {
            return false;
        }
        parts.into_iter().for_each(|(field, value)| self.set(field, value));
        true
    }

    /// What a file is that fits.
    pub(super) fn length(self) -> u64 {
        self.field(LENGTH)
    }

    #[allow(clippy::cast_possible_truncation, reason = "it has three bits")]
    pub(super) fn replication(self) -> u8 {
        self.field(REPLICATION) as u8
    }

    pub(super) fn attributes(self) -> Attributes {
        let modified = WallTime { ms: self.field(MODIFIED) };
        Attributes { modified, executable: self.field(EXECUTABLE) == 1 }
    }

    pub(super) fn chunk(self) -> Option<ChunkHandle> {
        Some(ChunkHandle(self.field(HANDLE))).filter(|handle| handle.0 > 0)
    }

    pub(super) fn to_file(self) -> FileNode {
        FileNode {
            length: self.length(),
            attributes: self.attributes(),
            replication: self.replication(),
            chunks: ChunkList::only(self.chunk()),
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "no field has more than 43 bits")]
    fn field(self, (first, bits): Field) -> u64 {
        (u128::from_le_bytes(self.bits) >> first) as u64 & ((1 << bits) - 1)
    }

    #[allow(clippy::cast_possible_truncation, reason = "asked for fields of at most 32 bits")]
    fn small(self, field: Field) -> u32 {
        self.field(field) as u32
    }

    fn set(&mut self, (first, bits): Field, value: u64) {
        let mask = ((1_u128 << bits) - 1) << first;
        let all = u128::from_le_bytes(self.bits) & !mask | u128::from(value) << first & mask;
        self.bits = all.to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(length: u64, ms: u64, handle: u64) -> FileNode {
        let attributes = Attributes { modified: WallTime { ms }, executable: true };
        let chunks = ChunkList::only(Some(ChunkHandle(handle)).filter(|handle| handle.0 > 0));
        FileNode { length, attributes, replication: 7, chunks }
    }

    fn fits(packed: &mut Packed, file: &FileNode) -> bool {
        packed.set_file(file, file.chunks.last().map(|(_, handle)| handle))
    }

    #[test]
    fn a_place_takes_20_bytes() {
        assert_eq!(size_of::<Packed>(), 20);
    }

    #[test]
    fn each_field_holds_its_highest_value_and_no_more() {
        let (length, ms, handle) = ((1 << 30) - 1, (1 << 43) - 1, (1 << 40) - 1);
        for small in
            [file(length, 0, 0), file(0, ms, 0), file(0, 0, handle), file(length, ms, handle)]
        {
            let mut packed = Packed::new(Use::File, 3);
            assert!(fits(&mut packed, &small));
            assert_eq!(packed.to_file(), small);
            assert_eq!((packed.r#use(), packed.generation()), (Use::File, 3));
        }
        for wide in [file(length + 1, 0, 0), file(0, ms + 1, 0), file(0, 0, handle + 1)] {
            assert!(!fits(&mut Packed::new(Use::File, 0), &wide));
        }
    }

    #[test]
    fn uses_come_back() {
        for r#use in [Use::Free, Use::Retired, Use::Directory(u32::MAX), Use::File, Use::WideFile] {
            for generation in [0, 254, 255, 256, u32::MAX] {
                let packed = Packed::new(r#use, generation);
                assert_eq!(packed.r#use(), r#use);
                assert_eq!(packed.generation(), generation.min(GENERATION_BESIDE));
            }
        }
    }
}
