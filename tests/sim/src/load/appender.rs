//! Appends records, raw and framed, to files that others append to as well.

use gfs_client::File;

use super::{LOGS, Shared, Tag, is_trouble, log_path, rest};
use crate::random::Random;

pub(super) const DOES: [&str; 3] = ["append", "append a record", "sync"];

/// Appends without a sync, where chance leaves it out: each client must do all that it does now and then.
const UNSYNCED_MAX: u64 = 50;

pub(super) async fn run(shared: Shared, client: usize, number: usize) {
    let log = number % LOGS;
    let Some(connected) = shared.connected(client).await else { return };
    let mut random = shared.random(client);
    let Some(file) = shared.open(&connected, log_path(log)).await else { return };
    let writer = file.record_writer();
    let (mut sequence, mut unsynced) = (0, 0);
    while !shared.is_stopped() {
        sequence += 1;
        let tag = Tag {
            writer: client as u64,
            number: sequence,
            length: length(&mut random, shared.chunk_bytes),
        };
        let framed = random.percent(50);
        let power = shared.ledger().blackouts;
        let appended = match framed {
            true => writer.append(tag.bytes()).await,
            false => file.append(tag.bytes()).await,
        };
        match appended {
            Ok(offset) => {
                shared.done(client, DOES[usize::from(framed)]);
                let mut ledger = shared.ledger();
                if ledger.blackouts == power {
                    ledger.recorded(log, offset, tag, framed);
                }
            }
            Err(error) if is_trouble(&error) => {}
            Err(error) => return shared.violation(format!("appending: {error}")),
        }
        unsynced += 1;
        if random.percent(shared.sync_percent) || unsynced >= UNSYNCED_MAX {
            unsynced = 0;
            sync(&shared, &file, client, log).await;
        }
        rest(&mut random, 500).await;
    }
}

/// Mostly small; some are pushed ahead; none is more than a chunk takes with its frame.
fn length(random: &mut Random, chunk_bytes: u64) -> u64 {
    let most = chunk_bytes / 4 - 100;
    match random.below(25) {
        0 => random.between(most / 2, most),
        1 | 2 => random.between(1_000, most / 4),
        _ => random.between(24, 1_000),
    }
}

async fn sync(shared: &Shared, file: &File, client: usize, log: usize) {
    let before = shared.ledger().sync_begins();
    match file.sync().await {
        Ok(()) => {
            shared.ledger().synced(log, Some(client as u64), &before);
            shared.done(client, DOES[2]);
        }
        Err(error) if is_trouble(&error) => {}
        Err(error) => shared.violation(format!("syncing a log: {error}")),
    }
}
