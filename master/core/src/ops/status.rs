//! `Status`: the cluster at a glance. Where there are many chunks, how many lack replicas is counted a few at a time, and what is
//! told is the last count that was finished, unless a chunkserver came or went since that began: then all are counted at once.

use gfs_types::ids::ChunkHandle;
use gfs_types::message::client::{ChunkserverStatus, ClusterStatus, Response};
use gfs_types::time::Instant;

use crate::Master;
use crate::registry::Server;

/// So many chunks are counted while the client waits: about a millisecond.
const COUNTED_AT_ONCE: usize = 10_000;
/// Where there are more, so many are counted in one tick: 10 million in a minute, for 1 % of a core.
const COUNTED_A_TICK: usize = 8_192;

/// Chunks with fewer replicas in touch than wanted, and with none.
#[derive(Debug, Clone, Copy, Default)]
struct Lacking {
    below: u64,
    missing: u64,
}

/// A count that goes on.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// Who was there when it began. When that changes nothing of it counts.
    servers: Vec<Seen>,
    next: ChunkHandle,
    so_far: Lacking,
    /// Of the last one that was finished.
    last: Option<Lacking>,
}

#[cfg(test)]
impl Census {
    /// Whether chunks were ever counted.
    pub(crate) fn has_counted(&self) -> bool {
        self.last.is_some()
    }
}

/// A chunkserver at the beginning of a count: whether it was in touch, since when, and whether it had told all.
type Seen = (bool, Instant, bool);

impl Master {
    /// Counts some chunks, where there are too many for one look.
    pub(crate) fn count_some(&mut self, now: Instant) {
        if self.durable.chunks.len() <= COUNTED_AT_ONCE {
            self.soft.census = Census::default();
            return;
        }
        self.void_census(now);
        let Census { next, so_far, .. } = self.soft.census;
        let (found, next) = self.lacking(now, next, COUNTED_A_TICK);
        let (below, missing) = (so_far.below + found.below, so_far.missing + found.missing);
        let so_far = Lacking { below, missing };
        let census = &mut self.soft.census;
        match next {
            Some(next) => (census.next, census.so_far) = (next, so_far),
            None => {
                (census.next, census.so_far) = (ChunkHandle(0), Lacking::default());
                census.last = Some(so_far);
            }
        }
    }

    /// Begins again when a chunkserver came, went or told all: half of before and half of after was never true.
    fn void_census(&mut self, now: Instant) {
        let servers = self.soft.registry.iter();
        let servers: Vec<Seen> =
            servers.map(|(_, one)| (one.alive(now), one.changed, one.reported)).collect();
        if servers != self.soft.census.servers {
            self.soft.census = Census { servers, ..Census::default() };
        }
    }

    /// What is told: nothing that nobody counted. But while no chunkserver is in touch every chunk lacks every replica, and there is
    /// nothing to count: so it is right after a start, when everybody waits for other answers.
    fn counted(&mut self, now: Instant) -> Lacking {
        if !self.soft.registry.iter().any(|(_, one)| one.alive(now)) {
            let all = self.durable.chunks.len() as u64;
            return Lacking { below: all, missing: all };
        }
        let few = self.durable.chunks.len() <= COUNTED_AT_ONCE;
        self.void_census(now);
        match self.soft.census.last {
            Some(last) if !few => last,
            _ => {
                let (all, _) = self.lacking(now, ChunkHandle(0), usize::MAX);
                self.soft.census.last = Some(all);
                all
            }
        }
    }

    /// Of `count` chunks from one on; and which is the next.
    fn lacking(
        &self,
        now: Instant,
        first: ChunkHandle,
        count: usize,
    ) -> (Lacking, Option<ChunkHandle>) {
        let mut found = Lacking::default();
        let mut chunks = self.durable.chunks.from(first);
        for (handle, chunk) in chunks.by_ref().take(count) {
            let alive = self.current(handle);
            let alive = alive.filter(|one| self.soft.registry.get(one.server).alive(now)).count();
            found.below += u64::from(alive < usize::from(chunk.goal));
            found.missing += u64::from(alive == 0);
        }
        (found, chunks.next().map(|(handle, _)| handle))
    }

    pub(super) fn status(&mut self, now: Instant) -> Response {
        let Lacking { below, missing } = self.counted(now);
        let durable = &self.durable;
        Response::Status(ClusterStatus {
            files: durable.tree.files(),
            directories: durable.tree.directories(),
            chunks: durable.chunks.len() as u64,
            chunks_below_goal: below,
            chunks_missing: missing,
            log_position: durable.position,
            checkpoint_position: self.soft.checkpoint,
            master_http_address: self.settings.http_address.clone(),
            chunkservers: self
                .soft
                .registry
                .iter()
                .map(|(index, one)| status_of(now, one, self.soft.registry.replicas_on(index)))
                .collect(),
        })
    }
}

fn status_of(now: Instant, server: &Server, replicas: u64) -> ChunkserverStatus {
    ChunkserverStatus {
        uid: server.uid,
        address: server.address.clone(),
        http_address: server.http_address.clone(),
        topology: server.topology.clone(),
        alive: server.alive(now),
        capacity_bytes: server.space.capacity_bytes,
        free_bytes: server.space.free_bytes,
        replicas,
    }
}
