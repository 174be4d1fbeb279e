//! What may go wrong without more being lost than was promised.

use std::collections::BTreeMap;

use gfs_chunkserver::store::Found;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;

use crate::server::Server;
use crate::world::World;

impl World {
    /// What is acknowledged and not synced is in memory only: of each chunk one machine that never lost it must go on (DUR-1).
    pub(crate) fn may_lose_power(&self, number: usize) -> anyhow::Result<bool> {
        let replicas = |server: &Server| Ok(replicas_of(&server.replicas(self.cluster)?));
        let all = self.servers.iter().map(replicas).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(all[number].keys().all(|handle| {
            let found = || all.iter().filter_map(|replicas| replicas.get(handle));
            let newest = found().map(|(version, _)| *version).max().unwrap_or_default();
            let others = all.iter().enumerate().filter(|(other, _)| *other != number);
            let others = others.filter(|(other, _)| {
                self.weather.rotten.get(handle) != Some(other)
                    && self.weather.unread != Some(*other)
            });
            let mut others =
                others.filter_map(|(other, replicas)| Some((other, replicas.get(handle)?)));
            others.any(|(other, (version, good))| {
                let counts = self.rules.grants.counts(*handle, *version, self.servers[other].uid);
                *version == newest && *good && counts
            })
        }))
    }
}

/// Of each chunk the version, and whether the replica holds all that it ever acknowledged.
pub(crate) type Replicas = BTreeMap<ChunkHandle, (ChunkVersion, bool)>;

pub(crate) fn replicas_of(found: &[Found]) -> Replicas {
    let good = found.iter().filter_map(|found| {
        let replica = found.replica.as_ref().ok()?;
        let good = !replica.suspect && replica.damaged.is_none();
        Some((found.handle, (replica.version, good)))
    });
    good.collect()
}
