//! Making a replica equal to another: which blocks differ, putting theirs in place, and its end.
//!
//! While blocks are replaced the replica is suspect on disk: it shows nothing and leads nothing. So there are no redo
//! records, and no syncs, between the first block and [`Store::equalised`].

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gfs_durable::fs::File;
use gfs_protocol::checksum::{combine, crc32c};
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;
use gfs_types::limits::BLOCK_BYTES;

use super::ahead::Ahead;
use super::chunk::{Chunk, read_block};
use super::layout::{DATA_AT, End};
use super::payload::Payload;
use super::recover::next_sequence;
use super::write::put;
use super::{Bad, Checksums, Entry, Store, StoreError, ends, table};

impl Store {
    /// The runs of whole blocks in which the replica is not as the source was, up to the source's length. The stored
    /// checksums are believed, unless `check_all`, or the replica is suspect or damaged: then every block is read.
    ///
    /// # Errors
    /// `NotFound`, `Foreign`. A replica that cannot be read differs everywhere.
    pub fn differing(
        &self,
        handle: ChunkHandle,
        source: &Checksums,
        check_all: bool,
    ) -> Result<Vec<Range<u64>>, StoreError> {
        let own = self.own_blocks(handle);
        let own = match own {
            Ok(own) => Some(own),
            Err(error) if error.is_lost_bytes() => None,
            Err(error) => return Err(error),
        };
        let mut runs: Vec<Range<u64>> = Vec::new();
        for (block, sum) in (0..).zip(&source.table) {
            let start = block * BLOCK_BYTES;
            let stop = (start + BLOCK_BYTES).min(source.length);
            if own.as_ref().is_some_and(|own| own.is_same(block, stop - start, *sum, check_all)) {
                continue;
            }
            match runs.last_mut() {
                Some(run) if run.end == start => run.end = stop,
                _ => runs.push(start..stop),
            }
        }
        Ok(runs)
    }

    fn own_blocks(&self, handle: ChunkHandle) -> Result<Own, StoreError> {
        let (chunk, file) = self.chunk(handle)?;
        let replica = chunk.replica();
        let doubted = replica.suspect || replica.damaged.is_some();
        if replica.damaged.is_some() {
            // Where its traces are lost it gets a new file, of which everything differs.
            let (header, end) = (chunk.header().clone(), chunk.state().end);
            next_sequence(&*file, &header, end).map_err(|error| chunk.io(error))?;
        }
        Ok(Own { sums: chunk.all_checksums(&*file)?, file, doubted })
    }

    /// Puts the source's bytes in place, whatever stood there and whatever its checksums say: whole blocks, or up to the
    /// source's end, where the replica then ends too. The first one makes the replica suspect, durably; it takes up again
    /// one that was closed, and makes a new file for one that is lost. Nothing else is durable before
    /// [`Store::equalised`].
    ///
    /// # Errors
    /// `Invalid` when the bytes do not begin at a block border, or leave a gap; `Full`, `Foreign`, or the disk's.
    pub fn repair(
        &self,
        handle: ChunkHandle,
        offset: u64,
        data: &Payload,
    ) -> Result<(), StoreError> {
        let (chunk, file) = self.repairable(handle)?;
        self.check_end(&chunk, offset.checked_add(data.length()))?;
        self.check_room(handle, data.length())?;
        chunk.repair(&*file, offset, data).map_err(|error| self.full(error))
    }

    /// Every block up to `length` is that of the source: cuts what lies above, has everything on disk, and only then clears
    /// `suspect` and `corrupt`, durably. The replica is unclean. No mutation may run meanwhile.
    ///
    /// # Errors
    /// `Invalid` when it is shorter, or the disk's.
    pub fn equalised(&self, handle: ChunkHandle, length: u64) -> Result<Checksums, StoreError> {
        let (chunk, file) = match self.chunk(handle) {
            Ok((chunk, file)) if chunk.state().closed.is_none() => (chunk, file),
            _ => self.repairable(handle)?,
        };
        chunk.equalised(&*file, length, self.config.boot)?;
        chunk.all_checksums(&*file)
    }

    /// A replica whose blocks may be replaced.
    fn repairable(&self, handle: ChunkHandle) -> Result<(Arc<Chunk>, Arc<dyn File>), StoreError> {
        let known = match self.chunk(handle) {
            Ok((chunk, file)) => {
                // One that ended clean meanwhile must not look so half-way.
                if chunk.repairable.load(Ordering::Acquire) && chunk.is_ready(true) {
                    return Ok((chunk, file));
                }
                if file.len().map_err(|error| chunk.io(error))? >= DATA_AT {
                    match chunk.make_repairable(&*file, self.config.boot) {
                        // Its traces cannot be read, and nobody would ever write all of them again.
                        Err(error) if error.is_lost_bytes() => {}
                        made => return made.map(|()| (chunk, file)),
                    }
                }
                chunk.header().version
            }
            Err(error) if error.is_lost_bytes() => match self.entry(handle) {
                Some(Entry::Good(chunk)) => chunk.header().version,
                Some(Entry::Bad(Bad::Lost(_))) => ChunkVersion(0),
                _ => return Err(error),
            },
            Err(error) => return Err(error),
        };
        self.replace(handle, known)
    }
}

