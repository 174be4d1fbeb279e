//! The thread that owns the log: takes the pending batch, appends once, flushes once, reports.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gfs_durable::log::{Log, LogError};
use gfs_types::fence::LogPosition;

use super::prepare::PrepareThread;
use crate::checkpoint::keeper::Due;
use crate::commit::{Commit, Job};
use crate::fatal::Fatal;
use crate::metrics::Metrics;
use crate::release::Batch;

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
    let prepare = PrepareThread::start(log.preparer())?;
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
        loop {
            match self.around.commit.next_job(IDLE) {
                Job::Write(batch) => self.write(&batch)?,
                Job::RemoveBefore(position) => {
                    self.log.remove_before(position).map_err(failed("cutting"))?;
                }
                Job::Idle => self.log.mark_durable().map_err(failed("marking"))?,
                Job::End => return self.log.mark_durable().map_err(failed("ending")),
            }
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        let begin = Instant::now();
        let durable = super::write(&mut self.log, batch).map_err(failed("writing"))?;
        self.around.commit.flushed(durable);
        let (records, bytes) = (batch.records().len() as u64, batch.bytes());
        self.around.metrics.flushed(records, bytes, durable, begin.elapsed());
        self.count(records, bytes, durable);
        Ok(())
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
    }
}

fn failed(what: &'static str) -> impl FnOnce(LogError) -> Failure {
    move |error| (what, error)
}
