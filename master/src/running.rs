//! The driver, the log and the checkpoints of a master of a cluster. Started together, ended in order.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use gfs_durable::fs::Fs;
use gfs_durable::log::Log;
use gfs_master_core::{Input, Master, Settings};
use gfs_types::fence::{LogPosition, MasterEpoch};

use crate::checkpoint::keeper::Keeper;
use crate::checkpoint::{self, Made};
use crate::clock::Clock;
use crate::commit::Commit;
use crate::driver::{self, Inputs};
use crate::fatal::Fatal;
use crate::metrics::Metrics;
use crate::oplog::writer::{self, Surroundings};
use crate::oplog::{CHECKPOINT_DIR, Recovered};
use crate::outbox::Outbox;
use crate::room::Disk;

/// A clean end makes a checkpoint if the next start would have to replay at least so many records:
/// below, replaying is quicker than reading the checkpoint.
const END_CHECKPOINT_RECORDS: u64 = 10_000;

/// What the threads need.
#[derive(Debug)]
pub struct Parts {
    /// The disk.
    pub fs: Arc<dyn Fs>,
    /// The data directory.
    pub dir: PathBuf,
    /// What the configuration says.
    pub settings: Settings,
    /// Bytes of log after which a checkpoint is made.
    pub checkpoint_log_bytes: u64,
    /// Bytes of the disk kept for log and checkpoints.
    pub reserve_bytes: u64,
    /// Where effects go.
    pub outbox: Arc<Outbox>,
    /// Counted here.
    pub metrics: Arc<Metrics>,
    /// Called when nothing can be promised any more.
    pub fatal: Fatal,
}

/// The driver and the threads.
#[derive(Debug)]
pub struct Running {
    /// The way to the core.
    pub inputs: Inputs,
    /// What is durable.
    pub commit: Arc<Commit>,
    /// Room for it.
    pub disk: Arc<Disk>,
    driver: tokio::task::JoinHandle<Master>,
    log: JoinHandle<Option<Log>>,
    keeper: JoinHandle<Keeper>,
    checkpoint: Arc<AtomicU64>,
}

impl Running {
    /// Starts them over what was recovered, the driver on the runtime of whoever calls.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(recovered: Recovered, parts: Parts) -> std::io::Result<Self> {
        let Recovered { log, state, checkpoint, .. } = recovered;
        let commit = Arc::new(Commit::new(state.position(), parts.outbox));
        let master = Master::new(parts.settings, state);
        let (inputs, driver) =
            driver::start(master, Clock::start(), commit.clone(), parts.fatal.clone());
        let disk = Arc::new(Disk::new(parts.fs.clone(), parts.dir.clone(), parts.reserve_bytes));
        let checkpoints = parts.dir.join(CHECKPOINT_DIR);
        let measure = measure(disk.clone(), parts.fs.clone(), checkpoints.clone());
        measure(checkpoint);
        let keeper = Keeper {
            fs: parts.fs,
            dir: checkpoints,
            reader: log.reader(),
            metrics: parts.metrics.clone(),
        };
        let checkpoint = Arc::new(AtomicU64::new(checkpoint.0));
        let mut told = tell(commit.clone(), inputs.clone(), checkpoint.clone());
        let (due, keeper) = keeper.start(move |made| {
            measure(made.position);
            told(made);
        })?;
        let around = Surroundings {
            commit: commit.clone(),
            due,
            checkpoint_log_bytes: parts.checkpoint_log_bytes,
            growth: disk.growth(),
            metrics: parts.metrics,
            fatal: parts.fatal,
        };
        let log = writer::start(log, around)?;
        Ok(Self { inputs, commit, disk, driver, log, keeper, checkpoint })
    }

    /// Begins to serve, in this epoch, and tells the core where the newest checkpoint is.
    pub async fn serve(&self, epoch: MasterEpoch) {
        let checkpoint = LogPosition(self.checkpoint.load(Ordering::Relaxed));
        for input in [Input::Serve { epoch }, Input::CheckpointDone(checkpoint)] {
            // The driver ends only after `end`.
            let _ = self.inputs.send(input).await;
        }
    }

    /// The clean end: everything accepted is made durable, a proof of it is left, a checkpoint is
    /// made where it shortens the next start.
    ///
    /// # Errors
    /// The driver or a thread had ended by a failure.
    pub async fn end(self) -> anyhow::Result<()> {
        self.inputs.stop().await;
        let Self { driver, log, keeper, checkpoint, .. } = self;
        driver.await?;
        tokio::task::spawn_blocking(move || end_threads(log, keeper, &checkpoint)).await?
    }
}

/// Behind the end of the driver.
fn end_threads(
    log: JoinHandle<Option<Log>>,
    keeper: JoinHandle<Keeper>,
    checkpoint: &AtomicU64,
) -> anyhow::Result<()> {
    let panicked = |_| anyhow::anyhow!("a thread of the master panicked");
    // The log thread lets go of `Due`, which ends the keeper.
    let log = log.join().map_err(panicked)?;
    let keeper = keeper.join().map_err(panicked)?;
    let mut log = log.ok_or_else(|| anyhow::anyhow!("the operation log had failed"))?;
    let last = log.positions().durable;
    let checkpoint = checkpoint.load(Ordering::Relaxed);
    if last.0.saturating_sub(checkpoint) >= END_CHECKPOINT_RECORDS
        && let Some(made) = keeper.make(last)
    {
        log.remove_before(made.log_from)?;
    }
    Ok(())
}

/// Notes how large the newest checkpoint is.
fn measure(
    disk: Arc<Disk>,
    fs: Arc<dyn Fs>,
    dir: PathBuf,
) -> impl Fn(LogPosition) + Send + 'static {
    move |position| {
        // Without one there is nothing to measure; the reserve is as large as it was.
        if let Ok(found) = fs.metadata(&checkpoint::file::path(&dir, position)) {
            disk.checkpoint(found.len);
        }
    }
}

/// What follows a checkpoint: the log before it goes, and the core knows.
fn tell(
    commit: Arc<Commit>,
    inputs: Inputs,
    checkpoint: Arc<AtomicU64>,
) -> impl FnMut(Made) + Send + 'static {
    move |made| {
        checkpoint.store(made.position.0, Ordering::Relaxed);
        commit.remove_before(made.log_from);
        // While the process ends nobody needs to know.
        let _ = inputs.send_blocking(Input::CheckpointDone(made.position));
    }
}
