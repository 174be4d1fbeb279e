//! The replicas on this server's disk: each chunk one ordinary file (§2.3), each block with its checksum (§5.2).
//!
//! The store keeps bytes, checksums, version and flags so that no crash makes them disagree; the page
//! docs/formats/chunk-file.md is its contract. It knows nothing of leases, serials or the network: what a version
//! means and who may change a replica is decided by the driver's cores. Mutations of one replica come from one thread
//! at a time; reads come from any.
//!
//! Blocking calls throughout. An error that [`StoreError::is_fatal`] must end the process.

mod again;
mod ahead;
mod birth;
mod chunk;
mod directory;
mod ends;
mod error;
mod files;
mod flush;
mod flush_many;
mod header;
mod layout;
mod once_more;
mod payload;
mod read;
mod recover;
mod redo;
mod repair;
mod room;
mod sync;
mod table;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use gfs_durable::fs::{File, Fs};
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ClusterUid};
use gfs_types::message::control::Space;
use gfs_types::region::ChunkSize;

use birth::Folders;
use chunk::Chunk;
use files::Files;
use room::Room;
use sync::Syncers;

pub use error::{StoreError, is_lost};
pub use flush_many::Flush;
pub use payload::{Part, Payload};

/// How a store is set up.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The data directory of the server; the store uses `chunks/` in it.
    pub dir: PathBuf,
    /// The cluster its replicas belong to.
    pub cluster: ClusterUid,
    /// The cluster's chunk size.
    pub chunk_size: ChunkSize,
    /// Who this is, for messages.
    pub server: String,
    /// This run of the kernel: [`boot_id`] of the machine.
    pub boot: u128,
    /// Bytes of the disk never given to chunks.
    pub reserve_bytes: u64,
    /// Reserve the disk space of a whole chunk when its replica is made.
    pub preallocate: bool,
    /// Threads that look at the replicas when the store is opened.
    pub open_threads: usize,
}

/// A replica as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its version.
    pub version: ChunkVersion,
    /// Applied length, in bytes.
    pub length: u64,
    /// Committed length as of the last flush, in bytes; never above `length`.
    pub committed_length: u64,
    /// It ended its last lease in order, everything flushed.
    pub clean: bool,
    /// It was ever written other than at its end.
    pub overwritten: bool,
    /// The machine restarted while it was not clean: acknowledged bytes may be gone.
    pub suspect: bool,
    /// Why it cannot be trusted any more: some bytes do not match their checksums.
    pub damaged: Option<String>,
}

/// A replica found when the store was opened.
#[derive(Debug)]
pub struct Found {
    /// The chunk.
    pub handle: ChunkHandle,
    /// What it is; an error when its head cannot be read: damaged, of a foreign cluster, of a newer format.
    pub replica: Result<Replica, StoreError>,
}

/// Where the bytes of a read stand in an ordinary file, ready for `sendfile`.
#[derive(Debug)]
pub struct ReadPlan {
    /// The replica's file.
    pub file: Arc<dyn File>,
    /// Where in the file.
    pub file_offset: u64,
    /// Where in the chunk: a block border.
    pub offset: u64,
    /// How many bytes: up to a block border or to the length that may be shown.
    pub length: u64,
    /// Stored CRC-32C of each block, the last one over the bytes that are in the plan.
    pub checksums: Vec<u32>,
}

/// The checksums of a whole replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksums {
    /// Applied length, in bytes.
    pub length: u64,
    /// CRC-32C of each block; the last one over the bytes that are there.
    pub table: Vec<u32>,
    /// CRC-32C over length (8 bytes, little-endian) and table: equal replicas have equal digests.
    pub digest: u32,
}

/// The replicas of a server. Shared by all threads behind an [`Arc`].
#[derive(Debug)]
pub struct Store {
    fs: Arc<dyn Fs>,
    config: StoreConfig,
    files: Files,
    folders: Folders,
    room: Room,
    syncers: Syncers,
    chunks: RwLock<BTreeMap<ChunkHandle, Entry>>,
}

