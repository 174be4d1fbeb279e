//! The reference model: a replica is a `Vec<u8>` and a version.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use gfs_durable::fs::Fs;
use gfs_protocol::checksum;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ClusterUid};
use gfs_types::limits::CHUNK_BYTES_MIN;
use gfs_types::region::ChunkSize;

use crate::store::{Found, Payload, Store, StoreConfig, StoreError};

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

/// A mutation, or something that makes earlier ones durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// At the applied length.
    Append(u64),
    /// Anywhere; what does not fit into the chunk is left out.
    Write(u64, u64),
    Pad(u64),
    Flush,
    Version,
    Clean,
    Truncate(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Model {
    pub bytes: Vec<u8>,
    pub version: u64,
    /// How many mutations there were: makes the bytes of each differ.
    pub count: u64,
}

/// Bytes that tell which write they are of, and where.
pub(super) fn pattern(count: u64, length: u64) -> Bytes {
    let byte =
        |at: u64| (at.wrapping_mul(31) ^ (at >> 8) ^ count.wrapping_mul(101)).to_le_bytes()[0];
    (0..length).map(byte).collect()
}

fn place(at: u64) -> usize {
    usize::try_from(at).unwrap()
}

impl Model {
    /// The states a replica goes through: the last is that after the operation.
    pub(super) fn run(&self, op: Op) -> Vec<Self> {
        let mut next = self.clone();
        next.count += 1;
        let length = self.bytes.len() as u64;
        let mut states = Vec::new();
        match op {
            Op::Append(bytes) => next.put(length, bytes),
            Op::Write(offset, bytes) => {
                let over = length.saturating_sub(offset).min(bytes);
                if over > 0 && over < bytes {
                    let mut half = next.clone();
                    half.put_of(offset, over, bytes);
                    states.push(half);
                }
                next.put(offset, bytes);
            }
            Op::Pad(to) => next.bytes.resize(place(to.max(length).min(CHUNK_BYTES)), 0),
            Op::Version => next.version += 1,
            Op::Truncate(to) => next.bytes.truncate(place(to)),
            Op::Flush | Op::Clean => {}
        }
        states.push(next);
        states
    }

    fn put(&mut self, offset: u64, length: u64) {
        self.put_of(offset, length, length);
    }

    fn put_of(&mut self, offset: u64, length: u64, whole: u64) {
        let whole = whole.min(CHUNK_BYTES.saturating_sub(offset));
        let data = pattern(self.count, whole);
        let length = length.min(whole);
        if length == 0 {
            return;
        }
        let end = place(offset + length);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[place(offset)..end].copy_from_slice(&data[..place(length)]);
    }

    /// Does the same with the store.
    pub(super) fn act(&self, store: &Store, op: Op) -> Result<(), StoreError> {
        let count = self.count + 1;
        let length = self.bytes.len() as u64;
        match op {
            Op::Append(bytes) => write(store, count, length, bytes),
            Op::Write(offset, bytes) => write(store, count, offset, bytes),
            Op::Pad(to) => store.pad(HANDLE, to.min(CHUNK_BYTES)).map(drop),
            Op::Flush => store.flush(HANDLE, length),
            Op::Clean => store.mark_clean(HANDLE, length),
            Op::Version => store.set_version(HANDLE, ChunkVersion(self.version + 1)),
            Op::Truncate(to) => store.equalised(HANDLE, to.min(length)).map(drop),
        }
    }

    /// Whether the replica is this, every block of it verified.
    pub(super) fn check(&self, store: &Store) -> Result<(), String> {
        let replica = store.replica(HANDLE).map_err(|error| error.to_string())?;
        if replica.version.0 != self.version {
            return Err(format!("{replica:?}, version {} expected", self.version));
        }
        self.check_bytes(store)
    }

    pub(super) fn check_bytes(&self, store: &Store) -> Result<(), String> {
        let replica = store.replica(HANDLE).map_err(|error| error.to_string())?;
        let length = self.bytes.len() as u64;
        if replica.length != length {
            return Err(format!("{replica:?}, {length} bytes expected"));
        }
        let sums = store.checksums(HANDLE).map_err(|error| error.to_string())?;
        if sums.table != checksum::blocks(0, &self.bytes) {
            return Err("the checksums differ".to_owned());
        }
        if length > 0 {
            let read = store.read_verified(HANDLE, 0..length, length).map_err(|e| e.to_string())?;
            if read != self.bytes {
                return Err("the bytes differ".to_owned());
            }
        }
        Ok(())
    }
}

fn write(store: &Store, count: u64, offset: u64, length: u64) -> Result<(), StoreError> {
    let length = length.min(CHUNK_BYTES.saturating_sub(offset));
    // Cut as if the writer did not know the place, as for an append.
    store.write(HANDLE, offset, &Payload::compute(pattern(count, length), 0)).map(drop)
}
