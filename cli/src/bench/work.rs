//! What each caller of a bench does.

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use gfs_client::{Client, CreateOptions, File, Writer};

use super::outcome::Outcome;
use super::payload::Payload;
use super::place::{STAT_FILES, file_path, log_path, stat_path};
use super::plan::Plan;
use super::{Kind, idle, mixed, stored};
use crate::failure::{Context, Failure, Result};
use crate::text::ratio;

/// One caller.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) index: u32,
    pub(super) client: Client,
    pub(super) plan: Arc<Plan>,
    pub(super) dir: Arc<str>,
    pub(super) payload: Payload,
}

/// A caller stops after so many errors.
pub(super) const ERRORS_MAX: u64 = 100;

/// Works until all is done or time is over.
pub(super) async fn run(caller: Caller, deadline: Option<Instant>) -> Outcome {
    let mut outcome = Outcome::default();
    let (begin, streams) = (Instant::now(), caller.plan.streams());
    let done = match caller.plan.kind {
        Kind::Write if streams => stream_out(&caller, deadline, &mut outcome).await,
        Kind::Read if streams => stream_in(&caller, deadline, &mut outcome).await,
        Kind::Write => write_each(&caller, deadline, &mut outcome).await,
        Kind::Read => read_each(&caller, deadline, &mut outcome).await,
        Kind::Append => append(&caller, deadline, &mut outcome).await,
        Kind::Create => create(&caller, deadline, &mut outcome).await,
        Kind::Stat => stat(&caller, deadline, &mut outcome).await,
        Kind::List => list(&caller, &mut outcome).await,
        Kind::Mixed => mixed::work(&caller, deadline, &mut outcome).await,
        Kind::Idle => idle::work(&caller, deadline, &mut outcome).await,
    };
    if let Err(failure) = done {
        outcome.failed(failure);
    }
    outcome.rates.push(ratio(outcome.ops, begin.elapsed().as_secs_f64()));
    outcome
}

/// Fills the caller's file, on disk, before the measurement.
pub(super) async fn fill(caller: Caller) -> Result<()> {
    let mut writer = own_writer(&caller).await?.expect(caller.plan.file_bytes());
    for number in 0..caller.plan.ops_each {
        writer.write(caller.payload.piece(caller.index, number).clone()).await?;
    }
    writer.close().await?;
    Ok(())
}

impl Caller {
    /// The numbers of the operations, until time is over.
    fn numbers(&self, deadline: Option<Instant>) -> impl Iterator<Item = u64> + use<> {
        let in_time = move |_: &u64| deadline.is_none_or(|deadline| Instant::now() < deadline);
        (0..self.plan.ops_each).take_while(in_time)
    }

    /// The place of operation `number` in the file, counted in operations.
    fn slot(&self, number: u64) -> u64 {
        if !self.plan.random {
            return number;
        }
        // A fixed scramble: the same places in every run, in no order.
        let seed = number.wrapping_add(u64::from(self.index) << 32);
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9) % self.plan.ops_each
    }

    pub(super) async fn own_file(&self) -> gfs_client::Result<File> {
        self.client.open(file_path(&self.dir, self.index)).await
    }
}

/// Writes the caller's file, which is made.
async fn own_writer(caller: &Caller) -> Result<Writer> {
    let path = file_path(&caller.dir, caller.index);
    Ok(caller.client.create(path, CreateOptions::default()).await?.writer(0))
}

async fn stream_out(
    caller: &Caller,
    deadline: Option<Instant>,
    outcome: &mut Outcome,
) -> Result<()> {
    let mut writer = own_writer(caller).await?;
    if deadline.is_none() {
        // Else nobody knows how far it comes.
        writer = writer.expect(caller.plan.file_bytes());
    }
    for number in caller.numbers(deadline) {
        let piece = caller.payload.piece(caller.index, number).clone();
        let (begin, bytes) = (Instant::now(), piece.len());
        outcome.note(begin, writer.write(piece).await.map(|()| bytes));
        if outcome.errors > 0 {
            return Ok(());
        }
    }
    writer.flush().await?;
    outcome.writers.push(writer);
    Ok(())
}

async fn stream_in(
    caller: &Caller,
    deadline: Option<Instant>,
    outcome: &mut Outcome,
) -> Result<()> {
    let mut reader = caller.own_file().await?.reader(0..caller.plan.file_bytes());
    let mut offset = 0;
    loop {
        let begin = Instant::now();
        if deadline.is_some_and(|deadline| begin >= deadline) {
            return Ok(());
        }
        match reader.next().await {
            Some(Ok(bytes)) => {
                check(caller, offset, &bytes)?;
                offset += bytes.len() as u64;
                outcome.note(begin, Ok(bytes.len()));
            }
            Some(Err(error)) => return Err(error.into()),
            None if offset == caller.plan.file_bytes() => return Ok(()),
            None => return Err(Failure::new(format!("the file ends at byte {offset}"))),
        }
    }
}

