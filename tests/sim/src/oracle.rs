//! What must be so when all is well again: replicas are equal, and everything that was acknowledged is there.

use std::collections::{BTreeMap, BTreeSet};

use gfs_client::Client;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;

use crate::load::overwriter;
use crate::load::regions::{Bytes, parts};
use crate::load::{self, LOGS, Record, Shared, Tag};
use crate::world::World;

/// What is wrong with the replicas at the moment, as the servers have them on disk.
pub(crate) fn unequal(world: &World) -> anyhow::Result<Option<String>> {
    let mut newest: BTreeMap<ChunkHandle, ChunkVersion> = BTreeMap::new();
    let mut all = Vec::new();
    for server in &world.servers {
        let Some(process) = &server.up else {
            return Ok(Some(format!("server-{} is down", server.number)));
        };
        for (handle, _) in crate::budget::replicas_of(&server.replicas(world.cluster)?) {
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
        // Nobody was told of a chunk whose birth did not end: it is as it is until somebody wants to write to it.
        let written = all.iter().any(|(_, of, replica)| *of == handle && replica.length > 0);
        if newest == ChunkVersion(1) && !written {
            continue;
        }
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
    let all = {
        let ledger = shared.ledger();
        let told: BTreeSet<_> = ledger.records.iter().map(|r| (r.log, r.offset, r.tag)).collect();
        let shown = ledger.shown.iter().map(|((log, offset), tag)| (*log, *offset, *tag));
        let shown = shown.filter(|shown| !told.contains(shown));
        let shown = shown.map(|(log, offset, tag)| Record::shown(log, offset, tag));
        ledger.records.iter().copied().chain(shown).collect::<Vec<_>>()
    };
    for log in 0..LOGS {
        let file = connected.open(load::log_path(log)).await?;
        let its = || all.iter().filter(|record| record.log == log);
        for record in its() {
            let bytes = file.read_at(record.offset, record.bytes()).await?;
            if !record.is(&bytes) {
                let Record { offset, tag, .. } = record;
                shared.violation(format!(
                    "log {log} at {offset}: {tag:?} is lost, which was told or shown (A1)"
                ));
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
        for Record { offset, tag, .. } in its().filter(|record| record.framed) {
            // Of several copies the reader gives the first.
            if seen.get(tag).is_none_or(|at| at > offset) {
                let seen = seen.get(tag);
                shared.violation(format!(
                    "log {log}: {tag:?} was told at {offset}, and is read at {seen:?} (A1)"
                ));
            }
        }
    }
    Ok(())
}

async fn regions(shared: &Shared, connected: &Client) -> gfs_client::Result<()> {
    let all: Vec<_> = shared.ledger().regions.keys().copied().collect();
    for of in all {
        let file = connected.open(load::region_path(of.0)).await?;
        match overwriter::read(shared, &file, of).await {
            None => shared.violation(format!("region {of:?} cannot be read in calm weather")),
            Some(read) if read.verdict != Bytes::Good => {
                let why = overwriter::told(shared, connected, &read).await;
                shared.violation(format!("in calm weather there is {why}"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Has all that was acknowledged on every disk.
pub(crate) async fn sync_everything(shared: Shared, client: usize) -> gfs_client::Result<()> {
    let connected = shared.connect(client).await?;
    for log in 0..LOGS {
        let before = shared.ledger().sync_begins();
        connected.sync(load::log_path(log)).await?;
        shared.ledger().synced(log, None, &before);
    }
    let files: BTreeSet<_> = shared.ledger().regions.keys().map(|(number, _)| *number).collect();
    for number in files {
        let before = shared.ledger().regions.clone();
        connected.sync(load::region_path(number)).await?;
        let mut ledger = shared.ledger();
        let its = ledger.regions.iter_mut().filter(|((of, _), _)| *of == number);
        its.filter_map(|(of, region)| Some((region, before.get(of)?)))
            .for_each(|(region, before)| region.synced(before));
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

/// Reads all of every replica: its server finds what rotted, and it is repaired.
pub(crate) async fn scrub(shared: Shared, client: usize) -> gfs_client::Result<()> {
    let connected = shared.connect(client).await?;
    for path in files(&shared) {
        for chunk in connected.locate(&path).await?.chunks {
            for replica in &chunk.replicas {
                let reader = connected.replica(replica);
                // Whatever comes of it: how replicas are in the end is looked at by others.
                let _ = reader.verify(chunk.handle, chunk.version, 0, shared.chunk_bytes).await;
            }
        }
    }
    Ok(())
}

fn files(shared: &Shared) -> Vec<String> {
    let ledger = shared.ledger();
    let regions: BTreeSet<_> = ledger.regions.keys().map(|(number, _)| *number).collect();
    let logs = (0..LOGS).map(load::log_path);
    logs.chain(regions.into_iter().map(load::region_path)).collect()
}

/// Which chunk of which file: of a log, or of regions.
pub(crate) type Chunks = BTreeMap<(String, u64), ChunkHandle>;

/// Where all chunks are.
pub(crate) async fn locate(shared: Shared, client: usize) -> gfs_client::Result<Chunks> {
    let connected = shared.connect(client).await?;
    let mut chunks = Chunks::new();
    for path in files(&shared) {
        let found = connected.locate(&path).await?;
        let its = found.chunks.iter().map(|chunk| ((path.clone(), chunk.index.0), chunk.handle));
        chunks.extend(its);
    }
    Ok(chunks)
}

/// All that was acknowledged, on every current replica.
pub(crate) fn on_every_replica(
    world: &World,
    shared: &Shared,
    chunks: &Chunks,
) -> anyhow::Result<()> {
    let (records, regions) = {
        let ledger = shared.ledger();
        (ledger.records.clone(), ledger.regions.clone())
    };
    for record in records {
        let path = load::log_path(record.log);
        let place = (record.offset / shared.chunk_bytes, record.offset % shared.chunk_bytes);
        let good = |bytes: &[u8]| record.is(bytes);
        for bad in bad_replicas(world, chunks, &path, (place.0, place.1, record.bytes()), good) {
            shared.violation(format!("{:?} is not there: {bad} (A1)", record.tag));
        }
    }
    for ((number, region), known) in regions {
        let tag = overwriter::tag(number, region, shared.chunk_bytes);
        for (index, within, part) in parts(region, shared.chunk_bytes) {
            let good = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                bytes.resize(part.len(), 0);
                known.judge(tag, &part, &bytes, known.begun) == Bytes::Good
            };
            let (path, length) = (load::region_path(number), part.len() as u64);
            for bad in bad_replicas(world, chunks, &path, (index, within, length), good) {
                shared.violation(format!("region {region} of {number} is not there: {bad} (A1)"));
            }
        }
    }
    Ok(())
}

/// Current replicas that hold something else there.
fn bad_replicas(
    world: &World,
    chunks: &Chunks,
    path: &str,
    (index, within, length): (u64, u64, u64),
    good: impl Fn(&[u8]) -> bool,
) -> Vec<String> {
    let Some(handle) = chunks.get(&(path.to_owned(), index)) else {
        return if good(&[]) { Vec::new() } else { vec![format!("{path} has no chunk {index}")] };
    };
    let newest = newest(world, *handle);
    let mut bad = Vec::new();
    for server in &world.servers {
        let Some(process) = &server.up else { continue };
        let Ok(replica) = process.store.replica(*handle) else { continue };
        if replica.version < newest {
            continue;
        }
        let end = (within + length).min(replica.length).max(within);
        // Behind its end there is nothing to read, and nothing wrong: what was not synced is gone with the power.
        let bytes = match within < end {
            true => process.store.read_verified(*handle, within..end, replica.length),
            false => Ok(Vec::new()),
        };
        if !bytes.is_ok_and(|bytes| good(&bytes)) {
            let (number, version) = (server.number, replica.version);
            bad.push(format!("{within} of chunk {handle} on server-{number}, version {version}"));
        }
    }
    bad
}

fn newest(world: &World, handle: ChunkHandle) -> ChunkVersion {
    let up = world.servers.iter().filter_map(|server| server.up.as_ref());
    let found = up.filter_map(|process| process.store.replica(handle).ok());
    found.map(|replica| replica.version).max().unwrap_or_default()
}
