//! What the client remembers of where chunks are and who takes their mutations: never file data (§2.3).
//!
//! Everything here is a hint. A chunkserver refuses what no longer holds, and then it is dropped.

use std::collections::BTreeMap;

use gfs_types::DurationMs;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{FileId, ServerUid};
use gfs_types::message::client::{ChunkLocation, FileLocations, LeaseGrant};
use gfs_types::message::control::ReplicaState;
use gfs_types::region::ChunkIndex;
use gfs_types::time::Instant;

/// Chunks and leases that are remembered at once: about 30 MB. Beyond it everything is forgotten and asked again.
pub(crate) const REMEMBERED_MAX: usize = 1 << 16;

/// The cache. Time is handed in.
#[derive(Debug, Default)]
pub(crate) struct Locations {
    chunks: BTreeMap<(FileId, ChunkIndex), Remembered<Option<ChunkLocation>>>,
    leases: BTreeMap<(FileId, ChunkIndex), Remembered<LeaseGrant>>,
    lengths: BTreeMap<FileId, u64>,
    /// The highest version under which a mutation of this client was acknowledged.
    acknowledged: BTreeMap<(FileId, ChunkIndex), ChunkVersion>,
}

/// The end of a lease that was refused.
const OVER: Instant = Instant { nanos: 0 };

#[derive(Debug, Clone)]
struct Remembered<T> {
    what: T,
    until: Instant,
}

impl Locations {
    /// Where a chunk is: `Some(None)` for a hole, `None` when nobody was asked yet.
    pub(crate) fn chunk(
        &self,
        now: Instant,
        file: FileId,
        index: ChunkIndex,
    ) -> Option<Option<ChunkLocation>> {
        let known = self.chunks.get(&(file, index)).filter(|known| now < known.until)?;
        Some(known.what.clone().map(|chunk| self.fenced(file, chunk)))
    }

    /// A mutation of this client was acknowledged under this version, maybe a higher one than any place that is remembered:
    /// who waits across a raise is answered by the next lease.
    pub(crate) fn acknowledged(&mut self, file: FileId, index: ChunkIndex, version: ChunkVersion) {
        self.make_room();
        let known = self.acknowledged.entry((file, index)).or_default();
        *known = version.max(*known);
    }

    /// The place, to be asked for no version under which what this client wrote may be missing: a replica that was left
    /// behind then refuses, instead of showing what was there before.
    pub(crate) fn fenced(&self, file: FileId, chunk: ChunkLocation) -> ChunkLocation {
        let least = self.acknowledged.get(&(file, chunk.index)).copied().unwrap_or_default();
        ChunkLocation { version: least.max(chunk.version), ..chunk }
    }

