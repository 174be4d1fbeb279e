//! Reads: a plan for `sendfile`, or verified bytes.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use gfs_durable::fs::File;
use gfs_protocol::checksum::{self, crc32c};
use gfs_types::limits::BLOCK_BYTES;
use gfs_types::mutants::{Mutant, runs};

use super::chunk::Chunk;
use super::layout::{DATA_AT, End};
use super::{Checksums, ReadPlan, StoreError, table};

impl ReadPlan {
    /// The bytes of the plan, where `sendfile` is not to be had. Not verified.
    ///
    /// # Errors
    /// The disk's.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.length).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, self.file_offset)?;
        Ok(bytes)
    }
}

impl Chunk {
    fn check_range(&self, range: &Range<u64>, shown: u64) -> Result<Range<u64>, StoreError> {
        let have = self.applied_length();
        if shown > have {
            return Err(
                self.invalid(format!("{shown} bytes cannot be shown, the replica has {have}"))
            );
        }
        let range = range.start..range.end.min(shown);
        if range.is_empty() {
            let start = range.start;
            return Err(self.invalid(format!("nothing to read at {start}, the end is at {shown}")));
        }
        Ok(range)
    }

    pub(super) fn plan_read(
        &self,
        file: Arc<dyn File>,
        range: &Range<u64>,
        shown: u64,
    ) -> Result<ReadPlan, StoreError> {
        let range = self.check_range(range, shown)?;
        let offset = range.start / BLOCK_BYTES * BLOCK_BYTES;
        let stop = (range.end.div_ceil(BLOCK_BYTES) * BLOCK_BYTES).min(shown);
        // Found out here it is an answer, and in the middle of a frame the end of the connection.
        if file.len().map_err(|error| self.io(error))? < DATA_AT + stop {
            return Err(self.io(io::ErrorKind::UnexpectedEof.into()));
        }
        let first = offset / BLOCK_BYTES;
        let whole = stop / BLOCK_BYTES - first;
        let mut checksums = table::read(&*file, first, whole).map_err(|error| self.io(error))?;
        if !stop.is_multiple_of(BLOCK_BYTES) {
            checksums.push(self.tail_at(&*file, stop)?);
        }
        let length = stop - offset;
        Ok(ReadPlan { file, file_offset: DATA_AT + offset, offset, length, checksums })
    }

    /// The checksum of the last block of the first `length` bytes.
    fn tail_at(&self, file: &dyn File, length: u64) -> Result<u32, StoreError> {
        if let Some(tail) = self.known_tail(length) {
            return Ok(tail);
        }
        let state = self.state();
        let tail = self.prefix_tail(file, state.end, length)?;
        self.remember(End { seq: 0, length, tail }, false);
        Ok(tail)
    }

    /// Verified bytes. A first try may meet a mutation half-way; the second goes in order with them.
    pub(super) fn read_checked(
        &self,
        file: &dyn File,
        range: &Range<u64>,
        shown: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let range = self.check_range(range, shown)?;
        let known =
            if shown.is_multiple_of(BLOCK_BYTES) { Some(0) } else { self.known_tail(shown) };
        if let Some(tail) = known
            && let Ok(bytes) = self.read_blocks(file, &range, End { seq: 0, length: shown, tail })
        {
            return Ok(bytes);
        }
        let state = self.state();
        self.read_blocks(file, &range, state.end)
    }

    fn read_blocks(
        &self,
        file: &dyn File,
        range: &Range<u64>,
        end: End,
    ) -> Result<Vec<u8>, StoreError> {
        let first = range.start / BLOCK_BYTES;
        let last = range.end.div_ceil(BLOCK_BYTES);
        let start = first * BLOCK_BYTES;
        let length = (last * BLOCK_BYTES).min(end.length).saturating_sub(start);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        let io = |error| self.io(error);
        file.read_exact_at(&mut bytes, DATA_AT + start).map_err(io)?;
        let whole = (end.length / BLOCK_BYTES).min(last).saturating_sub(first);
        let mut stored = table::read(file, first, whole).map_err(io)?;
        stored.push(end.tail);
        for ((block, bytes), stored) in (first..).zip(checksum::pieces(start, &bytes)).zip(stored) {
            if crc32c(bytes) != stored && !runs(Mutant::RotIsServed) {
                return Err(self.damaged(format!("block {block} does not match its checksum")));
            }
        }
        let place = |at: u64| usize::try_from(at - first * BLOCK_BYTES).unwrap_or(usize::MAX);
        bytes.truncate(place(range.end));
        bytes.drain(..place(range.start));
        Ok(bytes)
    }

    pub(super) fn all_checksums(&self, file: &dyn File) -> Result<Checksums, StoreError> {
        let state = self.state();
        let end = state.end;
        let mut sums =
            table::read(file, 0, end.length / BLOCK_BYTES).map_err(|error| self.io(error))?;
        if !end.length.is_multiple_of(BLOCK_BYTES) {
            sums.push(end.tail);
        }
        let mut bytes = end.length.to_le_bytes().to_vec();
        bytes.extend(sums.iter().flat_map(|sum| sum.to_le_bytes()));
        Ok(Checksums { length: end.length, table: sums, digest: crc32c(&bytes) })
    }
}
