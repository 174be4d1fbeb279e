//! The configuration record: its order, and what may follow it.

use gfs_types::fence::{Incarnation, MasterEpoch};
use gfs_types::ids::{ClusterUid, ServerUid};

pub use gfs_types::record::ConfigRecord;

/// Masters that a record can name: far more than anybody runs, and few enough for one message.
pub const IN_SYNC_MAX: usize = 16;

/// A record that must not be stored after the one that is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSuccessor {
    /// It speaks of another cluster.
    #[error("the record is of cluster {found}, the one stored of {stored}")]
    OtherCluster {
        /// In the store.
        stored: ClusterUid,
        /// In the new record.
        found: ClusterUid,
    },
    /// The version is not the next one.
    #[error("the record has version {found}, after {stored} comes {}", stored.saturating_add(1))]
    Version {
        /// In the store; 0 for none.
        stored: u64,
        /// In the new record.
        found: u64,
    },
    /// (incarnation, epoch) went back.
    #[error("the record goes back from incarnation {} epoch {} to incarnation {} epoch {}", .stored.0, .stored.1, .found.0, .found.1)]
    GoesBack {
        /// In the store.
        stored: (Incarnation, MasterEpoch),
        /// In the new record.
        found: (Incarnation, MasterEpoch),
    },
    /// Another primary master under the same epoch: nobody could tell their orders apart.
    #[error("the record names {primary} as primary master in an epoch that has another one")]
    PrimaryWithoutEpoch {
        /// The new one.
        primary: ServerUid,
    },
    /// The in-sync set lacks the primary master, names one twice or is too large.
    #[error(
        "the in-sync set must name the primary master {primary}, each master once, at most {IN_SYNC_MAX}"
    )]
    InSync {
        /// The primary master of the record.
        primary: ServerUid,
    },
}

/// The first record of a cluster: one master, in sync with itself.
#[must_use]
pub fn first(cluster: ClusterUid, primary: ServerUid) -> ConfigRecord {
    ConfigRecord {
        cluster,
        incarnation: Incarnation(1),
        epoch: MasterEpoch(1),
        version: 1,
        primary,
        in_sync: vec![primary],
    }
}

/// What orders records: everybody follows the highest rank seen.
#[must_use]
pub fn rank(record: &ConfigRecord) -> (Incarnation, MasterEpoch) {
    (record.incarnation, record.epoch)
}

/// The record to follow of those that were heard of; of equal ranks the later version.
pub fn newest(records: impl IntoIterator<Item = ConfigRecord>) -> Option<ConfigRecord> {
    records.into_iter().max_by_key(|record| (rank(record), record.version))
}

/// Whether `new` may stand in the store after `stored` (`None`: the store is empty).
///
/// # Errors
/// The rule that `new` breaks.
pub fn check_successor(
    stored: Option<&ConfigRecord>,
    new: &ConfigRecord,
) -> Result<(), NotSuccessor> {
    check_members(new)?;
    let version = stored.map_or(0, |record| record.version);
    if version.checked_add(1) != Some(new.version) {
        return Err(NotSuccessor::Version { stored: version, found: new.version });
    }
    stored.map_or(Ok(()), |stored| check_order(stored, new))
}

fn check_order(stored: &ConfigRecord, new: &ConfigRecord) -> Result<(), NotSuccessor> {
    if stored.cluster != new.cluster {
        let (stored, found) = (stored.cluster, new.cluster);
        return Err(NotSuccessor::OtherCluster { stored, found });
    }
    if rank(new) < rank(stored) {
        return Err(NotSuccessor::GoesBack { stored: rank(stored), found: rank(new) });
    }
    if rank(new) == rank(stored) && new.primary != stored.primary {
        return Err(NotSuccessor::PrimaryWithoutEpoch { primary: new.primary });
    }
    Ok(())
}

fn check_members(record: &ConfigRecord) -> Result<(), NotSuccessor> {
    let mut members = record.in_sync.clone();
    members.sort();
    members.dedup();
    let once = members.len() == record.in_sync.len() && members.len() <= IN_SYNC_MAX;
    if once && members.binary_search(&record.primary).is_ok() {
        return Ok(());
    }
    Err(NotSuccessor::InSync { primary: record.primary })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ServerUid = ServerUid(1);
    const B: ServerUid = ServerUid(2);

    fn stored() -> ConfigRecord {
        first(ClusterUid(7), A)
    }

    fn after(change: impl FnOnce(&mut ConfigRecord)) -> ConfigRecord {
        let mut record = stored();
        record.version += 1;
        change(&mut record);
        record
    }

    #[test]
    fn the_highest_incarnation_and_epoch_are_followed() {
        let old = stored();
        let promoted = after(|record| record.epoch = MasterEpoch(2));
        let cut = after(|record| record.incarnation = Incarnation(2));
        let later = after(|_| {});
        assert_eq!(newest([promoted.clone(), old.clone()]), Some(promoted.clone()));
        assert_eq!(newest([promoted, cut.clone(), old.clone()]), Some(cut));
        assert_eq!(newest([later.clone(), old]), Some(later));
        assert_eq!(newest([]), None);
    }

    #[test]
    fn a_promotion_and_a_change_of_the_in_sync_set_may_follow() {
        let joined = after(|record| record.in_sync.push(B));
        assert_eq!(check_successor(Some(&stored()), &joined), Ok(()));
        let promoted = after(|record| {
            record.epoch = MasterEpoch(2);
            record.primary = B;
            record.in_sync = vec![B];
        });
        assert_eq!(check_successor(Some(&stored()), &promoted), Ok(()));
        assert_eq!(check_successor(None, &stored()), Ok(()));
    }

    #[test]
    fn nothing_else_may_follow() {
        let refused = |new: &ConfigRecord| check_successor(Some(&stored()), new).unwrap_err();
        let cluster = after(|record| record.cluster = ClusterUid(8));
        assert!(matches!(refused(&cluster), NotSuccessor::OtherCluster { .. }));
        assert!(matches!(refused(&stored()), NotSuccessor::Version { stored: 1, found: 1 }));
        let back = after(|record| record.epoch = MasterEpoch(0));
        assert!(matches!(refused(&back), NotSuccessor::GoesBack { .. }));
        let usurped = after(|record| {
            record.primary = B;
            record.in_sync.push(B);
        });
        assert!(matches!(refused(&usurped), NotSuccessor::PrimaryWithoutEpoch { primary: B }));
    }

    #[test]
    fn the_in_sync_set_names_the_primary_and_each_master_once() {
        let refused = |new: &ConfigRecord| {
            matches!(check_successor(Some(&stored()), new), Err(NotSuccessor::InSync { .. }))
        };
        assert!(refused(&after(|record| record.in_sync = vec![B])));
        assert!(refused(&after(|record| record.in_sync = vec![A, A])));
        let many =
            |count: u128| after(|record| record.in_sync = (1..=count).map(ServerUid).collect());
        assert!(!refused(&many(IN_SYNC_MAX as u128)));
        assert!(refused(&many(IN_SYNC_MAX as u128 + 1)));
    }
}
