//! What the store knows of one replica while it is open, and its small helpers.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gfs_durable::fs::File;
use gfs_protocol::checksum::{combine, crc32c};
use gfs_types::ids::ChunkHandle;
use gfs_types::limits::BLOCK_BYTES;

use super::ahead::Ahead;
use super::header::Header;
use super::layout::{DATA_AT, End};
use super::{Replica, StoreError, table};

/// Ends remembered for readers whose committed length is behind the applied one.
const ENDS_KEPT: usize = 64;

/// A replica. Lock order: `header`, `state`, `ends`.
#[derive(Debug)]
pub(super) struct Chunk {
    pub handle: ChunkHandle,
    /// As it is on disk; held while a new one is written and synced.
    pub header: Mutex<Header>,
    /// Held during a mutation, never during a flush.
    pub state: Mutex<State>,
    ends: Mutex<VecDeque<(u64, u32)>>,
    /// A copy of `state.end.length` for readers, who must not wait for a sync.
    applied: AtomicU64,
    /// A copy of the header's flags for mutations, who must not wait for a flush: not clean; overwritten.
    unclean: AtomicBool,
    overwritten: AtomicBool,
    /// It is suspect on disk, and no trace in its file counts any more: blocks may be replaced.
    pub repairable: AtomicBool,
}

#[derive(Debug)]
pub(super) struct State {
    /// As applied.
    pub end: End,
    /// Bytes below it are durable: changing them takes a durable redo record.
    pub durable_length: u64,
    /// The redo area whose overwrite is perhaps not durable in place, and its sequence.
    pub pinned: Option<(u64, u64)>,
    /// The redo area of the last overwrite.
    pub last_area: u64,
    /// Space behind the end.
    pub ahead: Ahead,
    /// Why it takes no more changes.
    pub closed: Option<String>,
}

impl State {
    /// Where the next overwrite leaves its redo record. Not over one that may be the only trace of durable bytes; and
    /// else in turn, so that the records that are left are those of the last two overwrites: recovery lays them over
    /// the file in their order, and an older one would undo what came between.
    pub(super) fn next_area(&self) -> u64 {
        1 - self.pinned.map_or(self.last_area, |(area, _)| area)
    }
}

impl Chunk {
    pub(super) fn new(header: Header, end: End, closed: Option<String>) -> Self {
        let durable_length = header.base.length;
        // Recovery left nothing but its base, unless it found damage.
        let repairable = header.suspect && closed.is_none();
        let ahead = Ahead::default();
        let state = State { end, durable_length, pinned: None, last_area: 1, ahead, closed };
        Self {
            handle: header.handle,
            state: Mutex::new(state),
            ends: Mutex::new(VecDeque::from([(end.length, end.tail)])),
            applied: AtomicU64::new(end.length),
            unclean: AtomicBool::new(!header.clean),
            overwritten: AtomicBool::new(header.overwritten),
            repairable: AtomicBool::new(repairable),
            header: Mutex::new(header),
        }
    }

