//! Leases (§3.1): granted, extended by heartbeat, given up, over, adopted by a new master. They decide when, never
//! whether: safety rests on versions alone.

use std::collections::BTreeMap;

use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ProcessSession, ServerUid};
use gfs_types::time::Instant;

use crate::registry::ServerIndex;

/// Right after a grant, a client can be at the primary before the grant is: so long, a client that was refused there is given the
/// same lease again instead of a new version.
pub(crate) const SETTLE_MS: gfs_types::DurationMs = gfs_types::DurationMs(100);

/// Who is primary of a chunk, and until when by this master's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) version: ChunkVersion,
    pub(crate) primary: ServerIndex,
    /// The run of the primary that has it; another run has not.
    pub(crate) session: ProcessSession,
    /// The primary included.
    pub(crate) members: Vec<ServerUid>,
    pub(crate) granted: Instant,
    pub(crate) expires: Instant,
}

#[derive(Debug, Default)]
pub(crate) struct Leases {
    table: BTreeMap<ChunkHandle, Lease>,
}

impl Leases {
    /// The lease of a chunk that is not over.
    pub(crate) fn live(&self, now: Instant, handle: ChunkHandle) -> Option<&Lease> {
        self.table.get(&handle).filter(|lease| now < lease.expires)
    }

    pub(crate) fn put(&mut self, handle: ChunkHandle, lease: Lease) {
        self.table.insert(handle, lease);
    }

    pub(crate) fn end(&mut self, handle: ChunkHandle) -> Option<Lease> {
        self.table.remove(&handle)
    }

    /// Its holder gave it up: it is over. Who held it last stays known.
    pub(crate) fn give_up(
        &mut self,
        handle: ChunkHandle,
        version: ChunkVersion,
        primary: ServerIndex,
    ) {
        if let Some(lease) = self.table.get_mut(&handle)
            && lease.version == version
            && lease.primary == primary
        {
            lease.expires = lease.granted;
        }
    }

    /// Lets it run until `expires`, if it is this run's of this version and not over.
    pub(crate) fn extend(
        &mut self,
        now: Instant,
        handle: ChunkHandle,
        version: ChunkVersion,
        (primary, session): (ServerIndex, ProcessSession),
        expires: Instant,
    ) -> bool {
        let Some(lease) = self.table.get_mut(&handle) else { return false };
        let its = lease.version == version
            && lease.primary == primary
            && lease.session == session
            && now < lease.expires;
        if its {
            lease.expires = lease.expires.max(expires);
        }
        its
    }

    /// A new run of this server registered: the leases of its older runs are over. Gives the chunks.
    pub(crate) fn end_older(
        &mut self,
        primary: ServerIndex,
        session: ProcessSession,
    ) -> Vec<ChunkHandle> {
        let older = |lease: &Lease| lease.primary == primary && lease.session < session;
        let ended: Vec<_> = self
            .table
            .iter()
            .filter(|(_, lease)| older(lease))
            .map(|(handle, _)| *handle)
            .collect();
        for handle in &ended {
            self.table.remove(handle);
        }
        ended
    }

    /// Its primary stored a higher version, so it takes no more mutations under the old one (raise-2).
    pub(crate) fn superseded(
        &mut self,
        now: Instant,
        handle: ChunkHandle,
        by: ChunkVersion,
        primary: ServerIndex,
    ) {
        if let Some(lease) = self.table.get_mut(&handle)
            && lease.version < by
            && lease.primary == primary
        {
            lease.expires = lease.expires.min(now);
        }
    }

    /// The last lease of a chunk, over or not.
    pub(crate) fn last_of(&self, handle: ChunkHandle) -> Option<&Lease> {
        self.table.get(&handle)
    }

    /// A run registered again and did not name these leases: it does not have them (any more).
    pub(crate) fn end_unnamed(
        &mut self,
        primary: ServerIndex,
        session: ProcessSession,
        named: &[gfs_types::message::control::HeldLease],
    ) {
        for (handle, lease) in &mut self.table {
            let its = lease.primary == primary && lease.session == session;
            let held =
                || named.iter().any(|one| one.handle == *handle && one.version == lease.version);
            if its && !held() {
                lease.expires = lease.granted;
            }
        }
    }

    /// Drops those that are over.
    pub(crate) fn sweep(&mut self, now: Instant) {
        self.table.retain(|_, lease| now < lease.expires);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ChunkHandle, &Lease)> {
        self.table.iter().map(|(handle, lease)| (*handle, lease))
    }
}
