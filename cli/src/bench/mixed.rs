//! `mixed`: every other caller reads its file, the others write over theirs, round and round until time is over.

use std::time::Instant;

use super::outcome::{Outcome, SLICE};
use super::work::{Caller, ERRORS_MAX};
use crate::failure::Result;

pub(super) async fn work(
    caller: &Caller,
    deadline: Option<Instant>,
    outcome: &mut Outcome,
) -> Result<()> {
    let (file, started) = (caller.own_file().await?, Instant::now());
    let (plan, writes) = (&caller.plan, caller.index % 2 == 1);
    for number in (0..plan.ops_each).cycle() {
        let begin = Instant::now();
        if deadline.is_none_or(|deadline| begin >= deadline) || outcome.errors >= ERRORS_MAX {
            break;
        }
        let offset = number * plan.op_bytes;
        let done = if writes {
            let piece = caller.payload.piece(caller.index, number).clone();
            let bytes = piece.len();
            file.write_at(offset, piece).await.map(|()| bytes)
        } else {
            file.read_at(offset, plan.op_bytes).await.map(|bytes| bytes.len())
        };
        note_slice(outcome, (started, begin), writes, done.as_ref().ok().copied());
        outcome.note(begin, done);
    }
    Ok(())
}

/// An operation belongs to the slice in which it ended.
fn note_slice(
    outcome: &mut Outcome,
    (started, begin): (Instant, Instant),
    writes: bool,
    done: Option<usize>,
) {
    let Some(bytes) = done else { return };
    let index = started.elapsed().as_secs() / SLICE.as_secs();
    let slice = outcome.slice(usize::try_from(index).unwrap_or_default());
    slice.bytes += bytes as u64;
    let latencies = if writes { &mut slice.writes } else { &mut slice.reads };
    latencies.add(begin.elapsed());
}
