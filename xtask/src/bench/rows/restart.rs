//! A master with many files: its memory, its start, its checkpoints.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Row;
use crate::bench::cluster::Cluster;
use crate::bench::figures::{Figures, Target};
use crate::bench::lab::Lab;

pub(super) const MEMORY: Row = Row::new(
    "memory",
    "memory of the master's core with 5,000,000 files of one chunk, replicas reported by three servers",
    memory,
    &[
        Target::at_most("bytes", 72.0, "memory of a file with one chunk of three replicas, names that share nothing: B, live"),
        Target::told("durable_bytes", "the same before any server reported: B, live"),
        Target::told("counted_bytes", "the same with all replicas, names that count up: B, live"),
    ],
)
.apart()
.once();

pub(super) const RESTART: Row = Row::new(
    "restart",
    "kill -9 of a master with 10,000,000 files and a log tail of 100,000 records, to the first answer",
    restart,
    &[
        Target::at_most("seconds", 2.0, "restart with 10 M files and a log tail: s from kill -9 to an answered stat"),
        Target::told("replay_s", "restart with 10 M files: s for checkpoint and log, as the master says"),
        Target::told("records", "restart with 10 M files: log records replayed"),
        Target::told("resident_mib", "restart with 10 M files: resident memory, MiB"),
    ],
)
.apart();

pub(super) const CHECKPOINT: Row = Row::new(
    "checkpoint",
    "the longest pause of 8 callers that create while a checkpoint of 10,000,000 files is made",
    checkpoint,
    &[
        Target::at_most("pause_ms", 10.0, "checkpoint of 10 M files: longest create, ms"),
        Target::told("calm_ms", "the same without a checkpoint: longest create, ms"),
        Target::told(
            "flush_ms",
            "checkpoint of 10 M files: longest flush of the log meanwhile, ms at most",
        ),
        Target::told("p99_ms", "checkpoint of 10 M files: p99 of creates, ms"),
        Target::told("seconds", "checkpoint of 10 M files: s, beside the service"),
        Target::told("resident_mib", "checkpoint of 10 M files: most memory of the master, MiB"),
    ],
)
.apart();

const MIB: f64 = 1024.0 * 1024.0;

fn memory(lab: &mut Lab) -> Result<Figures> {
    let files = lab.sized("5000000", "500000");
    let report = lab.master_state(&["memory", "--files", files])?;
    Ok(Figures::from([
        ("bytes", report.number("/bytes_per_file")?),
        ("durable_bytes", report.number("/durable_bytes_per_file")?),
        ("counted_bytes", report.number("/counted_bytes_per_file")?),
    ]))
}

/// A cluster whose master has many files, and a log tail behind its checkpoint. Made once.
fn large(lab: &mut Lab) -> Result<()> {
    if lab.has_cluster() {
        return Ok(());
    }
    let files = lab.sized("10000000", "1000000");
    let mut cluster = Cluster::start(lab.gfs(), lab.folder().join("large"))?;
    cluster.end()?;
    let data = cluster.dir().join("master1");
    let data = data.to_str().context("the temporary folder is not UTF-8")?;
    lab.master_state(&["make", "--files", files, "--data", data])?;
    cluster.begin()?;
    lab.set_cluster(cluster);
    let tail = lab.sized(100_000, 10_000);
    // It makes the files that it lists: a record each.
    lab.bench(&format!("list --files {tail} --path /tail --keep")).map(drop)
}

fn restart(lab: &mut Lab) -> Result<Figures> {
    large(lab)?;
    let cluster = lab.cluster()?;
    cluster.run(&["dev", "kill", "master1"])?;
    let begin = Instant::now();
    let mut start = cluster.command(&["dev", "start", "master1"]).spawn()?;
    let answered = cluster.run(&["stat", "--timeout", "5m", "/tail"]).map(|_| begin.elapsed());
    // It gives up on a slow start, which the master does not.
    start.wait()?;
    let seconds = answered?.as_secs_f64();
    Ok(Figures::from([
        ("seconds", seconds),
        ("replay_s", cluster.master_metric("gfs_master_replay_seconds")?),
        ("records", cluster.master_metric("gfs_master_replay_records")?),
        ("resident_mib", cluster.master_metric("process_resident_memory_bytes")? / MIB),
    ]))
}

const MADE: &str = "gfs_master_checkpoint_seconds_count";
const TOOK: &str = "gfs_master_checkpoint_seconds_sum";
/// A checkpoint is given up on when it takes longer.
const CHECKPOINT_TIME: Duration = Duration::from_secs(180);

/// The least that is allowed.
const SEGMENT: &str = "2MiB";

/// A small segment makes one due soon after a start; creates go on until it is made.
fn checkpoint(lab: &mut Lab) -> Result<Figures> {
    large(lab)?;
    let words = "create --clients 8 --path /checkpoint --keep";
    let calm = lab.bench(&format!("{words} --seconds 5"))?;
    restart_with_segment(lab.cluster()?, SEGMENT)?;
    let (begin, mut longest, mut p99, mut peak) = (Instant::now(), 0.0_f64, 0.0_f64, 0.0_f64);
    let made = lab.cluster()?.master_metric(MADE)?;
    loop {
        let report = lab.bench(&format!("{words} --seconds 5"))?;
        longest = longest.max(report.number("/latency_us/max")?);
        p99 = p99.max(report.number("/latency_us/p99")?);
        peak = peak.max(report.number("/memory_bytes/master1/end")?);
        if lab.cluster()?.master_metric(MADE)? > made {
            break;
        }
        ensure!(begin.elapsed() < CHECKPOINT_TIME, "no checkpoint was made");
    }
    let count = lab.cluster()?.master_metric(MADE)?;
    let seconds = lab.cluster()?.master_metric(TOOK)? / count;
    let flush = lab.cluster()?.master_longest_s("gfs_master_log_flush_seconds")?;
    restart_with_segment(lab.cluster()?, "64MiB")?;
    Ok(Figures::from([
        ("pause_ms", longest / 1000.0),
        ("calm_ms", calm.number("/latency_us/max")? / 1000.0),
        ("flush_ms", flush * 1000.0),
        ("p99_ms", p99 / 1000.0),
        ("seconds", seconds),
        ("resident_mib", peak / MIB),
    ]))
}

fn restart_with_segment(cluster: &Cluster, size: &str) -> Result<()> {
    let path = cluster.dir().join("master1.yaml");
    let text = std::fs::read_to_string(&path)?;
    let key = "log_segment_size:";
    let line = |line: &str| {
        if line.starts_with(key) { format!("{key} {size}\n") } else { format!("{line}\n") }
    };
    std::fs::write(&path, text.lines().map(line).collect::<String>())?;
    cluster.run(&["dev", "kill", "master1"])?;
    cluster.run(&["dev", "start", "master1"]).map(drop)
}
