//! The configuration record: who the primary master is, and which masters have everything.

use serde::{Deserialize, Serialize};

use crate::fence::{Incarnation, MasterEpoch};
use crate::ids::{ClusterUid, ServerUid};

/// Changes only by compare-and-swap in its store (`gfs-membership`); every master and client follows the
/// highest (incarnation, epoch) it has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigRecord {
    /// The cluster it speaks of.
    pub cluster: ClusterUid,
    /// Grows when a person cut history.
    pub incarnation: Incarnation,
    /// Grows with every change of the primary master.
    pub epoch: MasterEpoch,
    /// Grows with every change of the record.
    pub version: u64,
    /// The primary master.
    pub primary: ServerUid,
    /// Masters that hold every acknowledged record, the primary included.
    pub in_sync: Vec<ServerUid>,
}
