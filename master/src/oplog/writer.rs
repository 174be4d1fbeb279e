//! The thread that owns the log: takes the pending batch, appends once, flushes once, reports.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gfs_durable::log::{Log, LogError};
use gfs_types::fence::LogPosition;
use gfs_types::limits::NO_SPACE_RETRY_MS;

use super::prepare::PrepareThread;
use crate::checkpoint::keeper::Due;
use crate::commit::{Commit, Job};
use crate::fatal::Fatal;
use crate::metrics::Metrics;
use crate::release::Batch;
use crate::room::Growth;

const NO_SPACE_RETRY: Duration = Duration::from_millis(NO_SPACE_RETRY_MS.0);

/// After so long without a record the log leaves a proof that all before was durable.
const IDLE: Duration = Duration::from_millis(200);

/// Bytes that a frame adds to its record, about; for the trigger of checkpoints only.
const FRAME_BYTES: u64 = 48;

/// What the thread needs beside the log.
#[derive(Debug)]
pub struct Surroundings {
    /// Where batches come from and durability is reported to.
    pub commit: Arc<Commit>,
    /// Told when a checkpoint is due.
    pub due: Due,
    /// Bytes of log after which one is.
    pub checkpoint_log_bytes: u64,
    /// Told whether the log can grow.
    pub growth: Arc<Growth>,
    /// Counted here.
    pub metrics: Arc<Metrics>,
    /// Called when the disk fails.
    pub fatal: Fatal,
}

/// Starts the thread. It gives the log back when [`Commit::end`] was called and all is durable;
/// `None` after a failure.
///
/// # Errors
/// No thread can be started.
pub fn start(log: Log, around: Surroundings) -> std::io::Result<JoinHandle<Option<Log>>> {
    let prepare = PrepareThread::start(log.preparer(), around.growth.clone())?;
    std::thread::Builder::new().name("log".to_owned()).spawn(move || {
        let _guard = around.fatal.on_panic("log");
        let fatal = around.fatal.clone();
        let mut writer = Writer { log, around, prepare, bytes_since_due: 0, sixteenths: u64::MAX };
        match writer.run() {
            Ok(()) => Some(writer.log),
            Err((what, error)) => {
                fatal.end(format_args!("{what} the operation log failed: {error}"));
                None
            }
        }
    })
}

struct Writer {
    log: Log,
    around: Surroundings,
    prepare: PrepareThread,
    bytes_since_due: u64,
    /// How much of the current segment was left when the next one was last asked for.
    sixteenths: u64,
}

type Failure = (&'static str, LogError);

impl Writer {
    fn run(&mut self) -> Result<(), Failure> {
        // A start may find the disk full and the segment at its end.
        self.ask_for_the_next_segment();
        loop {
            match self.around.commit.next_job(IDLE) {
                Job::Write(batch) => {
                    if !self.write(&batch)? {
                        return Ok(());
                    }
                }
                Job::RemoveBefore(position) => {
                    can_wait(self.log.remove_before(position)).map_err(failed("cutting"))?;
                }
                Job::Idle => can_wait(self.log.mark_durable()).map_err(failed("marking"))?,
                Job::End => return can_wait(self.log.mark_durable()).map_err(failed("ending")),
            }
        }
    }

    /// Says whether it was written: not where the process ends while there is no space. Nobody was told of those
    /// records, so nothing is lost with them.
    fn write(&mut self, batch: &Batch) -> Result<bool, Failure> {
        let begin = Instant::now();
        let Some(durable) = self.write_when_there_is_space(batch).map_err(failed("writing"))?
        else {
            return Ok(false);
        };
        self.around.commit.flushed(durable);
        let (records, bytes) = (batch.records().len() as u64, batch.bytes());
        self.around.metrics.flushed(records, bytes, durable, begin.elapsed());
        self.count(records, bytes, durable);
        Ok(true)
    }

    /// A full disk is waited for: what is in the log stays, what is not in it was not answered.
    fn write_when_there_is_space(
        &mut self,
        batch: &Batch,
    ) -> Result<Option<LogPosition>, LogError> {
        let mut waits = false;
        let written = loop {
            match super::write(&mut self.log, batch) {
                Err(LogError::Full { dir, source }) => {
                    if !waits {
                        let dir = dir.display();
                        tracing::error!(%dir, %source, "no space for the operation log: waiting for it");
                    }
                    waits = true;
                    self.around.growth.waits(true);
                    if self.around.commit.ended_within(NO_SPACE_RETRY) {
                        tracing::warn!("ending while the operation log has no space");
                        return Ok(None);
                    }
                }
                written => break written,
            }
        };
        if waits {
            self.around.growth.waits(false);
            tracing::info!("there is space for the operation log again");
        }
        written.map(Some)
    }

    /// Asks for a checkpoint when a segment's worth of log was written, and for the next segment
    /// early enough that it is there when the current one is full.
    fn count(&mut self, records: u64, bytes: u64, durable: LogPosition) {
        self.bytes_since_due += bytes + records * FRAME_BYTES;
        if self.bytes_since_due >= self.around.checkpoint_log_bytes {
            self.bytes_since_due = 0;
            self.around.due.at(durable);
        }
        self.ask_for_the_next_segment();
    }

    /// From half of a segment on, and again with every sixteenth, should the disk have been full.
    fn ask_for_the_next_segment(&mut self) {
        let sixteenth = (self.around.checkpoint_log_bytes / 16).max(1);
        let left = self.log.segment_bytes_left() / sixteenth;
        if left < 8 && left != self.sixteenths {
            self.prepare.wake();
        }
        self.sixteenths = left;
        let left_bytes = self.log.segment_bytes_left();
        self.around.growth.left(left_bytes, self.around.checkpoint_log_bytes);
    }
}

/// What only tidies up does not fail for want of space.
fn can_wait(done: Result<(), LogError>) -> Result<(), LogError> {
    match done {
        Err(LogError::Full { .. }) => Ok(()),
        done => done,
    }
}

fn failed(what: &'static str) -> impl FnOnce(LogError) -> Failure {
    move |error| (what, error)
}
