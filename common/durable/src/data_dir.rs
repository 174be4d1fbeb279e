//! The data directory of a server: locked, stamped with its identity, counting its sessions.
//!
//! - `LOCK` is locked as long as the process lives, and holds its number for the error of a second.
//! - `format` is the stamp. It is written last when a directory is formatted, so a directory has a
//!   stamp only if it has everything; `formatting` says that a format was interrupted.
//! - `session` counts the starts.
//!
//! Layout: `docs/formats/data-directory.md`.

mod error;
mod stamp;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gfs_types::ids::{ClusterUid, ProcessSession, ServerUid};
use gfs_types::mutants::{Mutant, runs};

use crate::atomic;
use crate::fs::{Fs, Lock};
use crate::slots::Slots;

pub use error::DataDirError;
pub use stamp::{FORMAT_VERSION, Format, Role, StampError, decode as decode_stamp};

const LOCK: &str = "LOCK";
const STAMP: &str = "format";
const STAMP_BYTES_MAX: u64 = 4096;
const FORMATTING: &str = "formatting";
const SESSION: &str = "session";

/// What may lie in a blank directory: our own lock, the address a blank server publishes (and a
/// replacement of it that was cut short), what a file system makes by itself.
const HARMLESS: [&str; 5] = [LOCK, "address", "address.tmp", "addresses", "lost+found"];

/// What [`DataDir::open`] found.
#[derive(Debug)]
pub enum Opened {
    /// Nothing: it may be formatted.
    Blank(BlankDir),
    /// A stamp.
    Formatted(DataDir),
}

/// A locked directory.
#[derive(Debug)]
struct Locked {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    role: Role,
    _lock: Box<dyn Lock>,
}

/// A locked directory without a stamp.
#[derive(Debug)]
pub struct BlankDir(Locked);

/// A locked, formatted directory. The lock is held until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    locked: Locked,
    format: Format,
    sessions: Slots,
}

impl DataDir {
    /// Makes the directory if need be, locks it and looks at its stamp. Refused: a directory in use,
    /// of the other role, of a newer format, with a damaged stamp, or with files but no stamp.
    pub fn open(fs: Arc<dyn Fs>, path: &Path, role: Role) -> Result<Opened, DataDirError> {
        fs.create_dir_all(path)?;
        let locked = Locked::lock(fs, path, role)?;
        if !locked.exists(STAMP)? {
            locked.check_blank()?;
            return Ok(Opened::Blank(BlankDir(locked)));
        }
        let format = locked.read_stamp()?;
        atomic::remove_leftovers(&*locked.fs, path)?;
        Self::of(locked, format).map(Opened::Formatted)
    }

    fn of(locked: Locked, format: Format) -> Result<Self, DataDirError> {
        // Left behind, it would let a directory that loses its stamp be formatted over.
        if locked.exists(FORMATTING)? {
            locked.fs.remove_file(&locked.path.join(FORMATTING))?;
            locked.fs.sync_dir(&locked.path)?;
        }
        let sessions = Slots::open(&*locked.fs, &locked.path.join(SESSION))?;
        Ok(Self { locked, format, sessions })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.locked.path
    }

    /// Its stamp.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Refuses a directory of another cluster than `expected`.
    pub fn expect_cluster(&self, expected: ClusterUid) -> Result<(), DataDirError> {
        let found = self.format.cluster_uid;
        if found == expected {
            return Ok(());
        }
        Err(DataDirError::ForeignCluster { dir: self.path().to_owned(), found, expected })
    }

    /// The number of this run: larger than every one before, durable when this returns.
    pub fn next_session(&mut self) -> Result<ProcessSession, DataDirError> {
        let damaged = || DataDirError::BadSession { path: self.path().join(SESSION) };
        let value: [u8; 8] = self.sessions.value().try_into().map_err(|_| damaged())?;
        let next = u64::from_le_bytes(value).checked_add(1).ok_or_else(damaged)?;
        self.sessions.write(&next.to_le_bytes())?;
        Ok(ProcessSession(next))
    }
}

