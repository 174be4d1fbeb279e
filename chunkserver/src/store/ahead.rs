//! Space that a replica takes on the disk ahead of its bytes, and gives back. Why: docs/adr/0048-space-is-taken-ahead.md.

use gfs_durable::fs::File;

use super::Store;
use super::chunk::{Chunk, State};
use super::layout::DATA_AT;

/// A replica that holds less than this share of a chunk takes nothing ahead: most files are small, and end soon.
const LEAST_SHARE: u64 = 64;
/// At most this share of a chunk is taken at a time.
const STEP_SHARE: u64 = 4;

/// Space behind a replica's end, in bytes of the chunk.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ahead {
    /// What is written below it has its space already.
    to: u64,
    /// Something may be behind the end, even if nobody knows how much.
    holds: bool,
}

impl Ahead {
    /// Of a replica that another process wrote to, and did not end clean.
    pub(super) fn unknown() -> Self {
        Self { to: 0, holds: true }
    }

    /// How many of `length` bytes behind `from` have no space yet.
    pub(super) fn uncovered(self, from: u64, length: u64) -> u64 {
        length.saturating_sub(self.to.saturating_sub(from))
    }

    /// How far space is to be taken before bytes are put up to `end`, if at all: as much again as there is then, since what
    /// has become long will become longer.
    fn reach(self, end: u64, chunk_bytes: u64) -> Option<u64> {
        if end <= self.to || end < chunk_bytes / LEAST_SHARE {
            return None;
        }
        Some(end.saturating_add(end.min(chunk_bytes / STEP_SHARE)).min(chunk_bytes))
    }
}

impl Store {
    /// Before bytes are put at `offset`, at or beyond the end, up to `end`: takes their space and more. Where that cannot be had, they
    /// take their space as they come.
    pub(super) fn take_ahead(&self, file: &dyn File, state: &mut State, offset: u64, end: u64) {
        let Some(to) = state.ahead.reach(end, self.config.chunk_size.bytes()) else { return };
        let from = offset.max(state.ahead.to);
        if !self.room.has_plenty(&*self.fs, &self.config.dir, to - from) {
            return;
        }
        state.ahead.holds = true;
        // A part of it may have been taken all the same, and is given back with the rest.
        if file.allocate(DATA_AT + from, to - from).is_ok() {
            state.ahead.to = to;
        }
    }
}

impl Chunk {
    /// Gives back what lies behind the end, of a replica that takes changes.
    pub(super) fn give_back(&self, file: &dyn File, state: &mut State) {
        if state.ahead.holds {
            // The length is as it was, so a failure changes nothing that is read: some space is held for longer.
            let _ = file.set_len(DATA_AT + state.end.length);
        }
        state.ahead = Ahead::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u64 = 64 << 20;
    const MIB: u64 = 1 << 20;

    #[test]
    fn a_chunk_that_is_filled_takes_its_space_in_a_few_steps() {
        let (mut ahead, mut steps) = (Ahead::default(), Vec::new());
        for end in 1..=64 {
            if let Some(to) = ahead.reach(end * MIB, CHUNK) {
                ahead.to = to;
                steps.push(to / MIB);
            }
        }
        assert_eq!(steps, [2, 6, 14, 30, 47, 64]);
    }

    #[test]
    fn what_is_small_takes_nothing_ahead() {
        let ahead = Ahead::default();
        assert_eq!(ahead.reach(MIB - 1, CHUNK), None);
        assert_eq!(ahead.reach(MIB, CHUNK), Some(2 * MIB));
    }

    #[test]
    fn what_has_space_needs_none() {
        let ahead = Ahead { to: 100, holds: true };
        let uncovered = [(0, 100), (0, 101), (99, 1), (100, 1), (150, 7)];
        assert_eq!(uncovered.map(|(from, length)| ahead.uncovered(from, length)), [0, 1, 0, 1, 7]);
    }
}
