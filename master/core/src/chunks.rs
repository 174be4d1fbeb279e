//! Chunks: handle to version, member count, numbers started, goal and references (§2.6.1).

use std::collections::BTreeMap;

use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ServerUid};
use gfs_types::limits::REPLICAS_MIN;

use crate::paged::Paged;

/// What is durable of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Of the last raise that ended.
    pub(crate) version: ChunkVersion,
    /// How many replicas stored that version, 1 to 7; 0 where one did, alone, which acknowledges nothing (mut-6).
    pub(crate) members: u8,
    /// Replicas wanted, 1 to 7.
    pub(crate) goal: u8,
    /// How many files hold it.
    pub(crate) references: u32,
}

impl Chunk {
    /// mut-6: one replica has the version, the chunk wants more, and nothing was acknowledged under it.
    pub(crate) fn is_alone(&self) -> bool {
        self.members == 0
    }

    /// How many replicas stored the version, whatever they may acknowledge.
    pub(crate) fn stored(&self) -> usize {
        usize::from(self.members.max(1))
    }

    /// With fewer at hand, what was acknowledged may be only on one that is away.
    pub(crate) fn holders_min(&self) -> u32 {
        u32::try_from(self.stored().max(self.members_min())).unwrap_or(u32::MAX)
    }

    /// Fewer acknowledge nothing: what one has alone dies with it (mut-6). A chunk that never had two, for there was no other
    /// server, is served by the one it has.
    pub(crate) fn members_min(&self) -> usize {
        let wanted = REPLICAS_MIN.min(usize::from(self.goal));
        if self.is_alone() { wanted } else { wanted.min(usize::from(self.members)) }
    }
}

/// The version every chunk is born with.
pub(crate) const FIRST_VERSION: ChunkVersion = ChunkVersion(1);
/// The version of a replica that has yet to learn anything: below that of every chunk.
pub(crate) const NO_VERSION: ChunkVersion = ChunkVersion(0);

/// A chunk in four bytes, which nearly all fit into: 23 bits of the version, then 3 bits each of members, goal and references.
/// Seven references stand for "too large": then the whole chunk is in a table of its own, and nothing is ever cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Small(u32);

impl Small {
    const TOO_LARGE: Self = Self(0b111);

    fn of(chunk: &Chunk) -> Option<Self> {
        let version = u32::try_from(chunk.version.0).ok().filter(|version| *version < 1 << 23)?;
        let references = Some(chunk.references).filter(|references| *references < 0b111)?;
        let fits = chunk.members < 8 && chunk.goal < 8;
        let counts = u32::from(chunk.members) << 6 | u32::from(chunk.goal) << 3 | references;
        fits.then_some(Self(version << 9 | counts))
    }

    /// Held by one file more; `None` when that is too large.
    fn held_once_more(self) -> Option<Self> {
        // The references are the lowest bits.
        (self.0 & 0b111 < 0b110).then_some(Self(self.0 + 1))
    }

