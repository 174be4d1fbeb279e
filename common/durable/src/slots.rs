//! A small value that is changed in place and never goes back: promised epoch, session counter.
//!
//! The file has two slots, each a sector with a sequence number and a checksum. A write changes and
//! syncs the first, then the second. So a power loss at any moment leaves one that verifies and is
//! not older than the last finished write; and when one rots between two starts the other, equal,
//! repairs it, where alternating slots would silently go back by one value. Layout:
//! `docs/formats/atomic.md`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::atomic;
use crate::crc::crc32c;
use crate::fs::{File, Fs, Open};

/// Bytes of a value: with its head it fills one sector.
pub const VALUE_BYTES_MAX: usize = SLOT_BYTES - HEAD_BYTES;

const MAGIC: [u8; 4] = *b"GFSS";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 32;
const SLOT_BYTES: usize = 512;
/// Apart by a page, so that no disk tears both with one physical sector.
const OFFSETS: [u64; 2] = [0, 4096];
const FILE_BYTES: usize = 4096 + SLOT_BYTES;

/// A file with two copies of a small value.
#[derive(Debug)]
pub struct Slots {
    file: Arc<dyn File>,
    path: PathBuf,
    slot: Slot,
    poisoned: bool,
}

/// Why a slot file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SlotsError {
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Neither copy verifies, or they contradict each other.
    #[error(
        "{}: both copies are damaged; the disk is not to be trusted, replace it and format again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Written by a newer program.
    #[error("{}: slot version {found} is newer than {VERSION}; run the newer program", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
    /// A value longer than a slot.
    #[error("a value of {bytes} bytes does not fit a slot of {VALUE_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// An earlier write failed, and what is on the disk is unknown.
    #[error("{}: an earlier write failed; the process must end and start anew", path.display())]
    Poisoned {
        /// The file.
        path: PathBuf,
    },
}

/// One copy, as decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    sequence: u64,
    value: Vec<u8>,
}

impl Slots {
    /// Makes the file with a first value, durable; replaces one that is there.
    pub fn create(fs: &dyn Fs, path: &Path, value: &[u8]) -> Result<Self, SlotsError> {
        let slot = Slot::new(1, value)?;
        let mut bytes = vec![0; FILE_BYTES];
        bytes[..SLOT_BYTES].copy_from_slice(&slot.encode());
        bytes[FILE_BYTES - SLOT_BYTES..].copy_from_slice(&slot.encode());
        atomic::replace(fs, path, &bytes)?;
        let file = fs.open(path, Open::Write)?;
        Ok(Self { file, path: path.to_owned(), slot, poisoned: false })
    }

    /// Opens the file, and repairs one of its two copies from the other if need be. The value is
    /// durable when this returns.
    pub fn open(fs: &dyn Fs, path: &Path) -> Result<Self, SlotsError> {
        let file = fs.open(path, Open::Write)?;
        let (slot, stale) = recover(&read_slots(&*file)?, path)?;
        let slots = Self { file, path: path.to_owned(), slot, poisoned: false };
        // The process before this one may have died between write and sync, or by a sync that failed: then what is read here is in the
        // kernel's memory only, and no later sync would bring it to the disk. The copy that is not the newest goes first: one is
        // always whole.
        let order = if stale == Some(OFFSETS[0]) { OFFSETS } else { [OFFSETS[1], OFFSETS[0]] };
        for offset in order {
            slots.put(offset)?;
        }
        Ok(slots)
    }

    /// The value as it was last written.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.slot.value
    }

    /// Changes the value, durable when this returns. After an error every further write is refused:
    /// nobody knows which value the disk has.
    pub fn write(&mut self, value: &[u8]) -> Result<(), SlotsError> {
        if self.poisoned {
            return Err(SlotsError::Poisoned { path: self.path.clone() });
        }
        self.slot = Slot::new(self.slot.sequence + 1, value)?;
        self.poisoned = true;
        for offset in OFFSETS {
            self.put(offset)?;
        }
        self.poisoned = false;
        Ok(())
    }

    fn put(&self, offset: u64) -> io::Result<()> {
        self.file.write_all_at(&self.slot.encode(), offset)?;
        self.file.sync_data()
    }
}

/// The value that a slot file with these bytes holds; total, for any bytes.
pub fn decode(bytes: &[u8], path: &Path) -> Result<Vec<u8>, SlotsError> {
    let mut slots = [[0; SLOT_BYTES]; 2];
    for (slot, offset) in slots.iter_mut().zip([0, FILE_BYTES - SLOT_BYTES]) {
        let found = bytes.get(offset..).unwrap_or_default();
        slot.iter_mut().zip(found).for_each(|(byte, found)| *byte = *found);
    }
    Ok(recover(&slots, path)?.0.value)
}

/// Both slots. What the file is too short for reads as zeros; the checksum says whether it was.
fn read_slots(file: &dyn File) -> io::Result<[[u8; SLOT_BYTES]; 2]> {
    let mut slots = [[0; SLOT_BYTES]; 2];
    for (slot, offset) in slots.iter_mut().zip(OFFSETS) {
        match file.read_exact_at(slot, offset) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            _ => {}
        }
    }
    Ok(slots)
}

/// The newest copy that verifies, and the offset of the other one if it must be written again.
fn recover(slots: &[[u8; SLOT_BYTES]; 2], path: &Path) -> Result<(Slot, Option<u64>), SlotsError> {
    let damaged = || SlotsError::Damaged { path: path.to_owned() };
    match (Slot::decode(&slots[0], path)?, Slot::decode(&slots[1], path)?) {
        (None, None) => Err(damaged()),
        (Some(first), None) => Ok((first, Some(OFFSETS[1]))),
        (None, Some(second)) => Ok((second, Some(OFFSETS[0]))),
        (Some(first), Some(second)) if first == second => Ok((first, None)),
        (Some(first), Some(second)) if first.sequence > second.sequence => {
            Ok((first, Some(OFFSETS[1])))
        }
        (Some(first), Some(second)) if first.sequence < second.sequence => {
            Ok((second, Some(OFFSETS[0])))
        }
        _ => Err(damaged()),
    }
}

impl Slot {
    fn new(sequence: u64, value: &[u8]) -> Result<Self, SlotsError> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(SlotsError::TooLong { bytes: value.len() });
        }
        Ok(Self { sequence, value: value.to_owned() })
    }

    fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        let length = u32::try_from(self.value.len()).expect("a value fits its slot");
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..20].copy_from_slice(&length.to_le_bytes());
        bytes[HEAD_BYTES..][..self.value.len()].copy_from_slice(&self.value);
        let crc = checksum(&bytes);
        bytes[28..32].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when the bytes do not verify.
    fn decode(bytes: &[u8; SLOT_BYTES], path: &Path) -> Result<Option<Self>, SlotsError> {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        if bytes[..4] != MAGIC || word(28) != checksum(bytes) {
            return Ok(None);
        }
        if word(4) > VERSION {
            return Err(SlotsError::Newer { path: path.to_owned(), found: word(4) });
        }
        let length = word(16) as usize;
        if length > VALUE_BYTES_MAX {
            return Ok(None);
        }
        let sequence = u64::from(word(8)) | u64::from(word(12)) << 32;
        Ok(Some(Self { sequence, value: bytes[HEAD_BYTES..HEAD_BYTES + length].to_owned() }))
    }
}

/// Of the whole slot but the checksum itself.
fn checksum(bytes: &[u8; SLOT_BYTES]) -> u32 {
    crc32c(&[&bytes[..28], &bytes[HEAD_BYTES..]])
}

#[cfg(test)]
mod tests;
