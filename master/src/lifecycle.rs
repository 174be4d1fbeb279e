//! The data directory: blank or formatted, whose it is, and the configuration record in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gfs_durable::data_dir::{BlankDir, DataDir, DataDirError, Opened, Role};
use gfs_durable::fs::Fs;
use gfs_durable::log::{Log, LogError, LogOptions, OpenError};
use gfs_master_core::{Durable, Input, Master, Settings};
use gfs_membership::record::{self, ConfigRecord};
use gfs_membership::store::file::{self, FileStore};
use gfs_membership::store::{Store, StoreError, Swap};
use gfs_types::fence::LogPosition;
use gfs_types::ids::{ClusterUid, ServerUid};
use gfs_types::region::ChunkSize;

use crate::clock::Clock;
use crate::oplog::{self, CHECKPOINT_DIR, LOG_DIR};
use crate::release::GroupCommit;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// In use, foreign, newer, damaged.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The configuration record's file is in use or damaged.
    #[error(transparent)]
    OpenStore(#[from] file::OpenError),
    /// The configuration record cannot be read or made.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record of another cluster.
    #[error("the configuration record in {} is of cluster {found}, the data directory of cluster {expected}", dir.display())]
    OtherCluster {
        /// The data directory.
        dir: PathBuf,
        /// In the record.
        found: ClusterUid,
        /// In the stamp.
        expected: ClusterUid,
    },
    /// The first record was not stored.
    #[error("the first configuration record could not be stored in {}: {reason}; start again", dir.display())]
    NotStored {
        /// The data directory.
        dir: PathBuf,
        /// What the store said.
        reason: String,
    },
}

/// Why a blank directory was not formatted.
#[derive(Debug, thiserror::Error)]
enum FillError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] Box<LifecycleError>),
}

/// What a new cluster is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewCluster {
    /// Its uid.
    pub cluster: ClusterUid,
    /// The uid of its first master.
    pub master: ServerUid,
    /// Bytes of its chunks, for ever.
    pub chunk_size: ChunkSize,
}

/// Locks the directory and looks what it is.
///
/// # Errors
/// It is in use, not a master's, newer or damaged.
pub fn open(fs: Arc<dyn Fs>, dir: &Path) -> Result<Opened, LifecycleError> {
    Ok(DataDir::open(fs, dir, Role::Master)?)
}

/// Makes a blank directory that of the first master of a new cluster: a log with the first record,
/// the configuration record, and at last the stamp. Interrupted, it is blank again.
///
/// # Errors
/// The disk failed.
pub fn format(
    fs: &Arc<dyn Fs>,
    blank: BlankDir,
    new: NewCluster,
    options: LogOptions,
) -> Result<DataDir, LifecycleError> {
    let fill = |dir: &Path| -> Result<(), FillError> {
        fs.create_dir_all(&dir.join(LOG_DIR))?;
        fs.create_dir_all(&dir.join(CHECKPOINT_DIR))?;
        first_record(fs, &dir.join(LOG_DIR), new, options)?;
        let store = FileStore::open(fs.clone(), dir).map_err(|error| Box::new(error.into()))?;
        read_or_create(&store, dir, new.cluster, new.master)?;
        Ok(())
    };
    Ok(blank.format(new.cluster, new.master, fill)?)
}

/// A log that says which cluster it is of.
fn first_record(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    new: NewCluster,
    options: LogOptions,
) -> Result<(), FillError> {
    let mut log = Log::create(fs.clone(), dir, options, LogPosition(1))?;
    let mut master = Master::new(Settings::default(), Durable::blank());
    let mut effects = Vec::new();
    let clock = Clock::start();
    let input = Input::Format { cluster: new.cluster, chunk_size: new.chunk_size };
    master.step(clock.now(), clock.wall(), input, &mut effects);
    let mut group = GroupCommit::new(LogPosition(0));
    group.accept(effects);
    if let Some(batch) = group.begin_flush() {
        oplog::write(&mut log, &batch)?;
    }
    Ok(log.mark_durable()?)
}

/// The configuration record of a formatted directory, and the store it is kept in. Made if it is not
/// there: then this master is the primary, in sync with itself.
///
/// # Errors
/// The store cannot be used, or holds the record of another cluster.
pub fn config_record(
    fs: Arc<dyn Fs>,
    data_dir: &DataDir,
) -> Result<(ConfigRecord, FileStore), LifecycleError> {
    let format = data_dir.format();
    let store = FileStore::open(fs, data_dir.path())?;
    let record = read_or_create(&store, data_dir.path(), format.cluster_uid, format.own_uid)?;
    Ok((record, store))
}

fn read_or_create(
    store: &dyn Store,
    dir: &Path,
    cluster: ClusterUid,
    own: ServerUid,
) -> Result<ConfigRecord, Box<LifecycleError>> {
    let boxed = |error: StoreError| Box::new(LifecycleError::from(error));
    let (stored, token) = store.read().map_err(boxed)?;
    let Some(stored) = stored else {
        let first = record::first(cluster, own);
        let reason = match store.compare_and_swap(&token, &first).map_err(boxed)? {
            Swap::Done(_) => return Ok(first),
            Swap::Conflict(..) => "another one was stored at the same time".to_owned(),
            Swap::Unknown(reason) => reason,
        };
        return Err(Box::new(LifecycleError::NotStored { dir: dir.to_owned(), reason }));
    };
    if stored.cluster != cluster {
        let (dir, found) = (dir.to_owned(), stored.cluster);
        return Err(Box::new(LifecycleError::OtherCluster { dir, found, expected: cluster }));
    }
    Ok(stored)
}

impl From<Box<Self>> for LifecycleError {
    fn from(error: Box<Self>) -> Self {
        *error
    }
}
