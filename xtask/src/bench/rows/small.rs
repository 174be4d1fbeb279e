//! Small reads and writes, and trees of small files.

use std::time::Instant;

use anyhow::{Context, Result};

use super::Row;
use crate::bench::figures::{Figures, Target};
use crate::bench::lab::Lab;

pub(super) const RANDOM_READ: Row = Row::new(
    "read-4k",
    "4 KiB at random offsets, one caller",
    random_read,
    &[
        Target::at_most("p50", 60.0, "4 KiB random read: p50, µs"),
        Target::at_most("p99", 180.0, "4 KiB random read: p99, µs"),
    ],
);

pub(super) const WRITE: Row = Row::new(
    "write-4k",
    "4 KiB front to back, and over what is there, one caller, three replicas",
    write,
    &[
        Target::at_most("p50", 150.0, "4 KiB sequential write: p50, µs"),
        Target::at_most("p99", 450.0, "4 KiB sequential write: p99, µs"),
        Target::told("random_p50", "4 KiB random overwrite: p50, µs"),
        Target::told("random_p99", "4 KiB random overwrite: p99, µs"),
    ],
);

pub(super) const PUT: Row = Row::new(
    "put",
    "`gfs put -r` of 20,000 files of 4 KiB, all synced when it returns",
    put,
    &[
        Target::at_least("files", 1500.0, "put -r of files of 4 KiB: files a second"),
        Target::told("cpu", "put -r of files of 4 KiB: CPU µs a file, of the servers"),
    ],
);

fn seconds(lab: &Lab) -> u32 {
    lab.sized(3, 1)
}

fn random_read(lab: &mut Lab) -> Result<Figures> {
    let keep = "--path /bench-read-4k --keep --verify";
    let words =
        format!("read --op-size 4KiB --random --size 64MiB --seconds {} {keep}", seconds(lab));
    let report = lab.bench(&words)?;
    Ok(Figures::from([
        ("p50", report.number("/latency_us/p50")?),
        ("p99", report.number("/latency_us/p99")?),
    ]))
}

fn write(lab: &mut Lab) -> Result<Figures> {
    let words = format!("write --op-size 4KiB --size 64MiB --seconds {}", seconds(lab));
    let front_to_back = lab.bench(&words)?;
    let random = lab.bench(&format!("{words} --random"))?;
    Ok(Figures::from([
        ("p50", front_to_back.number("/latency_us/p50")?),
        ("p99", front_to_back.number("/latency_us/p99")?),
        ("random_p50", random.number("/latency_us/p50")?),
        ("random_p99", random.number("/latency_us/p99")?),
    ]))
}

/// Files of one directory of the tree.
const FILES_EACH: u32 = 500;

fn put(lab: &mut Lab) -> Result<Figures> {
    let files = lab.sized(20_000, 2_000);
    let tree = lab.folder().join("tree");
    if !tree.exists() {
        for number in 0..files {
            let dir = tree.join(format!("directory-{}", number / FILES_EACH));
            if number % FILES_EACH == 0 {
                std::fs::create_dir_all(&dir)?;
            }
            let byte = number.to_le_bytes()[0];
            std::fs::write(dir.join(format!("file-{number}")), [byte; 4096])?;
        }
    }
    let local = tree.to_str().context("the temporary folder is not UTF-8")?.to_owned();
    let cluster = lab.cluster()?;
    cluster.run(&["mkdir", "/bench-put"])?;
    let before = cluster.servers_cpu_s()?;
    let begin = Instant::now();
    cluster.run(&["put", "-r", &local, "/bench-put"])?;
    let seconds = begin.elapsed().as_secs_f64();
    let cpu_s = cluster.servers_cpu_s()? - before;
    cluster.run(&["rm", "-r", "--purge", "/bench-put"])?;
    let files = f64::from(files);
    Ok(Figures::from([("files", files / seconds), ("cpu", cpu_s * 1e6 / files)]))
}
