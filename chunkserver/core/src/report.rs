//! What the master is told: every replica when the server registers, then what changed, and the leases that
//! are held.

use std::collections::{BTreeMap, BTreeSet};

use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;
use gfs_types::limits::REPORT_PAGE_MAX;
use gfs_types::message::control::{HeldLease, ReplicaReport, ReplicaState};
use gfs_types::time::Instant;

use crate::replica::LeaseStatus;

/// What this server holds, as far as it should be reported. Grows with the replicas, with nothing else.
#[derive(Debug, Clone, Default)]
pub struct Holdings {
    replicas: BTreeMap<ChunkHandle, ReplicaReport>,
    changed: BTreeSet<ChunkHandle>,
    leases: BTreeMap<ChunkHandle, LeaseStatus>,
}

impl Holdings {
    /// A replica as it is now; `None`: there is nothing to report. The master learns that one is gone by the
    /// answer to its command.
    pub fn update(&mut self, handle: ChunkHandle, report: Option<ReplicaReport>) {
        let before = match report {
            Some(report) => self.replicas.insert(handle, report),
            None => self.replicas.remove(&handle),
        };
        match report {
            Some(report) if before == Some(report) => {}
            Some(_) => drop(self.changed.insert(handle)),
            None => drop(self.changed.remove(&handle)),
        }
    }

    /// The lease on a chunk as it is now.
    pub fn update_lease(&mut self, handle: ChunkHandle, lease: Option<LeaseStatus>) {
        match lease {
            Some(lease) => drop(self.leases.insert(handle, lease)),
            None => drop(self.leases.remove(&handle)),
        }
    }

    /// How many replicas there are to report.
    #[must_use]
    pub fn count(&self) -> usize {
        self.replicas.len()
    }

    /// How many replicas are not clean: an order to end may still come for them.
    #[must_use]
    pub fn unclean_count(&self) -> usize {
        let unclean = |report: &&ReplicaReport| report.state == ReplicaState::Unclean;
        self.replicas.values().filter(unclean).count()
    }

    /// How many leases are held.
    #[must_use]
    pub fn lease_count(&self) -> usize {
        self.leases.len()
    }

    /// Everything, for a registration, in pages; one empty page when there is nothing. What changed before
    /// needs not be told again.
    pub fn pages(&mut self) -> Vec<Vec<ReplicaReport>> {
        self.changed.clear();
        let all: Vec<_> = self.replicas.values().copied().collect();
        match all.is_empty() {
            true => vec![Vec::new()],
            false => all.chunks(REPORT_PAGE_MAX).map(<[_]>::to_vec).collect(),
        }
    }

    /// What changed since it was last asked: at most a page, the rest the next time.
    pub fn take_changed(&mut self) -> Vec<ReplicaReport> {
        let handles: Vec<_> = self.changed.iter().take(REPORT_PAGE_MAX).copied().collect();
        for handle in &handles {
            self.changed.remove(handle);
        }
        handles.iter().filter_map(|handle| self.replicas.get(handle)).copied().collect()
    }

    /// The leases that are held now, with the time left (raise-7).
    #[must_use]
    pub fn held(&self, now: Instant) -> Vec<HeldLease> {
        let running = self.leases.iter().filter(|(_, lease)| lease.until > now);
        let held = running.map(|(handle, lease)| HeldLease {
            handle: *handle,
            version: lease.version,
            left_ms: lease.until.ms_since(now).0,
            members: lease.members.clone(),
        });
        held.collect()
    }

    /// The leases to extend: held, and in use; those that end soonest first, and no more than a page.
    #[must_use]
    pub fn to_extend(&self, now: Instant) -> Vec<(ChunkHandle, ChunkVersion)> {
        let mut wanted: Vec<_> =
            self.leases.iter().filter(|(_, lease)| lease.wanted && lease.until > now).collect();
        wanted.sort_by_key(|(_, lease)| lease.until);
        wanted.truncate(REPORT_PAGE_MAX);
        wanted.into_iter().map(|(handle, lease)| (*handle, lease.version)).collect()
    }
}

