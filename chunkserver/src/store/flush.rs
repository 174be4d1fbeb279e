//! Headers: version, flags, and the promise that everything up to an end is on disk.

use std::io;
use std::sync::MutexGuard;

use gfs_durable::fs::File;

use super::StoreError;
use super::chunk::{Chunk, join, read_block};
use super::header::Header;
use super::layout::{DATA_AT, END_BYTES, ENDS, ENDS_AT, End};
use gfs_types::limits::BLOCK_BYTES;
use gfs_types::mutants::{Mutant, runs};

/// A header that is written and not synced; nobody else writes one meanwhile.
pub(super) struct Written<'a> {
    chunk: &'a Chunk,
    file: &'a dyn File,
    header: MutexGuard<'a, Header>,
    new: Header,
}

impl<'a> Written<'a> {
    /// Starts to write what its sync waits for, as far as it is little.
    pub(super) fn begin_sync(&self) {
        let (at, bytes) = self.new.slot();
        self.file.begin_sync(at, bytes.len() as u64);
        let (old, new) = (self.header.base, self.new.next);
        if old.seq == new.seq {
            return;
        }
        self.file.begin_sync(ENDS_AT, ENDS * END_BYTES);
        if old.length < new.length {
            self.file.begin_sync(DATA_AT + old.length, new.length - old.length);
        }
    }

    /// What came of the sync.
    pub(super) fn end(mut self, synced: io::Result<()>) -> Result<(), StoreError> {
        synced.map_err(|error| self.chunk.fatal(error))?;
        self.chunk.header_synced(&mut self.header, self.new);
        Ok(())
    }
}

impl Chunk {
    /// Writes a changed header, and makes it and every mutation so far durable with one sync. Mutations go on
    /// meanwhile. What was durable before stays the base of recovery until the sync came to its end.
    pub(super) fn write_header(
        &self,
        file: &dyn File,
        header: &mut Header,
        change: impl FnOnce(&mut Header),
    ) -> Result<(), StoreError> {
        let new = self.put_header(file, header, change)?;
        if !runs(Mutant::HeaderNotFlushed) {
            file.sync_data().map_err(|error| self.fatal(error))?;
        }
        self.header_synced(header, new);
        Ok(())
    }

    /// The first half of [`Chunk::write_header`]; [`Chunk::header_synced`] follows a sync of the file.
    fn put_header(
        &self,
        file: &dyn File,
        header: &Header,
        change: impl FnOnce(&mut Header),
    ) -> Result<Header, StoreError> {
        let mut new = header.clone();
        new.next = self.open_state()?.end;
        new.sequence += 1;
        change(&mut new);
        let (at, bytes) = new.slot();
        // One bad moment of a disk: the same bytes may go to the same place again. A replica whose header cannot be written counts as
        // damaged, and it may be the only one of its version.
        let written = file.write_all_at(&bytes, at).or_else(|_| file.write_all_at(&bytes, at));
        written.map_err(|error| self.io(error))?;
        Ok(new)
    }

    fn header_synced(&self, header: &mut Header, mut new: Header) {
        new.base = new.next;
        let mut state = self.state();
        state.durable_length = state.durable_length.max(new.base.length);
        if state.pinned.is_some_and(|(_, seq)| seq <= new.base.seq) {
            state.pinned = None;
        }
        self.set_ready(!new.clean, new.overwritten);
        *header = new;
    }

    /// What must be durable before the first change: not clean any more, and `overwritten` if it is one.
    pub(super) fn begin_change(
        &self,
        file: &dyn File,
        boot: u128,
        overwrites: bool,
    ) -> Result<(), StoreError> {
        if self.is_ready(overwrites) {
            return Ok(());
        }
        let mut header = self.header();
        if !header.clean && (header.overwritten || !overwrites) {
            return Ok(());
        }
        self.write_header(file, &mut header, |header| {
            header.unclean(boot);
            header.overwritten |= overwrites;
        })
    }

    /// Begins a flush with this committed length; `None`: there is nothing to flush.
    pub(super) fn begin_flush<'a>(
        &'a self,
        file: &'a dyn File,
        committed: u64,
    ) -> Result<Option<Written<'a>>, StoreError> {
        let header = self.header();
        let end = self.state().end;
        let committed = committed.min(end.length);
        if header.base == end && header.committed == committed {
            return Ok(None);
        }
        let new = self.put_header(file, &header, |header| header.committed = committed)?;
        Ok(Some(Written { chunk: self, file, header, new }))
    }

    /// Begins a header that sets `clean`, behind a flush of everything; `None`: it is clean already.
    pub(super) fn begin_clean<'a>(
        &'a self,
        file: &'a dyn File,
        committed: u64,
    ) -> Result<Option<Written<'a>>, StoreError> {
        let header = self.header();
        let mut state = self.state();
        let end = state.end;
        let committed = committed.min(end.length);
        if header.clean && header.committed == committed {
            return Ok(None);
        }
        if header.base != end {
            return Err(self.invalid("it was changed while it was to become clean".to_owned()));
        }
        if state.closed.is_none() {
            self.give_back(file, &mut state);
        }
        drop(state);
        self.set_ready(false, header.overwritten);
        let new = self.put_header(file, &header, |header| {
            header.clean = true;
            header.committed = committed;
        })?;
        Ok(Some(Written { chunk: self, file, header, new }))
    }

    /// The checksum of the last block of the first `length` bytes. The caller holds the state.
    pub(super) fn prefix_tail(
        &self,
        file: &dyn File,
        end: End,
        length: u64,
    ) -> Result<u32, StoreError> {
        let (block, from) = (length / BLOCK_BYTES, length % BLOCK_BYTES);
        if from == 0 {
            return Ok(0);
        }
        let whole = read_block(file, block, end).map_err(|error| self.io(error))?;
        match whole.cut(from, from) {
            Some([before, _, _]) => Ok(join([before])),
            None => Err(self.damaged(format!("block {block} does not match its checksum"))),
        }
    }
}
