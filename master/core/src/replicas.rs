//! What chunkservers told of their replicas, in little room: a chunk that rests has up to three clean replicas of one version and
//! length, and these are 14 bytes. Every other chunk is kept at full length beside them. Nothing is left out, and nothing is
//! concluded from what is logged.

use std::collections::BTreeMap;

use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;
use gfs_types::message::control::ReplicaState;

use crate::paged::Paged;

/// The number of one registration of a chunkserver, as long as something that it told is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RunNumber(pub(crate) u32);

/// One replica, as its server told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) run: RunNumber,
    pub(crate) version: ChunkVersion,
    pub(crate) length: u64,
    pub(crate) state: ReplicaState,
}

/// Clean replicas of one version and length, in the order in which they were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Resting {
    /// [`NOBODY`] behind the last.
    runs: [u16; RESTING_MAX],
    /// Low half first: 32 bits at an address that 16 bits may have.
    version: [u16; 2],
    length: [u16; 2],
}

/// Replicas that a chunk at rest has at most; one with more takes some 200 bytes.
const RESTING_MAX: usize = 3;
const NOBODY: u16 = u16::MAX;

/// What was told of the replicas of all chunks.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    resting: Paged<Resting>,
    /// Those that do not fit there, and only those. Never empty lists.
    others: BTreeMap<ChunkHandle, Vec<Told>>,
}

impl Resting {
    /// `None` when anything of it does not fit.
    fn of(all: &[Told]) -> Option<Self> {
        let first = all.first().filter(|_| all.len() <= RESTING_MAX)?;
        let (version, length) = (halves(first.version.0)?, halves(first.length)?);
        let mut runs = [NOBODY; RESTING_MAX];
        for (place, told) in runs.iter_mut().zip(all) {
            let same = told.version == first.version && told.length == first.length;
            let short = u16::try_from(told.run.0).ok().filter(|run| *run != NOBODY);
            *place = short.filter(|_| same && told.state == ReplicaState::Clean)?;
        }
        Some(Self { runs, version, length })
    }

    fn told(self, run: u16) -> Option<Told> {
        (run != NOBODY).then_some(Told {
            run: RunNumber(run.into()),
            version: ChunkVersion(whole(self.version)),
            length: whole(self.length),
            state: ReplicaState::Clean,
        })
    }

    fn all(self) -> impl Iterator<Item = Told> {
        self.runs.into_iter().map_while(move |run| self.told(run))
    }

    /// Adds one like the others, if it is. `false`: nothing was changed.
    fn add(&mut self, told: &Told) -> bool {
        let Some(free) = self.runs.iter().position(|run| *run == NOBODY) else { return false };
        let Some(like) = Self::of(std::slice::from_ref(told)) else { return false };
        let same = (self.version, self.length) == (like.version, like.length);
        if same {
            self.runs[free] = like.runs[0];
        }
        same
    }
}

/// A number of at most 32 bits.
fn halves(value: u64) -> Option<[u16; 2]> {
    let [a, b, c, d] = u32::try_from(value).ok()?.to_le_bytes();
    Some([u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])])
}

fn whole([low, high]: [u16; 2]) -> u64 {
    u64::from(high) << 16 | u64::from(low)
}

