//! The operation log (§2.6.2): recovered at start, written by one thread, prepared ahead by another.

pub mod prepare;
pub mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gfs_durable::fs::Fs;
use gfs_durable::log::{BoxError, Expected, Log, LogError, LogOptions, OpenError};
use gfs_master_core::Durable;
use gfs_types::fence::LogPosition;
use gfs_types::ids::ClusterUid;

use crate::checkpoint;
use crate::checkpoint::file::CheckpointError;
use crate::release::Batch;

/// The log's directory in a data directory.
pub const LOG_DIR: &str = "log";
/// The checkpoints' directory in a data directory.
pub const CHECKPOINT_DIR: &str = "checkpoints";

/// A long replay says how far it is so often.
const PROGRESS: Duration = Duration::from_secs(5);
/// Records between two looks at the clock.
const PROGRESS_RECORDS: u64 = 1 << 16;

/// A log and the state that it tells.
#[derive(Debug)]
pub struct Recovered {
    /// Open to append.
    pub log: Log,
    /// Everything the log says.
    pub state: Durable,
    /// The checkpoint it began from; 0 for none.
    pub checkpoint: LogPosition,
    /// Records replayed behind it.
    pub replayed: u64,
}

/// Why the master does not start on what is in its data directory.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The checkpoints cannot be read.
    #[error("the checkpoints cannot be read: {0}")]
    Checkpoints(#[from] CheckpointError),
    /// The log cannot be used.
    #[error("the operation log cannot be used: {}", chain(.0))]
    Log(#[source] OpenError),
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The master was told to end meanwhile.
    #[error("the recovery was stopped, since the master ends")]
    Stopped,
    /// Checkpoint or log of somebody else.
    #[error("{}: what it holds belongs to {found}, the data directory to cluster {expected}", dir.display())]
    OtherCluster {
        /// The data directory.
        dir: PathBuf,
        /// Whose state it is.
        found: String,
        /// Whose it should be.
        expected: ClusterUid,
    },
}

/// The message of a log's error with that of its cause: the record that does not replay.
fn chain(error: &OpenError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Loads the newest good checkpoint and replays the log behind it. `stop` ends a long replay early.
///
/// # Errors
/// What is in the directory is damaged, the disk failed, or it was stopped. Nothing was changed then.
pub fn recover(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    options: LogOptions,
    stop: &AtomicBool,
) -> Result<Recovered, RecoverError> {
    let expected_cluster = options.cluster_uid;
    let checkpoints = dir.join(CHECKPOINT_DIR);
    gfs_durable::atomic::remove_leftovers(fs.as_ref(), &checkpoints)?;
    let checkpoint::Found { mut state, durable_at_least } =
        checkpoint::newest_good(fs, &checkpoints)?;
    let checkpoint = state.position();
    let mut progress = Progress::new();
    let expected = Expected { from: checkpoint.next(), durable_at_least };
    let log =
        Log::open(fs.clone(), &dir.join(LOG_DIR), options, expected, &mut |at,
                                                                           epoch,
                                                                           bytes: &[u8]|
         -> Result<
            (),
            BoxError,
        > {
            progress.record(at);
            if stop.load(Ordering::Relaxed) {
                return Err("the master ends".into());
            }
            Ok(state.replay(at, epoch, bytes)?)
        });
    if stop.load(Ordering::Relaxed) {
        return Err(RecoverError::Stopped);
    }
    let log = log.map_err(RecoverError::Log)?;
    assert_eq!(state.position(), log.positions().last, "the replay ends where the log does");
    if state.cluster() != Some(expected_cluster) {
        let found = state.cluster().map_or("nobody".to_owned(), |uid| format!("cluster {uid}"));
        return Err(RecoverError::OtherCluster {
            dir: dir.to_owned(),
            found,
            expected: expected_cluster,
        });
    }
    Ok(Recovered { log, state, checkpoint, replayed: progress.records })
}

/// Appends what the log does not have yet of a batch, and flushes it; returns the durable position.
///
/// # Errors
/// [`LogError::Full`]: to be called again when there is space. Else the disk failed: nothing can be promised any more.
pub fn write(log: &mut Log, batch: &Batch) -> Result<LogPosition, LogError> {
    append(log, batch)?;
    log.flush()
}

/// Appends what the log does not have yet of a batch: the first half of [`write()`].
///
/// # Errors
/// As [`write()`].
pub fn append(log: &mut Log, batch: &Batch) -> Result<(), LogError> {
    for (epoch, records) in batch.runs() {
        let taken = log.positions().last;
        let rest = records.partition_point(|record| record.position <= taken);
        log.append(epoch, &records[rest..])?;
    }
    Ok(())
}

/// Counts replayed records, and tells now and then.
struct Progress {
    records: u64,
    told: Instant,
}

impl Progress {
    fn new() -> Self {
        Self { records: 0, told: Instant::now() }
    }

    fn record(&mut self, at: LogPosition) {
        self.records += 1;
        if self.records.is_multiple_of(PROGRESS_RECORDS) && self.told.elapsed() >= PROGRESS {
            self.told = Instant::now();
            tracing::info!(log_pos = at.0, records = self.records, "replaying the operation log");
        }
    }
}
