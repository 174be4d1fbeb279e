//! `idle`: clients that each asked once, and keep their connections until time is over.

use std::time::Instant;

use super::outcome::Outcome;
use super::place::file_path;
use super::work::Caller;
use crate::failure::Result;

/// One question to a master and one to a chunkserver.
pub(super) async fn work(
    caller: &Caller,
    deadline: Option<Instant>,
    outcome: &mut Outcome,
) -> Result<()> {
    let begin = Instant::now();
    let file = caller.client.open(file_path(&caller.dir, 0)).await?;
    let read = file.read_at(0, caller.plan.op_bytes).await;
    outcome.note(begin, read.map(|bytes| bytes.len()));
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline.into()).await;
    }
    Ok(())
}
