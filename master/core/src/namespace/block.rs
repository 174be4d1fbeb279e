//! Some names of a directory in a row, each written as what differs from the one before (front coding).
//!
//! One entry: how many bytes the name shares with the one before it, and no more (u8); how many follow (u8); the place of
//! its node, as the signed difference to the one before (zigzag, seven bits a byte, shortest form); the bytes that follow.
//! The first entry shares nothing and counts from place 0. The same bytes stand in an image (`docs/formats/checkpoint.md`).

use gfs_types::limits::NAME_BYTES_MAX;
use gfs_types::path::check_name;

/// Names in one block: half of them are read to find one, and each block costs some 40 bytes beside its names.
pub(crate) const BLOCK_NAMES_MAX: usize = 32;

/// At least one name, in byte order.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// The place of the directory.
    pub(super) directory: u32,
    names: u8,
    bytes: Box<[u8]>,
}

/// Where a name that is not there would stand.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gap {
    /// So many names before it.
    pub(super) names: usize,
    /// Of the entry that would follow.
    at: usize,
    /// What the name shares with the one before, and its place.
    shared: usize,
    place: u32,
    /// What the name shares with the one that would follow.
    shared_after: usize,
}

/// Reads entries one after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries<'a> {
    rest: &'a [u8],
    place: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) shared: usize,
    pub(super) suffix: &'a [u8],
    pub(super) place: u32,
}

/// Builds entries one after the other.
#[derive(Debug, Default)]
pub(crate) struct Coder {
    pub(crate) names: u8,
    pub(crate) bytes: Vec<u8>,
    last: Vec<u8>,
    place: u32,
}

impl Block {
    pub(super) fn of_one(directory: u32, name: &[u8], place: u32) -> Self {
        let mut bytes = Vec::with_capacity(2 + delta_bytes(0, place) + name.len());
        put(&mut bytes, 0, &[name], 0, place);
        Self { directory, names: 1, bytes: bytes.into() }
    }

    pub(super) fn names(&self) -> usize {
        usize::from(self.names)
    }

