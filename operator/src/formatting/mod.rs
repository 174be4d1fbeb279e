//! Formatting exactly once: what to do about a master that says what it is.
//!
//! No start ever turns a volume that once held a cluster into an empty one: a blank master is formatted only while
//! `status.initialized` is false, and that becomes true right behind the first formatting (docs/adr/0081).

mod settle;

use gfs_types::ids::ClusterUid;

pub use settle::settle;

use crate::crd::GfsClusterStatus;
use crate::master::Told;

/// What `status` says of the formatting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remembered {
    /// Whether the cluster was formatted.
    pub initialized: bool,
    /// The cluster in the master's data directory, as last seen.
    pub cluster: Option<ClusterUid>,
}

impl Remembered {
    /// Out of `status`.
    #[must_use]
    pub fn of(status: Option<&GfsClusterStatus>) -> Self {
        let uid = status.and_then(|status| status.cluster_uid.as_deref());
        Self {
            initialized: status.is_some_and(|status| status.initialized),
            cluster: uid.and_then(|uid| uid.parse().ok()),
        }
    }
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing can be said yet: ask again.
    Wait,
    /// Order the master to format itself, then remember it.
    Format,
    /// The master holds a cluster that `status` does not name: remember it.
    Remember {
        /// The cluster it holds.
        cluster: ClusterUid,
        /// Whether it is one of an earlier `GfsCluster`.
        adopted: bool,
    },
    /// The master holds the cluster that is remembered.
    Known,
    /// The master is blank and must not be: what it held is gone. Nobody formats it but a person.
    DataLost,
    /// The master holds another cluster than the one remembered: a volume was exchanged.
    Foreign(ClusterUid),
    /// The master is blank, and this claim of a chunkserver is of an earlier cluster, whose master's volume is not here.
    EarlierVolumes(String),
}

/// `own` is the uid that this `GfsCluster` gives to a cluster it formats; `earlier` a claim of a chunkserver that was there before.
#[must_use]
pub fn decide(
    own: ClusterUid,
    remembered: Remembered,
    earlier: Option<&str>,
    master: Option<&Told>,
) -> Step {
    let known = remembered.cluster;
    match master {
        None | Some(Told::Starting) => Step::Wait,
        Some(Told::Blank) if remembered.initialized => Step::DataLost,
        Some(Told::Blank) => {
            earlier.map_or(Step::Format, |claim| Step::EarlierVolumes(claim.to_owned()))
        }
        Some(Told::Formatted(member)) => match (remembered.initialized, known) {
            (true, Some(known)) if known == member.record.cluster => Step::Known,
            (true, Some(_)) => Step::Foreign(member.record.cluster),
            // The status was lost, as by a restored backup, or the order to format was not seen to succeed.
            (false, _) | (true, None) => Step::Remember {
                cluster: member.record.cluster,
                adopted: member.record.cluster != own,
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::tests::member;

    const OWN: ClusterUid = ClusterUid(1);
    const OTHER: ClusterUid = ClusterUid(2);

    fn remembered(initialized: bool, cluster: Option<ClusterUid>) -> Remembered {
        Remembered { initialized, cluster }
    }

    #[test]
    fn a_master_is_formatted_only_while_none_ever_was() {
        let new = remembered(false, None);
        let known = remembered(true, Some(OWN));
        let adopted = remembered(true, Some(OTHER));
        // The uid was lost, and only it.
        let nameless = remembered(true, None);
        let blank = || Some(Told::Blank);
        let holds = |cluster| Some(Told::Formatted(member(cluster)));
        let remember = |cluster, adopted| Step::Remember { cluster, adopted };
        let table = [
            (new, None, Step::Wait),
            (known, None, Step::Wait),
            (new, Some(Told::Starting), Step::Wait),
            (known, Some(Told::Starting), Step::Wait),
            (new, blank(), Step::Format),
            (known, blank(), Step::DataLost),
            (adopted, blank(), Step::DataLost),
            (nameless, blank(), Step::DataLost),
            (new, holds(OWN), remember(OWN, false)),
            (new, holds(OTHER), remember(OTHER, true)),
            (nameless, holds(OWN), remember(OWN, false)),
            (nameless, holds(OTHER), remember(OTHER, true)),
            (known, holds(OWN), Step::Known),
            (known, holds(OTHER), Step::Foreign(OTHER)),
            (adopted, holds(OTHER), Step::Known),
            (adopted, holds(OWN), Step::Foreign(OWN)),
        ];
        for (remembered, master, step) in table {
            let decided = decide(OWN, remembered, None, master.as_ref());
            assert_eq!(decided, step, "{remembered:?} and {master:?}");
            // Volumes that were there before keep it from one thing alone.
            let beside = decide(OWN, remembered, Some("claim"), master.as_ref());
            let expected = match step {
                Step::Format => Step::EarlierVolumes("claim".to_owned()),
                other => other,
            };
            assert_eq!(beside, expected, "{remembered:?} and {master:?}");
        }
    }
}
