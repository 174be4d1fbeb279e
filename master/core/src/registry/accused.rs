//! Replicas that clients saw bad bytes of.

use gfs_types::DurationMs;
use gfs_types::ids::ChunkHandle;
use gfs_types::time::Instant;

use super::{Registry, ServerIndex};

/// So long an accusation counts that the server does not confirm.
const ACCUSED_MS: DurationMs = DurationMs(10_000);

impl Registry {
    /// A client saw bad bytes there. Its server looks itself and has the last word: what it reports, and time, end this.
    pub(crate) fn accuse(&mut self, now: Instant, server: ServerIndex, handle: ChunkHandle) {
        self.accused.insert((handle, server), now + ACCUSED_MS);
    }

    pub(crate) fn is_accused(
        &self,
        now: Instant,
        server: ServerIndex,
        handle: ChunkHandle,
    ) -> bool {
        self.accused.get(&(handle, server)).is_some_and(|until| now < *until)
    }

    pub(crate) fn sweep_accused(&mut self, now: Instant) {
        self.accused.retain(|_, until| now < *until);
    }
}
