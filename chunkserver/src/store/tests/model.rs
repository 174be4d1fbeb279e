//! The reference model: a replica is a header and a `Vec<u8>`.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use gfs_durable::fs::Fs;
use gfs_protocol::checksum;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ClusterUid};
use gfs_types::limits::{BLOCK_BYTES, CHUNK_BYTES_MIN};
use gfs_types::region::ChunkSize;

use crate::store::{Checksums, Found, Payload, Store, StoreConfig, StoreError};

pub(super) const HANDLE: ChunkHandle = ChunkHandle(0x0123_4567_89ab_cdef);
pub(super) const CHUNK_BYTES: u64 = 2 * CHUNK_BYTES_MIN;

pub(super) fn config() -> StoreConfig {
    StoreConfig {
        dir: PathBuf::from("/data"),
        cluster: ClusterUid(7),
        chunk_size: ChunkSize::new(CHUNK_BYTES).unwrap(),
        server: "cs1".to_owned(),
        boot: 1,
        reserve_bytes: 0,
        preallocate: false,
        open_threads: 1,
    }
}

pub(super) fn open(fs: impl Fs) -> Result<(Store, Vec<Found>), StoreError> {
    Store::open(Arc::new(fs), config())
}

/// Bytes that tell which write they are of, and where.
pub(super) fn pattern(count: u64, length: u64) -> Bytes {
    let byte =
        |at: u64| (at.wrapping_mul(31) ^ (at >> 8) ^ count.wrapping_mul(101)).to_le_bytes()[0];
    (0..length).map(byte).collect()
}

/// Everything that can be done with a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Create,
    /// As a chunk is born: about to be written.
    Birth,
    /// At the applied length.
    Append(u64),
    /// Anywhere; what does not fit into the chunk is left out.
    Write(u64, u64),
    Pad(u64),
    Flush,
    Version,
    Unclean,
    Clean,
    Corrupt,
    /// It is the source, cut to so many bytes.
    Equalised(u64),
    /// One block of the source is put in place.
    Repair(u64),
    /// All that differs from the source is put in place.
    MakeEqual,
    Delete,
    /// The process is killed and started again.
    Reopen,
}

/// What a header tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub version: u64,
    /// `None`: not known.
    pub committed: Option<u64>,
    pub clean: bool,
    pub overwritten: bool,
    pub suspect: bool,
    pub corrupt: bool,
}

/// A replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model {
    pub head: Head,
    pub bytes: Arc<Vec<u8>>,
    /// Blocks are being replaced: after a crash its bytes may be anything, since it is suspect.
    pub mixed: bool,
}

/// Where an operation is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// How many operations there were: makes the bytes of each differ.
    pub count: u64,
    pub chunk_bytes: u64,
}

fn place(at: u64) -> usize {
    usize::try_from(at).unwrap()
}

impl Op {
    /// Whether everything before it is on the disk when it was done.
    pub(super) fn is_durable(self) -> bool {
        matches!(
            self,
            Self::Flush | Self::Version | Self::Clean | Self::Equalised(_) | Self::MakeEqual
        )
    }

    /// The states that the replica goes through: the last one is that after the operation. `None`: it is refused.
    pub(super) fn states(self, now: Option<&Model>, at: Place) -> Option<Vec<Option<Model>>> {
        match (now, self) {
            (_, Self::Reopen) => Some(vec![now.cloned()]),
            (None, Self::Create) => Some(vec![Some(Model::born())]),
            (None, Self::Birth) => Some(vec![Some(Model::born().with(|head| head.clean = false))]),
            (None, _) | (Some(_), Self::Create | Self::Birth) => None,
            (Some(_), Self::Delete) => Some(vec![None]),
            (Some(now), _) => Some(now.run(self, at).into_iter().map(Some).collect()),
        }
    }

    /// Does the same with the store; `now` is the replica before.
    pub(super) fn act(
        self,
        store: &Store,
        now: Option<&Model>,
        at: Place,
    ) -> Result<(), StoreError> {
        let length = now.map_or(0, |now| now.bytes.len() as u64);
        let version = now.map_or(0, |now| now.head.version);
        match self {
            Self::Create => store.create(HANDLE, ChunkVersion(1)),
            Self::Birth => store.give_birth(&[(HANDLE, ChunkVersion(1))]).into_iter().collect(),
            Self::Append(bytes) => write(store, at, length, bytes),
            Self::Write(offset, bytes) => write(store, at, offset, bytes),
            Self::Pad(to) => store.pad(HANDLE, to.min(at.chunk_bytes)).map(drop),
            Self::Flush => store.flush(HANDLE, length),
            Self::Version => store.set_version(HANDLE, ChunkVersion(version + 1)),
            Self::Unclean => store.mark_unclean(HANDLE),
            Self::Clean => store.mark_clean(HANDLE, length),
            Self::Corrupt => store.mark_corrupt(HANDLE),
            Self::Equalised(to) => store.equalised(HANDLE, to.min(length)).map(drop),
            Self::Repair(block) => repair(store, block),
            Self::MakeEqual => make_equal(store),
            Self::Delete => store.delete(HANDLE, ChunkVersion(version)),
            Self::Reopen => Ok(()),
        }
    }
}

/// The payload is cut as if the writer did not know the place, as for an append.
fn write(store: &Store, at: Place, offset: u64, length: u64) -> Result<(), StoreError> {
    let length = length.min(at.chunk_bytes.saturating_sub(offset));
    store.write(HANDLE, offset, &Payload::compute(pattern(at.count, length), 0)).map(drop)
}

