//! What must wait for the disk, off the shards' threads: a slow sync delays only those who wait for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use gfs_chunkserver_core::{StoreOp, Ticket};
use gfs_types::Error;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;

use super::guard::{self, EndsOnPanic};
use super::handle::DriverHandle;
use crate::store::{Flush, Store, StoreError};

/// Jobs that are carried out together.
const BATCH_MAX: usize = 256;

/// One durable operation. Those of a replica come from its shard and go to that shard's flusher: they are carried out
/// in the order in which its core asked for them.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) handle: ChunkHandle,
    pub(super) ticket: Ticket,
    pub(super) op: StoreOp,
}

/// The way to each shard's flusher, and the threads.
pub(super) struct Flushers {
    pub(super) jobs: Vec<Sender<Job>>,
    pub(super) threads: Vec<JoinHandle<()>>,
}

/// One thread for each shard; it ends when its shard does.
pub(super) fn start(
    shards: usize,
    store: &Arc<Store>,
    driver: &DriverHandle,
) -> std::io::Result<Flushers> {
    let mut jobs = Vec::new();
    let mut threads = Vec::new();
    for index in 0..shards {
        let (sender, receiver) = channel();
        let (store, driver) = (store.clone(), driver.clone());
        let thread = std::thread::Builder::new().name(format!("flusher-{index}"));
        threads.push(thread.spawn(move || {
            let _guard = EndsOnPanic;
            run(&receiver, &store, &driver);
        })?);
        jobs.push(sender);
    }
    Ok(Flushers { jobs, threads })
}

/// All that wait are carried out together: births, and flushes, share their syncs.
fn run(jobs: &Receiver<Job>, store: &Store, driver: &DriverHandle) {
    while let Ok(first) = jobs.recv() {
        let batch = std::iter::once(first).chain(jobs.try_iter().take(BATCH_MAX - 1));
        carry_out_together(batch, store, driver);
    }
}

/// Carries these out and tells the shards what came of them.
pub(super) fn carry_out_together(
    jobs: impl Iterator<Item = Job>,
    store: &Store,
    driver: &DriverHandle,
) {
    Batch::new(jobs).carry_out(store, |Job { handle, ticket, op }, result| {
        let result = result.map_err(|error| {
            if error.is_fatal() {
                end_process(&error);
            }
            tracing::warn!(chunk = %handle, %error, ?op, "a durable operation failed");
            Error::from(error)
        });
        driver.store_done(handle, ticket, result);
    });
}

/// What waited, by what can be done together. For each replica the order of its jobs is kept: only its first one is
/// in a group or among the versions, and those come before the rest.
#[derive(Debug, Default)]
struct Batch {
    /// A lease waits for them: they are first, and wait for no group.
    versions: Vec<Job>,
    births: Vec<(Job, (ChunkHandle, ChunkVersion))>,
    flushes: Vec<(Job, Flush)>,
    rest: Vec<Job>,
}

impl Batch {
    fn new(jobs: impl Iterator<Item = Job>) -> Self {
        let mut batch = Self::default();
        let mut seen = BTreeSet::new();
        for job in jobs {
            let handle = job.handle;
            match job.op {
                _ if !seen.insert(handle) => batch.rest.push(job),
                StoreOp::SetVersion { .. } => batch.versions.push(job),
                StoreOp::Create { version, .. } => batch.births.push((job, (handle, version))),
                StoreOp::Flush { committed_length, clean } => {
                    batch.flushes.push((job, Flush { handle, committed_length, clean }));
                }
                _ => batch.rest.push(job),
            }
        }
        batch
    }

    /// Says of each what came of it as soon as that is known.
    fn carry_out(self, store: &Store, mut done: impl FnMut(Job, Result<u32, StoreError>)) {
        for job in self.versions {
            let result = carry_out(store, job.handle, job.op);
            done(job, result);
        }
        let (jobs, births): (Vec<_>, Vec<_>) = self.births.into_iter().unzip();
        for (job, result) in jobs.into_iter().zip(store.give_birth(&births)) {
            done(job, result.map(|()| 0));
        }
        let (jobs, flushes): (Vec<_>, Vec<_>) = self.flushes.into_iter().unzip();
        let mut jobs: Vec<_> = jobs.into_iter().map(Some).collect();
        store.flush_many(&flushes, |index, result| {
            if let Some(job) = jobs[index].take() {
                done(job, result.map(|()| 0));
            }
        });
        for job in self.rest {
            let result = carry_out(store, job.handle, job.op);
            done(job, result);
        }
    }
}

fn carry_out(store: &Store, handle: ChunkHandle, op: StoreOp) -> Result<u32, StoreError> {
    match op {
        StoreOp::Create { version, .. } => {
            store.give_birth(&[(handle, version)]).into_iter().collect::<Result<(), _>>()?;
            Ok(0)
        }
        StoreOp::SetVersion { version } => {
            match store.replica(handle)?.version < version {
                true => store.set_version(handle, version)?,
                false => store.mark_unclean(handle)?,
            }
            Ok(store.checksums(handle)?.digest)
        }
        StoreOp::Flush { committed_length, clean: false } => {
            store.flush(handle, committed_length).map(|()| 0)
        }
        StoreOp::Flush { committed_length, clean: true } => {
            store.mark_clean(handle, committed_length).map(|()| 0)
        }
        StoreOp::Equalised { length } => Ok(store.equalised(handle, length)?.digest),
        StoreOp::MarkCorrupt => store.mark_corrupt(handle).map(|()| 0),
        StoreOp::Delete { version } => store.delete(handle, version).map(|()| 0),
    }
}

/// A sync that failed may have dropped what was promised, and a second one would claim success.
pub(super) fn end_process(error: &StoreError) -> ! {
    tracing::error!(%error, "the process ends: what this server promised can no longer be trusted");
    guard::end_if_simulated();
    std::process::exit(crate::EXIT_DISK_FAILED)
}

#[cfg(test)]
mod tests {
    use gfs_types::region::ChunkSize;

    use super::*;

    /// Births and flushes of different replicas are done together, and no job of a replica before an earlier one.
    #[test]
    fn a_group_has_at_most_the_first_job_of_a_replica() {
        let (version, chunk_size) = (ChunkVersion(1), ChunkSize::default());
        let flush = |committed_length| StoreOp::Flush { committed_length, clean: false };
        let ops = [
            (1, StoreOp::Create { version, chunk_size }),
            (2, flush(5)),
            (3, StoreOp::SetVersion { version }),
            (4, StoreOp::Create { version, chunk_size }),
            (2, flush(9)),
            (3, flush(1)),
            (1, StoreOp::Delete { version }),
            (1, StoreOp::Create { version, chunk_size }),
        ];
        let jobs = ops.into_iter().zip(0..);
        let jobs = jobs.map(|((chunk, op), ticket)| Job {
            handle: ChunkHandle(chunk),
            ticket: Ticket(ticket),
            op,
        });
        let Batch { versions, births, flushes, rest } = Batch::new(jobs);
        let tickets = |jobs: Vec<Job>| jobs.iter().map(|job| job.ticket.0).collect::<Vec<_>>();
        assert_eq!(tickets(versions), [2]);
        assert_eq!(tickets(births.into_iter().map(|(job, _)| job).collect()), [0, 3]);
        assert_eq!(tickets(flushes.into_iter().map(|(job, _)| job).collect()), [1]);
        assert_eq!(tickets(rest), [4, 5, 6, 7]);
    }
}
