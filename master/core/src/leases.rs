//! Leases (§3.1): granted, extended by heartbeat, given up, over, adopted by a new master. They decide when, never
//! whether: safety rests on versions alone.

use std::collections::BTreeMap;

use gfs_types::DurationMs;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ProcessSession, ServerUid};
use gfs_types::message::control::HeldLease;
use gfs_types::time::Instant;

use crate::registry::ServerIndex;

/// Right after a grant, a client can be at the primary before the grant is: so long, a client that was refused there is given the
/// same lease again instead of a new version.
pub(crate) const SETTLE_MS: DurationMs = DurationMs(100);

/// After the end of a lease its members tell by their next heartbeats whether it left them clean: so long nothing is concluded
/// from what they told before.
pub(crate) const CALM_MS: DurationMs = DurationMs(2_000);

/// Who is primary of a chunk, and until when by this master's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) version: ChunkVersion,
    pub(crate) primary: ServerIndex,
    /// The run of the primary that has it; another run has not.
    pub(crate) session: ProcessSession,
    /// The primary included.
    pub(crate) members: Vec<LeaseMember>,
    pub(crate) granted: Instant,
    pub(crate) expires: Instant,
    /// When it was given up, if it was.
    pub(crate) ended: Option<Instant>,
    /// No client was told of it: it is there to make the replicas equal (equal-5).
    pub(crate) unasked: bool,
    /// Whom its primary was told to teach (equal-4).
    pub(crate) teaching: Option<Teaching>,
}

/// A member of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseMember {
    pub(crate) uid: ServerUid,
    /// The run that is meant; `None` in a lease adopted from its holder, until the member registers.
    pub(crate) session: Option<ProcessSession>,
}

/// A learner that the primary was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Teaching {
    pub(crate) server: ServerIndex,
    pub(crate) session: ProcessSession,
    pub(crate) since: Instant,
}

impl Lease {
    pub(crate) fn has_member(&self, uid: ServerUid) -> bool {
        self.members.iter().any(|member| member.uid == uid)
    }

    /// Since when it is over, if it is.
    pub(crate) fn over_since(&self, now: Instant) -> Option<Instant> {
        self.ended.or_else(|| (now >= self.expires).then_some(self.expires))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Leases {
    table: BTreeMap<ChunkHandle, Lease>,
    /// Chunks whose last lease nobody told the end of, however long it is over.
    untold: BTreeMap<ChunkHandle, Untold>,
}

/// A lease under which more may have been acknowledged than anybody told.
#[derive(Debug, Clone, Copy)]
struct Untold {
    version: ChunkVersion,
    primary: ServerIndex,
    /// Its primary registered without it: the next report of its replica tells all.
    over: bool,
}

impl Leases {
    /// The lease of a chunk that is not over.
    pub(crate) fn live(&self, now: Instant, handle: ChunkHandle) -> Option<&Lease> {
        self.table.get(&handle).filter(|lease| now < lease.expires)
    }

    pub(crate) fn put(&mut self, handle: ChunkHandle, lease: Lease) {
        let Lease { version, primary, .. } = lease;
        self.untold.insert(handle, Untold { version, primary, over: false });
        self.table.insert(handle, lease);
    }

    /// Its chunk is no more.
    pub(crate) fn end(&mut self, handle: ChunkHandle) {
        self.untold.remove(&handle);
        self.table.remove(&handle);
    }

    /// Whether mutations may have been acknowledged under the last lease that this process does not know of.
    pub(crate) fn is_untold(&self, handle: ChunkHandle) -> bool {
        self.untold.contains_key(&handle)
    }

    /// What its primary said when it gave this lease up is known.
    pub(crate) fn told(
        &mut self,
        handle: ChunkHandle,
        version: ChunkVersion,
        primary: ServerIndex,
    ) {
        let its = |one: &Untold| one.version == version && one.primary == primary;
        if self.untold.get(&handle).is_some_and(its) {
            self.untold.remove(&handle);
        }
    }

    /// A server told what its replica holds, in a page of all that it has. Where it was the primary and came without the lease,
    /// nothing can follow that was acknowledged under it.
    pub(crate) fn reported(&mut self, handle: ChunkHandle, server: ServerIndex) {
        if self.untold.get(&handle).is_some_and(|one| one.over && one.primary == server) {
            self.untold.remove(&handle);
        }
    }

    /// A server registered with these leases and no others.
    pub(crate) fn named(&mut self, primary: ServerIndex, named: &[HeldLease]) {
        for (handle, untold) in &mut self.untold {
            if untold.primary == primary {
                let held = |one: &HeldLease| one.handle == *handle && one.version == untold.version;
                untold.over = !named.iter().any(held);
            }
        }
    }

    /// Its holder gave it up: it is over. Who held it last stays known.
    pub(crate) fn give_up(
        &mut self,
        now: Instant,
        handle: ChunkHandle,
        version: ChunkVersion,
        primary: ServerIndex,
    ) {
        if let Some(lease) = self.table.get_mut(&handle)
            && lease.version == version
            && lease.primary == primary
        {
            lease.expires = lease.granted;
            lease.ended = Some(now);
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

    pub(crate) fn last_of_mut(&mut self, handle: ChunkHandle) -> Option<&mut Lease> {
        self.table.get_mut(&handle)
    }

    /// A run of a server registered: leases adopted before it came mean this run, as far as this process can tell.
    pub(crate) fn learn_session(&mut self, uid: ServerUid, session: ProcessSession) {
        for member in self.table.values_mut().flat_map(|lease| &mut lease.members) {
            if member.uid == uid {
                member.session.get_or_insert(session);
            }
        }
    }

    /// Leases that run, and have another run of this server among their members.
    pub(crate) fn with_other_run(
        &self,
        now: Instant,
        uid: ServerUid,
        session: ProcessSession,
    ) -> Vec<(ChunkHandle, ChunkVersion)> {
        let other = |member: &LeaseMember| {
            member.uid == uid && member.session.is_some_and(|its| its != session)
        };
        let running = self.table.iter().filter(|(_, lease)| now < lease.expires);
        running
            .filter(|(_, lease)| lease.members.iter().any(other))
            .map(|(handle, lease)| (*handle, lease.version))
            .collect()
    }

    /// A run registered again and did not name these leases: it does not have them (any more).
    pub(crate) fn end_unnamed(
        &mut self,
        now: Instant,
        primary: ServerIndex,
        session: ProcessSession,
        named: &[HeldLease],
    ) -> Vec<ChunkHandle> {
        let mut ended = Vec::new();
        for (handle, lease) in &mut self.table {
            let its = lease.primary == primary && lease.session == session;
            let held =
                || named.iter().any(|one| one.handle == *handle && one.version == lease.version);
            if its && !held() {
                lease.expires = lease.granted;
                lease.ended.get_or_insert(now);
                ended.push(*handle);
            }
        }
        ended
    }

    /// Drops those that are over for some time. Gives the chunks.
    pub(crate) fn sweep(&mut self, now: Instant) -> Vec<ChunkHandle> {
        let old = |lease: &Lease| lease.over_since(now).is_some_and(|since| now >= since + CALM_MS);
        self.table.extract_if(.., |_, lease| old(lease)).map(|(handle, _)| handle).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ChunkHandle, &Lease)> {
        self.table.iter().map(|(handle, lease)| (*handle, lease))
    }
}