/// This server's replica, for a comparison.
struct Own {
    sums: Checksums,
    file: Arc<dyn File>,
    /// The stored checksums may be those of blocks that never came to the disk.
    doubted: bool,
}

impl Own {
    /// Whether the first `length` bytes of a block have this checksum.
    fn is_same(&self, block: u64, length: u64, sum: u32, check_all: bool) -> bool {
        let start = block * BLOCK_BYTES;
        let have = BLOCK_BYTES.min(self.sums.length.saturating_sub(start));
        let stored = usize::try_from(block).ok().and_then(|block| self.sums.table.get(block));
        let Some(&stored) = stored.filter(|_| have >= length) else { return false };
        if have == length && (stored != sum || !(check_all || self.doubted)) {
            return stored == sum;
        }
        let end = End { seq: 0, length: self.sums.length, tail: stored };
        let Ok(read) = read_block(&*self.file, block, end) else { return false };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let first = read.bytes.get(..length).map(crc32c);
        crc32c(&read.bytes) == stored && first == Some(sum)
    }
}

impl Chunk {
    /// Suspect on disk, and open. What stands in the file is its new base, verified or not; older traces count no more:
    /// a redo record would undo the repair of its blocks.
    fn make_repairable(&self, file: &dyn File, boot: u128) -> Result<(), StoreError> {
        let mut header = self.header();
        let mut state = self.state();
        let bytes = file.len().map_err(|error| self.io(error))?;
        let lost = state.closed.is_some() || bytes < DATA_AT + state.end.length;
        if bytes < DATA_AT + state.end.length {
            file.set_len(DATA_AT + state.end.length).map_err(|error| self.io(error))?;
        }
        let seq = next_sequence(file, &header, state.end).map_err(|error| self.io(error))?;
        file.sync_data().map_err(|error| self.fatal(error))?;
        let end = End { seq, ..state.end };
        let mut new = header.clone();
        new.sequence += 1;
        new.clean = false;
        new.suspect = true;
        // What a restart showed before may be replaced by bytes of which nobody knows yet whether they are committed (mut-4).
        new.overwritten = true;
        new.corrupt |= lost;
        new.boot = boot;
        (new.base, new.next) = (end, end);
        let (at, bytes) = new.slot();
        file.write_all_at(&bytes, at).map_err(|error| self.io(error))?;
        file.sync_data().map_err(|error| self.fatal(error))?;
        state.end = end;
        state.durable_length = end.length;
        state.pinned = None;
        state.ahead = Ahead::unknown();
        state.closed = None;
        self.advance(end, true);
        self.set_ready(true, new.overwritten);
        *header = new;
        self.repairable.store(true, Ordering::Release);
        Ok(())
    }

    fn repair(&self, file: &dyn File, offset: u64, data: &Payload) -> Result<(), StoreError> {
        let mut state = self.open_state()?;
        let have = state.end.length;
        if !offset.is_multiple_of(BLOCK_BYTES) || offset > have {
            return Err(self.invalid(format!("a repair at {offset} of {have} bytes")));
        }
        let mut sums: Vec<u32> = Vec::new();
        for piece in data.pieces(offset)? {
            match sums.last_mut() {
                Some(sum) if !piece.at.is_multiple_of(BLOCK_BYTES) => {
                    *sum = combine(*sum, piece.checksum, piece.length);
                }
                _ => sums.push(piece.checksum),
            }
        }
        let stop = offset + data.length();
        let mut end = End { seq: state.end.seq + 1, ..state.end };
        if !stop.is_multiple_of(BLOCK_BYTES) {
            (end.length, end.tail) = (stop, sums.pop().unwrap_or_default());
        } else if stop > have {
            (end.length, end.tail) = (stop, 0);
        }
        let written = put(file, offset, data)
            .and_then(|()| table::write(file, offset / BLOCK_BYTES, &sums))
            .and_then(|()| {
                let (at, record) = ends::record(self.handle, end);
                file.write_all_at(&record, at)
            });
        written.map_err(|error| self.io(error))?;
        state.end = end;
        state.durable_length = state.durable_length.min(end.length);
        self.advance(end, true);
        Ok(())
    }

    fn equalised(&self, file: &dyn File, length: u64, boot: u128) -> Result<(), StoreError> {
        let mut header = self.header();
        let state = self.open_state()?;
        let have = state.end;
        if length > have.length {
            let have = have.length;
            return Err(self.invalid(format!("it has {have} of the {length} bytes of its source")));
        }
        let mut end = have;
        if length < have.length {
            let tail = self.prefix_tail(file, have, length)?;
            end = End { seq: have.seq + 1, length, tail };
        }
        drop(state);
        let sound = !header.suspect && !header.corrupt && end == have;
        if sound && !header.clean && header.base == end {
            return Ok(());
        }
        self.write_header(file, &mut header, |header| header.unclean(boot))?;
        if sound {
            return Ok(());
        }
        // All is on disk: now it may count.
        self.write_header(file, &mut header, |header| {
            header.suspect = false;
            header.corrupt = false;
            header.boot = boot;
            (header.base, header.next) = (end, end);
            header.committed = header.committed.min(length);
        })?;
        self.repairable.store(false, Ordering::Release);
        let mut state = self.state();
        state.end = end;
        state.durable_length = length;
        state.ahead = Ahead::default();
        self.advance(end, true);
        file.set_len(DATA_AT + length).map_err(|error| self.io(error))
    }
}
