//! Appends records, raw and framed, to files that others append to as well.

use gfs_client::File;

use super::{LOGS, Shared, Tag, is_trouble, log_path, rest};
use crate::random::Random;

pub(super) async fn run(shared: Shared, client: usize, number: usize) {
    let log = number % LOGS;
    let Ok(connected) = shared.connect(client).await else { return };
    let mut random = shared.random(client);
    let file = loop {
        match connected.open(log_path(log)).await {
            Ok(file) => break file,
            Err(_) if shared.is_stopped() => return,
            Err(error) if is_trouble(&error) => {}
            Err(error) => return shared.violation(format!("opening a log: {error}")),
        }
    };
    let writer = file.record_writer();
    let mut sequence = 0;
    while !shared.is_stopped() {
        sequence += 1;
        let tag = Tag {
            writer: client as u64,
            number: sequence,
            length: length(&mut random, shared.chunk_bytes),
        };
        let framed = random.percent(50);
        let appended = match framed {
            true => writer.append(tag.bytes()).await,
            false => file.append(tag.bytes()).await,
        };
        match appended {
            Ok(offset) => {
                shared.acknowledged(client);
                let mut ledger = shared.ledger();
                let records = if framed { &mut ledger.framed } else { &mut ledger.records };
                records.push((log, offset, tag));
            }
            Err(error) if is_trouble(&error) => {}
            Err(error) => return shared.violation(format!("appending: {error}")),
        }
        sync_sometimes(&shared, &file, &mut random).await;
        rest(&mut random, 250).await;
    }
}

/// Mostly small; some are pushed ahead; none is more than a chunk takes with its frame.
fn length(random: &mut Random, chunk_bytes: u64) -> u64 {
    let most = chunk_bytes / 4 - 100;
    match random.below(10) {
        0 => random.between(most / 2, most),
        1 | 2 => random.between(1_000, most / 4),
        _ => random.between(24, 1_000),
    }
}

async fn sync_sometimes(shared: &Shared, file: &File, random: &mut Random) {
    if !random.percent(5) {
        return;
    }
    match file.sync().await {
        Err(error) if !is_trouble(&error) => shared.violation(format!("syncing a log: {error}")),
        Ok(()) | Err(_) => {}
    }
}
