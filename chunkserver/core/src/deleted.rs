//! Chunks whose replica this run was told to delete. Only a chunk that no file holds any more is deleted, and its handle is never given
//! again: whoever commands later to make a replica of it is heard late. A `Create` has no other fence, for the first version is
//! always the same.

use std::collections::{BTreeSet, VecDeque};

use gfs_types::ids::ChunkHandle;
use gfs_types::limits::DELETED_KEPT_MAX;

/// The last of them.
#[derive(Debug, Default)]
pub struct Deleted {
    handles: BTreeSet<ChunkHandle>,
    /// The oldest first.
    order: VecDeque<ChunkHandle>,
}

impl Deleted {
    /// Its replica is gone.
    pub fn add(&mut self, handle: ChunkHandle) {
        if !self.handles.insert(handle) {
            return;
        }
        self.order.push_back(handle);
        if self.order.len() > DELETED_KEPT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.handles.remove(&oldest);
        }
    }

    /// Whether its replica was deleted, as far as that is remembered.
    #[must_use]
    pub fn has(&self, handle: ChunkHandle) -> bool {
        self.handles.contains(&handle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_limit_all_are_remembered_and_one_past_it_the_oldest_is_not() {
        let mut deleted = Deleted::default();
        let most = DELETED_KEPT_MAX as u64;
        (0..most).for_each(|handle| deleted.add(ChunkHandle(handle)));
        deleted.add(ChunkHandle(most - 1));
        assert!(deleted.has(ChunkHandle(0)));
        deleted.add(ChunkHandle(most));
        assert!(!deleted.has(ChunkHandle(0)));
        assert!((1..=most).all(|handle| deleted.has(ChunkHandle(handle))));
    }
}
