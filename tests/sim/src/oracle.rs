//! What must be so when all is well again: replicas are equal, and everything that was acknowledged is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gfs_chunkserver::store::Replica;
use gfs_client::{Client, File};
use gfs_types::ErrorKind;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;

use crate::load::overwriter;
use crate::load::regions::{Bytes, parts};
use crate::load::{self, LOGS, Record, Shared, Tag};
use crate::server::{Process, Server};
use crate::world::World;

/// Replicas of each chunk. One that is bad beside so many good ones is left as it is (equal-4).
const WANTED: usize = 3;

/// What is wrong with the replicas at the moment, as the servers have them on disk. Those are opened only where nothing is wrong
/// with them as they are in memory.
pub(crate) fn unequal(world: &World) -> anyhow::Result<Option<String>> {
    match unequal_of(world, |_, process| Ok(process.store.handles()))? {
        None => unequal_of(world, |server, _| {
            Ok(crate::budget::replicas_of(&server.replicas(world.cluster)?).into_keys().collect())
        }),
        wrong => Ok(wrong),
    }
}

fn unequal_of(
    world: &World,
    handles: impl Fn(&Server, &Process) -> anyhow::Result<Vec<ChunkHandle>>,
) -> anyhow::Result<Option<String>> {
    let mut newest: BTreeMap<ChunkHandle, ChunkVersion> = BTreeMap::new();
    let mut all = Vec::new();
    for server in &world.servers {
        let Some(process) = &server.up else {
            return Ok(Some(format!("server-{} is down", server.number)));
        };
        // What it holds is looked at by nobody whom the master tells of it.
        if !process.link.registered {
            return Ok(Some(format!("server-{} is not in touch", server.number)));
        }
        for handle in handles(server, process)? {
            let Ok(replica) = process.store.replica(handle) else { continue };
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
        let master = world.master.up.as_ref();
        let born = master.is_none_or(|master| master.core.durable().is_born(handle));
        if !written && (newest == ChunkVersion(1) || !born) {
            continue;
        }
        if current.len() < WANTED.min(world.servers.len()) {
            let its = all.iter().filter(|(_, of, _)| *of == handle);
            let its: Vec<_> = its.map(|(number, _, replica)| (number, replica)).collect();
            let count = current.len();
            return Ok(Some(format!("chunk {handle} has {count} replicas of {newest}: {its:?}")));
        }
        let sound = current.iter().filter(|(_, _, replica)| replica.damaged.is_none()).count();
        let mut digests = BTreeSet::new();
        for (number, _, replica) in current {
            if sound >= WANTED && replica.damaged.is_some() {
                continue;
            }
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
        if shared.set && !load::look_at_set(&shared, &connected).await {
            shared.violation("the set of files cannot be listed in calm weather".to_owned());
        }
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
        let chunks = read_chunks(&file, shared.chunk_bytes).await?;
        for record in its() {
            let (index, within) = place(record, shared.chunk_bytes);
            let bytes =
                chunks.get(index).map_or(&[][..], |chunk| part(chunk, within, record.bytes()));
            if !record.is(bytes) {
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

/// All of a file, chunk by chunk.
async fn read_chunks(file: &File, chunk_bytes: u64) -> gfs_client::Result<Vec<bytes::Bytes>> {
    let mut chunks = Vec::new();
    loop {
        let chunk = file.read_at(chunks.len() as u64 * chunk_bytes, chunk_bytes).await?;
        if chunk.is_empty() {
            return Ok(chunks);
        }
        chunks.push(chunk);
    }
}

/// In which chunk a record is, and where in it.
fn place(record: &Record, chunk_bytes: u64) -> (usize, u64) {
    let index = usize::try_from(record.offset / chunk_bytes).unwrap_or(usize::MAX);
    (index, record.offset % chunk_bytes)
}

/// As much of a range as is there.
fn part(bytes: &[u8], from: u64, length: u64) -> &[u8] {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    &bytes[place(from)..place(from.saturating_add(length))]
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

/// Whether one namespace could have shown all that was told of names (META-1), from the first call to the last.
pub(crate) fn names(shared: &Shared) {
    let report = match shared.notes.history() {
        Ok(history) => gfs_history::check(&history),
        Err(error) => return shared.violation(format!("what was noted of names: {error}")),
    };
    if !report.is_linearizable() {
        shared.violation(format!("names (META-1): {report}"));
    }
}

/// Time from one look at all replicas to the next, while one of them is bad.
const SCRUB_AGAIN: Duration = Duration::from_secs(1);

/// Reads all of every replica: its server finds what rotted, and it is repaired. Again and again, until nothing is bad any more: how
/// long that may take is for the caller to say.
pub(crate) async fn scrub(shared: Shared, client: usize) -> gfs_client::Result<()> {
    let connected = shared.connect(client).await?;
    while finds_rot(&shared, &connected).await? {
        tokio::time::sleep(SCRUB_AGAIN).await;
    }
    Ok(())
}

/// Whatever else comes of a look at a replica: how they are in the end is looked at by others.
async fn finds_rot(shared: &Shared, connected: &Client) -> gfs_client::Result<bool> {
    let mut found = false;
    for path in files(shared) {
        for chunk in connected.locate(&path).await?.chunks {
            let (mut good, mut bad) = (0, false);
            for replica in &chunk.replicas {
                let reader = connected.replica(replica);
                let all = reader.verify(chunk.handle, chunk.version, 0, shared.chunk_bytes).await;
                good += usize::from(all.is_ok());
                bad |= all.is_err_and(|error| error.kind() == ErrorKind::Corrupt);
            }
            found |= bad && good < WANTED;
        }
    }
    Ok(found)
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
    let mut current = Current { world, chunks, read: BTreeMap::new() };
    for record in records {
        let path = load::log_path(record.log);
        let place = (record.offset / shared.chunk_bytes, record.offset % shared.chunk_bytes);
        let good = |bytes: &[u8]| record.is(bytes);
        for bad in current.bad(&path, (place.0, place.1, record.bytes()), good) {
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
            for bad in current.bad(&path, (index, within, length), good) {
                shared.violation(format!("region {region} of {number} is not there: {bad} (A1)"));
            }
        }
    }
    Ok(())
}

/// What current replicas hold: each is read once, for thousands of records lie in some dozens of chunks.
struct Current<'a> {
    world: &'a World,
    chunks: &'a Chunks,
    read: BTreeMap<ChunkHandle, Vec<Held>>,
}

/// One replica; no bytes where not all of it verifies.
struct Held {
    server: usize,
    replica: Replica,
    bytes: Option<Vec<u8>>,
    /// They are those of the one before it: nobody has to look at them again.
    same: bool,
}

impl Current<'_> {
    /// Current replicas that hold something else there.
    fn bad(
        &mut self,
        path: &str,
        (index, within, length): (u64, u64, u64),
        good: impl Fn(&[u8]) -> bool,
    ) -> Vec<String> {
        let Some(handle) = self.chunks.get(&(path.to_owned(), index)) else {
            return if good(&[]) {
                Vec::new()
            } else {
                vec![format!("{path} has no chunk {index}")]
            };
        };
        let held = self.read.entry(*handle).or_insert_with(|| read_replicas(self.world, *handle));
        let (mut bad, mut was_good) = (Vec::new(), false);
        for Held { server, replica, bytes, same } in held {
            let range = within..(within + length).min(replica.length);
            let is_good = match bytes {
                Some(_) if *same => was_good,
                // Behind its end there is nothing: of a region that was never written that is as it should be.
                Some(bytes) => good(part(bytes, within, length)),
                None => {
                    let process = self.world.servers[*server].up.as_ref();
                    let read =
                        |up: &Process| up.store.read_verified(*handle, range, replica.length);
                    process.and_then(|up| read(up).ok()).is_some_and(|bytes| good(&bytes))
                }
            };
            was_good = is_good;
            if !is_good {
                let version = replica.version;
                bad.push(format!(
                    "{within} of chunk {handle} on server-{server}, version {version}"
                ));
            }
        }
        bad
    }
}

/// Those of the newest version.
fn read_replicas(world: &World, handle: ChunkHandle) -> Vec<Held> {
    let up = world.servers.iter().filter_map(|server| Some((server.number, server.up.as_ref()?)));
    let mut all: Vec<_> = up
        .filter_map(|(server, up)| {
            let replica = up.store.replica(handle).ok()?;
            let bytes = up.store.read_verified(handle, 0..replica.length, replica.length).ok();
            Some(Held { server, replica, bytes, same: false })
        })
        .collect();
    let newest = all.iter().map(|held| held.replica.version).max();
    all.retain(|held| Some(held.replica.version) == newest);
    let sound = all.iter().filter(|held| held.replica.damaged.is_none()).count();
    all.retain(|held| sound < WANTED || held.replica.damaged.is_none());
    for next in 1..all.len() {
        let same = all[next].bytes.is_some() && all[next].bytes == all[next - 1].bytes;
        all[next].same = same && all[next].replica.length == all[next - 1].replica.length;
    }
    all
}
