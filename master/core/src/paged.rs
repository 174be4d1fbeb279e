//! A table by chunk handle, in order. Handles are given in rising order and never again, so most of a range is there: pages of 256
//! neighbours hold a bit for each and the values that are there, side by side. A hole costs a bit, a value no more than itself.

use std::collections::BTreeMap;

use gfs_types::ids::ChunkHandle;

/// Handles in one page, and pages under one top.
const PLACES: usize = 256;

/// Values by handle. What is there takes its own size and about a byte.
#[derive(Debug, Clone)]
pub(crate) struct Paged<T> {
    /// 256 pages each, by the bits of the handle above 16. Few, and so in the cache.
    tops: BTreeMap<u64, Page<Page<T>>>,
    len: usize,
}

/// Up to 256 values: `values` has those whose bit is set, in order.
#[derive(Debug, Clone)]
struct Page<T> {
    present: [u64; PLACES / 64],
    values: Vec<T>,
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self { tops: BTreeMap::new(), len: 0 }
    }
}

/// Where a handle is: top, page, place.
fn place(handle: ChunkHandle) -> (u64, u8, u8) {
    let [place, page, ..] = handle.0.to_le_bytes();
    (handle.0 >> 16, page, place)
}

impl<T> Paged<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, handle: ChunkHandle) -> Option<&T> {
        let (top, page, place) = place(handle);
        self.tops.get(&top)?.get(page)?.get(place)
    }

    pub(crate) fn get_mut(&mut self, handle: ChunkHandle) -> Option<&mut T> {
        let (top, page, place) = place(handle);
        self.tops.get_mut(&top)?.get_mut(page)?.get_mut(place)
    }

    /// Gives back what was there.
    pub(crate) fn insert(&mut self, handle: ChunkHandle, value: T) -> Option<T> {
        let (top, page, place) = place(handle);
        let old = self.tops.entry(top).or_default().get_or_default(page).insert(place, value);
        self.len += usize::from(old.is_none());
        old
    }

    pub(crate) fn remove(&mut self, handle: ChunkHandle) -> Option<T> {
        let (top, page, place) = place(handle);
        let pages = self.tops.get_mut(&top)?;
        let values = pages.get_mut(page)?;
        let old = values.remove(place)?;
        self.len -= 1;
        if values.values.is_empty() {
            pages.remove(page);
        }
        if pages.values.is_empty() {
            self.tops.remove(&top);
        }
        Some(old)
    }

    /// The highest handle.
    pub(crate) fn last(&self) -> Option<ChunkHandle> {
        let (top, pages) = self.tops.last_key_value()?;
        let (page, values) = pages.last()?;
        let (place, _) = values.last()?;
        Some(handle_at(*top, page, place))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ChunkHandle, &T)> {
        self.from(ChunkHandle(0))
    }

    /// From a handle on.
    pub(crate) fn from(&self, first: ChunkHandle) -> impl Iterator<Item = (ChunkHandle, &T)> {
        let (first_top, first_page, first_place) = place(first);
        self.tops.range(first_top..).flat_map(move |(top, pages)| {
            let in_first = *top == first_top;
            let from = if in_first { first_page } else { 0 };
            pages.from(from).flat_map(move |(page, values)| {
                let from = if in_first && page == first_page { first_place } else { 0 };
                values.from(from).map(move |(place, value)| (handle_at(*top, page, place), value))
            })
        })
    }
}

fn handle_at(top: u64, page: u8, place: u8) -> ChunkHandle {
    ChunkHandle(top << 16 | u64::from(page) << 8 | u64::from(place))
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { present: [0; PLACES / 64], values: Vec::new() }
    }
}

impl<T> Page<T> {
    fn has(&self, place: u8) -> bool {
        self.present[usize::from(place >> 6)] >> (place & 63) & 1 == 1
    }

    /// How many there are before this place.
    fn rank(&self, place: u8) -> usize {
        if self.values.len() == PLACES {
            return usize::from(place);
        }
        let word = usize::from(place >> 6);
        let below = self.present[word] & ((1_u64 << (place & 63)) - 1);
        // The page that is filled now: the same without counting.
        if below == (1 << (place & 63)) - 1
            && self.present[..word].iter().all(|word| *word == u64::MAX)
        {
            return usize::from(place);
        }
        let before = self.present[..word].iter().map(|word| word.count_ones()).sum::<u32>();
        (before + below.count_ones()) as usize
    }

    fn get(&self, place: u8) -> Option<&T> {
        if !self.has(place) {
            return None;
        }
        self.values.get(self.rank(place))
    }

    fn get_mut(&mut self, place: u8) -> Option<&mut T> {
        if !self.has(place) {
            return None;
        }
        let at = self.rank(place);
        self.values.get_mut(at)
    }

    fn get_or_default(&mut self, place: u8) -> &mut T
    where
        T: Default,
    {
        let at = self.rank(place);
        if !self.has(place) {
            self.put(at, place, T::default());
        }
        &mut self.values[at]
    }