    pub(super) fn header(&self) -> MutexGuard<'_, Header> {
        self.header.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self) -> MutexGuard<'_, VecDeque<(u64, u32)>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, if the replica takes changes.
    pub(super) fn open_state(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state();
        match &state.closed {
            None => Ok(state),
            Some(reason) => Err(StoreError::Closed { handle: self.handle, reason: reason.clone() }),
        }
    }

    pub(super) fn replica(&self) -> Replica {
        let header = self.header();
        let state = self.state();
        Replica {
            version: header.version,
            length: state.end.length,
            committed_length: header.committed.min(state.end.length),
            clean: header.clean,
            overwritten: header.overwritten,
            suspect: header.suspect,
            damaged: state.closed.clone().or_else(|| {
                header.corrupt.then(|| "a block did not match its checksum".to_owned())
            }),
        }
    }

    /// Whether the header on disk allows such a change already.
    pub(super) fn is_ready(&self, overwrites: bool) -> bool {
        self.unclean.load(Ordering::Acquire)
            && (!overwrites || self.overwritten.load(Ordering::Acquire))
    }

    pub(super) fn set_ready(&self, unclean: bool, overwritten: bool) {
        self.unclean.store(unclean, Ordering::Release);
        self.overwritten.store(overwritten, Ordering::Release);
    }

    /// Whether everything that was applied is known to be durable.
    pub(super) fn is_flushed(&self) -> bool {
        let header = self.header();
        header.base == self.state().end
    }

    /// So much a flush has to write, in bytes, as far as can be told without waiting for a header: of overwrites nobody knows.
    pub(super) fn unsynced_bytes(&self) -> u64 {
        if self.overwritten.load(Ordering::Acquire) {
            return u64::MAX;
        }
        let state = self.state();
        state.end.length.saturating_sub(state.durable_length)
    }

    /// How many of these bytes may need space that the replica has not got: those behind its end that were not taken ahead, and
    /// any that are overwritten, for there may be a hole.
    pub(super) fn uncovered(&self, offset: u64, length: u64) -> u64 {
        let state = self.state();
        let over = state.end.length.saturating_sub(offset).min(length);
        over + state.ahead.uncovered(offset + over, length - over)
    }

    /// Applied length, in bytes.
    pub(super) fn applied_length(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// A mutation came to its end; `changed`: bytes below it are others now. The caller holds the state.
    pub(super) fn advance(&self, end: End, changed: bool) {
        self.remember(end, changed);
        self.applied.store(end.length, Ordering::Release);
    }

    /// Remembers an end for readers; `changed`: bytes below it are others now.
    pub(super) fn remember(&self, end: End, changed: bool) {
        let mut ends = self.ends();
        if changed {
            ends.clear();
        }
        ends.push_back((end.length, end.tail));
        if ends.len() > ENDS_KEPT {
            ends.pop_front();
        }
    }

    /// The checksum of the last block of the first `length` bytes, if it is known.
    pub(super) fn known_tail(&self, length: u64) -> Option<u32> {
        if length.is_multiple_of(BLOCK_BYTES) {
            return Some(0);
        }
        let ends = self.ends();
        ends.iter().rev().find(|(known, _)| *known == length).map(|(_, tail)| *tail)
    }

    pub(super) fn damaged(&self, reason: String) -> StoreError {
        StoreError::Damaged { handle: self.handle, reason }
    }

    pub(super) fn invalid(&self, reason: String) -> StoreError {
        StoreError::Invalid { handle: self.handle, reason }
    }

    pub(super) fn io(&self, source: io::Error) -> StoreError {
        StoreError::Io {
            handle: Some(self.handle),
            doing: format!("chunk {}", self.handle),
            source,
        }
    }

    pub(super) fn fatal(&self, source: io::Error) -> StoreError {
        StoreError::Fatal { handle: self.handle, source }
    }
}

/// A block as it is: its bytes up to the end, and the checksum stored for them.
pub(super) struct Block {
    pub bytes: Vec<u8>,
    pub stored: u32,
}

/// Reads a block with its stored checksum, unverified.
pub(super) fn read_block(file: &dyn File, block: u64, end: End) -> io::Result<Block> {
    let start = block * BLOCK_BYTES;
    let length = BLOCK_BYTES.min(end.length.saturating_sub(start));
    let stored = if length == BLOCK_BYTES { table::read(file, block, 1)?[0] } else { end.tail };
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, DATA_AT + start)?;
    Ok(Block { bytes, stored })
}

impl Block {
    /// The checksums of three parts of the block, cut at `from` and `to`, if together they verify.
    pub(super) fn cut(&self, from: u64, to: u64) -> Option<[(u32, u64); 3]> {
        let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(self.bytes.len());
        let (from, to) = (at(from), at(to));
        let parts = [&self.bytes[..from], &self.bytes[from..to], &self.bytes[to..]];
        let parts = parts.map(|part| (crc32c(part), part.len() as u64));
        (join(parts) == self.stored).then_some(parts)
    }
}

/// The checksum of parts one after the other.
pub(super) fn join(parts: impl IntoIterator<Item = (u32, u64)>) -> u32 {
    parts.into_iter().fold(0, |sum, (next, length)| match length {
        0 => sum,
        _ => combine(sum, next, length),
    })
}

/// The checksum of so many zeros, at most a block.
pub(super) fn zeros(count: u64) -> u32 {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    crc32c(&ZEROS[..usize::try_from(count).unwrap_or(ZEROS.len()).min(ZEROS.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_does_not_verify_is_not_cut() {
        let bytes: Vec<u8> = (0..100).collect();
        let good = Block { stored: crc32c(&bytes), bytes: bytes.clone() };
        let parts = good.cut(10, 20).unwrap();
        assert_eq!(
            parts,
            [(crc32c(&bytes[..10]), 10), (crc32c(&bytes[10..20]), 10), (crc32c(&bytes[20..]), 80)]
        );
        assert!(Block { stored: 1, bytes }.cut(10, 20).is_none());
        assert_eq!(zeros(BLOCK_BYTES), crc32c(&[0; 65536]));
    }
}