    pub(super) fn entries(&self) -> Entries<'_> {
        Entries { rest: &self.bytes, place: 0 }
    }

    pub(super) fn first_name(&self) -> &[u8] {
        self.entries().next().map_or(&[], |entry| entry.suffix)
    }

    pub(super) fn last_name(&self) -> Vec<u8> {
        let mut name = Vec::new();
        self.entries().for_each(|entry| entry.read(&mut name));
        name
    }

    /// The place of a name, or where it would stand.
    pub(super) fn find(&self, name: &[u8]) -> Result<u32, Gap> {
        let mut gap = Gap::default();
        let mut entries = self.entries();
        while let Some(entry) = entries.next() {
            // One that shares more with its predecessor than the name does stands before the name as that one did; one
            // that shares less is above it.
            if entry.shared < gap.shared {
                gap.shared_after = entry.shared;
                return Err(gap);
            }
            if entry.shared == gap.shared {
                let (wanted, here) = (&name[gap.shared..], entry.suffix);
                let same = common(wanted, here);
                match (wanted.get(same), here.get(same)) {
                    (None, None) => return Ok(entry.place),
                    (Some(wanted), Some(here)) if wanted > here => gap.shared += same,
                    (Some(_), None) => gap.shared += same,
                    _ => {
                        gap.shared_after = gap.shared + same;
                        return Err(gap);
                    }
                }
            }
            gap.names += 1;
            gap.at = self.bytes.len() - entries.rest.len();
            gap.place = entry.place;
        }
        Err(gap)
    }

    /// The name of the node at a place, read into `name`.
    pub(super) fn name_of(&self, place: u32, name: &mut Vec<u8>) -> bool {
        name.clear();
        self.entries().any(|entry| {
            entry.read(name);
            entry.place == place
        })
    }

    /// Puts a name where it belongs, as [`Self::find`] told. There must be room.
    pub(super) fn insert(&mut self, gap: Gap, name: &[u8], place: u32) {
        let (before, after) = self.bytes.split_at(gap.at);
        let mut entries = Entries { rest: after, place: gap.place };
        let next = entries.next();
        let suffix = &name[gap.shared..];
        let mut size = before.len() + 2 + delta_bytes(gap.place, place) + suffix.len();
        let next = next.map(|next| {
            // It shares more with the new name than with the one before that, or as much.
            let suffix = &next.suffix[gap.shared_after - next.shared..];
            size += 2 + delta_bytes(place, next.place) + suffix.len() + entries.rest.len();
            (suffix, next.place)
        });
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(before);
        put(&mut bytes, gap.shared, &[suffix], gap.place, place);
        if let Some((suffix, next)) = next {
            put(&mut bytes, gap.shared_after, &[suffix], place, next);
            bytes.extend_from_slice(entries.rest);
        }
        debug_assert_eq!(bytes.len(), size);
        self.bytes = bytes.into();
        self.names += 1;
    }

    /// Takes the name of the node at a place out, which must be there; gives how many names stood before it.
    pub(super) fn remove(&mut self, place: u32) -> usize {
        let mut entries = self.entries();
        let (mut names, mut at, mut before) = (0, 0, 0);
        let gone = loop {
            let entry = entries.next().expect("a node's block lists its place");
            if entry.place == place {
                break entry;
            }
            names += 1;
            at = self.bytes.len() - entries.rest.len();
            before = entry.place;
        };
        let mut bytes = Vec::with_capacity(self.bytes.len());
        bytes.extend_from_slice(&self.bytes[..at]);
        if let Some(next) = entries.next() {
            // What it shared with the one that goes and not with the one before, it must have itself.
            let shared = next.shared.min(gone.shared);
            let inherited = &gone.suffix[..next.shared - shared];
            put(&mut bytes, shared, &[inherited, next.suffix], before, next.place);
            bytes.extend_from_slice(entries.rest);
        }
        self.bytes = bytes.into();
        self.names -= 1;
        names
    }

    /// Cuts all behind the first so many names off: a block of their own.
    pub(super) fn split_off(&mut self, names: usize) -> Self {
        let mut name = Vec::new();
        let mut entries = self.entries();
        entries.by_ref().take(names).for_each(|entry| entry.read(&mut name));
        let at = self.bytes.len() - entries.rest.len();
        let first = entries.next().expect("a block is cut where names follow");
        first.read(&mut name);
        let rest = entries.rest;
        let mut bytes =
            Vec::with_capacity(2 + delta_bytes(0, first.place) + name.len() + rest.len());
        put(&mut bytes, 0, &[&name], 0, first.place);
        bytes.extend_from_slice(rest);
        let names = u8::try_from(names).expect("fewer than BLOCK_NAMES_MAX");
        let right =
            Self { directory: self.directory, names: self.names - names, bytes: bytes.into() };
        self.bytes = self.bytes[..at].into();
        self.names = names;
        right
    }

    /// Puts the names of the next block behind its own.
    pub(super) fn append(&mut self, right: &Self) {
        let mut last = Vec::new();
        let mut place = 0;
        for entry in self.entries() {
            entry.read(&mut last);
            place = entry.place;
        }
        let mut entries = right.entries();
        let first = entries.next().expect("no block is empty");
        let shared = common(&last, first.suffix);
        let mut bytes = Vec::with_capacity(self.bytes.len() + right.bytes.len());
        bytes.extend_from_slice(&self.bytes);
        put(&mut bytes, shared, &[&first.suffix[shared..]], place, first.place);
        bytes.extend_from_slice(entries.rest);
        self.bytes = bytes.into();
        self.names += right.names;
    }

    /// From an image: takes the bytes as they stand if they are in order, behind the name `last`, which becomes the last of
    /// these.
    pub(super) fn load(
        directory: u32,
        names: usize,
        bytes: &[u8],
        last: &mut Vec<u8>,
    ) -> Result<Self, String> {
        let mut entries = Entries { rest: bytes, place: 0 };
        let count = u8::try_from(names).ok().filter(|_| (1..=BLOCK_NAMES_MAX).contains(&names));
        let Some(count) = count else { return Err(format!("{names} names in a block")) };
        for number in 0..names {
            let entry = entries.next().ok_or("a block of names ends early")?;
            if number == 0 {
                if entry.shared != 0 || entry.suffix <= last.as_slice() {
                    return Err("the names of two blocks are out of order".to_owned());
                }
            } else if !entry.follows(last) {
                return Err("the names of a block are out of order".to_owned());
            }
            entry.read(last);
            check_bytes(last, entry.shared)?;
        }
        if !entries.rest.is_empty() {
            return Err("a block of names is too long".to_owned());
        }
        Ok(Self { directory, names: count, bytes: bytes.into() })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let [shared, length, rest @ ..] = self.rest else { return None };
        let (delta, rest) = take_delta(rest)?;
        let (suffix, rest) = rest.split_at_checked(usize::from(*length))?;
        self.place = self.place.wrapping_add_signed(delta);
        self.rest = rest;
        Some(Entry { shared: usize::from(*shared), suffix, place: self.place })
    }
}

