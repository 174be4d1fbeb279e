//! One appender: a record, its acknowledgement, a short pause, the next.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::sleep;

use super::{Count, LOGS, Shared, lock};
use crate::payload;

/// Between two records: the machine also has the servers to run.
const PAUSE: Duration = Duration::from_millis(4);
const RECORD_BYTES: (usize, usize) = (64, 16 << 10);

pub(super) async fn run(shared: Arc<Shared>, number: u64) -> Result<()> {
    let log = if number.is_multiple_of(LOGS as u64) { 0 } else { 1 };
    let place = usize::try_from(number)?;
    let writer = shared.number * 1000 + number;
    let file = shared.connect().await?.open(shared.log(log)).await?;
    let records = file.record_writer();
    for seq in 0.. {
        if !shared.gate.pass().await {
            break;
        }
        let length = payload::length(writer, seq, RECORD_BYTES.0, RECORD_BYTES.1);
        let offset = records.append(payload::record(writer, seq, length)).await?;
        lock(&shared.acks[log]).add((writer, seq), offset, length);
        let now = Instant::now();
        let before = std::mem::replace(&mut *lock(&shared.last_acks[place]), now);
        let stall = u64::try_from(now.saturating_duration_since(before).as_millis())?;
        shared.longest_stall_ms.fetch_max(stall, Ordering::Relaxed);
        shared.count(Count::Appends);
        sleep(PAUSE).await;
    }
    Ok(())
}
