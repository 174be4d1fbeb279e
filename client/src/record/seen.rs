//! Dropping copies of records, in bounded memory.
//!
//! A writer appends in the order of its sequence numbers and never has more than one batch on its way; it goes on
//! only when the batch was acknowledged. So in a file each writer's numbers grow, but for copies of records that stand
//! further to the front already. It is enough to know each writer's highest number. A record that comes back after its
//! writer gave it up (it was never acknowledged) and after later ones is dropped like a copy.

use std::collections::BTreeMap;

use super::WriterId;

/// Writers that are remembered at once: about 100 MB at most. Past it, the one whose last record stands furthest to the
/// front is forgotten; a copy of its last batch would have to stand behind records of so many other writers to be
/// given twice.
pub const WRITERS_MAX: usize = 1 << 20;

/// What was given already.
#[derive(Debug)]
pub struct Seen {
    writers: BTreeMap<WriterId, Last>,
    by_offset: BTreeMap<u64, WriterId>,
    most: usize,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    seq: u64,
    offset: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Self::with_most(WRITERS_MAX)
    }
}

impl Seen {
    fn with_most(most: usize) -> Self {
        Self { writers: BTreeMap::new(), by_offset: BTreeMap::new(), most }
    }

    /// Whether a record, met in the order of offsets, is the first of its number; then it is remembered.
    pub fn first(&mut self, writer: WriterId, seq: u64, offset: u64) -> bool {
        let known = self.writers.get(&writer).copied();
        if known.is_some_and(|last| seq <= last.seq) {
            return false;
        }
        if let Some(last) = known {
            self.by_offset.remove(&last.offset);
        }
        self.writers.insert(writer, Last { seq, offset });
        self.by_offset.insert(offset, writer);
        if self.writers.len() > self.most
            && let Some((_, oldest)) = self.by_offset.pop_first()
        {
            self.writers.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_dropped_and_writers_do_not_disturb_each_other() {
        let mut seen = Seen::default();
        let met = [(1, 1), (1, 2), (2, 1), (1, 1), (1, 2), (1, 3), (2, 2), (2, 1)];
        let given: Vec<bool> = (0..)
            .zip(met)
            .map(|(offset, (writer, seq))| seen.first(WriterId(writer), seq, offset))
            .collect();
        assert_eq!(given, [true, true, true, false, false, true, true, false]);
    }

    #[test]
    fn a_batch_of_which_only_a_part_was_left_is_completed_by_its_copy() {
        let mut seen = Seen::default();
        let met = [1, 2, 1, 2, 3, 4];
        let given: Vec<u64> = (0..)
            .zip(met)
            .filter(|(at, seq)| seen.first(WriterId(1), *seq, *at))
            .map(|m| m.1)
            .collect();
        assert_eq!(given, [1, 2, 3, 4]);
    }

    #[test]
    fn at_the_limit_all_are_known_one_past_it_the_furthest_is_forgotten() {
        let mut seen = Seen::with_most(3);
        for writer in 1..=3u64 {
            assert!(seen.first(WriterId(writer.into()), 1, writer));
        }
        assert!(!seen.first(WriterId(1), 1, 10), "still known at the limit");
        assert!(seen.first(WriterId(2), 2, 11));
        assert!(seen.first(WriterId(4), 1, 12));
        assert!(seen.first(WriterId(1), 1, 13), "the furthest to the front was forgotten");
        assert!(!seen.first(WriterId(2), 2, 14));
        assert!(seen.writers.len() == 3 && seen.by_offset.len() == 3);
    }
}
