//! What must be so when all is well again: replicas are equal, and everything that was acknowledged is there.

use std::collections::{BTreeMap, BTreeSet};

use gfs_client::Client;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;

use crate::load::{self, LOGS, Shared, Tag};
use crate::world::World;

/// What is wrong with the replicas at the moment, as the servers have them on disk.
pub(crate) fn unequal(world: &World) -> anyhow::Result<Option<String>> {
    let mut newest: BTreeMap<ChunkHandle, ChunkVersion> = BTreeMap::new();
    let mut all = Vec::new();
    for server in &world.servers {
        let Some(process) = &server.up else {
            return Ok(Some(format!("server-{} is down", server.number)));
        };
        for (handle, _) in crate::faults::replicas_of(&server.replicas(world.cluster)?) {
            let replica = process.store.replica(handle)?;
            let newest = newest.entry(handle).or_default();
            *newest = replica.version.max(*newest);
            all.push((server.number, handle, replica));
        }
    }
    for (handle, newest) in newest {
        let current: Vec<_> = all
            .iter()
            .filter(|(_, of, replica)| *of == handle && replica.version == newest)
            .collect();
        if current.len() < 3.min(world.servers.len()) {
            return Ok(Some(format!("chunk {handle} has {} replicas of {newest}", current.len())));
        }
        let mut digests = BTreeSet::new();
        for (number, _, replica) in current {
            if replica.suspect || replica.damaged.is_some() || !replica.clean {
                return Ok(Some(format!("chunk {handle} on server-{number}: {replica:?}")));
            }
            let Some(process) = &world.servers[*number].up else { continue };
            digests.insert(process.store.checksums(handle)?.digest);
        }
        if digests.len() > 1 {
            return Ok(Some(format!("chunk {handle}: replicas of {newest} differ: D4")));
        }
    }
    Ok(None)
}

/// Reads all that was acknowledged, through a client and from every replica.
pub(crate) async fn read_everything(shared: Shared, client: usize) {
    let checked = async {
        let connected = shared.connect(client).await?;
        records(&shared, &connected).await?;
        regions(&shared, &connected).await?;
        load::look_at_names(&shared, &connected, client).await;
        names(&shared);
        Ok::<_, gfs_client::Error>(())
    };
    if let Err(error) = checked.await {
        shared.violation(format!("in calm weather: {error}"));
    }
}

async fn records(shared: &Shared, connected: &Client) -> gfs_client::Result<()> {
    let (raw, framed) = {
        let ledger = shared.ledger();
        (ledger.records.clone(), ledger.framed.clone())
    };
    for log in 0..LOGS {
        let file = connected.open(load::log_path(log)).await?;
        for (_, offset, tag) in raw.iter().filter(|(of, ..)| *of == log) {
            let bytes = file.read_at(*offset, tag.length).await?;
            if Tag::of(&bytes) != Some(*tag) {
                shared.violation(format!("log {log} at {offset}: {tag:?} is lost (A1)"));
            }
        }
        let mut seen = BTreeMap::new();
        let mut records = file.record_reader();
        while let Some(record) = records.next().await {
            let record = record?;
            match Tag::of(&record.payload) {
                Some(tag) => drop(seen.insert(tag, record.offset)),
                None => shared.violation(format!("a torn record at {} (A2)", record.offset)),
            }
        }
        for (_, offset, tag) in framed.iter().filter(|(of, ..)| *of == log) {
            match seen.get(tag) {
                None => shared.violation(format!("log {log} at {offset}: {tag:?} is lost (A1)")),
                // Of several copies the reader gives the first.
                Some(at) if at > offset => {
                    shared
                        .violation(format!("log {log}: {tag:?} was told at {offset}, is at {at}"));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

async fn regions(shared: &Shared, connected: &Client) -> gfs_client::Result<()> {
    let all: Vec<_> = shared.ledger().regions.keys().copied().collect();
    for (number, region) in all {
        let file = connected.open(load::region_path(number)).await?;
        if !load::check_region(shared, &file, (number, region), true).await {
            shared.violation(format!("region {region} of {number} cannot be read in calm weather"));
        }
    }
    Ok(())
}

/// Whether one namespace could have shown all that was told of names (META-1), now that nobody changes them.
fn names(shared: &Shared) {
    let report = match shared.notes.history() {
        Ok(history) => gfs_history::check(&history),
        Err(error) => return shared.violation(format!("what was noted of names: {error}")),
    };
    if !report.is_linearizable() {
        shared.violation(format!("names (META-1): {report}"));
    }
}

/// Every record that was acknowledged, on every current replica.
pub(crate) fn on_every_replica(
    world: &World,
    shared: &Shared,
    chunks: &BTreeMap<(usize, u64), ChunkHandle>,
) -> anyhow::Result<()> {
    let records = shared.ledger().records.clone();
    for (log, offset, tag) in records {
        let (index, within) = (offset / shared.chunk_bytes, offset % shared.chunk_bytes);
        let Some(handle) = chunks.get(&(log, index)) else {
            shared.violation(format!("log {log} has no chunk {index}, where {tag:?} stands"));
            continue;
        };
        let newest = newest(world, *handle);
        for server in &world.servers {
            let Some(process) = &server.up else { continue };
            let Ok(replica) = process.store.replica(*handle) else { continue };
            if replica.version < newest {
                continue;
            }
            let end = within + tag.length;
            let bytes = process.store.read_verified(*handle, within..end, replica.length);
            if !bytes.is_ok_and(|bytes| Tag::of(&bytes) == Some(tag)) {
                let number = server.number;
                shared.violation(format!(
                    "{tag:?} is not at {within} of chunk {handle} on server-{number}, version {} (A1)",
                    replica.version
                ));
            }
        }
    }
    Ok(())
}

fn newest(world: &World, handle: ChunkHandle) -> ChunkVersion {
    let up = world.servers.iter().filter_map(|server| server.up.as_ref());
    let found = up.filter_map(|process| process.store.replica(handle).ok());
    found.map(|replica| replica.version).max().unwrap_or_default()
}