    /// Takes an answer of the master about `count` chunks from `first` on. What it leaves out below the number of the
    /// file's chunks are holes.
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        first: ChunkIndex,
        count: u64,
        answer: &FileLocations,
    ) {
        self.make_room();
        let file = answer.entry.id;
        let until = now + DurationMs(answer.valid_ms);
        let end = first.0.saturating_add(count).min(answer.entry.chunks);
        for index in first.0..end {
            self.chunks.insert((file, ChunkIndex(index)), Remembered { what: None, until });
        }
        for chunk in &answer.chunks {
            let what = Some(chunk.clone());
            self.chunks.insert((file, chunk.index), Remembered { what, until });
        }
        self.saw_length(file, answer.entry.length);
    }

    /// Who takes mutations of a chunk.
    pub(crate) fn lease(
        &self,
        now: Instant,
        file: FileId,
        index: ChunkIndex,
    ) -> Option<LeaseGrant> {
        let known = self.leases.get(&(file, index)).filter(|known| now < known.until)?;
        Some(known.what.clone())
    }

    /// The lease on the highest chunk that one is known of, for appends.
    pub(crate) fn last_lease(&self, now: Instant, file: FileId) -> Option<LeaseGrant> {
        let all = (file, ChunkIndex(0))..=(file, ChunkIndex(u64::MAX));
        let (_, known) = self.leases.range(all).next_back()?;
        (now < known.until).then(|| known.what.clone())
    }

    /// Takes a lease; what was known of the chunk's place is replaced by it.
    pub(crate) fn granted(&mut self, now: Instant, file: FileId, grant: &LeaseGrant) {
        self.make_room();
        let until = now + DurationMs(grant.left_ms);
        self.leases.insert((file, grant.index), Remembered { what: grant.clone(), until });
        let what = Some(ChunkLocation {
            index: grant.index,
            handle: grant.handle,
            version: grant.version,
            length: 0,
            primary: Some(grant.primary),
            replicas: grant.members.clone(),
            members: 0,
        });
        self.chunks.insert((file, grant.index), Remembered { what, until });
    }

    /// A mutation under this lease succeeded: the primary extends it while it is in use. One that was refused stays so, also when an answer
    /// to an earlier mutation is late.
    pub(crate) fn lease_used(&mut self, now: Instant, file: FileId, grant: &LeaseGrant) {
        if let Some(known) = self.leases.get_mut(&(file, grant.index))
            && known.what.version == grant.version
            && known.until != OVER
        {
            known.until = now + DurationMs(grant.left_ms);
        }
    }

    /// Something of this version was refused: forget the lease and the place, unless newer ones are known.
    pub(crate) fn refused(&mut self, file: FileId, index: ChunkIndex, version: ChunkVersion) {
        let key = (file, index);
        // It stays, as one that is over: without it appends would go back to a lower chunk that is remembered. Usually that is
        // full; but padding that was not synced is gone after a power loss, and then records of one writer would not grow.
        if let Some(known) = self.leases.get_mut(&key)
            && known.what.version <= version
        {
            known.until = OVER;
        }
        let old = |known: &Remembered<Option<ChunkLocation>>| {
            known.what.as_ref().is_none_or(|chunk| chunk.version <= version)
        };
        if self.chunks.get(&key).is_some_and(old) {
            self.chunks.remove(&key);
        }
    }

    /// A replica was found corrupt: it is the last to be asked until the master tells anew.
    pub(crate) fn found_corrupt(&mut self, file: FileId, index: ChunkIndex, replica: ServerUid) {
        let known = self.chunks.get_mut(&(file, index)).and_then(|known| known.what.as_mut());
        for bad in known.into_iter().flat_map(|chunk| &mut chunk.replicas) {
            if bad.chunkserver == replica {
                bad.state = ReplicaState::Corrupt;
            }
        }
    }

    /// Forgets the place of a chunk.
    pub(crate) fn forget_chunk(&mut self, file: FileId, index: ChunkIndex) {
        self.chunks.remove(&(file, index));
    }

    /// The greatest length of a file that anything said so far.
    pub(crate) fn length(&self, file: FileId) -> u64 {
        self.lengths.get(&file).copied().unwrap_or(0)
    }

    /// The file has at least this length.
    pub(crate) fn saw_length(&mut self, file: FileId, length: u64) {
        let known = self.lengths.entry(file).or_default();
        *known = length.max(*known);
    }

    fn make_room(&mut self) {
        let sizes =
            [self.chunks.len(), self.leases.len(), self.lengths.len(), self.acknowledged.len()];
        if sizes.into_iter().sum::<usize>() >= REMEMBERED_MAX {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{entry, grant, location};

    const FILE: FileId = FileId(7);

    fn ms(ms: u64) -> Instant {
        Instant::from_ms(ms)
    }

    #[test]
    fn an_answer_holds_for_its_time_and_what_it_leaves_out_are_holes() {
        let mut cache = Locations::default();
        let answer =
            FileLocations { entry: entry(3, 100), chunks: vec![location(1, 5)], valid_ms: 1_000 };
        cache.learn(ms(0), ChunkIndex(0), 1_000, &answer);
        assert_eq!(cache.chunk(ms(999), FILE, ChunkIndex(0)), Some(None));
        assert_eq!(cache.chunk(ms(999), FILE, ChunkIndex(1)), Some(Some(location(1, 5))));
        assert_eq!(cache.chunk(ms(999), FILE, ChunkIndex(3)), None, "behind the end");
        assert_eq!(cache.chunk(ms(1_000), FILE, ChunkIndex(1)), None, "too old");
        assert_eq!(cache.length(FILE), 100);
    }

    #[test]
    fn a_refusal_drops_the_version_it_speaks_of_and_no_newer_one() {
        let mut cache = Locations::default();
        cache.granted(ms(0), FILE, &grant(5));
        cache.refused(FILE, ChunkIndex(0), ChunkVersion(4));
        assert!(cache.lease(ms(1), FILE, ChunkIndex(0)).is_some());
        cache.refused(FILE, ChunkIndex(0), ChunkVersion(5));
        assert_eq!(cache.lease(ms(1), FILE, ChunkIndex(0)), None);
        assert_eq!(cache.chunk(ms(1), FILE, ChunkIndex(0)), None);
    }

    #[test]
    fn a_replica_that_was_found_corrupt_is_remembered_as_such() {
        let mut cache = Locations::default();
        cache.granted(ms(0), FILE, &grant(5));
        cache.found_corrupt(FILE, ChunkIndex(0), ServerUid(2));
        cache.found_corrupt(FILE, ChunkIndex(1), ServerUid(1));
        let chunk = cache.chunk(ms(1), FILE, ChunkIndex(0)).unwrap().unwrap();
        let bad = chunk.replicas.iter().filter(|one| one.state == ReplicaState::Corrupt);
        assert_eq!(bad.map(|one| one.chunkserver.0).collect::<Vec<_>>(), [2]);
    }

    /// READ-6 within one client: its own acknowledged write is not read stale, whatever place it remembers or is told late.
    #[test]
    fn read_6_what_was_acknowledged_under_a_higher_version_is_not_read_under_a_lower_one() {
        let mut cache = Locations::default();
        cache.granted(ms(0), FILE, &grant(5));
        cache.acknowledged(FILE, ChunkIndex(0), ChunkVersion(6));
        let version = |cache: &Locations| Some(cache.chunk(ms(1), FILE, ChunkIndex(0))??.version.0);
        assert_eq!(version(&cache), Some(6), "the primary answered under the next lease");
        let late =
            FileLocations { entry: entry(2, 100), chunks: vec![location(0, 5)], valid_ms: 1_000 };
        cache.learn(ms(1), ChunkIndex(0), 2, &late);
        assert_eq!(version(&cache), Some(6), "an answer that was on its way");
        cache.acknowledged(FILE, ChunkIndex(0), ChunkVersion(4));
        assert_eq!(version(&cache), Some(6));
        cache.learn(
            ms(1),
            ChunkIndex(0),
            2,
            &FileLocations { chunks: vec![location(0, 8)], ..late },
        );
        assert_eq!(version(&cache), Some(8));
    }

    #[test]
    fn a_lease_lives_on_while_it_is_used() {
        let mut cache = Locations::default();
        let grant = LeaseGrant { left_ms: 100, ..grant(5) };
        cache.granted(ms(0), FILE, &grant);
        cache.lease_used(ms(90), FILE, &grant);
        assert!(cache.last_lease(ms(189), FILE).is_some());
        assert_eq!(cache.last_lease(ms(190), FILE), None);
    }

    #[test]
    fn a_refused_lease_does_not_come_back_with_a_late_answer() {
        let mut cache = Locations::default();
        cache.granted(ms(0), FILE, &grant(5));
        cache.refused(FILE, ChunkIndex(0), ChunkVersion(5));
        cache.lease_used(ms(1), FILE, &grant(5));
        assert_eq!(cache.lease(ms(2), FILE, ChunkIndex(0)), None);
    }

    #[test]
    fn appends_go_to_the_highest_lease() {
        let mut cache = Locations::default();
        for index in [2, 0, 1] {
            cache.granted(ms(0), FILE, &LeaseGrant { index: ChunkIndex(index), ..grant(5) });
        }
        cache.granted(ms(0), FileId(8), &LeaseGrant { index: ChunkIndex(9), ..grant(5) });
        assert_eq!(cache.last_lease(ms(1), FILE).map(|g| g.index), Some(ChunkIndex(2)));
    }

    /// Found by the simulator: the padding of chunk 1 was lost with the power, chunk 2 was refused, and a writer went back. A
    /// reader of records took what it had written to chunk 2 for copies.
    #[test]
    fn appends_do_not_go_back_to_a_lower_chunk_when_the_lease_of_the_highest_is_refused() {
        let mut cache = Locations::default();
        for index in [1, 2] {
            cache.granted(ms(0), FILE, &LeaseGrant { index: ChunkIndex(index), ..grant(5) });
        }
        cache.refused(FILE, ChunkIndex(2), ChunkVersion(5));
        assert_eq!(cache.last_lease(ms(1), FILE), None, "the master knows the last one");
        assert_eq!(cache.lease(ms(1), FILE, ChunkIndex(2)), None);
        assert!(cache.lease(ms(1), FILE, ChunkIndex(1)).is_some(), "for writes it is still good");
    }

    #[test]
    fn memory_is_bounded() {
        let mut cache = Locations::default();
        for index in 0..2 * REMEMBERED_MAX as u64 {
            cache.granted(ms(0), FILE, &LeaseGrant { index: ChunkIndex(index), ..grant(5) });
            assert!(cache.chunks.len() + cache.leases.len() <= REMEMBERED_MAX + 2);
        }
    }

    #[test]
    fn lengths_only_grow() {
        let mut cache = Locations::default();
        cache.saw_length(FILE, 10);
        cache.saw_length(FILE, 5);
        assert_eq!(cache.length(FILE), 10);
    }
}
