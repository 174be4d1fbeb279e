//! Where replicas go (§4.2): different zones and hosts first, then few recent creations, then the emptier disk. Pure.

use gfs_types::message::control::Space;
use gfs_types::topology::Topology;

/// A chunkserver that could take a replica.
#[derive(Debug, Clone)]
pub(crate) struct Candidate<'a, T> {
    pub(crate) server: T,
    pub(crate) topology: &'a Topology,
    pub(crate) space: Space,
    /// Replicas it was given lately.
    pub(crate) recent: u32,
}

/// Picks up to `count` of those with room for a chunk. `turn` breaks ties, so that equals take turns.
pub(crate) fn pick<T: Copy>(
    candidates: &[Candidate<'_, T>],
    count: usize,
    chunk_bytes: u64,
    turn: u64,
) -> Vec<T> {
    let mut left: Vec<&Candidate<'_, T>> =
        candidates.iter().filter(|one| one.space.free_bytes >= chunk_bytes).collect();
    if !left.is_empty() {
        let by = usize::try_from(turn % left.len() as u64).unwrap_or(0);
        left.rotate_left(by);
    }
    let mut taken: Vec<&Candidate<'_, T>> = Vec::new();
    while taken.len() < count {
        let best = (0..left.len()).min_by_key(|at| score(left[*at], &taken));
        let Some(best) = best else { break };
        taken.push(left.remove(best));
    }
    taken.iter().map(|one| one.server).collect()
}

/// The smaller, the better.
fn score<T>(one: &Candidate<'_, T>, taken: &[&Candidate<'_, T>]) -> (usize, u32, u64) {
    let nearness = taken.iter().map(|other| one.topology.shared_labels(other.topology)).sum();
    (nearness, one.recent, used_percent(one.space))
}

fn used_percent(space: Space) -> u64 {
    let used = space.capacity_bytes.saturating_sub(space.free_bytes);
    let percent = u128::from(used) * 100 / u128::from(space.capacity_bytes.max(1));
    u64::try_from(percent).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick_from(servers: &[(&str, u32, u64)], count: usize) -> Vec<usize> {
        let topologies: Vec<Topology> = servers.iter().map(|(t, ..)| t.parse().unwrap()).collect();
        let candidates: Vec<_> = servers
            .iter()
            .enumerate()
            .map(|(server, (_, recent, free_bytes))| Candidate {
                server,
                topology: &topologies[server],
                space: Space { capacity_bytes: 1000, free_bytes: *free_bytes },
                recent: *recent,
            })
            .collect();
        let mut picked = pick(&candidates, count, 10, 0);
        picked.sort_unstable();
        picked
    }

    #[test]
    fn zones_come_before_hosts_and_hosts_before_disks() {
        let servers =
            [("a/h1/d1", 0, 900), ("a/h1/d2", 0, 900), ("a/h2/d1", 0, 100), ("b/h3/d1", 9, 100)];
        assert_eq!(pick_from(&servers, 2), [0, 3]);
        assert_eq!(pick_from(&servers, 3), [0, 2, 3]);
        assert_eq!(pick_from(&servers, 9), [0, 1, 2, 3]);
    }

    #[test]
    fn recent_creations_and_full_disks_are_avoided() {
        assert_eq!(pick_from(&[("", 5, 900), ("", 0, 100), ("", 1, 900)], 2), [1, 2]);
        assert_eq!(pick_from(&[("", 0, 100), ("", 0, 900)], 1), [1]);
        assert_eq!(pick_from(&[("", 0, 9), ("", 0, 10)], 2), [1]);
        assert_eq!(pick_from(&[], 2), [0_usize; 0]);
    }

    #[test]
    fn equals_take_turns() {
        let topology = Topology::default();
        let one = |server| Candidate {
            server,
            topology: &topology,
            space: Space { capacity_bytes: 100, free_bytes: 100 },
            recent: 0,
        };
        let candidates = [one(0), one(1), one(2)];
        let picked: Vec<_> = (0..3).map(|turn| pick(&candidates, 1, 10, turn)[0]).collect();
        assert_eq!(picked, [0, 1, 2]);
    }
}
