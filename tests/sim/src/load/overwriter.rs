//! Writes over regions of a file of its own, and reads them: what it gets is the last write that was acknowledged, or one that
//! was begun since.

use bytes::Bytes;
use gfs_client::File;

use super::{Shared, Tag, is_trouble, region_path, rest};

const REGIONS: u64 = 6;

/// Regions have different lengths, and some cross a border of blocks or chunks.
pub(crate) fn place(region: u64, chunk_bytes: u64) -> (u64, u64) {
    match region {
        0 => (0, 600),
        1 => (65_000, 1_200),
        2 => (chunk_bytes - 20_000, 15_000),
        3 => (chunk_bytes + 4_000, 40_000),
        4 => (chunk_bytes + 70_000, 24),
        _ => (2 * chunk_bytes + 1, 70_000.min(chunk_bytes / 4)),
    }
}

pub(super) async fn run(shared: Shared, client: usize, number: usize) {
    let Ok(connected) = shared.connect(client).await else { return };
    let mut random = shared.random(client);
    let file = loop {
        match connected.open(region_path(number)).await {
            Ok(file) => break file,
            Err(_) if shared.is_stopped() => return,
            Err(error) if is_trouble(&error) => {}
            Err(error) => return shared.violation(format!("opening regions: {error}")),
        }
    };
    let mut count = 0;
    while !shared.is_stopped() {
        let region = random.below(REGIONS);
        let (offset, length) = place(region, shared.chunk_bytes);
        if random.percent(60) {
            count += 1;
            let tag = Tag { writer: 1_000 + number as u64 * 10 + region, number: count, length };
            let hold = |change: &dyn Fn(&mut super::Region)| {
                change(shared.ledger().regions.entry((number, region)).or_default());
            };
            hold(&|held| {
                if held.may_hold.is_empty() {
                    held.may_hold.insert(0);
                }
                held.may_hold.insert(count);
            });
            match file.write_at(offset, tag.bytes()).await {
                Ok(()) => {
                    hold(&|held| {
                        let before = std::mem::replace(&mut held.may_hold, [count].into());
                        held.before.extend(before.into_iter().filter(|other| *other != count));
                    });
                    shared.acknowledged(client);
                }
                Err(error) if is_trouble(&error) => {}
                Err(error) => return shared.violation(format!("writing a region: {error}")),
            }
        } else {
            check(&shared, &file, (number, region), false).await;
            shared.acknowledged(client);
        }
        rest(&mut random, 250).await;
    }
}

/// Reads a region; false where it cannot be read at the moment. What was there before is no violation unless it is calm.
pub(crate) async fn check(
    shared: &Shared,
    file: &File,
    (number, region): (usize, u64),
    calm: bool,
) -> bool {
    let (offset, length) = place(region, shared.chunk_bytes);
    let Some(held) = shared.ledger().regions.get(&(number, region)).cloned() else { return true };
    let bytes = match file.read_at(offset, length).await {
        Ok(bytes) => bytes,
        Err(error) if is_trouble(&error) => return false,
        Err(error) => {
            shared.violation(format!("reading region {region} of {number}: {error}"));
            return false;
        }
    };
    let got = holds(&bytes, number, region);
    if !calm && got.is_some_and(|count| held.before.contains(&count)) {
        shared.ledger().stale += 1;
    } else if !got.is_some_and(|count| held.may_hold.contains(&count)) {
        shared.violation(format!(
            "region {region} of {number} holds {got:?}, {:?} may be there",
            held.may_hold
        ));
    }
    true
}

/// Which write the bytes are of; 0 for none.
fn holds(bytes: &Bytes, number: usize, region: u64) -> Option<u64> {
    if bytes.iter().all(|byte| *byte == 0) {
        return Some(0);
    }
    let tag = Tag::of(bytes)?;
    (tag.writer == 1_000 + number as u64 * 10 + region).then_some(tag.number)
}
