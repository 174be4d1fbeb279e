//! Regions of files that are written over and over: what a read of one may give.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Tag;

/// Regions of a file.
pub(crate) const REGIONS: u64 = 7;

/// Regions have different lengths; some cross a border of blocks, the last one a border of chunks.
pub(crate) fn place(region: u64, chunk_bytes: u64) -> (u64, u64) {
    match region {
        0 => (0, 600),
        1 => (65_000, 1_200),
        2 => (chunk_bytes - 20_000, 15_000),
        3 => (chunk_bytes + 4_000, 40_000),
        4 => (chunk_bytes + 70_000, 24),
        5 => (2 * chunk_bytes + 1, (chunk_bytes / 4).min(70_000)),
        _ => (2 * chunk_bytes - 3_000, 3_001),
    }
}

/// The parts of a region in its chunks: chunk, place in the chunk, place in the region. A write is one of each part, and of the
/// whole only where there is one (MUT-4).
pub(crate) fn parts(region: u64, chunk_bytes: u64) -> Vec<(u64, u64, Range<usize>)> {
    let (offset, length) = place(region, chunk_bytes);
    let mut parts = Vec::new();
    let (mut at, end) = (offset, offset + length);
    while at < end {
        let until = end.min((at / chunk_bytes + 1) * chunk_bytes);
        let within = |place: u64| usize::try_from(place - offset).unwrap_or(usize::MAX);
        parts.push((at / chunk_bytes, at % chunk_bytes, within(at)..within(until)));
        at = until;
    }
    parts
}

/// What of a region is known. Its writes are numbered from 1; 0 is that it was never written.
#[derive(Debug, Default, Clone)]
pub(crate) struct Region {
    /// The last write that was begun.
    pub(crate) begun: u64,
    /// The last one that was acknowledged, and those that were begun since.
    pub(crate) may_hold: BTreeSet<u64>,
    /// What would be there if the power failed everywhere now.
    unsynced: BTreeSet<u64>,
    /// The power failed, and what is there may be of several.
    pub(crate) torn: bool,
}

/// What bytes of a region are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// What may be there.
    Good,
    /// What was there before.
    Old(u64),
    /// Of no write.
    Foreign,
}

impl Region {
    pub(crate) fn begins(&mut self) -> u64 {
        if self.begun == 0 {
            self.may_hold.insert(0);
            self.unsynced.insert(0);
        }
        self.begun += 1;
        self.may_hold.insert(self.begun);
        self.unsynced.insert(self.begun);
        self.begun
    }

    pub(crate) fn acknowledged(&mut self, write: u64) {
        self.may_hold = [write].into();
        self.torn = false;
    }

    /// A sync has ended that began when it was like this.
    pub(crate) fn synced(&mut self, before: &Self) {
        if before.torn {
            return;
        }
        self.unsynced =
            before.may_hold.iter().copied().chain(before.begun + 1..=self.begun).collect();
    }

    pub(crate) fn power_failed(&mut self) {
        self.may_hold.clone_from(&self.unsynced);
        self.torn |= self.may_hold.len() > 1;
    }

    /// A read gave this write: it is committed, and stays until a later one (mut-4).
    pub(crate) fn shown(&mut self, write: u64) {
        if !self.torn && self.may_hold.contains(&write) {
            self.may_hold.retain(|other| *other >= write);
        }
    }

    /// Which write these bytes are, if they are exactly one that may be there.
    pub(crate) fn which(&self, tag: Tag, part: &Range<usize>, bytes: &[u8]) -> Option<u64> {
        self.may_hold.iter().copied().find(|write| of(Tag { number: *write, ..tag }, part) == bytes)
    }

    /// What these bytes are, which are those of a part of the region; `since`: writes that were begun while they were read.
    pub(crate) fn judge(&self, tag: Tag, part: &Range<usize>, bytes: &[u8], since: u64) -> Bytes {
        let may_hold = || self.may_hold.iter().copied().chain(self.begun + 1..=since);
        let is = |write: &u64| of(Tag { number: *write, ..tag }, part) == bytes;
        if self.begun == 0 && since == 0 || may_hold().any(|write| is(&write)) {
            return Bytes::Good;
        }
        if self.torn && mixed(may_hold(), tag, part, bytes) {
            return Bytes::Good;
        }
        (0..=self.begun).rev().find(is).map_or(Bytes::Foreign, Bytes::Old)
    }

