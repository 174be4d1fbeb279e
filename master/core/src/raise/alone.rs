//! mut-6: where one replica is left of a chunk that wants more, its lease is there to teach another. Nothing is acknowledged under
//! it, so clients are not told of it: they wait for the lease behind it, which has two members.

use gfs_types::ids::ChunkHandle;
use gfs_types::mutants::{Mutant, runs};

use crate::Master;
use crate::chunks::Chunk;
use crate::master::Step;

impl Master {
    /// Whether the version was raised with one replica alone, which acknowledges nothing. It is in the log, so that a master that
    /// starts knows it of a lease that it did not grant.
    pub(crate) fn is_alone(&self, handle: ChunkHandle) -> bool {
        let chunk = self.durable.chunks.get(handle);
        chunk.as_ref().is_some_and(Chunk::is_alone) && !runs(Mutant::OneAcknowledges)
    }

    /// The one replica has its lease: clients wait on, for the next one. Says whether any do.
    pub(super) fn keeps_waiters(&mut self, handle: ChunkHandle) -> bool {
        let Some(work) = self.soft.works.get_mut(&handle) else { return false };
        work.spent = None;
        !work.waiters.is_empty()
    }

    /// Whether the one replica teaches, or was told to now. Until it has taught, or failed, there is nothing else to do.
    pub(super) fn awaits_lesson(&mut self, step: &mut Step<'_>, handle: ChunkHandle) -> bool {
        if !self.is_alone(handle) || self.begun_before(handle) {
            return false;
        }
        let Some(lease) = self.soft.leases.live(step.now, handle) else { return false };
        let spent = self.soft.works.get(&handle).and_then(|work| work.spent);
        if spent == Some(lease.version) || !self.holder_is_here(lease) {
            return false;
        }
        self.is_teaching(step.now, handle) || self.teach(step, handle)
    }
}
