//! The thread that makes checkpoints while the master serves.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gfs_durable::fs::Fs;
use gfs_durable::log;
use gfs_types::fence::LogPosition;
use gfs_types::limits::CHECKPOINT_RETRY_MS;

use super::{Made, make};
use crate::metrics::Metrics;

/// Tells the keeper that a checkpoint is due.
#[derive(Debug, Clone)]
pub struct Due(Sender<LogPosition>);

impl Due {
    /// Everything up to this position is durable. Does not wait.
    pub fn at(&self, position: LogPosition) {
        // Gone only while the process ends; then the last checkpoint is made elsewhere.
        let _ = self.0.send(position);
    }
}

/// Makes checkpoints.
#[derive(Debug)]
pub struct Keeper {
    /// The disk.
    pub fs: Arc<dyn Fs>,
    /// Where checkpoints are.
    pub dir: PathBuf,
    /// The log they are made from.
    pub reader: log::Reader,
    /// Counted here.
    pub metrics: Arc<Metrics>,
}

impl Keeper {
    /// Makes the checkpoint of a durable position. A failure harms nothing but the disk's room: it
    /// is told, and the log stays as it is.
    #[must_use]
    pub fn make(&self, position: LogPosition) -> Option<Made> {
        let begin = Instant::now();
        match make(&self.fs, &self.dir, &self.reader, position) {
            Ok(made) => {
                let seconds = begin.elapsed();
                self.metrics.checkpoint_made(made.position, seconds);
                tracing::info!(
                    log_pos = made.position.0,
                    log_from = made.log_from.0,
                    ?seconds,
                    "checkpoint made"
                );
                Some(made)
            }
            Err(error) => {
                self.metrics.checkpoint_failed();
                tracing::error!(
                    log_pos = position.0,
                    %error,
                    "no checkpoint was made: the log is kept and grows until one is"
                );
                None
            }
        }
    }

    /// Starts the thread; it ends when every [`Due`] is dropped. `done` is called after each
    /// checkpoint.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(
        self,
        mut done: impl FnMut(Made) + Send + 'static,
    ) -> std::io::Result<(Due, JoinHandle<Self>)> {
        let (sender, due) = mpsc::channel();
        let thread =
            std::thread::Builder::new().name("checkpoint".to_owned()).spawn(move || {
                step_back();
                let mut failed = None;
                while let Some(position) = next(&due, failed) {
                    let made = self.make(position);
                    failed = if made.is_some() { None } else { Some(position) };
                    made.into_iter().for_each(&mut done);
                }
                self
            })?;
        Ok((Due(sender), thread))
    }
}

/// This thread gets a tenth of what one that serves gets where both want a processor: what it makes is not waited for, but the
/// log grows until it is made.
fn step_back() {
    const A_TENTH: i32 = 10;
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), A_TENTH) {
        tracing::warn!(%error, "cannot lower the priority of checkpoints: clients may feel one being made");
    }
}

/// The newest of the positions that wait: one checkpoint is enough for all of them. One that failed is tried again after a
/// while: the disk may have been full, and the log grows until it is made.
fn next(due: &Receiver<LogPosition>, failed: Option<LogPosition>) -> Option<LogPosition> {
    let first = match failed {
        None => due.recv().ok()?,
        Some(position) => match due.recv_timeout(Duration::from_millis(CHECKPOINT_RETRY_MS.0)) {
            Ok(newer) => newer,
            Err(RecvTimeoutError::Timeout) => position,
            Err(RecvTimeoutError::Disconnected) => return None,
        },
    };
    Some(due.try_iter().last().unwrap_or(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_checkpoint_is_made_for_all_that_wait() {
        let (sender, due) = mpsc::channel();
        for position in 1..=3 {
            Due(sender.clone()).at(LogPosition(position));
        }
        drop(sender);
        assert_eq!(
            next(&due, Some(LogPosition(1))),
            Some(LogPosition(3)),
            "instead of the failed one"
        );
        assert_eq!(next(&due, None), None);
        assert_eq!(next(&due, Some(LogPosition(3))), None, "the process ends");
    }
}
