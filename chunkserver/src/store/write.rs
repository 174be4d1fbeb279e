//! Mutations of a replica's bytes.

use std::io::{self, IoSlice};
use std::sync::atomic::Ordering;

use gfs_durable::fs::File;
use gfs_protocol::checksum::combine;
use gfs_types::limits::BLOCK_BYTES;
use gfs_types::mutants::{Mutant, runs};
use gfs_types::region::blocks_of;

use super::ahead::Ahead;
use super::chunk::{Chunk, State, join, read_block, zeros};
use super::layout::{DATA_AT, End, REDO_DATA_MAX};
use super::payload::{Payload, Piece};
use super::redo::Redo;
use super::{StoreError, ends, table};

/// The running checksum of the block at the end, and those that were made whole.
struct Growth {
    at: u64,
    tail: u32,
    first: u64,
    whole: Vec<u32>,
}

impl Growth {
    fn new(end: End) -> Self {
        Self { at: end.length, tail: end.tail, first: end.length / BLOCK_BYTES, whole: Vec::new() }
    }

    fn add(&mut self, checksum: u32, length: u64) {
        if length == 0 {
            return;
        }
        self.tail = combine(self.tail, checksum, length);
        self.at += length;
        if self.at.is_multiple_of(BLOCK_BYTES) {
            self.whole.push(self.tail);
            self.tail = 0;
        }
    }

    fn add_zeros(&mut self, to: u64) {
        while self.at < to {
            let count = (BLOCK_BYTES - self.at % BLOCK_BYTES).min(to - self.at);
            self.add(zeros(count), count);
        }
    }
}

impl Chunk {
    /// Puts bytes at `offset`, at or beyond the end; what lies between reads as zeros. Without bytes the chunk
    /// just becomes that long.
    pub(super) fn append(
        &self,
        file: &dyn File,
        state: &mut State,
        offset: u64,
        data: &Payload,
    ) -> Result<(), StoreError> {
        let mut growth = Growth::new(state.end);
        growth.add_zeros(offset);
        for Piece { checksum, length, .. } in data.pieces(offset)? {
            growth.add(checksum, length);
        }
        let end = End { seq: state.end.seq + 1, length: growth.at, tail: growth.tail };
        if let Err(error) = grow(file, offset, data, &growth) {
            self.shrink_back(file, state);
            return Err(self.io(error));
        }
        let (at, record) = ends::record(self.handle, end);
        if let Err(error) = file.write_all_at(&record, at) {
            return Err(self.close(state, error));
        }
        state.end = end;
        self.advance(end, false);
        Ok(())
    }

    /// An append failed before its record was begun: what lies above the end goes away, so that a later hole there
    /// reads as zeros.
    fn shrink_back(&self, file: &dyn File, state: &mut State) {
        if let Err(error) = file.set_len(DATA_AT + state.end.length) {
            self.close(state, error);
        }
        state.ahead = Ahead::default();
    }

    /// Takes no more changes: what is on disk is not known. A restart recovers it, or another replica repairs it.
    fn close(&self, state: &mut State, error: io::Error) -> StoreError {
        let error = self.io(error);
        state.closed = Some(error.to_string());
        self.repairable.store(false, Ordering::Release);
        error
    }