impl Entry<'_> {
    /// Makes the name of the entry before it into its own.
    pub(super) fn read(&self, name: &mut Vec<u8>) {
        name.truncate(self.shared);
        name.extend_from_slice(self.suffix);
    }

    /// Whether it stands above the name before it, and shares as much with it as it says.
    fn follows(&self, last: &[u8]) -> bool {
        match (last.get(self.shared), self.suffix.first()) {
            (Some(last), Some(here)) => last < here,
            (None, Some(_)) => self.shared == last.len(),
            _ => false,
        }
    }
}

impl Coder {
    /// The next name, above the one before.
    pub(crate) fn push(&mut self, name: &[u8], place: u32) {
        let shared = common(&self.last, name);
        put(&mut self.bytes, shared, &[&name[shared..]], self.place, place);
        self.names += 1;
        self.place = place;
        self.last.truncate(shared);
        self.last.extend_from_slice(&name[shared..]);
    }
}

/// How many bytes two names begin with alike.
pub(super) fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// A name from an image, of which the first bytes were checked with the one before.
fn check_bytes(name: &[u8], checked: usize) -> Result<(), String> {
    let text = std::str::from_utf8(name).map_err(|_| "a name is not UTF-8")?;
    let plain = !name[checked..].iter().any(|byte| matches!(byte, 0 | b'/'));
    if plain && (3..=NAME_BYTES_MAX).contains(&name.len()) {
        return Ok(());
    }
    if !plain || name.is_empty() {
        return Err(format!("`{text}` is no name"));
    }
    check_name(text).map_err(|error| error.to_string())
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "names and what they share have at most 255 bytes"
)]
fn put(bytes: &mut Vec<u8>, shared: usize, suffix: &[&[u8]], before: u32, place: u32) {
    let length: usize = suffix.iter().map(|part| part.len()).sum();
    debug_assert!(shared + length <= NAME_BYTES_MAX);
    bytes.extend_from_slice(&[shared as u8, length as u8]);
    let mut rest = zigzag(before, place);
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    suffix.iter().for_each(|part| bytes.extend_from_slice(part));
}

fn zigzag(before: u32, place: u32) -> u32 {
    let delta = place.wrapping_sub(before);
    delta << 1 ^ ((delta.cast_signed() >> 31).cast_unsigned())
}

fn delta_bytes(before: u32, place: u32) -> usize {
    let bits = 32 - zigzag(before, place).leading_zeros() as usize;
    bits.div_ceil(7).max(1)
}

