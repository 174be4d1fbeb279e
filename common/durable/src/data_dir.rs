//! The data directory of a server: locked, stamped with its identity, counting its sessions.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gfs_types::ids::{ClusterUid, ProcessSession, ServerUid};

use crate::fs::Fs;
use crate::slots::SlotsError;

/// The newest version of the data directory this program understands, and the one it makes.
pub const FORMAT_VERSION: u32 = 1;

/// Whose data directory it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A master, primary or shadow.
    Master,
    /// A chunkserver.
    Chunkserver,
}

/// The stamp of a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The cluster it belongs to.
    pub cluster_uid: ClusterUid,
    /// Its own identity.
    pub own_uid: ServerUid,
    /// Whose it is.
    pub role: Role,
}

/// Why a data directory is refused.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The session counter cannot be used.
    #[error(transparent)]
    Sessions(#[from] SlotsError),
}

/// What [`DataDir::open`] found.
#[derive(Debug)]
pub enum Opened {
    /// Nothing: it may be formatted.
    Blank(BlankDir),
    /// A stamp.
    Formatted(DataDir),
}

/// A locked directory without a stamp.
#[derive(Debug)]
pub struct BlankDir {}

/// A locked, formatted directory.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    format: Format,
}

impl DataDir {
    /// Makes the directory if need be, locks it and looks at its stamp.
    pub fn open(_fs: Arc<dyn Fs>, _path: &Path, _role: Role) -> Result<Opened, DataDirError> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its stamp.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Refuses a directory of another cluster than `expected`.
    pub fn expect_cluster(&self, _expected: ClusterUid) -> Result<(), DataDirError> {
        Ok(())
    }

    /// The number of this run: larger than every one before, durable when this returns.
    pub fn next_session(&mut self) -> Result<ProcessSession, DataDirError> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }
}

impl BlankDir {
    /// Formats the directory. `fill` makes what must be there from the first start on (an empty log,
    /// say); the stamp comes last, so an interrupted format is blank again and starts over.
    pub fn format(
        self,
        _cluster_uid: ClusterUid,
        _own_uid: ServerUid,
        _fill: &mut dyn FnMut(&Path) -> io::Result<()>,
    ) -> Result<DataDir, DataDirError> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }
}
