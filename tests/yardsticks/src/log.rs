//! Durable records: each flush overwrites a part of a segment that was filled with zeros before.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::fs::OFlags;
use serde::Serialize;

const SEGMENT_BYTES: u64 = 64 << 20;
const ZEROS_BYTES: u64 = 1 << 20;
const RECORD_BYTES: usize = 100;

#[derive(Serialize)]
struct Line {
    yardstick: &'static str,
    batch: usize,
    flushes_per_s: f64,
    records_per_s: f64,
    slowest_us: u128,
}

pub(crate) fn measure(dir: &Path, batch: usize, seconds: u64) -> Result<()> {
    fs::create_dir_all(dir)?;
    let path = dir.join("yardstick-log");
    let line = flush_for(&path, batch, Duration::from_secs(seconds));
    let removed = fs::remove_file(&path);
    let line = line?;
    removed?;
    println!("{}", serde_json::to_string(&line)?);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn flush_for(path: &Path, batch: usize, time: Duration) -> Result<Line> {
    let segment = segment(path)?;
    let records = vec![7; RECORD_BYTES * batch];
    let (mut flushes, mut at, mut slowest) = (0_u64, 0, Duration::ZERO);
    let begin = Instant::now();
    while begin.elapsed() < time {
        let one = Instant::now();
        segment.write_all_at(&records, at)?;
        slowest = slowest.max(one.elapsed());
        flushes += 1;
        at = (at + records.len() as u64) % (SEGMENT_BYTES - records.len() as u64);
    }
    let flushes_per_s = flushes as f64 / begin.elapsed().as_secs_f64();
    Ok(Line {
        yardstick: "log",
        batch,
        flushes_per_s,
        records_per_s: flushes_per_s * batch as f64,
        slowest_us: slowest.as_micros(),
    })
}

/// Written once, so that a flush has no metadata to write.
fn segment(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let durable = i32::try_from(OFlags::DSYNC.bits())?;
    let segment = options.custom_flags(durable).open(path)?;
    let zeros = vec![0; usize::try_from(ZEROS_BYTES)?];
    for number in 0..SEGMENT_BYTES / ZEROS_BYTES {
        segment.write_all_at(&zeros, number * ZEROS_BYTES)?;
    }
    Ok(segment)
}
