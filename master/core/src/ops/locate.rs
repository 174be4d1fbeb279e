//! `Locate`: where chunks of a file are. Stale replicas are never named, nor those out of touch; the best come first, damaged ones
//! last: a reader verifies every block, and most of a damaged replica is good.

use gfs_types::Error;
use gfs_types::ids::{ChunkHandle, FileId};
use gfs_types::limits::LOCATE_CHUNKS_MAX;
use gfs_types::message::client::{ChunkLocation, FileLocations, ReplicaLocation, Response};
use gfs_types::message::control::ReplicaState;
use gfs_types::region::ChunkIndex;
use gfs_types::time::Instant;

use super::no_file;
use crate::Master;
use crate::registry::Replica;

impl Master {
    pub(super) fn locate(
        &self,
        now: Instant,
        id: FileId,
        first: ChunkIndex,
        count: u32,
    ) -> Result<Response, Error> {
        if !(1..=LOCATE_CHUNKS_MAX).contains(&count) {
            return Err(Error::invalid(format!(
                "locations of {count} chunks: ask for 1 to {LOCATE_CHUNKS_MAX}"
            )));
        }
        let tree = &self.durable.tree;
        let node = tree.get(id).ok_or_else(|| no_file(id))?;
        let Some(file) = node.file() else {
            return Err(Error::invalid(format!(
                "`{}` is a directory: it has no chunks",
                tree.path_of(id)
            )));
        };
        let end = first.0.saturating_add(u64::from(count));
        let chunks = file
            .chunks
            .from(first)
            .take_while(|(index, _)| index.0 < end)
            .filter(|(_, handle)| !self.was_never_granted(*handle))
            .map(|(index, handle)| self.chunk_location(now, index, handle))
            .collect();
        let entry = self.entry(now, id, tree.path_of(id))?;
        let valid_ms = self.settings.lease_ms.0;
        Ok(Response::Locations(FileLocations { entry, chunks, valid_ms }))
    }

    fn chunk_location(
        &self,
        now: Instant,
        index: ChunkIndex,
        handle: ChunkHandle,
    ) -> ChunkLocation {
        let registry = &self.soft.registry;
        let primary =
            self.soft.leases.live(now, handle).map(|lease| registry.get(lease.primary).uid);
        let mut replicas: Vec<(u8, ReplicaLocation)> = self
            .of_version(handle)
            .filter(|replica| registry.get(replica.server).alive(now))
            .map(|replica| (self.trust(now, handle, &replica), replica))
            .map(|(trust, one)| (trust, self.location(one.server, one.version, one.state)))
            .collect();
        replicas.sort_by_key(|(trust, _)| *trust);
        let replicas = replicas.into_iter().map(|(_, replica)| replica).collect();
        ChunkLocation {
            index,
            handle,
            version: self.version_of(handle),
            length: self.chunk_length(handle).unwrap_or(0),
            primary,
            replicas,
            members: self.durable.chunks.get(handle).map_or(0, |chunk| chunk.holders_min()),
        }
    }

    /// The smaller, the better: a suspect shows nothing.
    fn trust(&self, now: Instant, handle: ChunkHandle, replica: &Replica) -> u8 {
        match replica.state {
            ReplicaState::Corrupt => 3,
            ReplicaState::Suspect => 2,
            _ => u8::from(self.soft.registry.is_accused(now, replica.server, handle)),
        }
    }
}