    /// `None` when it is too large.
    fn chunk(self) -> Option<Chunk> {
        let bits = |from: u32| (self.0 >> from & 0b111) as u8;
        (bits(0) != 0b111).then_some(Chunk {
            version: ChunkVersion(u64::from(self.0 >> 9)),
            members: bits(6),
            goal: bits(3),
            references: u32::from(bits(0)),
        })
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Chunks {
    table: Paged<Small>,
    /// Those whose place in the table says that they are too large for it.
    large: BTreeMap<ChunkHandle, Chunk>,
    /// The highest number logged for a raise, while it is above the version.
    started: BTreeMap<ChunkHandle, ChunkVersion>,
    /// Where the replicas of chunks that may not be born yet were to be made.
    unborn: BTreeMap<ChunkHandle, Vec<ServerUid>>,
    /// The highest handle ever given. Handles at or below it that are in no table were freed: none is given twice.
    last: ChunkHandle,
    /// The most replicas a chunk was ever born with: so many chunkservers there once were.
    most_members: u8,
}

impl Chunks {
    pub(crate) fn get(&self, handle: ChunkHandle) -> Option<Chunk> {
        let small = self.table.get(handle)?;
        small.chunk().or_else(|| self.large.get(&handle).copied())
    }

    fn put(&mut self, handle: ChunkHandle, chunk: Chunk) {
        let small = Small::of(&chunk).unwrap_or(Small::TOO_LARGE);
        let before = self.table.insert(handle, small);
        if small == Small::TOO_LARGE {
            self.large.insert(handle, chunk);
        } else if before == Some(Small::TOO_LARGE) {
            self.large.remove(&handle);
        }
    }

    fn remove(&mut self, handle: ChunkHandle) {
        if self.table.remove(handle) == Some(Small::TOO_LARGE) {
            self.large.remove(&handle);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ChunkHandle, Chunk)> {
        self.from(ChunkHandle(0))
    }

    /// From a handle on.
    pub(crate) fn from(&self, first: ChunkHandle) -> impl Iterator<Item = (ChunkHandle, Chunk)> {
        let chunk = |(handle, small): (ChunkHandle, &Small)| {
            let chunk = small.chunk().or_else(|| self.large.get(&handle).copied());
            chunk.map(|chunk| (handle, chunk))
        };
        self.table.from(first).filter_map(chunk)
    }

    /// Those that are too large for the table are exactly the ones its places say so of.
    pub(crate) fn is_consistent(&self) -> bool {
        let said = self.table.iter().filter(|(_, small)| **small == Small::TOO_LARGE);
        said.map(|(handle, _)| handle).eq(self.large.keys().copied())
            && self.large.values().all(|chunk| Small::of(chunk).is_none())
    }

    pub(crate) fn last(&self) -> ChunkHandle {
        self.last
    }

    pub(crate) fn most_members(&self) -> u8 {
        self.most_members
    }

    /// The handle of the next chunk.
    pub(crate) fn next(&self) -> ChunkHandle {
        ChunkHandle(self.last.0.checked_add(1).expect("64-bit handles do not run out"))
    }

    /// The highest number that a replica can have: the version, or what was started above it.
    pub(crate) fn started(&self, handle: ChunkHandle) -> Option<ChunkVersion> {
        let chunk = self.get(handle)?;
        Some(self.started.get(&handle).copied().unwrap_or(chunk.version))
    }

    /// Where its replicas were to be made, while it may not be born.
    pub(crate) fn unborn(&self, handle: ChunkHandle) -> Option<&[ServerUid]> {
        self.unborn.get(&handle).map(Vec::as_slice)
    }

    pub(crate) fn all_unborn(&self) -> impl Iterator<Item = (ChunkHandle, &[ServerUid])> {
        self.unborn.iter().map(|(handle, members)| (*handle, members.as_slice()))
    }

    pub(crate) fn all_started(&self) -> impl Iterator<Item = (ChunkHandle, ChunkVersion)> {
        self.started.iter().map(|(handle, number)| (*handle, *number))
    }

    /// A chunk of this log that no file holds any more: its replicas may be deleted.
    pub(crate) fn was_freed(&self, handle: ChunkHandle) -> bool {
        handle.0 > 0 && handle <= self.last && self.table.get(handle).is_none()
    }

    pub(crate) fn allocate(
        &mut self,
        handle: ChunkHandle,
        goal: u8,
        members: &[ServerUid],
    ) -> Result<(), String> {
        if handle <= self.last {
            return Err(format!("chunk handle {handle} was given before"));
        }
        let count = u8::try_from(members.len()).ok().filter(|count| (1..=7).contains(count));
        let Some(count) = count else { return Err(format!("{} members", members.len())) };
        self.last = handle;
        self.most_members = self.most_members.max(count);
        let chunk = Chunk { version: FIRST_VERSION, members: count, goal, references: 1 };
        self.put(handle, chunk);
        self.unborn.insert(handle, members.to_vec());
        Ok(())
    }

    pub(crate) fn born(&mut self, handle: ChunkHandle) -> Result<(), String> {
        match self.unborn.remove(&handle) {
            Some(_) => Ok(()),
            None => Err(format!("chunk {handle} is born, or is not there")),
        }
    }

    pub(crate) fn start(
        &mut self,
        handle: ChunkHandle,
        number: ChunkVersion,
    ) -> Result<(), String> {
        let highest = self.started(handle).ok_or_else(|| no_chunk(handle))?;
        if number <= highest {
            return Err(format!("number {number} of chunk {handle} is not above {highest}"));
        }
        self.started.insert(handle, number);
        Ok(())
    }

    pub(crate) fn raise(
        &mut self,
        handle: ChunkHandle,
        version: ChunkVersion,
        members: u8,
    ) -> Result<(), String> {
        if self.started.get(&handle) != Some(&version) {
            return Err(format!("version {version} of chunk {handle} was not the last started"));
        }
        let chunk = self.get(handle).ok_or_else(|| no_chunk(handle))?;
        self.put(handle, Chunk { version, members, ..chunk });
        self.started.remove(&handle);
        self.unborn.remove(&handle);
        Ok(())
    }

    /// One file less holds it; without any it is gone.
    pub(crate) fn release(&mut self, handle: ChunkHandle) -> Result<(), String> {
        let chunk = self.get(handle).ok_or_else(|| no_chunk(handle))?;
        let references = chunk.references.saturating_sub(1);
        if references == 0 {
            self.remove(handle);
            self.started.remove(&handle);
            self.unborn.remove(&handle);
        } else {
            self.put(handle, Chunk { references, ..chunk });
        }
        Ok(())
    }

    pub(crate) fn load_head(&mut self, last: ChunkHandle, most_members: u8) {
        self.last = last;
        self.most_members = most_members;
    }

    /// A chunk of an image, not yet held by any file.
    pub(crate) fn load(
        &mut self,
        handle: ChunkHandle,
        chunk: Chunk,
        started: Option<ChunkVersion>,
        unborn: Option<Vec<ServerUid>>,
    ) -> Result<(), String> {
        let news = self.table.last().is_none_or(|last| last < handle);
        let started_above = started.is_none_or(|number| number > chunk.version);
        let counted = chunk.members <= 7 && (1..=7).contains(&chunk.goal);
        let young = unborn.is_none() || chunk.version == FIRST_VERSION;
        if !young
            || chunk.version < FIRST_VERSION
            || !news
            || handle.0 == 0
            || handle > self.last
            || !started_above
            || !counted
        {
            return Err(format!("chunk {handle} cannot be"));
        }
        self.put(handle, chunk);
        if let Some(number) = started {
            self.started.insert(handle, number);
        }
        if let Some(members) = unborn {
            self.unborn.insert(handle, members);
        }
        Ok(())
    }

    /// A file of an image holds this chunk.
    pub(crate) fn load_reference(&mut self, handle: ChunkHandle) -> Result<(), String> {
        let small = self.table.get_mut(handle).ok_or_else(|| no_chunk(handle))?;
        if let Some(more) = small.held_once_more() {
            *small = more;
            return Ok(());
        }
        let chunk = self.get(handle).ok_or_else(|| no_chunk(handle))?;
        let references =
            chunk.references.checked_add(1).ok_or("a chunk is held by too many files")?;
        self.put(handle, Chunk { references, ..chunk });
        Ok(())
    }
}

fn no_chunk(handle: ChunkHandle) -> String {
    format!("chunk {handle} is not there")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk(version: u64, members: u8, goal: u8, references: u32) -> Chunk {
        Chunk { version: ChunkVersion(version), members, goal, references }
    }

    #[test]
    fn what_does_not_fit_four_bytes_is_kept_whole() {
        let fits = chunk((1 << 23) - 1, 7, 7, 6);
        let too_large = [
            chunk(1 << 23, 3, 3, 1),
            chunk(u64::MAX, 7, 7, u32::MAX),
            chunk(1 << 32, 3, 3, 1),
            chunk(1, 3, 3, 7),
            chunk(1, 8, 3, 1),
            chunk(1, 3, 255, 1),
        ];
        assert_eq!(Small::of(&fits).and_then(Small::chunk), Some(fits));
        for large in too_large {
            assert_eq!(Small::of(&large), None);
            let mut chunks = Chunks::default();
            for now in [large, fits, large] {
                chunks.put(ChunkHandle(1), now);
                assert_eq!(chunks.get(ChunkHandle(1)), Some(now));
                assert_eq!(chunks.iter().collect::<Vec<_>>(), [(ChunkHandle(1), now)]);
                assert!(chunks.is_consistent());
            }
            chunks.remove(ChunkHandle(1));
            assert!(chunks.is_consistent() && chunks.len() == 0);
        }
    }

    #[test]
    fn a_chunk_may_be_held_by_any_number_of_files() {
        let mut chunks = Chunks::default();
        chunks.put(ChunkHandle(1), chunk((1 << 23) - 1, 7, 7, 0));
        for references in 1..20 {
            chunks.load_reference(ChunkHandle(1)).unwrap();
            assert_eq!(chunks.get(ChunkHandle(1)), Some(chunk((1 << 23) - 1, 7, 7, references)));
        }
        for references in (1..19).rev() {
            chunks.release(ChunkHandle(1)).unwrap();
            assert_eq!(chunks.get(ChunkHandle(1)).map(|chunk| chunk.references), Some(references));
        }
        assert!(chunks.is_consistent());
    }

    proptest! {
        #[test]
        fn any_chunk_comes_back(
            version in prop_oneof![0..(1_u64 << 24), any::<u64>()],
            members in any::<u8>(),
            goal in 0..9_u8,
            references in prop_oneof![0..9_u32, any::<u32>()],
        ) {
            let chunk = chunk(version, members, goal, references);
            let mut chunks = Chunks::default();
            chunks.put(ChunkHandle(5), chunk);
            prop_assert_eq!(chunks.get(ChunkHandle(5)), Some(chunk));
        }
    }
}
