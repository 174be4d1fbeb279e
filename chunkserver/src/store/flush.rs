//! Headers: version, flags, and the promise that everything up to an end is on disk.

use gfs_durable::fs::File;

use super::StoreError;
use super::chunk::{Chunk, join, read_block};
use super::header::Header;
use super::layout::End;
use gfs_types::limits::BLOCK_BYTES;

impl Chunk {
    /// Writes a changed header, and makes it and every mutation so far durable with one sync. Mutations go on
    /// meanwhile. What was durable before stays the base of recovery until the sync came to its end.
    pub(super) fn write_header(
        &self,
        file: &dyn File,
        header: &mut Header,
        change: impl FnOnce(&mut Header),
    ) -> Result<(), StoreError> {
        let mut new = header.clone();
        new.next = self.open_state()?.end;
        new.sequence += 1;
        change(&mut new);
        let (at, bytes) = new.slot();
        file.write_all_at(&bytes, at).map_err(|error| self.io(error))?;
        file.sync_data().map_err(|error| self.fatal(error))?;
        new.base = new.next;
        let mut state = self.state();
        state.durable_length = state.durable_length.max(new.base.length);
        if state.pinned.is_some_and(|(_, seq)| seq <= new.base.seq) {
            state.pinned = None;
        }
        self.set_ready(!new.clean, new.overwritten);
        *header = new;
        Ok(())
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

    /// Sets `clean` in a header of its own, behind a flush of everything.
    pub(super) fn end_clean(&self, file: &dyn File, committed: u64) -> Result<(), StoreError> {
        let mut header = self.header();
        let length = self.state().end.length;
        if header.clean && header.committed == committed.min(length) {
            return Ok(());
        }
        if header.base != self.state().end {
            self.write_header(file, &mut header, |header| {
                header.committed = committed.min(length)
            })?;
        }
        if header.base != self.state().end {
            return Err(self.invalid("it was changed while it was to become clean".to_owned()));
        }
        self.set_ready(false, header.overwritten);
        self.write_header(file, &mut header, |header| {
            header.clean = true;
            header.committed = committed.min(length);
        })
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
