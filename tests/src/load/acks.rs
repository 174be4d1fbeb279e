//! Records that were acknowledged, against the records that are there.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use gfs_client::{Client, File};

use super::reader::Shown;
use crate::payload;

/// Writer and sequence of a record.
pub(super) type Id = (u64, u64);

/// What appenders were told of one file.
#[derive(Debug, Clone, Default)]
pub(super) struct Acks {
    /// In the order in which they were told: the record, and the offset of its frame.
    pub(super) records: Vec<(Id, u64)>,
    /// The file is at least so long, in bytes.
    pub(super) end: u64,
}

impl Acks {
    pub(super) fn add(&mut self, id: Id, offset: u64, payload_bytes: usize) {
        self.records.push((id, offset));
        self.end = self.end.max(offset + payload_bytes as u64);
    }
}

/// Every record that was acknowledged is there once, and a copy of it stands where it was said to be; every record that
/// a reader saw still stands there.
pub(super) async fn check(client: &Client, path: &str, acks: &Acks, shown: &Shown) -> Result<()> {
    let file = client.open(path).await?;
    let length = file.length().await?;
    ensure!(length >= acks.end, "{length} bytes, but {} were acknowledged", acks.end);
    let found = all_records(&file).await?;
    for (id, _) in &acks.records {
        ensure!(found.contains_key(id), "record {id:?} was acknowledged and is gone");
    }
    let told = acks.records.iter().map(|(id, offset)| (*offset, *id));
    let seen = shown.iter().map(|(offset, id)| (*offset, *id));
    for (offset, id) in told.chain(seen) {
        // A repeated append may stand twice, and readers pass over the second.
        if found.get(&id) != Some(&offset) {
            stands_at(&file, id, offset).await?;
        }
    }
    Ok(())
}

async fn all_records(file: &File) -> Result<BTreeMap<Id, u64>> {
    let mut found = BTreeMap::new();
    let mut records = file.record_reader();
    while let Some(record) = records.next().await {
        let record = record?;
        let Some(id) = payload::check(&record.payload) else {
            bail!("a wrong record at {}", record.offset);
        };
        if let Some(first) = found.insert(id, record.offset) {
            bail!("record {id:?} came twice, at {first} and {}", record.offset);
        }
    }
    Ok(found)
}

/// A record with this frame offset is this one.
pub(super) async fn stands_at(file: &File, id: Id, offset: u64) -> Result<()> {
    let mut records = file.record_reader_from(offset);
    let record = records.next().await.transpose()?;
    let there = record.filter(|record| record.offset == offset);
    let there = there.and_then(|record| payload::check(&record.payload));
    ensure!(there == Some(id), "record {id:?} was said to be at {offset}; there is {there:?}");
    Ok(())
}