/// A replica, or the reason why its file cannot be used.
#[derive(Debug, Clone)]
enum Entry {
    Good(Arc<Chunk>),
    Bad(Bad),
}

/// Why a file cannot be used.
#[derive(Debug, Clone)]
enum Bad {
    /// What it held is lost: a new file may take its place.
    Lost(String),
    /// Nobody touches it.
    Foreign(String),
}

impl Bad {
    fn new(error: &StoreError) -> Self {
        match error {
            StoreError::Damaged { reason, .. } => Self::Lost(reason.clone()),
            StoreError::Foreign { reason, .. } => Self::Foreign(reason.clone()),
            other if other.is_lost_bytes() => Self::Lost(other.to_string()),
            other => Self::Foreign(other.to_string()),
        }
    }

    fn of(self, handle: ChunkHandle) -> StoreError {
        match self {
            Self::Lost(reason) => StoreError::Damaged { handle, reason },
            Self::Foreign(reason) => StoreError::Foreign { handle, reason },
        }
    }
}

impl Store {
    fn write_once(
        &self,
        handle: ChunkHandle,
        offset: u64,
        data: &Payload,
    ) -> Result<u64, StoreError> {
        let (chunk, file) = self.chunk(handle)?;
        self.check_end(&chunk, offset.checked_add(data.length()))?;
        if data.length() == 0 {
            return Ok(chunk.applied_length());
        }
        self.check_room(handle, chunk.uncovered(offset, data.length()))?;
        let overwrites = offset < chunk.applied_length();
        chunk.begin_change(&*file, self.config.boot, overwrites)?;
        let mut state = chunk.open_state()?;
        let mut at = offset;
        let (mut over, rest) = data.split(state.end.length.saturating_sub(offset))?;
        if over.length() > 0 && rest.length() > 0 {
            // All of it or nothing, where the space is short.
            let space = file.allocate(layout::DATA_AT + state.end.length, rest.length());
            space.map_err(|error| self.full(chunk.io(error)))?;
        }
        while over.length() > 0 {
            let (next, later) = over.split(layout::REDO_DATA_MAX)?;
            chunk.overwrite(&*file, &mut state, at, &next).map_err(|error| self.full(error))?;
            at += next.length();
            over = later;
        }
        if rest.length() > 0 {
            if at > state.end.length {
                // What lies between is a hole.
                chunk.give_back(&*file, &mut state);
            }
            self.take_ahead(&*file, &mut state, at, at + rest.length());
            chunk.append(&*file, &mut state, at, &rest).map_err(|error| self.full(error))?;
        }
        Ok(state.end.length)
    }

    fn pad_once(&self, handle: ChunkHandle, length: u64) -> Result<u64, StoreError> {
        let (chunk, file) = self.chunk(handle)?;
        self.check_end(&chunk, Some(length))?;
        if length <= chunk.applied_length() {
            return Ok(chunk.applied_length());
        }
        chunk.begin_change(&*file, self.config.boot, false)?;
        let mut state = chunk.open_state()?;
        chunk.give_back(&*file, &mut state);
        chunk
            .append(&*file, &mut state, length, &Payload::default())
            .map_err(|error| self.full(error))?;
        Ok(state.end.length)
    }

    /// Stores a higher version, and that the replica is not clean any more, in one header; durable when this returns, as is
    /// everything before it.
    ///
    /// # Errors
    /// `OtherVersion` when it is not higher, or the disk's.
    pub fn set_version(
        &self,
        handle: ChunkHandle,
        version: ChunkVersion,
    ) -> Result<(), StoreError> {
        let (chunk, file) = self.chunk(handle)?;
        let mut header = chunk.header();
        if version <= header.version {
            return Err(StoreError::OtherVersion { handle, has: header.version, named: version });
        }
        let boot = self.config.boot;
        chunk.write_header(&*file, &mut header, |header| {
            header.version = version;
            header.unclean(boot);
        })
    }

    /// Clears `clean` and notes this run of the kernel, durable when this returns. Free when it is unclean already.
    /// The first mutation does this by itself.
    ///
    /// # Errors
    /// The disk's.
    pub fn mark_unclean(&self, handle: ChunkHandle) -> Result<(), StoreError> {
        let (chunk, file) = self.chunk(handle)?;
        chunk.begin_change(&*file, self.config.boot, false)
    }