    /// Whether each of these bytes is of a write that may be there: so it is on a disk, where a write may be half done.
    pub(crate) fn is_of(&self, tag: Tag, part: &Range<usize>, bytes: &[u8]) -> bool {
        self.begun == 0 || mixed(self.may_hold.iter().copied(), tag, part, bytes)
    }
}

/// What a write puts there.
fn of(tag: Tag, part: &Range<usize>) -> Vec<u8> {
    match tag.number {
        0 => vec![0; part.len()],
        _ => tag.bytes()[part.clone()].to_vec(),
    }
}

fn mixed(writes: impl Iterator<Item = u64>, tag: Tag, part: &Range<usize>, bytes: &[u8]) -> bool {
    let mut good = vec![false; bytes.len()];
    for write in writes {
        let expected = of(Tag { number: write, ..tag }, part);
        for ((good, expected), byte) in good.iter_mut().zip(expected).zip(bytes) {
            *good |= expected == *byte;
        }
    }
    good.iter().all(|good| *good)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u64 = 128 << 10;
    const TAG: Tag = Tag { writer: 9, number: 0, length: 100 };
    const ALL: Range<usize> = 0..100;

    fn bytes(write: u64) -> Vec<u8> {
        of(Tag { number: write, ..TAG }, &ALL)
    }

    #[test]
    fn regions_do_not_overlap_and_one_crosses_a_border_of_chunks() {
        let mut all: Vec<_> = (0..REGIONS).map(|region| place(region, CHUNK)).collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{all:?}");
        let last = parts(REGIONS - 1, CHUNK);
        assert_eq!(last, [(1, CHUNK - 3_000, 0..3_000), (2, 0, 3_000..3_001)]);
        assert!((0..REGIONS - 1).all(|region| parts(region, CHUNK).len() == 1));
    }

    #[test]
    fn the_last_acknowledged_write_or_a_later_one_is_good_and_an_older_one_is_told() {
        let mut region = Region::default();
        assert_eq!(region.judge(TAG, &ALL, &bytes(0), 0), Bytes::Good);
        for write in 1..=3 {
            assert_eq!(region.begins(), write);
            region.acknowledged(write);
        }
        region.begins();
        for (write, expected) in [
            (3, Bytes::Good),
            (4, Bytes::Good),
            (2, Bytes::Old(2)),
            (0, Bytes::Old(0)),
            (5, Bytes::Foreign),
        ] {
            assert_eq!(region.judge(TAG, &ALL, &bytes(write), 4), expected, "{write}");
        }
        assert_eq!(region.judge(TAG, &ALL, &bytes(5), 5), Bytes::Good, "begun while it was read");
        let half = [&bytes(3)[..50], &bytes(4)[50..]].concat();
        assert_eq!(region.judge(TAG, &ALL, &half, 4), Bytes::Foreign);
        assert!(region.is_of(TAG, &ALL, &half) && !region.is_of(TAG, &ALL, &bytes(2)));
    }

    #[test]
    fn what_was_shown_stays() {
        let mut region = Region::default();
        let writes = [region.begins(), region.begins(), region.begins()];
        assert_eq!(region.which(TAG, &ALL, &bytes(2)), Some(writes[1]));
        region.shown(2);
        assert_eq!(region.judge(TAG, &ALL, &bytes(1), 3), Bytes::Old(1));
        assert_eq!(region.judge(TAG, &ALL, &bytes(2), 3), Bytes::Good);
        assert_eq!(region.judge(TAG, &ALL, &bytes(3), 3), Bytes::Good);
    }

    #[test]
    fn when_the_power_fails_everywhere_what_was_synced_stays() {
        let mut region = Region::default();
        let first = region.begins();
        region.acknowledged(first);
        let before = region.clone();
        region.synced(&before);
        let mut failed = region.clone();
        failed.power_failed();
        assert_eq!(failed.judge(TAG, &ALL, &bytes(0), 1), Bytes::Old(0));
        assert_eq!(failed.judge(TAG, &ALL, &bytes(1), 1), Bytes::Good);
        let second = region.begins();
        region.acknowledged(second);
        region.power_failed();
        let half = [&bytes(1)[..50], &bytes(2)[50..]].concat();
        assert_eq!(region.judge(TAG, &ALL, &half, 2), Bytes::Good, "not synced");
        assert_eq!(region.judge(TAG, &ALL, &bytes(0), 2), Bytes::Old(0));
        let third = region.begins();
        region.acknowledged(third);
        assert_eq!(region.judge(TAG, &ALL, &half, 3), Bytes::Foreign);
    }
}
