//! What must wait for the disk, off the shards' threads: a slow sync delays only those who wait for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use gfs_chunkserver_core::{StoreOp, Ticket};
use gfs_types::Error;
use gfs_types::ids::ChunkHandle;

use super::guard::EndsOnPanic;
use super::handle::DriverHandle;
use crate::store::{Store, StoreError};

/// One durable operation. Those of a replica come from its shard and go to that shard's flusher: they are carried out
/// in the order in which its core asked for them.
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

fn run(jobs: &Receiver<Job>, store: &Store, driver: &DriverHandle) {
    for Job { handle, ticket, op } in jobs {
        let result = carry_out(store, handle, op).map_err(|error| {
            if error.is_fatal() {
                end_process(&error);
            }
            tracing::warn!(chunk = %handle, %error, ?op, "a durable operation failed");
            Error::from(error)
        });
        driver.store_done(handle, ticket, result);
    }
}

fn carry_out(store: &Store, handle: ChunkHandle, op: StoreOp) -> Result<u32, StoreError> {
    match op {
        StoreOp::Create { version, .. } => {
            store.create(handle, version)?;
            store.mark_unclean(handle).map(|()| 0)
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
    std::process::exit(crate::EXIT_DISK_FAILED)
}
