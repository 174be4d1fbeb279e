//! Record append.

use anyhow::Result;

use super::Row;
use crate::bench::figures::{Figures, Target};
use crate::bench::lab::Lab;

pub(super) const APPEND: Row = Row::new(
    "append",
    "records of 1 KiB to one file by 1, 16 and 64 callers",
    append,
    &[
        Target::at_least("of1", 5_000.0, "record append of 1 KiB, 1 caller: records a second"),
        Target::at_least("of16", 30_000.0, "record append of 1 KiB, 16 callers: records a second"),
        Target::at_least("of64", 80_000.0, "record append of 1 KiB, 64 callers: records a second"),
        Target::told("p99_of64", "record append, 64 callers: p99, µs"),
        Target::told("cpu_of64", "record append, 64 callers: CPU µs a record, of all processes"),
    ],
);

fn append(lab: &mut Lab) -> Result<Figures> {
    let mut of = |callers: u32| {
        let seconds = lab.sized(3, 1);
        lab.bench(&format!("append --clients {callers} --seconds {seconds} --verify"))
    };
    let (one, sixteen, many) = (of(1)?, of(16)?, of(64)?);
    Ok(Figures::from([
        ("of1", one.number("/ops_per_s")?),
        ("of16", sixteen.number("/ops_per_s")?),
        ("of64", many.number("/ops_per_s")?),
        ("p99_of64", many.number("/latency_us/p99")?),
        ("cpu_of64", many.number("/cpu_us_per_op")?),
    ]))
}