    /// Changes bytes below the end, at most [`REDO_DATA_MAX`] of them.
    pub(super) fn overwrite(
        &self,
        file: &dyn File,
        state: &mut State,
        offset: u64,
        data: &Payload,
    ) -> Result<(), StoreError> {
        let redo = self.plan(file, state.end, offset, data)?;
        file.allocate(DATA_AT + offset, redo.length).map_err(|error| self.io(error))?;
        let area = state.next_area();
        let noted = match runs(Mutant::OverwriteNotNoted) {
            true => Ok(()),
            false => redo.write(file, self.handle, area, data),
        };
        if let Err(error) = noted {
            // Cut short for want of space it is no record; after another failure it might be one.
            let full = error.kind() == io::ErrorKind::StorageFull;
            return Err(if full { self.io(error) } else { self.close(state, error) });
        }
        state.last_area = area;
        // Its record would undo a repair.
        self.repairable.store(false, Ordering::Release);
        if offset < state.durable_length {
            file.sync_data().map_err(|error| self.fatal(error))?;
            state.durable_length = state.end.length;
            state.pinned = Some((area, redo.end.seq));
        }
        if let Err(error) = apply(file, &redo, data) {
            return Err(self.close(state, error));
        }
        // The next overwrite may take this one's redo area, and be cut short there: this end must be known without it.
        let (at, record) = ends::record(self.handle, redo.end);
        if let Err(error) = file.write_all_at(&record, at) {
            return Err(self.close(state, error));
        }
        state.end = redo.end;
        self.advance(redo.end, true);
        Ok(())
    }

    /// What the overwrite makes of the blocks it touches.
    fn plan(
        &self,
        file: &dyn File,
        end: End,
        offset: u64,
        data: &Payload,
    ) -> Result<Redo, StoreError> {
        let length = data.length();
        debug_assert!(length <= REDO_DATA_MAX && offset + length <= end.length);
        let pieces = data.pieces(offset)?;
        let checksum = join(pieces.iter().map(|piece| (piece.checksum, piece.length)));
        let mut redo = Redo {
            end: End { seq: end.seq + 1, ..end },
            offset,
            length,
            checksum,
            sums: Vec::new(),
        };
        for block in blocks_of(offset, length) {
            let sum = self.merge(file, end, block, &pieces)?;
            let whole = (block + 1) * BLOCK_BYTES <= end.length;
            if !whole {
                redo.end.tail = sum;
            }
            redo.sums.push(if whole { sum } else { 0 });
        }
        Ok(redo)
    }

    /// The checksum of a block with its pieces of the overwrite. Bytes that stay are verified.
    fn merge(
        &self,
        file: &dyn File,
        end: End,
        block: u64,
        pieces: &[Piece],
    ) -> Result<u32, StoreError> {
        let start = block * BLOCK_BYTES;
        let stop = (start + BLOCK_BYTES).min(end.length);
        let mine = || pieces.iter().filter(|piece| piece.at / BLOCK_BYTES == block);
        let new = mine().map(|piece| (piece.checksum, piece.length));
        let from = mine().map(|piece| piece.at).min().unwrap_or(stop);
        let to = from + mine().map(|piece| piece.length).sum::<u64>();
        if (from, to) == (start, stop) {
            return Ok(join(new));
        }
        let old = read_block(file, block, end).map_err(|error| self.io(error))?;
        let Some([before, _, after]) = old.cut(from - start, to - start) else {
            return Err(self.damaged(format!(
                "block {block} does not match its checksum, so no part of it can be overwritten"
            )));
        };
        Ok(join([before].into_iter().chain(new).chain([after])))
    }
}

/// Data, then the checksums of blocks that became whole.
fn grow(file: &dyn File, offset: u64, data: &Payload, growth: &Growth) -> io::Result<()> {
    if data.length() == 0 {
        file.set_len(DATA_AT + growth.at)?;
    } else {
        put(file, offset, data)?;
    }
    table::write(file, growth.first, &growth.whole)
}

pub(super) fn put(file: &dyn File, offset: u64, data: &Payload) -> io::Result<()> {
    let buffers: Vec<_> = data.parts().iter().map(|part| IoSlice::new(part.bytes())).collect();
    file.write_all_vectored_at(&buffers, DATA_AT + offset)
}

/// Puts an overwrite in place. Repeated it changes nothing.
fn apply(file: &dyn File, redo: &Redo, data: &Payload) -> io::Result<()> {
    put(file, redo.offset, data)?;
    let sums: Vec<u32> = redo.whole_blocks().map(|(_, sum)| sum).collect();
    table::write(file, redo.offset / BLOCK_BYTES, &sums)
}