    fn insert(&mut self, place: u8, value: T) -> Option<T> {
        let at = self.rank(place);
        if self.has(place) {
            return Some(std::mem::replace(&mut self.values[at], value));
        }
        self.put(at, place, value);
        None
    }

    fn put(&mut self, at: usize, place: u8, value: T) {
        self.present[usize::from(place >> 6)] |= 1 << (place & 63);
        // Grows by doubling, so a page that is full has no room to spare.
        self.values.insert(at, value);
    }

    fn remove(&mut self, place: u8) -> Option<T> {
        if !self.has(place) {
            return None;
        }
        let at = self.rank(place);
        self.present[usize::from(place >> 6)] &= !(1 << (place & 63));
        let value = self.values.remove(at);
        if self.values.len() <= self.values.capacity() / 2 {
            self.values.shrink_to_fit();
        }
        Some(value)
    }

    fn last(&self) -> Option<(u8, &T)> {
        let word = self.present.iter().rposition(|word| *word != 0)?;
        let place = word * 64 + 63 - self.present[word].leading_zeros() as usize;
        Some((u8::try_from(place).ok()?, self.values.last()?))
    }

    /// From a place on.
    fn from(&self, first: u8) -> impl Iterator<Item = (u8, &T)> {
        let places = (first..=u8::MAX).filter(|place| self.has(*place));
        places.zip(&self.values[self.rank(first)..])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Op {
        Insert(u64, u32),
        Change(u64, u32),
        Remove(u64),
    }

    /// Dense, with far and very far ones between.
    fn handles() -> impl Strategy<Value = u64> {
        prop_oneof![
            6 => 0..600_u64,
            2 => 65_400..65_700_u64,
            1 => Just(u64::MAX),
            1 => u64::MAX - 300..u64::MAX,
        ]
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            3 => (handles(), any::<u32>()).prop_map(|(handle, value)| Op::Insert(handle, value)),
            1 => (handles(), any::<u32>()).prop_map(|(handle, value)| Op::Change(handle, value)),
            2 => handles().prop_map(Op::Remove),
        ];
        prop::collection::vec(op, 0..800)
    }

    fn check(paged: &Paged<u32>, naive: &BTreeMap<u64, u32>, from: u64) {
        let all: Vec<_> = paged.iter().map(|(handle, value)| (handle.0, *value)).collect();
        assert_eq!(all, naive.iter().map(|(handle, value)| (*handle, *value)).collect::<Vec<_>>());
        let rest: Vec<_> = paged.from(ChunkHandle(from)).map(|(handle, _)| handle.0).collect();
        assert_eq!(rest, naive.range(from..).map(|(handle, _)| *handle).collect::<Vec<_>>());
        assert_eq!(paged.len(), naive.len());
        assert_eq!(paged.last().map(|last| last.0), naive.keys().next_back().copied());
    }

    proptest! {
        #[test]
        fn it_does_what_an_ordered_map_does(ops in ops(), from in handles()) {
            let (mut paged, mut naive) = (Paged::default(), BTreeMap::new());
            for op in ops {
                match op {
                    Op::Insert(at, value) => {
                        assert_eq!(paged.insert(ChunkHandle(at), value), naive.insert(at, value));
                    }
                    Op::Change(at, value) => {
                        let (one, other) = (paged.get_mut(ChunkHandle(at)), naive.get_mut(&at));
                        assert_eq!(one, other);
                        if let (Some(one), Some(other)) = (one, other) {
                            (*one, *other) = (value, value);
                        }
                    }
                    Op::Remove(at) => {
                        assert_eq!(paged.remove(ChunkHandle(at)), naive.remove(&at));
                    }
                }
                let (at, there) = naive.iter().next().map_or((7, None), |(at, v)| (*at, Some(v)));
                assert_eq!(paged.get(ChunkHandle(at)), there);
            }
            check(&paged, &naive, from);
        }
    }

    #[test]
    fn full_pages_and_emptied_ones_take_no_more_than_they_hold() {
        let mut paged = Paged::default();
        for handle in 1..=70_000 {
            paged.insert(ChunkHandle(handle), handle);
        }
        let room = |paged: &Paged<u64>| -> usize {
            let pages = paged.tops.values().flat_map(|pages| &pages.values);
            pages.map(|page| page.values.capacity()).sum()
        };
        assert!(room(&paged) < 70_000 + 2 * PLACES, "{}", room(&paged));
        for handle in (1..=70_000).filter(|handle| handle % 8 != 0) {
            paged.remove(ChunkHandle(handle));
        }
        assert!(room(&paged) <= 2 * paged.len(), "{}", room(&paged));
        for handle in (1..=70_000).filter(|handle| handle % 8 == 0) {
            paged.remove(ChunkHandle(handle));
        }
        assert!(paged.tops.is_empty());
    }
}
