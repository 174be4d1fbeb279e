//! The order of the data chain (§3.2): each server passes the data on to the nearest that has not had it.

use gfs_types::ids::ServerUid;
use gfs_types::message::client::{LeaseGrant, ReplicaLocation};
use gfs_types::message::control::ReplicaState;
use gfs_types::topology::Topology;

/// The members of a lease, nearest to the client first, then always the nearest to the one before. Among equally
/// near ones the primary comes first, then the lower uid, so that the order is the same every time.
pub(crate) fn chain<'a>(from: &Topology, grant: &'a LeaseGrant) -> Vec<&'a ReplicaLocation> {
    let mut rest: Vec<&ReplicaLocation> = grant.members.iter().collect();
    let mut ordered: Vec<&ReplicaLocation> = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let here = ordered.last().map_or(from, |last| &last.topology);
        let rank = |member: &ReplicaLocation| {
            let near = usize::MAX - here.shared_labels(&member.topology);
            (near, member.chunkserver != grant.primary, member.chunkserver)
        };
        let best = (0..rest.len()).min_by_key(|&i| rank(rest[i])).unwrap_or(0);
        ordered.push(rest.swap_remove(best));
    }
    ordered
}

/// Replicas to read from, nearest first; `primary` goes first when it is asked for.
pub(crate) fn nearest<'a>(
    from: &Topology,
    replicas: &'a [ReplicaLocation],
    spread: u64,
    primary_first: Option<ServerUid>,
) -> Vec<&'a ReplicaLocation> {
    let mut ordered: Vec<&ReplicaLocation> = replicas.iter().collect();
    ordered.sort_by_key(|replica| {
        let doubt = match replica.state {
            ReplicaState::Corrupt => 2,
            // It shows nothing until a raise made it equal (mut-4).
            ReplicaState::Suspect => 1,
            ReplicaState::Clean | ReplicaState::Unclean => 0,
        };
        let near = usize::MAX - from.shared_labels(&replica.topology);
        let [low, ..] = replica.chunkserver.0.to_le_bytes();
        // Equally near ones take turns by chunk, so that readers of many chunks spread.
        let turn = u64::from(low).wrapping_mul(0x9e37_79b9).wrapping_add(spread) ^ spread << 3;
        (doubt, Some(replica.chunkserver) != primary_first, near, turn % 251, replica.chunkserver)
    });
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{grant, replica};

    fn at(text: &str) -> Topology {
        text.parse().unwrap()
    }

    fn uids(chain: &[&ReplicaLocation]) -> Vec<u128> {
        chain.iter().map(|r| r.chunkserver.0).collect()
    }

    #[test]
    fn each_hop_goes_to_the_nearest_of_the_rest() {
        let mut grant = grant(1);
        grant.members =
            vec![replica(1, "a/h1"), replica(2, "b/h2"), replica(3, "b/h3"), replica(4, "a/h4")];
        grant.primary = ServerUid(1);
        assert_eq!(uids(&chain(&at("b/h3"), &grant)), [3, 2, 1, 4]);
        assert_eq!(uids(&chain(&at("a/h4"), &grant)), [4, 1, 2, 3]);
    }

    #[test]
    fn without_a_topology_the_primary_goes_first() {
        let mut grant = grant(1);
        grant.members = vec![replica(1, ""), replica(2, ""), replica(3, "")];
        grant.primary = ServerUid(2);
        assert_eq!(uids(&chain(&at(""), &grant)), [2, 1, 3]);
    }

    #[test]
    fn the_nearest_replica_is_read_and_the_primary_when_asked_for() {
        let replicas = [replica(1, "a/h1"), replica(2, "b/h2"), replica(3, "a/h3")];
        assert_eq!(uids(&nearest(&at("b/h9"), &replicas, 0, None))[0], 2);
        assert_eq!(uids(&nearest(&at("b/h9"), &replicas, 0, Some(ServerUid(3))))[0], 3);
        let firsts: std::collections::BTreeSet<u128> =
            (0..32).map(|chunk| uids(&nearest(&at(""), &replicas, chunk, None))[0]).collect();
        assert!(firsts.len() > 1, "readers do not spread: {firsts:?}");
    }

    #[test]
    fn what_is_not_to_be_believed_is_read_last_however_near() {
        let mut replicas = [replica(1, "b/h1"), replica(2, "b/h2"), replica(3, "a/h3")];
        replicas[0].state = ReplicaState::Corrupt;
        replicas[1].state = ReplicaState::Suspect;
        for primary in [None, Some(ServerUid(1)), Some(ServerUid(2))] {
            assert_eq!(uids(&nearest(&at("b/h9"), &replicas, 0, primary)), [3, 2, 1]);
        }
    }
}
