//! What readers may see of each replica: written by the shards, read by connection threads.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use gfs_chunkserver_core::View;
use gfs_types::ids::ChunkHandle;

/// Parts with a lock each, so that a publish seldom meets a reader.
const PARTS: usize = 32;

/// Every published view.
#[derive(Debug, Default)]
pub(super) struct Views {
    parts: [RwLock<BTreeMap<ChunkHandle, Arc<View>>>; PARTS],
}

impl Views {
    pub(super) fn get(&self, handle: ChunkHandle) -> Option<Arc<View>> {
        let part = self.part(handle).read().unwrap_or_else(PoisonError::into_inner);
        part.get(&handle).cloned()
    }

    pub(super) fn put(&self, handle: ChunkHandle, view: View) {
        let mut part = self.part(handle).write().unwrap_or_else(PoisonError::into_inner);
        part.insert(handle, Arc::new(view));
    }

    pub(super) fn remove(&self, handle: ChunkHandle) {
        let mut part = self.part(handle).write().unwrap_or_else(PoisonError::into_inner);
        part.remove(&handle);
    }

    fn part(&self, handle: ChunkHandle) -> &RwLock<BTreeMap<ChunkHandle, Arc<View>>> {
        &self.parts[super::handle::spread(handle, PARTS)]
    }
}