impl BlankDir {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Formats the directory. `fill` makes what must be there from the first start on (an empty
    /// log, say); the stamp comes last, so an interrupted format is blank again and starts over,
    /// with everything of the first attempt removed.
    pub fn format<E>(
        self,
        cluster_uid: ClusterUid,
        own_uid: ServerUid,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<DataDir, DataDirError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Self(locked) = self;
        let format = Format { cluster_uid, own_uid, role: locked.role };
        let (fs, dir) = (locked.fs.clone(), locked.path.clone());
        if locked.exists(FORMATTING)? {
            clear(&*fs, &dir, &|name| HARMLESS.iter().chain([&FORMATTING]).any(|h| name == *h))?;
        }
        atomic::replace(&*fs, &dir.join(FORMATTING), b"")?;
        Slots::create(&*fs, &dir.join(SESSION), &0u64.to_le_bytes())?;
        fill(&dir)
            .map_err(|error| DataDirError::Fill { dir: dir.clone(), source: error.into() })?;
        atomic::replace(&*fs, &dir.join(STAMP), stamp::encode(&format).as_bytes())?;
        DataDir::of(locked, format)
    }
}

impl Locked {
    fn lock(fs: Arc<dyn Fs>, path: &Path, role: Role) -> Result<Self, DataDirError> {
        let file = path.join(LOCK);
        if runs(Mutant::LockIsALeftover) && fs.exists(&file)? {
            fs.remove_file(&file)?;
        }
        let Some(lock) = fs.try_lock(&file)? else {
            let process = holder(&*fs, &file);
            return Err(DataDirError::InUse { dir: path.to_owned(), process });
        };
        lock.file().set_len(0)?;
        lock.file().write_all_at(std::process::id().to_string().as_bytes(), 0)?;
        Ok(Self { fs, path: path.to_owned(), role, _lock: lock })
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.fs.exists(&self.path.join(name))
    }

    /// Files without a stamp are somebody's data, unless a format of ours was interrupted.
    fn check_blank(&self) -> Result<(), DataDirError> {
        if self.exists(FORMATTING)? {
            return Ok(());
        }
        for name in self.fs.read_dir(&self.path)? {
            if !HARMLESS.iter().any(|harmless| name == *harmless) && !is_own_temporary(&name) {
                return Err(DataDirError::NotEmpty { dir: self.path.clone(), file: name });
            }
        }
        Ok(())
    }

    fn read_stamp(&self) -> Result<Format, DataDirError> {
        let path = self.path.join(STAMP);
        let bytes = self.fs.read(&path, STAMP_BYTES_MAX)?;
        let format = stamp::decode(&bytes)
            .map_err(|source| DataDirError::BadStamp { path: path.clone(), source })?;
        if format.role != self.role {
            let dir = self.path.clone();
            return Err(DataDirError::OtherRole { dir, found: format.role, expected: self.role });
        }
        Ok(format)
    }
}

/// What an interrupted first step of a format leaves.
fn is_own_temporary(name: &OsStr) -> bool {
    name.to_str().and_then(|name| name.strip_suffix(atomic::TEMPORARY_SUFFIX)) == Some(FORMATTING)
}

/// The process that wrote its number into the lock file, if it can be read.
fn holder(fs: &dyn Fs, lock: &Path) -> String {
    let read =
        || -> Option<u32> { String::from_utf8(fs.read(lock, 32).ok()?).ok()?.trim().parse().ok() };
    read().map_or_else(|| "unknown".to_owned(), |pid| pid.to_string())
}

/// Removes every file below a directory but those kept at its top.
fn clear(fs: &dyn Fs, dir: &Path, keep: &dyn Fn(&OsStr) -> bool) -> io::Result<()> {
    for name in fs.read_dir(dir)? {
        let path = dir.join(&name);
        if keep(&name) {
            continue;
        }
        if fs.metadata(&path)?.is_dir {
            clear(fs, &path, &|_| false)?;
        } else {
            fs.remove_file(&path)?;
        }
    }
    fs.sync_dir(dir)
}

#[cfg(test)]
mod tests;