async fn write_each(
    caller: &Caller,
    deadline: Option<Instant>,
    outcome: &mut Outcome,
) -> Result<()> {
    let file = if caller.plan.random {
        caller.own_file().await?
    } else {
        let path = file_path(&caller.dir, caller.index);
        caller.client.create(path, CreateOptions::default()).await?
    };
    for number in caller.numbers(deadline) {
        let slot = caller.slot(number);
        let piece = caller.payload.piece(caller.index, slot).clone();
        let (begin, bytes) = (Instant::now(), piece.len());
        let written = file.write_at(slot * caller.plan.op_bytes, piece).await;
        outcome.note(begin, written.map(|()| bytes));
        if outcome.errors >= ERRORS_MAX {
            break;
        }
    }
    outcome.writers.push(file.writer(caller.plan.file_bytes().min(outcome.bytes)));
    Ok(())
}

async fn read_each(
    caller: &Caller,
    deadline: Option<Instant>,
    outcome: &mut Outcome,
) -> Result<()> {
    let file = caller.own_file().await?;
    for number in caller.numbers(deadline) {
        let offset = caller.slot(number) * caller.plan.op_bytes;
        let begin = Instant::now();
        let read = file.read_at(offset, caller.plan.op_bytes).await;
        if let Ok(bytes) = &read {
            check(caller, offset, bytes)?;
        }
        outcome.note(begin, read.map(|bytes| bytes.len()));
        if outcome.errors >= ERRORS_MAX {
            break;
        }
    }
    Ok(())
}

async fn append(caller: &Caller, deadline: Option<Instant>, outcome: &mut Outcome) -> Result<()> {
    let records = caller.client.open(log_path(&caller.dir)).await?.record_writer();
    for number in caller.numbers(deadline) {
        let piece = caller.payload.piece(caller.index, number).clone();
        let (begin, bytes) = (Instant::now(), piece.len());
        outcome.note(begin, records.append(piece).await.map(|_| bytes));
        if outcome.errors >= ERRORS_MAX {
            break;
        }
    }
    Ok(())
}

async fn create(caller: &Caller, deadline: Option<Instant>, outcome: &mut Outcome) -> Result<()> {
    for number in caller.numbers(deadline) {
        let path = format!("{}/new-{}-{number}", caller.dir, caller.index);
        let begin = Instant::now();
        let created = caller.client.create(path, CreateOptions::default()).await;
        outcome.note(begin, created.map(|_| 0));
        if outcome.errors >= ERRORS_MAX {
            break;
        }
    }
    Ok(())
}

async fn stat(caller: &Caller, deadline: Option<Instant>, outcome: &mut Outcome) -> Result<()> {
    for number in caller.numbers(deadline) {
        let path = stat_path(&caller.dir, (number + u64::from(caller.index)) % STAT_FILES);
        let begin = Instant::now();
        outcome.note(begin, caller.client.stat(path).await.map(|_| 0));
        if outcome.errors >= ERRORS_MAX {
            break;
        }
    }
    Ok(())
}

/// Every operation is one entry; the whole listing must have all of them, in order.
async fn list(caller: &Caller, outcome: &mut Outcome) -> Result<()> {
    let begin = Instant::now();
    let (mut entries, mut last) = (caller.client.list(&*caller.dir), String::new());
    while let Some(entry) = entries.next().await {
        let name = entry?.path;
        if name <= last {
            return Err(Failure::new(format!("{name} was listed after {last}")));
        }
        last = name;
        outcome.ops += 1;
    }
    outcome.latencies.add(begin.elapsed());
    let files = caller.plan.files;
    if outcome.ops == files {
        return Ok(());
    }
    Err(Failure::new(format!("{} names were listed of {files} that are there", outcome.ops)))
}

/// Bytes whose stored checksums are compared at the end need no look of their own.
fn check(caller: &Caller, offset: u64, bytes: &[u8]) -> Result<()> {
    let plan = &caller.plan;
    let looks = plan.verify && !stored::knows(plan);
    if !looks || caller.payload.matches(caller.index, offset, bytes) {
        return Ok(());
    }
    let path = file_path(&caller.dir, caller.index);
    Err(Failure::new(format!("{path} is not as written, from byte {offset} on")))
}

/// Reads a caller's file and compares it with what was written.
pub(super) async fn verify_file(caller: &Caller) -> Result<()> {
    let path = file_path(&caller.dir, caller.index);
    let mut reader = caller.own_file().await?.reader(..);
    let mut offset = 0;
    while let Some(bytes) = reader.next().await {
        let bytes = bytes.during(|| format!("cannot verify {path}"))?;
        if !caller.payload.matches(caller.index, offset, &bytes) {
            return Err(Failure::new(format!("{path} is not as written, from byte {offset} on")));
        }
        offset += bytes.len() as u64;
    }
    Ok(())
}

/// Records in the file, each of which must be one that a bench writes.
pub(super) async fn count_records(client: &Client, path: &str, payload: &Payload) -> Result<u64> {
    let mut records = client.open(path).await?.record_reader();
    let mut count = 0;
    while let Some(record) = records.next().await {
        let record = record?;
        if !payload.has(&record.payload) {
            let at = record.offset;
            return Err(Failure::new(format!("{path}: the record at {at} is not as written")));
        }
        count += 1;
    }
    Ok(count)
}
