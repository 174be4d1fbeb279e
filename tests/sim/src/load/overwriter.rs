//! Writes over regions of a file of its own, and reads them: what it gets is the last write that was acknowledged, or one that
//! was begun since, whatever goes wrong (READ-6 within one client).

use gfs_client::{Client, File};

use super::regions::{self, Bytes, REGIONS, Region, parts, place};
use super::{Shared, Tag, is_trouble, region_path, rest};

pub(super) const DOES: [&str; 3] = ["write", "read", "sync"];

/// Writes and reads without a sync, where chance leaves it out: each client must do all that it does now and then.
const UNSYNCED_MAX: u64 = 25;

/// The tag of a write but for its number.
pub(crate) fn tag(number: usize, region: u64, chunk_bytes: u64) -> Tag {
    let (_, length) = place(region, chunk_bytes);
    Tag { writer: 1_000 + number as u64 * 10 + region, number: 0, length }
}

pub(super) async fn run(shared: Shared, client: usize, number: usize) {
    let Some(connected) = shared.connected(client).await else { return };
    let mut random = shared.random(client);
    let Some(file) = shared.open(&connected, region_path(number)).await else { return };
    let mut unsynced = 0;
    while !shared.is_stopped() {
        let region = random.below(REGIONS);
        unsynced += 1;
        match random.below(20) {
            drawn if drawn < 2 || unsynced >= UNSYNCED_MAX => {
                unsynced = 0;
                sync(&shared, &file, client, number).await;
            }
            ..=12 => write(&shared, &file, client, (number, region)).await,
            _ => {
                if let Some(read) = read(&shared, &file, (number, region)).await {
                    shared.done(client, DOES[1]);
                    if read.verdict != Bytes::Good {
                        let why = told(&shared, &connected, &read).await;
                        return shared.violation(format!("READ-6: its own writer reads {why}"));
                    }
                }
            }
        }
        rest(&mut random, 500).await;
    }
}

async fn write(shared: &Shared, file: &File, client: usize, of: (usize, u64)) {
    let (offset, _) = place(of.1, shared.chunk_bytes);
    let (write, power) = {
        let mut ledger = shared.ledger();
        (ledger.regions.entry(of).or_default().begins(), ledger.blackouts)
    };
    let tag = Tag { number: write, ..tag(of.0, of.1, shared.chunk_bytes) };
    match file.write_at(offset, tag.bytes()).await {
        Ok(()) => {
            let mut ledger = shared.ledger();
            if ledger.blackouts == power {
                ledger.regions.entry(of).or_default().acknowledged(write);
            }
            drop(ledger);
            shared.done(client, DOES[0]);
        }
        Err(error) if is_trouble(&error) => {}
        Err(error) => shared.violation(format!("writing a region: {error}")),
    }
}

/// Nobody else writes here: what is there when a sync begins is there when it ends.
async fn sync(shared: &Shared, file: &File, client: usize, number: usize) {
    let (before, power) = {
        let ledger = shared.ledger();
        (ledger.regions.clone(), ledger.blackouts)
    };
    match file.sync().await {
        Ok(()) => {
            shared.done(client, DOES[2]);
            let mut ledger = shared.ledger();
            if ledger.blackouts == power {
                let its = ledger.regions.iter_mut().filter(|((of, _), _)| *of == number);
                its.for_each(|(of, region)| {
                    region.synced(before.get(of).unwrap_or(&Region::default()));
                });
            }
        }
        Err(error) if is_trouble(&error) => {}
        Err(error) => shared.violation(format!("syncing regions: {error}")),
    }
}

/// What a read of a region gave.
#[derive(Debug)]
pub(crate) struct Read {
    pub(super) of: (usize, u64),
    /// What was known of it when the read began.
    pub(super) known: Region,
    /// Of its worst part.
    pub(crate) verdict: Bytes,
}

/// Reads a region that was written; `None` where it cannot be read at the moment, or was never written.
pub(crate) async fn read(shared: &Shared, file: &File, of: (usize, u64)) -> Option<Read> {
    let (offset, length) = place(of.1, shared.chunk_bytes);
    let (known, power) = {
        let ledger = shared.ledger();
        (ledger.regions.get(&of).cloned()?, ledger.blackouts)
    };
    let mut bytes = match file.read_at(offset, length).await {
        Ok(bytes) => bytes.to_vec(),
        Err(error) if is_trouble(&error) => return None,
        Err(error) => {
            shared.violation(format!("reading region {of:?}: {error}"));
            return None;
        }
    };
    // Behind the end of the file there is nothing yet.
    bytes.resize(usize::try_from(length).unwrap_or(0), 0);
    let now = shared.ledger().regions.get(&of).cloned().unwrap_or_default();
    // The power may have failed while it was read.
    let known = if now.torn { now.clone() } else { known };
    let tag = tag(of.0, of.1, shared.chunk_bytes);
    let judged = parts(of.1, shared.chunk_bytes)
        .into_iter()
        .map(|(_, _, part)| known.judge(tag, &part, &bytes[part.clone()], now.begun));
    let verdict = judged.fold(Bytes::Good, |worst, next| match (worst, next) {
        (Bytes::Foreign, _) | (_, Bytes::Foreign) => Bytes::Foreign,
        (Bytes::Good, other) | (other, _) => other,
    });
    let parts = parts(of.1, shared.chunk_bytes);
    if let [(_, _, part)] = &parts[..]
        && let Some(write) = known.which(tag, part, &bytes)
    {
        let mut ledger = shared.ledger();
        if ledger.blackouts == power {
            ledger.regions.entry(of).or_default().shown(write);
        }
    }
    Some(Read { of, known, verdict })
}

/// What was read, and whether the world still has what should have been.
pub(crate) async fn told(shared: &Shared, connected: &Client, read: &Read) -> String {
    let lost = match lost(shared, connected, read.of).await {
        Some(lost) => lost,
        None => "nothing is lost".to_owned(),
    };
    let Read { of, known, verdict } = read;
    format!("{verdict:?} in region {of:?}, {:?} may be there; {lost}", known.may_hold)
}

/// Looks into the world whether the best replicas hold what was acknowledged of a region; says what is not there.
pub(crate) async fn lost(
    shared: &Shared,
    connected: &Client,
    (number, region): (usize, u64),
) -> Option<String> {
    let tag = tag(number, region, shared.chunk_bytes);
    let found = loop {
        match connected.locate(region_path(number)).await {
            Ok(found) => break found,
            Err(error) if is_trouble(&error) && !shared.is_stopped() => {}
            Err(_) => return None,
        }
    };
    for (index, within, part) in regions::parts(region, shared.chunk_bytes) {
        let Some(chunk) = found.chunks.iter().find(|chunk| chunk.index.0 == index) else {
            continue;
        };
        let length = part.len() as u64;
        for held in shared.look(chunk.handle, within..within + length).await {
            let known = shared.ledger().regions.get(&(number, region)).cloned().unwrap_or_default();
            if !known.is_of(tag, &part, &held.bytes) {
                return Some(format!(
                    "{} has lost what was acknowledged of region {region} of {number} in chunk {}, version {} (DUR-1)",
                    held.who, chunk.handle, held.version
                ));
            }
        }
    }
    None
}