impl Replicas {
    pub(crate) fn of(&self, handle: ChunkHandle) -> impl Iterator<Item = Told> + '_ {
        let resting = self.resting.get(handle).copied();
        let others = if resting.is_some() { None } else { self.others.get(&handle) };
        let resting = resting.into_iter().flat_map(Resting::all);
        resting.chain(others.into_iter().flatten().copied())
    }

    /// Puts one behind the others of its chunk, none of which is of the same server.
    pub(crate) fn add(&mut self, handle: ChunkHandle, told: Told) {
        if self.resting.get_mut(handle).is_some_and(|resting| resting.add(&told)) {
            return;
        }
        self.change(handle, |all| all.push(told));
    }

    /// Changes what is told of a chunk in any way.
    pub(crate) fn change(&mut self, handle: ChunkHandle, change: impl FnOnce(&mut Vec<Told>)) {
        let resting = self.resting.get(handle).copied();
        let mut all = match resting {
            Some(resting) => resting.all().collect(),
            None => self.others.remove(&handle).unwrap_or_default(),
        };
        change(&mut all);
        match Resting::of(&all) {
            Some(now) => drop(self.resting.insert(handle, now)),
            None => {
                if resting.is_some() {
                    self.resting.remove(handle);
                }
                if !all.is_empty() {
                    all.shrink_to_fit();
                    self.others.insert(handle, all);
                }
            }
        }
    }

    /// `count` chunks from one on of which anything is told, in their order; and which is the next.
    pub(crate) fn some_from(
        &self,
        first: ChunkHandle,
        count: usize,
    ) -> (Vec<ChunkHandle>, Option<ChunkHandle>) {
        let mut resting = self.resting.from(first).map(|(handle, _)| handle).peekable();
        let mut others = self.others.range(first..).map(|(handle, _)| *handle).peekable();
        let mut both = std::iter::from_fn(|| match (resting.peek(), others.peek()) {
            (Some(one), Some(other)) if one > other => others.next(),
            (Some(_), _) => resting.next(),
            (None, _) => others.next(),
        });
        let found = both.by_ref().take(count).collect();
        (found, both.next())
    }

    /// Every chunk is in one of the tables: where it fits.
    pub(crate) fn is_consistent(&self) -> bool {
        self.others.iter().all(|(handle, all)| {
            !all.is_empty() && Resting::of(all).is_none() && self.resting.get(*handle).is_none()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told() -> impl Strategy<Value = Told> {
        let run = prop_oneof![8 => 0..5_u32, 1 => 65_533..65_538_u32];
        let version = prop_oneof![8 => 1..3_u64, 1 => (1_u64 << 32) - 1..(1 << 32) + 1];
        let length = prop_oneof![8 => 7..9_u64, 1 => (1_u64 << 32) - 1..(1 << 32) + 1];
        let state = prop_oneof![8 => Just(0_usize), 1 => 0..4_usize];
        (run, version, length, state).prop_map(|(run, version, length, state)| Told {
            run: RunNumber(run),
            version: ChunkVersion(version),
            length,
            state: ReplicaState::ALL[state],
        })
    }

    #[test]
    fn a_chunk_at_rest_takes_14_bytes() {
        assert_eq!(std::mem::size_of::<Resting>(), 14);
    }

    proptest! {
        #[test]
        fn whatever_is_told_is_kept(
            ops in prop::collection::vec((0..4_u64, told(), 0..4_u8), 0..200),
            from in 0..5_u64,
            count in 1..3_usize,
        ) {
            let mut replicas = Replicas::default();
            let mut naive: BTreeMap<ChunkHandle, Vec<Told>> = BTreeMap::new();
            for (handle, told, op) in ops {
                let handle = ChunkHandle(handle);
                let list = naive.entry(handle).or_default();
                if op == 0 {
                    replicas.change(handle, |all| all.retain(|one| one.run != told.run));
                    list.retain(|one| one.run != told.run);
                } else if list.iter().all(|one| one.run != told.run) {
                    replicas.add(handle, told);
                    list.push(told);
                } else {
                    let put = |all: &mut Vec<Told>| {
                        all.iter_mut().filter(|one| one.run == told.run).for_each(|one| *one = told);
                    };
                    replicas.change(handle, put);
                    put(list);
                }
                naive.retain(|_, list| !list.is_empty());
                prop_assert!(replicas.is_consistent());
                let list = naive.get(&handle).cloned().unwrap_or_default();
                prop_assert_eq!(replicas.of(handle).collect::<Vec<_>>(), list);
            }
            let (mut found, mut next) = (Vec::new(), Some(ChunkHandle(from)));
            while let Some(first) = next {
                let (some, then) = replicas.some_from(first, count);
                prop_assert!(some.len() <= count);
                found.extend(some);
                next = then;
            }
            let expected: Vec<_> = naive.range(ChunkHandle(from)..).map(|(handle, _)| *handle).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