#[cfg(test)]
mod tests {
    use gfs_types::ids::ServerUid;
    use gfs_types::message::control::ReplicaState;

    use super::*;

    fn report(handle: u64, length: u64) -> ReplicaReport {
        ReplicaReport {
            handle: ChunkHandle(handle),
            version: ChunkVersion(1),
            length,
            state: ReplicaState::Unclean,
        }
    }

    fn update(holdings: &mut Holdings, report: ReplicaReport) {
        holdings.update(report.handle, Some(report));
    }

    #[test]
    fn only_what_changed_is_told_and_only_once() {
        let mut holdings = Holdings::default();
        update(&mut holdings, report(1, 10));
        update(&mut holdings, report(2, 10));
        assert_eq!(holdings.take_changed(), [report(1, 10), report(2, 10)]);
        assert_eq!(holdings.take_changed(), []);
        update(&mut holdings, report(1, 10));
        update(&mut holdings, report(2, 20));
        assert_eq!(holdings.take_changed(), [report(2, 20)]);
        update(&mut holdings, report(1, 30));
        holdings.update(ChunkHandle(1), None);
        assert_eq!(holdings.take_changed(), [], "one that is gone is not reported");
        assert_eq!(holdings.pages(), [vec![report(2, 20)]]);
    }

    #[test]
    fn a_page_is_full_at_the_limit_and_one_more_needs_another() {
        let mut holdings = Holdings::default();
        assert_eq!(holdings.pages(), [vec![]], "the master waits for a last page");
        for handle in 0..REPORT_PAGE_MAX as u64 {
            update(&mut holdings, report(handle, 0));
        }
        assert_eq!(holdings.pages().len(), 1);
        update(&mut holdings, report(u64::MAX, 0));
        assert_eq!(holdings.pages().iter().map(Vec::len).collect::<Vec<_>>(), [REPORT_PAGE_MAX, 1]);
        for handle in 0..=REPORT_PAGE_MAX as u64 {
            update(&mut holdings, report(handle, 1));
        }
        assert_eq!(holdings.take_changed().len(), REPORT_PAGE_MAX);
        assert_eq!(holdings.take_changed().len(), 1);
    }

    #[test]
    fn leases_are_named_with_the_time_left_and_extended_while_wanted() {
        let mut holdings = Holdings::default();
        let lease = |wanted, until_ms| LeaseStatus {
            version: ChunkVersion(3),
            until: Instant::from_ms(until_ms),
            members: vec![ServerUid(1), ServerUid(2)],
            wanted,
        };
        holdings.update_lease(ChunkHandle(1), Some(lease(true, 5_000)));
        holdings.update_lease(ChunkHandle(2), Some(lease(false, 5_000)));
        holdings.update_lease(ChunkHandle(3), Some(lease(true, 1_000)));
        let now = Instant::from_ms(1_000);
        let held = holdings.held(now);
        assert_eq!(held.iter().map(|lease| lease.handle.0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(held[0].left_ms, 4_000);
        assert_eq!(holdings.to_extend(now), [(ChunkHandle(1), ChunkVersion(3))]);
        holdings.update_lease(ChunkHandle(1), None);
        assert_eq!(holdings.to_extend(now), []);
    }

    #[test]
    fn of_more_leases_than_a_page_those_that_end_first_are_extended() {
        let mut holdings = Holdings::default();
        let count = REPORT_PAGE_MAX as u64 + 1;
        for handle in 0..count {
            // The highest handle ends first.
            let until = Instant::from_ms(2_000 + count - handle);
            let lease =
                LeaseStatus { version: ChunkVersion(1), until, members: vec![], wanted: true };
            holdings.update_lease(ChunkHandle(handle), Some(lease));
        }
        let extended = holdings.to_extend(Instant::from_ms(1_000));
        assert_eq!(extended.len(), REPORT_PAGE_MAX);
        assert_eq!(extended[0].0, ChunkHandle(count - 1));
        assert!(
            !extended.contains(&(ChunkHandle(0), ChunkVersion(1))),
            "it has the most time left"
        );
    }
}
