//! One reader: reads the files again and again while everything else goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use gfs_client::{Client, File};
use tokio::time::sleep;

use super::acks::{self, Id};
use super::{Count, LOGS, Shared, lock};
use crate::payload;

const PAUSE: Duration = Duration::from_millis(20);
/// Looks with one client; then one comes that remembers nothing.
const LOOKS_PER_CLIENT: u64 = 20;

/// Records of one file that readers saw, by the offsets of their frames: what was shown stays.
pub(super) type Shown = BTreeMap<u64, Id>;

/// What one reader knows of one file.
#[derive(Default)]
struct Known {
    length: u64,
    seen: BTreeSet<Id>,
    /// Where the last record that it saw stands: it goes on from there.
    last: u64,
    /// So many acknowledged records were looked for.
    looked_for: usize,
}

pub(super) async fn run(shared: Arc<Shared>, number: u64) -> Result<()> {
    let mut known: [Known; LOGS] = Default::default();
    let mut client = shared.connect().await?;
    for turn in number.. {
        if !shared.gate.pass().await {
            break;
        }
        if turn % LOOKS_PER_CLIENT == 0 {
            client = shared.connect().await?;
        }
        let log = usize::from(turn % 2 == 1);
        look(&shared, &client, log, &mut known[log]).await.with_context(|| shared.log(log))?;
        if shared.regions.count() > 0 {
            let file = client.open(shared.regions_path()).await?;
            let region = payload::draw(number, turn) % shared.regions.count() as u64;
            shared.regions.check_one(&file, usize::try_from(region)?).await?;
        }
        shared.count(Count::Reads);
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Reads what is new since the last time.
async fn look(shared: &Shared, client: &Client, log: usize, known: &mut Known) -> Result<()> {
    let (told, end) = {
        let acks = lock(&shared.acks[log]);
        (acks.records.len(), acks.end)
    };
    let file = client.open(shared.log(log)).await?;
    let length = file.length().await?;
    ensure!(length >= end, "{length} bytes, but {end} were acknowledged before it was asked");
    ensure!(length >= known.length, "{length} bytes, but {} were seen before", known.length);
    known.length = length;
    read_on(shared, &file, log, known).await?;
    let asked = lock(&shared.acks[log]).records[known.looked_for..told].to_vec();
    for (id, offset) in asked {
        // An append that was slow may land before records that were seen already.
        if !known.seen.contains(&id) {
            let found = acks::stands_at(&file, id, offset).await;
            found.context("acknowledged before a reader looked")?;
        }
    }
    known.looked_for = told;
    Ok(())
}

async fn read_on(shared: &Shared, file: &File, log: usize, known: &mut Known) -> Result<()> {
    let mut records = file.record_reader_from(known.last);
    while let Some(record) = records.next().await {
        let record = record?;
        let Some(id) = payload::check(&record.payload) else {
            bail!("a reader got a wrong record at {}", record.offset);
        };
        known.seen.insert(id);
        known.last = record.offset;
        let before = lock(&shared.shown[log]).insert(record.offset, id);
        ensure!(
            before.is_none_or(|before| before == id),
            "at {} a reader saw {before:?}, and now there is {id:?}",
            record.offset
        );
    }
    Ok(())
}
