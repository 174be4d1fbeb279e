//! Why a data directory is refused.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use gfs_types::ids::ClusterUid;

use super::{Role, StampError};
use crate::slots::SlotsError;

/// Why a data directory is refused.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another process has it.
    #[error("data directory {} is in use by process {process}", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process's number, or "unknown".
        process: String,
    },
    /// Files without a stamp: not ours to format.
    #[error(
        "data directory {} is not empty (it holds {file:?}) and has no `format` stamp: if it is \
         the wrong directory name another one; if it lost its stamp restore it; nothing is \
         formatted over it",
        dir.display()
    )]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
        /// One of the files.
        file: OsString,
    },
    /// The stamp cannot be believed.
    #[error("{}: {source}", path.display())]
    BadStamp {
        /// The stamp.
        path: PathBuf,
        /// Why.
        source: StampError,
    },
    /// A master's directory given to a chunkserver, or the other way round.
    #[error("data directory {} belongs to a {found}, this is a {expected}", dir.display())]
    OtherRole {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: Role,
        /// Who asks.
        expected: Role,
    },
    /// A directory of another cluster.
    #[error("data directory {} belongs to cluster {found}, not to {expected}", dir.display())]
    ForeignCluster {
        /// The directory.
        dir: PathBuf,
        /// Its cluster.
        found: ClusterUid,
        /// The one expected.
        expected: ClusterUid,
    },
    /// The session counter cannot be used.
    #[error(transparent)]
    Sessions(#[from] SlotsError),
    /// The session counter holds no number.
    #[error("{}: no session number in it; restore the data directory", path.display())]
    BadSession {
        /// The counter's file.
        path: PathBuf,
    },
    /// What the caller puts into a new directory failed.
    #[error("cannot format data directory {}", dir.display())]
    Fill {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
