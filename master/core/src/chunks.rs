//! Chunks: handle to version, member count, numbers started, goal and references (§2.6.1).

use std::collections::BTreeMap;

use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ServerUid};

/// What is durable of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Of the last raise that ended.
    pub(crate) version: ChunkVersion,
    /// How many replicas stored that version, 1 to 7.
    pub(crate) members: u8,
    /// Replicas wanted, 1 to 7.
    pub(crate) goal: u8,
    /// How many files hold it.
    pub(crate) references: u32,
}

/// The version every chunk is born with.
pub(crate) const FIRST_VERSION: ChunkVersion = ChunkVersion(1);
/// The version of a replica that has yet to learn anything: below that of every chunk.
pub(crate) const NO_VERSION: ChunkVersion = ChunkVersion(0);

#[derive(Debug, Clone, Default)]
pub(crate) struct Chunks {
    table: BTreeMap<ChunkHandle, Chunk>,
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
    pub(crate) fn get(&self, handle: ChunkHandle) -> Option<&Chunk> {
        self.table.get(&handle)
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ChunkHandle, &Chunk)> {
        self.table.iter().map(|(handle, chunk)| (*handle, chunk))
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
        let chunk = self.table.get(&handle)?;
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
        handle.0 > 0 && handle <= self.last && !self.table.contains_key(&handle)
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
        self.table.insert(handle, chunk);
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
        let chunk = self.table.get_mut(&handle).ok_or_else(|| no_chunk(handle))?;
        if members == 0 {
            return Err(format!("version {version} of chunk {handle} has no member"));
        }
        chunk.version = version;
        chunk.members = members;
        self.started.remove(&handle);
        self.unborn.remove(&handle);
        Ok(())
    }

    /// One file less holds it; without any it is gone.
    pub(crate) fn release(&mut self, handle: ChunkHandle) -> Result<(), String> {
        let chunk = self.table.get_mut(&handle).ok_or_else(|| no_chunk(handle))?;
        chunk.references = chunk.references.saturating_sub(1);
        if chunk.references == 0 {
            self.table.remove(&handle);
            self.started.remove(&handle);
            self.unborn.remove(&handle);
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
        let news = self.table.last_key_value().is_none_or(|(last, _)| *last < handle);
        let started_above = started.is_none_or(|number| number > chunk.version);
        let counted = (1..=7).contains(&chunk.members) && (1..=7).contains(&chunk.goal);
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
        self.table.insert(handle, chunk);
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
        let chunk = self.table.get_mut(&handle).ok_or_else(|| no_chunk(handle))?;
        chunk.references =
            chunk.references.checked_add(1).ok_or("a chunk is held by too many files")?;
        Ok(())
    }
}

fn no_chunk(handle: ChunkHandle) -> String {
    format!("chunk {handle} is not there")
}