/// The bytes of the replica that this one is made equal to.
pub(super) fn source() -> Bytes {
    pattern(1 << 40, 140_000)
}

fn repair_range(store: &Store, range: std::ops::Range<u64>) -> Result<(), StoreError> {
    let bytes = source().slice(place(range.start)..place(range.end));
    store.repair(HANDLE, range.start, &Payload::compute(bytes, range.start))
}

/// One of the blocks; it leaves no gap.
fn repair(store: &Store, block: u64) -> Result<(), StoreError> {
    let length = source().len() as u64;
    let start = store.replica(HANDLE)?.length.min(length - 1).min(block * BLOCK_BYTES);
    let start = start / BLOCK_BYTES * BLOCK_BYTES;
    repair_range(store, start..length.min(start + BLOCK_BYTES))
}

/// As the driver does it.
fn make_equal(store: &Store) -> Result<(), StoreError> {
    let bytes = source();
    let (length, table) = (bytes.len() as u64, checksum::blocks(0, &bytes));
    let sums = Checksums { length, table, digest: 0 };
    for range in store.differing(HANDLE, &sums, false)? {
        repair_range(store, range)?;
    }
    assert_eq!(store.equalised(HANDLE, length)?.table, sums.table);
    store.flush(HANDLE, length)
}

impl Model {
    /// A replica that was just made.
    pub(super) fn born() -> Self {
        let head = Head {
            version: 1,
            committed: Some(0),
            clean: true,
            overwritten: false,
            suspect: false,
            corrupt: false,
        };
        Self { head, bytes: Arc::default(), mixed: false }
    }

    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn with(&self, change: impl FnOnce(&mut Head)) -> Self {
        let mut next = self.clone();
        change(&mut next.head);
        next
    }

    fn run(&self, op: Op, at: Place) -> Vec<Self> {
        let length = self.length();
        match op {
            Op::Append(bytes) => self.write(length, bytes, at),
            Op::Write(offset, bytes) => self.write(offset, bytes, at),
            Op::Pad(to) => self.pad(to.min(at.chunk_bytes)),
            Op::Equalised(to) => self.cut(to.min(length)),
            Op::Repair(_) => self.repair(),
            Op::MakeEqual => self.make_equal(),
            Op::Flush => vec![self.with(|head| head.committed = Some(length))],
            Op::Version => vec![self.with(|head| {
                head.version += 1;
                head.clean = false;
            })],
            Op::Unclean => vec![self.with(|head| head.clean = false)],
            Op::Clean => {
                let flushed = self.with(|head| head.committed = Some(length));
                vec![flushed.clone(), flushed.with(|head| head.clean = true)]
            }
            Op::Corrupt => vec![self.with(|head| head.corrupt = true)],
            Op::Create | Op::Birth | Op::Delete | Op::Reopen => {
                unreachable!("they are not of one replica")
            }
        }
    }

    fn pad(&self, to: u64) -> Vec<Self> {
        if to <= self.length() {
            return vec![self.clone()];
        }
        let ready = self.with(|head| head.clean = false);
        let mut next = ready.clone();
        Arc::make_mut(&mut next.bytes).resize(place(to), 0);
        vec![ready, next]
    }

    fn equalised(&self) -> Self {
        self.with(|head| {
            head.clean = false;
            head.suspect = false;
            head.corrupt = false;
        })
    }

    fn cut(&self, to: u64) -> Vec<Self> {
        let mut next = self.equalised();
        next.head.committed = self.head.committed.map(|committed| committed.min(to));
        Arc::make_mut(&mut next.bytes).truncate(place(to));
        vec![self.with(|head| head.clean = false), next]
    }

    fn repair(&self) -> Vec<Self> {
        let suspect = self.with(|head| {
            head.clean = false;
            head.suspect = true;
            head.overwritten = true;
        });
        let mut mixed = suspect.clone();
        mixed.head.committed = None;
        mixed.mixed = true;
        vec![suspect, mixed]
    }

    fn make_equal(&self) -> Vec<Self> {
        let mut states = self.repair();
        states.insert(0, self.with(|head| head.clean = false));
        let mut next = self.equalised();
        // What is just too long is cut.
        next.head.overwritten |= self.mixed || !self.bytes.starts_with(&source());
        next.head.committed = None;
        next.bytes = Arc::new(source().to_vec());
        next.mixed = false;
        states.push(next.clone());
        states.push(next.with(|head| head.committed = Some(source().len() as u64)));
        states
    }

    /// Bytes that are there are changed in pieces of 1 MiB; what goes beyond the end is put there in one step.
    fn write(&self, offset: u64, length: u64, at: Place) -> Vec<Self> {
        let length = length.min(at.chunk_bytes.saturating_sub(offset));
        if length == 0 {
            return vec![self.clone()];
        }
        let over = self.length().saturating_sub(offset).min(length);
        let mut states = vec![self.with(|head| {
            head.clean = false;
            head.overwritten |= over > 0;
        })];
        let data = pattern(at.count, length);
        let mut done = 0;
        while done < length {
            let step = if done < over { (over - done).min(1 << 20) } else { length - done };
            let mut next = states.last().expect("there is one").clone();
            let (from, to) = (place(offset + done), place(offset + done + step));
            let bytes = Arc::make_mut(&mut next.bytes);
            bytes.resize(bytes.len().max(to), 0);
            bytes[from..to].copy_from_slice(&data[place(done)..place(done + step)]);
            states.push(next);
            done += step;
        }
        states
    }
}
