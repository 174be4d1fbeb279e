//! `Stat`, and what an entry is.

use gfs_types::Error;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, FileId};
use gfs_types::message::client::{Entry, Query, Response};
use gfs_types::message::control::ReplicaState;
use gfs_types::region::ChunkIndex;
use gfs_types::time::Instant;

use super::{find, parse};
use crate::Master;
use crate::apply::facts;
use crate::leases::CALM_MS;
use crate::sessions::EntryFacts;

/// What is known of how long a file is.
pub(super) struct Length {
    /// In bytes.
    pub(super) length: u64,
    /// Nobody can know of more.
    pub(super) length_is_final: bool,
    /// One more than the index of the last chunk that counts.
    pub(super) chunks: u64,
}

impl Master {
    pub(super) fn query(&mut self, now: Instant, query: Query) -> Result<Response, Error> {
        match query {
            Query::Stat { path } => self.stat(now, &path),
            Query::List { path, after, limit } => self.list(now, &path, after.as_deref(), limit),
            Query::Locate { file, first, count } => self.locate(now, file, first, count),
            Query::Status => Ok(self.status(now)),
            Query::Trash { after, limit } => self.trash_page(after, limit),
        }
    }

    fn stat(&self, now: Instant, path: &str) -> Result<Response, Error> {
        let path = parse(path)?;
        let id = find(&self.durable.tree, &path)?;
        Ok(Response::Entry(self.entry(now, id, path.as_str().to_owned())?))
    }

    pub(super) fn entry(&self, now: Instant, id: FileId, path: String) -> Result<Entry, Error> {
        let node = self.durable.tree.get(id).ok_or_else(|| super::no_file(id))?;
        let EntryFacts { id, kind, replication, attributes, .. } = facts(id, node);
        let Length { length, length_is_final, chunks } = self.length_of(now, id);
        Ok(Entry { path, id, kind, length, length_is_final, chunks, replication, attributes })
    }

    /// A file's length as logged, or newer from reports of its last chunk. A chunk that no client was ever told of does not count:
    /// what it was allocated for was never acknowledged, and may have been given up.
    pub(super) fn length_of(&self, now: Instant, id: FileId) -> Length {
        let Some(file) = self.durable.tree.get(id).and_then(|node| node.file()) else {
            return Length { length: 0, length_is_final: true, chunks: 0 };
        };
        let mut seen = file.chunks.from(ChunkIndex(0)).rev();
        let Some((index, handle)) = seen.find(|(_, handle)| !self.was_never_granted(*handle))
        else {
            return Length { length: file.length, length_is_final: true, chunks: 0 };
        };
        let reported = self.chunk_length(handle).unwrap_or(0);
        let reported = self.durable.chunk_size().file_offset(index).saturating_add(reported);
        Length {
            length: file.length.max(reported),
            length_is_final: self.is_quiet(now, handle),
            chunks: index.0 + 1,
        }
    }

    /// The longest committed length a current replica told.
    pub(super) fn chunk_length(&self, handle: ChunkHandle) -> Option<u64> {
        self.current(handle).map(|replica| replica.length).max()
    }

    /// Nobody can be changing the chunk, and all that was acknowledged is known.
    fn is_quiet(&self, now: Instant, handle: ChunkHandle) -> bool {
        let leases = &self.soft.leases;
        // What the members told before a lease says nothing of what was acknowledged under it, not even when it is over. Its primary
        // tells when it gives it up, or comes back without it.
        let leased = leases.live(now, handle).is_some() || leases.is_untold(handle);
        if leased || self.soft.works.contains_key(&handle) {
            return false;
        }
        // One that did not end its last lease in order may know less of what was acknowledged than its bytes hold: after a
        // restart only what was synced. A new lease finds out (equal-1), and the client asks for it.
        if self.current(handle).any(|replica| replica.state != ReplicaState::Clean) {
            return false;
        }
        let here = self.current(handle).count();
        let members = self.durable.chunks.get(handle).map_or(0, |chunk| chunk.stored());
        here >= members || self.one_told_late(handle)
    }

    /// A lease that an earlier process granted may run on when this one begins. Its holder is a member, and names it when it comes.
    /// Without all of them, one counts that was in touch after each such lease was over, and tells changes in each heartbeat.
    fn one_told_late(&self, handle: ChunkHandle) -> bool {
        let Some(since) = self.serving_since() else { return false };
        let over = since + self.settings.lease_ms + CALM_MS;
        self.current(handle).any(|replica| self.soft.registry.get(replica.server).heard >= over)
    }

    pub(super) fn version_of(&self, handle: ChunkHandle) -> ChunkVersion {
        self.durable.chunks.get(handle).map(|chunk| chunk.version).unwrap_or_default()
    }
}
