//! What lasts: idle connections, and minutes of everything at once.

use anyhow::{Context, Result};

use super::Row;
use crate::bench::figures::{Figures, Target};
use crate::bench::lab::{Lab, Report};

pub(super) const IDLE: Row = Row::new(
    "idle",
    "1,000 clients that asked once and keep their connections",
    idle,
    &[
        Target::at_most("kib", 64.0, "idle connection: KiB resident on a chunkserver"),
        Target::told("master_kib", "idle connection: KiB resident on the master"),
    ],
);

pub(super) const MIXED: Row = Row::new(
    "mixed",
    "32 readers and 32 writers of 256 KiB for 5 minutes",
    mixed,
    &[
        Target::at_least("steady", 0.8, "mixed: slowest 10 s / mean"),
        Target::told("mib_per_s", "mixed: MiB/s"),
        Target::told("read_p99", "mixed: p99 of reads, µs, median of the slices"),
        Target::told("write_p99", "mixed: p99 of writes, µs, median of the slices"),
        Target::at_most(
            "memory_mib",
            64.0,
            "mixed: memory that a server gains after 10 s, MiB at most",
        ),
        Target::told("peak_mib", "mixed: most memory of a server, MiB"),
    ],
)
.once();

const MIB: f64 = 1024.0 * 1024.0;

fn idle(lab: &mut Lab) -> Result<Figures> {
    let clients = lab.sized(1000, 100);
    let report = lab.bench(&format!("idle --clients {clients} --seconds 3"))?;
    let each = "/memory_bytes_per_connection";
    let map = report.0.pointer(each).and_then(serde_json::Value::as_object);
    let map = map.with_context(|| format!("no {each}"))?;
    // Few connections say little: what is resident moves in steps.
    let of = |role: &&str| map.get(*role).and_then(serde_json::Value::as_f64);
    let servers = ["cs1", "cs2", "cs3"];
    let most = servers.iter().filter_map(of).fold(0.0, f64::max);
    Ok(Figures::from([
        ("kib", most / 1024.0),
        ("master_kib", of(&"master1").unwrap_or_default() / 1024.0),
    ]))
}

fn mixed(lab: &mut Lab) -> Result<Figures> {
    let seconds = lab.sized(300, 20);
    // A first round takes the buffers that the long one then has at its start.
    lab.bench("mixed --clients 64 --seconds 10 --path /bench-mixed-first")?;
    let report = lab.bench(&format!("mixed --clients 64 --seconds {seconds}"))?;
    let slices = report.0["slices"].as_array().context("no slices")?;
    let of = |pointer: &str| -> Vec<f64> {
        let mut all: Vec<f64> =
            slices.iter().filter_map(|slice| slice.pointer(pointer)?.as_f64()).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let middle = |values: &[f64]| values.get(values.len() / 2).copied().unwrap_or_default();
    let slowest = of("/mib_per_s").first().copied().unwrap_or_default();
    let (gained, peak) = memory(&report)?;
    Ok(Figures::from([
        ("steady", slowest / report.number("/mib_per_s")?),
        ("mib_per_s", report.number("/mib_per_s")?),
        ("read_p99", middle(&of("/read_us/p99"))),
        ("write_p99", middle(&of("/write_us/p99"))),
        ("memory_mib", gained),
        ("peak_mib", peak),
    ]))
}

/// The most that a server gained, and the most that one had, in MiB.
fn memory(report: &Report) -> Result<(f64, f64)> {
    let (mut gained, mut peak) = (0.0_f64, 0.0_f64);
    for role in ["master1", "cs1", "cs2", "cs3"] {
        let at = |when: &str| report.number(&format!("/memory_bytes/{role}/{when}"));
        gained = gained.max((at("end")? - at("start")?) / MIB);
        peak = peak.max(at("peak")? / MIB);
    }
    Ok((gained, peak))
}
