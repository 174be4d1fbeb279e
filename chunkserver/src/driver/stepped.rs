//! The driver without threads, for a simulation: whoever has it says when the shard works and when the disk has done its part.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use gfs_types::time::Instant;

use super::flusher::{self, Job};
use super::lane::Lane;
use super::shard::Shard;
use super::{DriverHandle, Inboxes, Parts, look_at};
use crate::store::Store;

/// One shard with its lane and its flusher, and nobody who runs them by himself.
pub struct Stepped {
    lane: Arc<Lane>,
    jobs: Receiver<Job>,
    waiting: VecDeque<Job>,
    store: Arc<Store>,
    handle: DriverHandle,
}

impl Stepped {
    /// Over queues for one shard.
    ///
    /// # Panics
    /// When there is not exactly one.
    #[must_use]
    pub fn new(handle: DriverHandle, inboxes: Inboxes, parts: Parts) -> Self {
        let mut lanes = inboxes.0;
        assert_eq!(lanes.len(), 1, "queues for one shard");
        let lane = lanes.remove(0);
        let (sender, jobs) = channel();
        let found = parts.found.iter().filter_map(look_at).collect();
        let store = parts.store.clone();
        lane.place(Shard::new(Arc::new(parts.shared(&handle)), sender, found));
        Self { lane, jobs, waiting: VecDeque::new(), store, handle }
    }

    /// What the thread of a shard does between two rests. Gives when the next timer is due.
    pub fn work(&mut self) -> Option<Instant> {
        let due = self.lane.work_off();
        self.waiting.extend(self.jobs.try_iter());
        due.unwrap_or(None)
    }

    /// Durable operations that wait for the disk.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Carries out so many of the durable operations that wait, together. Their results wait for [`Stepped::work`].
    pub fn flush(&mut self, at_most: usize) {
        let count = at_most.min(self.waiting.len());
        flusher::carry_out_together(self.waiting.drain(..count), &self.store, &self.handle);
    }
}
