//! What readers may see of a replica: published by its core, read by connection threads.

use std::ops::Range;

use gfs_types::Error;
use gfs_types::fence::{ChunkVersion, MasterEpoch};
use gfs_types::ids::ChunkHandle;
use gfs_types::limits::BLOCK_BYTES;
use gfs_types::message::data::Target;
use gfs_types::mutants::{Mutant, runs};

/// What readers may see. Published before a write that it must hide, and after a commit that it may show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// The version the replica has.
    pub version: ChunkVersion,
    /// The epoch of the master that gave it this version; 0 after a restart.
    pub epoch: MasterEpoch,
    /// Whether anything may be shown at all (mut-4).
    pub readable: bool,
    /// Committed length as the replica knows it, in bytes: nothing at or above it is shown.
    pub committed_length: u64,
    /// Ranges below it that an overwrite changes which is not known to be committed; whole blocks,
    /// in order, apart.
    pub hidden: Vec<Range<u64>>,
}

impl View {
    /// The bytes of a read that may be shown: the range asked for, cut at the committed length.
    ///
    /// A replica of a higher version than asked for is good: it holds everything that was acknowledged
    /// under the lower one (raise-5). One of a lower version is stale.
    ///
    /// # Errors
    /// `Stale` when the reader should ask another replica or the primary; `Busy` when an overwrite of
    /// these blocks is under way.
    pub fn admit(
        &self,
        handle: ChunkHandle,
        target: &Target,
        range: Range<u64>,
        seen_length: u64,
    ) -> Result<Range<u64>, Error> {
        let stale = |why: String| Err(Error::stale(format!("chunk {handle}: {why}")));
        if self.version < target.version || target.epoch < self.epoch {
            return stale(format!("this replica has version {}", self.version));
        }
        if !self.readable {
            return stale("this replica shows nothing until it is made equal".to_owned());
        }
        if self.committed_length < seen_length {
            return stale(format!("this replica knows {} bytes only", self.committed_length));
        }
        let shown = range.start.min(self.committed_length)..range.end.min(self.committed_length);
        if self.hidden.iter().any(|hidden| hidden.start < shown.end && shown.start < hidden.end) {
            let mut error =
                Error::busy(format!("chunk {handle}: these blocks are being overwritten"));
            error.retry_after_ms = 2;
            return Err(error);
        }
        Ok(shown)
    }
}

/// The blocks below `committed_length` that these overwrites touch: in order, apart.
pub(crate) fn hidden<'a>(
    overwrites: impl Iterator<Item = &'a Range<u64>>,
    committed_length: u64,
) -> Vec<Range<u64>> {
    let hides = !runs(Mutant::OverwritesAreShown);
    let uncommitted = overwrites.filter(|range| hides && range.start < committed_length);
    let blocks = uncommitted.map(|range| {
        let start = range.start / BLOCK_BYTES * BLOCK_BYTES;
        start..range.end.next_multiple_of(BLOCK_BYTES)
    });
    let mut sorted: Vec<_> = blocks.collect();
    sorted.sort_unstable_by_key(|range| (range.start, range.end));
    let mut apart: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match apart.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    apart
}