    /// Notes that a block does not match its checksum, durable when this returns: a start looks only at blocks that a
    /// crash may have touched, and would take the replica for a good one.
    ///
    /// # Errors
    /// The disk's.
    pub fn mark_corrupt(&self, handle: ChunkHandle) -> Result<(), StoreError> {
        let (chunk, file) = self.chunk(handle)?;
        let mut header = chunk.header();
        if header.corrupt {
            return Ok(());
        }
        chunk.write_header(&*file, &mut header, |header| header.corrupt = true)
    }

    /// Bytes of the replica as applied.
    ///
    /// # Errors
    /// `NotFound`, or what is wrong with its file.
    pub fn applied_length(&self, handle: ChunkHandle) -> Result<u64, StoreError> {
        Ok(self.good(handle)?.applied_length())
    }

    /// The checksums of all blocks as applied, and their digest.
    ///
    /// # Errors
    /// The disk's.
    pub fn checksums(&self, handle: ChunkHandle) -> Result<Checksums, StoreError> {
        let (chunk, file) = self.chunk(handle)?;
        chunk.all_checksums(&*file)
    }

    /// A read of whole blocks around `range`, nothing of it at or above `shown_length`. Not verified: the reader does.
    /// Never waits for a mutation that is under way.
    ///
    /// # Errors
    /// `Invalid` when the range begins at or above `shown_length`, or that is above the applied length.
    pub fn read_plan(
        &self,
        handle: ChunkHandle,
        range: Range<u64>,
        shown_length: u64,
    ) -> Result<ReadPlan, StoreError> {
        let (chunk, file) = self.chunk(handle)?;
        chunk.plan_read(file, &range, shown_length)
    }

    /// The bytes of a range, after every block they lie in was verified; nothing at or above `shown_length`.
    ///
    /// # Errors
    /// `Damaged` when a block does not verify, in order with the mutations: this verdict counts.
    pub fn read_verified(
        &self,
        handle: ChunkHandle,
        range: Range<u64>,
        shown_length: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let (chunk, file) = self.chunk(handle)?;
        chunk.read_checked(&*file, &range, shown_length)
    }

    /// Room for chunks: what the disk has left, less the reserve.
    ///
    /// # Errors
    /// The disk's.
    pub fn space(&self) -> Result<Space, StoreError> {
        let space = self.room.space(&*self.fs, &self.config.dir);
        space.map_err(|source| StoreError::Io {
            handle: None,
            doing: "asking for free space".to_owned(),
            source,
        })
    }

    /// Whether what is on its way fits on the disk and no more is to be taken.
    #[must_use]
    pub fn is_short_of_space(&self) -> bool {
        self.room.is_short(&*self.fs, &self.config.dir)
    }

    fn check_end(&self, chunk: &Chunk, end: Option<u64>) -> Result<(), StoreError> {
        let bytes = self.config.chunk_size.bytes();
        if end.is_some_and(|end| end <= bytes) {
            return Ok(());
        }
        Err(chunk.invalid(format!("a write beyond the end of the chunk, which has {bytes} bytes")))
    }

    fn check_room(&self, handle: ChunkHandle, bytes: u64) -> Result<(), StoreError> {
        let room = self.room.take(&*self.fs, &self.config.dir, bytes);
        let doing = || "asking for free space".to_owned();
        if room.map_err(|source| StoreError::Io { handle: None, doing: doing(), source })? {
            return Ok(());
        }
        Err(StoreError::Full { server: self.config.server.clone(), handle })
    }

    /// Names the server where the disk is full.
    fn full(&self, error: StoreError) -> StoreError {
        let error = error.or_full(&self.config.server);
        if matches!(error, StoreError::Full { .. }) {
            self.room.used_up();
        }
        error
    }
}

/// Names this run of the machine's kernel.
///
/// # Errors
/// When the kernel does not tell.
pub fn boot_id() -> std::io::Result<u128> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).map_err(std::io::Error::other)
}
