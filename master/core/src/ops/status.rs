//! `Status`: the cluster at a glance. Walks all chunks: for people and checks, not for loops.

use gfs_types::message::client::{ChunkserverStatus, ClusterStatus, Response};
use gfs_types::time::Instant;

use crate::Master;
use crate::registry::Server;

impl Master {
    pub(super) fn status(&self, now: Instant) -> Response {
        let durable = &self.durable;
        let (mut below, mut missing) = (0, 0);
        for (handle, chunk) in durable.chunks.iter() {
            let alive = self.current(handle);
            let alive = alive.filter(|one| self.soft.registry.get(one.server).alive(now)).count();
            below += u64::from(alive < usize::from(chunk.goal));
            missing += u64::from(alive == 0);
        }
        Response::Status(ClusterStatus {
            files: durable.tree.files(),
            directories: durable.tree.directories(),
            chunks: durable.chunks.len() as u64,
            chunks_below_goal: below,
            chunks_missing: missing,
            log_position: durable.position,
            checkpoint_position: self.soft.checkpoint,
            master_http_address: self.settings.http_address.clone(),
            chunkservers: self.soft.registry.iter().map(|(_, one)| status_of(now, one)).collect(),
        })
    }
}

fn status_of(now: Instant, server: &Server) -> ChunkserverStatus {
    ChunkserverStatus {
        uid: server.uid,
        address: server.address.clone(),
        http_address: server.http_address.clone(),
        topology: server.topology.clone(),
        alive: server.alive(now),
        capacity_bytes: server.space.capacity_bytes,
        free_bytes: server.space.free_bytes,
        replicas: server.replicas(),
    }
}
