//! The store for a cluster with one master: a file in its data directory.
//!
//! The format is a contract: docs/formats/config-record.md. A lock beside the file keeps a second
//! process away; within one process a mutex makes read, compare and replace one step.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gfs_durable::atomic;
use gfs_durable::fs::{Fs, Lock};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, Swap, Token};
use crate::record::{self, ConfigRecord};

/// The name of the file in the data directory.
pub const FILE_NAME: &str = "config-record.json";
/// The name of its lock.
pub const LOCK_NAME: &str = "config-record.lock";
/// The newest version of the format this program understands, and the one it writes.
pub const FORMAT_VERSION: u32 = 1;
/// Bytes of the largest file that is read: a record with the largest in-sync set has below 2 KiB.
pub const FILE_BYTES_MAX: u64 = 64 << 10;

/// Bytes that are no configuration record.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not the JSON it should be.
    #[error("it is not a configuration record: {0}")]
    Json(#[source] serde_json::Error),
    /// Written by a newer program.
    #[error("it has format version {found}; this program reads versions 1 to {FORMAT_VERSION}")]
    Version {
        /// In the file.
        found: u32,
    },
    /// Damaged.
    #[error("its checksum is {computed:08x}, the file says {stored}")]
    Checksum {
        /// In the file.
        stored: String,
        /// Of what the file holds.
        computed: u32,
    },
}

/// Why the file store is not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store of this one, has it.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The lock.
        path: PathBuf,
    },
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is not a record.
    #[error("{} cannot be used: {source}; restore it from a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: DecodeError,
    },
}

/// A configuration record in a file, replaced atomically.
#[derive(Debug)]
pub struct FileStore {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    path: PathBuf,
    /// One change at a time.
    turn: Mutex<()>,
    _lock: Box<dyn Lock>,
}

/// What the checksum is over.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    format_version: u32,
    record: ConfigRecord,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    body: Body,
    /// CRC-32C of `body` as compact JSON, eight hexadecimal digits.
    crc32c: String,
}

/// Read before the rest, so that a newer file is called newer and not damaged.
#[derive(Deserialize)]
struct VersionOnly {
    body: VersionBody,
}

#[derive(Deserialize)]
struct VersionBody {
    format_version: u32,
}

impl FileStore {
    /// Opens the store in `dir`, which must exist, and keeps others out until it is dropped.
    ///
    /// # Errors
    /// The store is in use, the disk failed, or the file that is there is damaged.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path) -> Result<Self, OpenError> {
        let lock_path = dir.join(LOCK_NAME);
        let lock = fs.try_lock(&lock_path)?.ok_or(OpenError::InUse { path: lock_path })?;
        let (dir, path) = (dir.to_owned(), dir.join(FILE_NAME));
        let store = Self { fs, dir, path, turn: Mutex::new(()), _lock: lock };
        store.load_durable()?;
        Ok(store)
    }

    /// A panic elsewhere leaves nothing half done: the file is replaced whole.
    fn take_turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A kill, or a sync that failed, may have left the name of the record in the kernel's memory only: nobody acts on what could go away.
    fn load_durable(&self) -> Result<Option<ConfigRecord>, OpenError> {
        self.fs.sync_dir(&self.dir)?;
        self.load()
    }

    fn load(&self) -> Result<Option<ConfigRecord>, OpenError> {
        let bytes = match self.fs.read(&self.path, FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let damaged = |source| OpenError::Damaged { path: self.path.clone(), source };
        decode(&bytes).map(Some).map_err(damaged)
    }

    /// Versions count the changes of a record one by one, so the version names the state.
    fn token(record: Option<&ConfigRecord>) -> Token {
        Token::new(record.map_or(0, |record| record.version).to_string())
    }
}

impl Store for FileStore {
    fn read(&self) -> Result<(Option<ConfigRecord>, Token), StoreError> {
        let _turn = self.take_turn();
        let stored = self.load_durable().map_err(|error| StoreError::Unusable(error.into()))?;
        let token = Self::token(stored.as_ref());
        Ok((stored, token))
    }

    fn compare_and_swap(&self, token: &Token, new: &ConfigRecord) -> Result<Swap, StoreError> {
        let _turn = self.take_turn();
        let stored = self.load().map_err(|error| StoreError::Unusable(error.into()))?;
        let current = Self::token(stored.as_ref());
        if current != *token {
            return Ok(Swap::Conflict(stored, current));
        }
        record::check_successor(stored.as_ref(), new)?;
        // An error may have come before or after the new name was in place.
        match atomic::replace(self.fs.as_ref(), &self.path, &encode(new)) {
            Ok(()) => Ok(Swap::Done(Self::token(Some(new)))),
            Err(error) => Ok(Swap::Unknown(error.to_string())),
        }
    }
}

/// The bytes of the file that holds `record`.
#[must_use]
pub fn encode(record: &ConfigRecord) -> Vec<u8> {
    let body = Body { format_version: FORMAT_VERSION, record: record.clone() };
    let crc32c = format!("{:08x}", checksum(&body));
    let mut bytes = serde_json::to_vec_pretty(&Document { body, crc32c })
        .expect("a record has only text and numbers");
    bytes.push(b'\n');
    bytes
}

/// The record in the bytes of a file. Total: any bytes give a record or an error.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode(bytes: &[u8]) -> Result<ConfigRecord, DecodeError> {
    let version: VersionOnly = serde_json::from_slice(bytes).map_err(DecodeError::Json)?;
    let found = version.body.format_version;
    if !(1..=FORMAT_VERSION).contains(&found) {
        return Err(DecodeError::Version { found });
    }
    let document: Document = serde_json::from_slice(bytes).map_err(DecodeError::Json)?;
    let computed = checksum(&document.body);
    if document.crc32c != format!("{computed:08x}") {
        return Err(DecodeError::Checksum { stored: document.crc32c, computed });
    }
    Ok(document.body.record)
}

/// Over the values, not the layout: a file that a person has indented anew is the same file.
fn checksum(body: &Body) -> u32 {
    let bytes = serde_json::to_vec(body).expect("a record has only text and numbers");
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &bytes);
    u32::try_from(crc).expect("a CRC-32 has 32 bits")
}

#[cfg(test)]
mod tests;
