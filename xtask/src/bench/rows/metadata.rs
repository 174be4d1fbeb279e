//! What only the master does.

use anyhow::Result;

use super::Row;
use crate::bench::figures::{Figures, Target};
use crate::bench::lab::Lab;

pub(super) const CREATE: Row = Row::new(
    "create",
    "empty files by 1, 8 and 32 callers, each durable before its answer, against the yardstick log",
    create,
    &[
        Target::at_least("of1", 0.7, "create, 1 caller: files / flushes of the yardstick"),
        Target::at_least("of8", 4.0, "create, 8 callers: files / flushes of the yardstick"),
        Target::at_least("of32", 10.0, "create, 32 callers: files / flushes of the yardstick"),
        Target::told("per_s1", "create, 1 caller: files a second"),
        Target::told("per_s8", "create, 8 callers: files a second"),
        Target::told("per_s32", "create, 32 callers: files a second"),
        Target::told("flushes", "yardstick log, one record a flush: flushes a second"),
    ],
);

pub(super) const STAT: Row = Row::new(
    "stat",
    "questions by 32 callers of one process, and by 32 processes",
    stat,
    &[
        Target::at_least("of32", 300_000.0, "stat, 32 in flight from one process: a second"),
        Target::at_most(
            "master_us",
            3.0,
            "stat, 32 in flight from one process: CPU µs of the master",
        ),
        Target::at_least("apart", 40_000.0, "stat, from 32 processes: a second"),
    ],
);

pub(super) const LIST: Row = Row::new(
    "list",
    "all names of a directory of 1,000,000 files",
    list,
    &[
        Target::at_most("seconds", 1.5, "list of 1 M files: s"),
        Target::at_most("client_mib", 16.0, "list of 1 M files: memory that the client gains, MiB"),
        Target::at_most("master_mib", 16.0, "list of 1 M files: memory that the master gains, MiB"),
    ],
);

fn create(lab: &mut Lab) -> Result<Figures> {
    let seconds = lab.sized(2, 1);
    let flushes = lab.yardstick(&format!("log --batch 1 --seconds {seconds}"))?;
    let flushes = flushes.number("/flushes_per_s")?;
    let mut of = |callers: u32| {
        let report = lab.bench(&format!("create --clients {callers} --seconds {seconds}"))?;
        report.number("/ops_per_s")
    };
    let (one, eight, many) = (of(1)?, of(8)?, of(32)?);
    Ok(Figures::from([
        ("of1", one / flushes),
        ("of8", eight / flushes),
        ("of32", many / flushes),
        ("per_s1", one),
        ("per_s8", eight),
        ("per_s32", many),
        ("flushes", flushes),
    ]))
}

fn stat(lab: &mut Lab) -> Result<Figures> {
    let seconds = lab.sized(3, 1);
    let together = lab.bench(&format!("stat --clients 32 --seconds {seconds}"))?;
    let apart = lab.bench(&format!("stat --processes 32 --seconds {seconds}"))?;
    let master_us = together.number("/cpu_s/master1")? * 1e6 / together.number("/ops")?;
    Ok(Figures::from([
        ("of32", together.number("/ops_per_s")?),
        ("master_us", master_us),
        ("apart", apart.number("/ops_per_s")?),
    ]))
}

fn list(lab: &mut Lab) -> Result<Figures> {
    let files = lab.sized(1_000_000, 100_000);
    // Made by the first one, which is not counted; the others find the files there.
    let words = format!("list --files {files} --path /bench-list --keep");
    if !lab.exists("/bench-list")? {
        lab.bench(&words)?;
    }
    let report = lab.bench(&words)?;
    let gained = |role: &str| -> Result<f64> {
        let at = |when: &str| report.number(&format!("/memory_bytes/{role}/{when}"));
        Ok((at("peak")? - at("start")?) / (1024.0 * 1024.0))
    };
    Ok(Figures::from([
        ("seconds", report.number("/seconds")?),
        ("client_mib", gained("client")?),
        ("master_mib", gained("master1")?),
    ]))
}
