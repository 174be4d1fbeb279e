//! Follows a file of records from its start: each comes once, whole, and none that was acknowledged before is missed.

use std::collections::BTreeSet;
use std::time::Duration;

use gfs_client::File;

use super::tail::tail;
use super::{LOGS, Shared, Tag, is_trouble, log_path};

/// Time from one reader to the next.
const AGAIN: Duration = Duration::from_secs(2);

pub(super) const DOES: &str = "follow a log to its end";

pub(super) async fn run(shared: Shared, client: usize, number: usize) {
    let log = number % LOGS;
    let Some(connected) = shared.connected(client).await else { return };
    while !shared.is_stopped() {
        let Some(file) = shared.open(&connected, log_path(log)).await else { return };
        // When the power failed everywhere, the length that the master knows stays, and what was lost below it reads as zeros: who has
        // passed those does not come back for what is appended there later.
        if shared.tails && shared.ledger().blackouts == 0 {
            if let Err(what) = tail(&shared, client, log, &file).await {
                return shared.violation(what);
            }
            tokio::time::sleep(AGAIN).await;
            continue;
        }
        let before = acknowledged(&shared, log);
        match follow(&shared, log, &file).await {
            Ok(Some(seen)) => {
                // Of those the power may have taken some meanwhile.
                let mut must = acknowledged(&shared, log);
                must.retain(|tag| before.contains(tag) && !seen.contains(tag));
                if let Some(lost) = must.first() {
                    return shared.violation(format!("a reader of log {log} misses {lost:?}"));
                }
                shared.done(client, DOES);
            }
            Ok(None) => {}
            Err(what) => return shared.violation(what),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Framed records that must be there.
pub(super) fn acknowledged(shared: &Shared, log: usize) -> BTreeSet<Tag> {
    let ledger = shared.ledger();
    let its = ledger.records.iter().filter(|record| record.framed && record.log == log);
    its.map(|record| record.tag).collect()
}

/// What it saw up to the end; `None` where it did not come so far.
async fn follow(shared: &Shared, log: usize, file: &File) -> Result<Option<BTreeSet<Tag>>, String> {
    let power = shared.ledger().blackouts;
    let mut seen = BTreeSet::new();
    let mut records = file.record_reader();
    while let Some(record) = records.next().await {
        match record {
            Ok(record) => match Tag::of(&record.payload) {
                None => return Err(format!("a torn record at {}", record.offset)),
                Some(tag) if !seen.insert(tag) => return Err(format!("{tag:?} came twice")),
                Some(tag) => {
                    let mut ledger = shared.ledger();
                    if ledger.blackouts == power {
                        ledger.shown.insert((log, record.offset), tag);
                    }
                }
            },
            Err(error) if is_trouble(&error) => return Ok(None),
            Err(error) => return Err(format!("reading records: {error}")),
        }
    }
    Ok(Some(seen))
}