fn take_delta(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let mut value = 0_u32;
    for (number, byte) in bytes.iter().take(5).enumerate() {
        if number == 4 && *byte > 0x0f {
            return None;
        }
        value |= u32::from(byte & 0x7f) << (7 * number);
        if byte & 0x80 == 0 {
            let shortest = number == 0 || *byte != 0;
            let delta = (value >> 1).cast_signed() ^ -((value & 1).cast_signed());
            return shortest.then_some((delta, &bytes[number + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Naive = BTreeMap<Vec<u8>, u32>;

    fn read(block: &Block) -> Vec<(Vec<u8>, u32)> {
        let mut name = Vec::new();
        let read = block.entries().map(|entry| {
            entry.read(&mut name);
            (name.clone(), entry.place)
        });
        read.collect()
    }

    /// The bytes are those that the names give when they are written one after the other: there is one form.
    fn check(block: &Block, naive: &Naive) {
        assert!(read(block).into_iter().eq(naive.clone()));
        let mut coder = Coder::default();
        naive.iter().for_each(|(name, place)| coder.push(name, *place));
        assert_eq!(coder.bytes, &*block.bytes);
        assert_eq!((usize::from(coder.names), block.names()), (naive.len(), naive.len()));
        let mut last = Vec::new();
        let loaded = Block::load(9, block.names(), &block.bytes, &mut last).unwrap();
        assert_eq!(loaded.bytes, block.bytes);
        assert_eq!(last, block.last_name());
        assert_eq!(block.first_name(), naive.keys().next().unwrap());
        let mut name = Vec::new();
        for (known, place) in naive {
            assert_eq!(block.find(known).unwrap(), *place);
            assert!(block.name_of(*place, &mut name) && name == *known);
        }
    }

    fn names() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            "[ab]{1,6}".prop_map(String::into_bytes),
            "part-[0-9]{5}".prop_map(String::into_bytes),
            "é?ü?[a-z]{1,3}".prop_map(String::into_bytes),
            (0..3_usize).prop_map(|n| vec![b'x'; 253 + n]),
        ]
    }

    fn block_of(naive: &Naive) -> Block {
        let mut all = naive.iter();
        let (name, place) = all.next().unwrap();
        let mut block = Block::of_one(9, name, *place);
        for (name, place) in all {
            block.insert(block.find(name).unwrap_err(), name, *place);
        }
        block
    }

    proptest! {
        #[test]
        fn a_block_does_what_a_map_does(ops in prop::collection::vec((names(), any::<u32>(), any::<bool>()), 1..80)) {
            let (first, place, _) = &ops[0];
            let mut naive = Naive::from([(first.clone(), *place)]);
            let mut block = Block::of_one(9, first, *place);
            for (name, place, add) in &ops {
                match block.find(name) {
                    Ok(place) => {
                        prop_assert_eq!(naive.get(name), Some(&place));
                        if naive.len() > 1 {
                            let before = naive.range(..name.clone()).count();
                            prop_assert_eq!(block.remove(place), before);
                            naive.remove(name);
                        }
                    }
                    Err(gap) => {
                        prop_assert!(!naive.contains_key(name));
                        prop_assert_eq!(gap.names, naive.range(..name.clone()).count());
                        let room = naive.len() < BLOCK_NAMES_MAX && !naive.values().any(|known| known == place);
                        if *add && room {
                            block.insert(gap, name, *place);
                            naive.insert(name.clone(), *place);
                        }
                    }
                }
                check(&block, &naive);
            }
        }

        #[test]
        fn a_block_is_cut_and_joined(all in prop::collection::btree_map(names(), 0..1000_u32, 2..32), cut in any::<prop::sample::Index>()) {
            let places: std::collections::BTreeSet<_> = all.values().collect();
            prop_assume!(places.len() == all.len());
            let mut block = block_of(&all);
            let at = 1 + cut.index(all.len() - 1);
            let right = block.split_off(at);
            check(&block, &all.clone().into_iter().take(at).collect());
            check(&right, &all.clone().into_iter().skip(at).collect());
            prop_assert_eq!(right.directory, 9);
            block.append(&right);
            check(&block, &all);
        }

        #[test]
        fn any_bytes_are_a_block_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), names in 0..5_usize) {
            if let Ok(block) = Block::load(9, names, &bytes, &mut Vec::new()) {
                let naive: Naive = read(&block).into_iter().collect();
                prop_assert_eq!(naive.len(), names);
            }
        }

        #[test]
        fn changed_bytes_are_a_block_or_are_refused(all in prop::collection::btree_map(names(), any::<u32>(), 1..9), at in any::<prop::sample::Index>(), to in 0..130_u8) {
            let mut bytes = block_of(&all).bytes.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(block) = Block::load(9, all.len(), &bytes, &mut Vec::new()) {
                let mut coder = Coder::default();
                read(&block).iter().for_each(|(name, place)| coder.push(name, *place));
                prop_assert_eq!(coder.bytes, bytes);
            }
        }
    }

    #[test]
    fn what_is_no_name_is_refused_from_an_image() {
        let load = |name: &[u8]| {
            let mut bytes = Vec::new();
            put(&mut bytes, 0, &[name], 0, 1);
            Block::load(9, 1, &bytes, &mut Vec::new())
        };
        for bad in ["", ".", "..", "a/b", "a\0b"] {
            assert!(load(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(load(&[b'a', 0xff]).is_err(), "not UTF-8");
        for good in ["a", "...", "é"] {
            assert!(load(good.as_bytes()).is_ok(), "{good}");
        }
        assert!(load(&[b'x'; 255]).is_ok());
    }

    #[test]
    fn a_place_takes_few_bytes_when_it_is_near_the_one_before() {
        for (before, place, bytes) in [(0, 0, 1), (5, 6, 1), (6, 5, 1), (0, 64, 2), (0, 1 << 20, 4)]
        {
            assert_eq!(delta_bytes(before, place), bytes);
        }
        for (before, place) in [(0, u32::MAX), (u32::MAX, 0), (1 << 31, 0), (0, 1 << 31), (7, 7)] {
            let mut bytes = Vec::new();
            put(&mut bytes, 0, &[], before, place);
            let (delta, rest) = take_delta(&bytes[2..]).unwrap();
            assert_eq!((before.wrapping_add_signed(delta), rest), (place, &[][..]));
        }
    }
}
