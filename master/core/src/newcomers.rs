//! A chunk that was born on fewer servers than its file wants, since the others were away, gets an empty replica on one that has
//! none; so does one whose replica a server came back without, since its file is gone. It is of no version, so it is stale, shows
//! nothing and leads nothing; it learns as any other that came back (equal-4).

use gfs_types::ids::ChunkHandle;
use gfs_types::limits::MEMBER_WAIT_MS;
use gfs_types::message::control::Command;
use gfs_types::time::Instant;

use crate::Master;
use crate::chunks::NO_VERSION;
use crate::master::Step;
use crate::placement::pick;
use crate::registry::ServerIndex;

impl Master {
    /// Has a server make an empty replica, if the chunk wants one more. Says whether one was told.
    pub(crate) fn invite(&mut self, step: &mut Step<'_>, handle: ChunkHandle) -> bool {
        let Some(server) = self.newcomer(step.now, handle) else { return false };
        self.send(step, server, Command::CreateReplica { handle, version: NO_VERSION });
        true
    }

    /// A replica on a server that is away counts: its server is expected back, and then it learns.
    fn newcomer(&self, now: Instant, handle: ChunkHandle) -> Option<ServerIndex> {
        let settled = self.serving_since().is_some_and(|since| now >= since + MEMBER_WAIT_MS);
        let registry = &self.soft.registry;
        let known: Vec<_> = registry.replicas(handle).collect();
        let goal = self.durable.chunks.get(handle).map_or(0, |chunk| usize::from(chunk.goal));
        if !settled || !self.may_have_newcomer(handle) || known.len() >= goal {
            return None;
        }
        let candidates: Vec<_> = registry
            .iter()
            .filter(|(index, server)| {
                server.alive(now)
                    && server.reported
                    && known.iter().all(|replica| replica.server != *index)
            })
            .map(|(index, server)| server.candidate(index))
            .collect();
        let chunk_bytes = self.durable.chunk_size().bytes();
        pick(&candidates, 1, chunk_bytes, handle.0).first().copied()
    }

    /// Whether one more than the replicas that are known could be had.
    pub(crate) fn may_have_newcomer(&self, handle: ChunkHandle) -> bool {
        self.has_few_members(handle) || self.soft.registry.lacks_a_lost(handle)
    }

    /// Whether its version was given to fewer members than are wanted.
    pub(crate) fn has_few_members(&self, handle: ChunkHandle) -> bool {
        self.durable.chunks.get(handle).is_some_and(|chunk| chunk.members < chunk.goal)
    }
}
