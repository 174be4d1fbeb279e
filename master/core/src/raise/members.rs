//! Who can be a member of a new version, and how long it is waited for (raise-1, raise-5, raise-6, raise-7, equal-2).

use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ProcessSession};
use gfs_types::limits::{MEMBER_WAIT_MS, REPLICATION_MAX, RETURN_WAIT_MS};
use gfs_types::marks::{Mark, hit};
use gfs_types::message::control::ReplicaState;
use gfs_types::mutants::{Mutant, runs};
use gfs_types::time::Instant;
use gfs_types::{DurationMs, Error};

use super::{Work, busy};
use crate::Master;
use crate::registry::{Replica, ServerIndex};

/// One that failed is tried again after this time: it may be well again in the same run, and is no learner while it is current.
const LEFT_OUT_MS: DurationMs = RETURN_WAIT_MS;

impl Work {
    /// This run of the server failed, or gave no answer, a moment ago; another one, that came since, may be a member.
    pub(crate) fn leaves_out(
        &self,
        now: Instant,
        server: ServerIndex,
        session: ProcessSession,
    ) -> bool {
        self.left_out.get(&(server, session)).is_some_and(|since| now < *since + LEFT_OUT_MS)
    }
}

impl Master {
    /// Replicas with a version from the last raised to the highest started, good or not.
    pub(crate) fn of_version(&self, handle: ChunkHandle) -> impl Iterator<Item = Replica> + '_ {
        let chunk = self.durable.chunks.get(handle);
        let highest = self.durable.chunks.started(handle);
        let range = chunk.map(|chunk| chunk.version).zip(highest);
        self.soft.registry.replicas(handle).filter(move |replica| {
            range.is_some_and(|(low, high)| {
                let low = if runs(Mutant::StaleIsCurrent) { ChunkVersion(0) } else { low };
                let high = if runs(Mutant::OnlyRaisedIsCurrent) { low } else { high };
                (low..=high).contains(&replica.version)
            })
        })
    }

    /// Current replicas (raise-5): of those, the ones that are not known to be damaged.
    pub(crate) fn current(&self, handle: ChunkHandle) -> impl Iterator<Item = Replica> + '_ {
        self.of_version(handle).filter(|replica| replica.state != ReplicaState::Corrupt)
    }

    /// The members of a raise that may begin now; or what it waits for.
    pub(crate) fn members_of_raise(
        &self,
        now: Instant,
        handle: ChunkHandle,
        work: &Work,
    ) -> Result<Vec<ServerIndex>, Error> {
        let Some(chunk) = self.durable.chunks.get(handle) else {
            return Err(Error::internal(format!("chunk {handle} is not there")));
        };
        let registry = &self.soft.registry;
        let fit = |server: ServerIndex| {
            let its = registry.get(server);
            its.link.is_some() && !work.leaves_out(now, server, its.session)
        };
        let here: Vec<Replica> = self
            .current(handle)
            .filter(|replica| fit(replica.server))
            .take(usize::from(REPLICATION_MAX))
            .collect();
        let counted = chunk.stored();
        let expected = counted.saturating_sub(self.known_to_stay_away(now, work));
        if here.len() < expected && now < self.members_may_return_until(now, handle, work) {
            hit(Mark::RaiseWaitedForMembers);
            return Err(busy(self.missing(handle, here.len(), expected), 200));
        }
        let suspects = here.iter().filter(|replica| replica.state == ReplicaState::Suspect).count();
        if here.is_empty() || (suspects == here.len() && !self.all_have_reported(handle, suspects))
        {
            return Err(busy(self.missing(handle, here.len() - suspects, counted), 1_000));
        }
        let mut members: Vec<ServerIndex> = here.iter().map(|replica| replica.server).collect();
        for taught in self.taught(handle) {
            if members.len() < usize::from(REPLICATION_MAX) && !members.contains(&taught) {
                members.extend(Some(taught).filter(|server| fit(*server)));
            }
        }
        if members.len() < chunk.members_min() && self.learner(now, handle).is_none() {
            return Err(busy(self.missing(handle, members.len(), chunk.members_min()), 1_000));
        }
        self.check_lease_over(now, handle, &members)?;
        Ok(members)
    }

    /// equal-2: with these suspects, all that `Raised` counted are here, so that nobody better can come. A damaged one counts: it
    /// cannot lead either, and what was synced is on the suspects. One that was not counted, for it learned and stored the number of a
    /// raise that did not end, may be better too: as long as this process knows of it, it is waited for.
    pub(super) fn all_have_reported(&self, handle: ChunkHandle, suspects: usize) -> bool {
        let damaged = self.of_version(handle).filter(|replica| {
            replica.state == ReplicaState::Corrupt
                && self.soft.registry.get(replica.server).link.is_some()
        });
        let counted = self.durable.chunks.get(handle).map_or(usize::MAX, |chunk| chunk.stored());
        let better = |replica: Replica| {
            let away = self.soft.registry.get(replica.server).link.is_none();
            away && replica.state != ReplicaState::Suspect
        };
        let all = suspects + damaged.count() >= counted && !self.current(handle).any(better);
        all || runs(Mutant::SuspectsDoNotWait)
    }

    /// raise-7: a primary that is out of reach may hold its lease until it is over by this master's clock.
    fn check_lease_over(
        &self,
        now: Instant,
        handle: ChunkHandle,
        members: &[ServerIndex],
    ) -> Result<(), Error> {
        let Some(lease) = self.soft.leases.live(now, handle) else { return Ok(()) };
        let primary = self.soft.registry.get(lease.primary);
        let may_hold = !members.contains(&lease.primary) && primary.session == lease.session;
        if !may_hold || runs(Mutant::LeaseNotWaitedFor) {
            return Ok(());
        }
        hit(Mark::RaiseWaitedForLease);
        let left = lease.expires.ms_since(now);
        Err(busy(
            format!(
                "chunk {handle}: its primary {} is out of reach and may hold the lease for {left}; try again then",
                primary.uid
            ),
            u32::try_from(left.0).unwrap_or(u32::MAX),
        ))
    }

    /// How many are left out whose run is still the one that failed: nobody waits for them.
    fn known_to_stay_away(&self, now: Instant, work: &Work) -> usize {
        let its = |(server, session): &&(ServerIndex, ProcessSession)| {
            let same = self.soft.registry.get(*server).session == *session;
            same && work.leaves_out(now, *server, *session)
        };
        work.left_out.keys().filter(its).count()
    }

    /// Until when a raise waits for members that are not here: this process is young, or one that held the chunk went a moment
    /// ago, or one came and has not told yet what it holds.
    fn members_may_return_until(&self, now: Instant, handle: ChunkHandle, work: &Work) -> Instant {
        let registry = &self.soft.registry;
        let patience = if work.hurry { RETURN_WAIT_MS } else { MEMBER_WAIT_MS };
        let mut last = self.serving_since().unwrap_or_default() + patience;
        if let Some(members) = self.durable.chunks.unborn(handle) {
            let told = |uid| registry.by_uid(uid).is_some_and(|index| registry.get(index).reported);
            if members.iter().all(|uid| told(*uid)) {
                last = Instant::default();
            }
        }
        for replica in self.current(handle) {
            let server = registry.get(replica.server);
            if server.link.is_none() && !work.leaves_out(now, replica.server, server.session) {
                last = last.max(server.changed + RETURN_WAIT_MS);
            }
        }
        let silent = registry.iter().map(|(_, server)| server);
        let silent = silent.filter(|server| server.link.is_some() && !server.reported);
        silent.map(|server| server.changed + patience).fold(last, Instant::max)
    }

    /// For a person: which replicas are not here.
    fn missing(&self, handle: ChunkHandle, here: usize, expected: usize) -> String {
        let registry = &self.soft.registry;
        let away: Vec<String> = self
            .current(handle)
            .map(|replica| registry.get(replica.server))
            .filter(|server| server.link.is_none())
            .map(|server| format!("{} at {}", server.uid, server.address))
            .collect();
        let who = if away.is_empty() {
            "the missing ones have not reported since the master started, or gave no answer"
                .to_owned()
        } else {
            format!("out of touch: {}", away.join(", "))
        };
        format!(
            "chunk {handle}: {here} of {expected} current replicas can take part in a new version; {who}; \
             bring those chunkservers back, or try again"
        )
    }
}
