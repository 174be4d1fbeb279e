//! Stays at the end of a file of records that grows, with one reader: each comes once, and whole.

use std::collections::BTreeSet;
use std::time::Duration;

use gfs_client::record::Record;
use gfs_client::{File, Result};
use tokio::time::{Instant, timeout};

use super::reader::DOES;
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
    /// Where the end was when it was looked at last.
    end: u64,
}

/// Goes on until it is stopped, the reader meets trouble, or the power fails everywhere: then what stood there may not stand there
/// again.
pub(super) async fn tail(
    shared: &Shared,
    client: usize,
    log: usize,
    file: &File,
) -> std::result::Result<(), String> {
    let power = shared.ledger().blackouts;
    let mut tail = Tail { shared, log, seen: BTreeSet::new(), at: 0, end: end(shared, log) };
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
            tail.looks(client);
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

    /// It has come to what was the end a while ago. That nothing was passed over is not asked: a chunk may be called full before what is
    /// under way in it is committed, and who reads it then takes its end for zeros, goes on to the next, and misses that.
    fn looks(&mut self, client: usize) {
        if self.at >= self.end {
            self.shared.done(client, DOES);
            self.end = end(self.shared, self.log);
        }
    }
}

/// Where the last framed record stands that was acknowledged.
fn end(shared: &Shared, log: usize) -> u64 {
    let ledger = shared.ledger();
    let its = ledger.records.iter().filter(|record| record.framed && record.log == log);
    its.map(|record| record.offset).max().unwrap_or(0)
}
