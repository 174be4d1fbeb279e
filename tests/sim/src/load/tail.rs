//! Stays at the end of a file of records that grows, with one reader: each comes once, whole, and none that was acknowledged is passed over.

use std::collections::BTreeSet;
use std::time::Duration;

use gfs_client::record::Record;
use gfs_client::{File, Result};
use tokio::time::{Instant, timeout};

use super::reader::{DOES, acknowledged};
use super::{Shared, Tag, is_trouble};

/// Time from one look at what must have come to the next.
const LOOK: Duration = Duration::from_secs(2);
/// So long is waited for a record before the reader is asked anew: that takes nothing from it.
const WAIT: Duration = Duration::from_secs(5);

/// What one reader gave so far.
struct Tail<'a> {
    shared: &'a Shared,
    log: usize,
    seen: BTreeSet<Tag>,
    /// Where the last one stood.
    at: u64,
    /// It has come to the end when it gave all of these.
    end: BTreeSet<Tag>,
}

/// Goes on until it is stopped, the reader meets trouble, or the power fails everywhere: then what stood there may not stand there again.
pub(super) async fn tail(
    shared: &Shared,
    client: usize,
    log: usize,
    file: &File,
) -> std::result::Result<(), String> {
    let power = shared.ledger().blackouts;
    let mut tail =
        Tail { shared, log, seen: BTreeSet::new(), at: 0, end: acknowledged(shared, log) };
    let mut records = file.record_reader().follow(true);
    let mut looked = Instant::now();
    while !shared.is_stopped() {
        let next = timeout(WAIT, records.next()).await;
        if shared.ledger().blackouts != power {
            return Ok(());
        }
        match next {
            Ok(None) => return Err("a reader that follows came to an end".to_owned()),
            Ok(Some(Err(error))) if is_trouble(&error) => return Ok(()),
            Ok(Some(record)) => tail.takes(record)?,
            Err(_) => {}
        }
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            tail.looks(client)?;
        }
    }
    Ok(())
}

impl Tail<'_> {
    fn takes(&mut self, record: Result<Record>) -> std::result::Result<(), String> {
        let record = record.map_err(|error| format!("following records: {error}"))?;
        let Some(tag) = Tag::of(&record.payload) else {
            return Err(format!("a torn record at {}", record.offset));
        };
        if !self.seen.insert(tag) {
            return Err(format!("{tag:?} came twice"));
        }
        self.at = record.offset;
        self.shared.ledger().shown.insert((self.log, record.offset), tag);
        Ok(())
    }

    /// What stands before the last one that came, and was acknowledged, has come.
    fn looks(&mut self, client: usize) -> std::result::Result<(), String> {
        let missed = {
            let ledger = self.shared.ledger();
            let its = ledger.records.iter().filter(|r| r.framed && r.log == self.log);
            let mut its = its.filter(|record| record.offset < self.at).map(|record| record.tag);
            its.find(|tag| !self.seen.contains(tag))
        };
        if let Some(missed) = missed {
            let (log, at) = (self.log, self.at);
            return Err(format!("a reader at {at} of log {log} has passed over {missed:?}"));
        }
        if self.end.is_subset(&self.seen) {
            self.shared.done(client, DOES);
            self.end = acknowledged(self.shared, self.log);
        }
        Ok(())
    }
}
