//! `Status`: the cluster at a glance. Where there are many chunks, how many lack replicas is counted a few at a time, and what is
//! told is the last count that was finished. When a chunkserver came or went since that began, it begins again, in haste, and until
//! it ends the answer says how many chunks nobody looked at: ten million at once would hold up everybody for a third of a second.

use gfs_types::ids::ChunkHandle;
use gfs_types::message::client::{ChunkserverStatus, ClusterStatus, Response};
use gfs_types::time::Instant;

use crate::Master;
use crate::registry::Server;

/// So many chunks are counted while the client waits: about a millisecond.
const COUNTED_AT_ONCE: usize = 10_000;
/// Where there are more, so many are counted in one tick: 10 million in a minute, for 1 % of a core.
const COUNTED_A_TICK: usize = 8_192;
/// And so many in one tick, and with each question, while there is no count to tell: about a millisecond; 10 million in a quarter
/// of a minute, or in four seconds if somebody asks every ten milliseconds.
const COUNTED_IN_HASTE: usize = 32_768;

/// Of so many chunks: those with fewer replicas in touch than wanted, and those with none.
#[derive(Debug, Clone, Copy, Default)]
struct Lacking {
    of: u64,
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
        let in_haste = self.soft.census.last.is_none();
        self.go_on_counting(now, if in_haste { COUNTED_IN_HASTE } else { COUNTED_A_TICK });
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

    /// Looks at `count` chunks more; behind the last one the count is finished, and the next begins.
    fn go_on_counting(&mut self, now: Instant, count: usize) {
        let Census { next, so_far, .. } = self.soft.census;
        let (so_far, next) = self.lacking(now, so_far, next, count);
        let census = &mut self.soft.census;
        match next {
            Some(next) => (census.next, census.so_far) = (next, so_far),
            None => {
                (census.next, census.so_far) = (ChunkHandle(0), Lacking::default());
                census.last = Some(so_far);
            }
        }
    }

    /// What is told, and of how many chunks it tells nothing. But while no chunkserver is in touch every chunk lacks every replica,
    /// and there is nothing to count: so it is right after a start, when everybody waits for other answers.
    fn counted(&mut self, now: Instant) -> (Lacking, u64) {
        let all = self.durable.chunks.len();
        if !self.soft.registry.iter().any(|(_, one)| one.alive(now)) {
            let of = all as u64;
            return (Lacking { of, below: of, missing: of }, 0);
        }
        self.void_census(now);
        if all <= COUNTED_AT_ONCE {
            (self.soft.census.next, self.soft.census.so_far) = (ChunkHandle(0), Lacking::default());
            self.go_on_counting(now, usize::MAX);
        } else if self.soft.census.last.is_none() {
            self.go_on_counting(now, COUNTED_IN_HASTE);
        }
        let Census { last, so_far, .. } = self.soft.census;
        // Files that were deleted meanwhile do not make half a count a whole one.
        last.map_or_else(
            || (so_far, (all as u64).saturating_sub(so_far.of).max(1)),
            |last| (last, 0),
        )
    }

    /// Adds `count` chunks from one on to what was counted; and says which is the next.
    fn lacking(
        &self,
        now: Instant,
        so_far: Lacking,
        first: ChunkHandle,
        count: usize,
    ) -> (Lacking, Option<ChunkHandle>) {
        let mut found = so_far;
        let mut chunks = self.durable.chunks.from(first);
        for (handle, chunk) in chunks.by_ref().take(count) {
            let alive = self.current(handle);
            let alive = alive.filter(|one| self.soft.registry.get(one.server).alive(now)).count();
            found.of += 1;
            found.below += u64::from(alive < usize::from(chunk.goal));
            found.missing += u64::from(alive == 0);
        }
        (found, chunks.next().map(|(handle, _)| handle))
    }

    pub(super) fn status(&mut self, now: Instant) -> Response {
        let (Lacking { below, missing, .. }, uncounted) = self.counted(now);
        let durable = &self.durable;
        let chunks = durable.chunks.len() as u64;
        Response::Status(ClusterStatus {
            files: durable.tree.files(),
            directories: durable.tree.directories(),
            chunks,
            // Some that were counted may be deleted by now.
            chunks_below_goal: below.min(chunks),
            chunks_missing: missing.min(chunks),
            chunks_uncounted: uncounted,
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
