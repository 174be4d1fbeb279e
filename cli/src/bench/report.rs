//! The result of a bench.

use std::collections::BTreeMap;

use serde::Serialize;

use super::latency::{Latencies, Percentiles};
use super::outcome::{Outcome, SLICE, Slice};
use super::plan::Plan;
use super::usage::{CpuSeconds, Memory};
use crate::failure::Result;
use crate::output::Out;
use crate::text::{ratio, size};

/// The fields are a contract: see `docs/cli.md`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    clients: u32,
    ops: u64,
    bytes: u64,
    seconds: f64,
    sync_s: f64,
    sync_cpu_s: f64,
    mib_per_s: f64,
    ops_per_s: f64,
    slowest_of_mean: f64,
    latency_us: Percentiles,
    cpu_s: CpuSeconds,
    cpu_s_per_gib: f64,
    cpu_us_per_op: f64,
    memory_bytes: Memory,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes_per_connection: Option<BTreeMap<String, u64>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    slices: Vec<SliceReport>,
    errors: u64,
}

/// One stretch of time.
#[derive(Debug, Serialize)]
struct SliceReport {
    mib_per_s: f64,
    ops_per_s: f64,
    read_us: Percentiles,
    write_us: Percentiles,
}

/// What was measured.
#[derive(Debug)]
pub(super) struct Measured<'a> {
    pub(super) plan: &'a Plan,
    pub(super) seconds: f64,
    pub(super) sync_s: f64,
    pub(super) sync_cpu_s: f64,
    /// Until the last acknowledgement: what the sync takes is told apart.
    pub(super) cpu_s: CpuSeconds,
    pub(super) memory: Memory,
    pub(super) memory_by_connection: Option<BTreeMap<String, u64>>,
    pub(super) outcome: Outcome,
}

const MIB: f64 = 1_048_576.0;
const GIB: f64 = 1024.0 * MIB;
const MICROS: f64 = 1e6;

impl From<Measured<'_>> for Report {
    fn from(measured: Measured<'_>) -> Self {
        let Measured { plan, seconds, outcome, cpu_s, .. } = measured;
        let cpu: f64 = cpu_s.values().sum();
        let per = |cost: f64, count: f64| if count > 0.0 { cost / count } else { 0.0 };
        let slowest_of_mean = outcome.slowest_of_mean();
        let Outcome { ops, bytes, errors, latencies, slices, .. } = outcome;
        Self {
            bench: plan.kind.name(),
            clients: plan.clients,
            ops,
            bytes,
            seconds,
            sync_s: measured.sync_s,
            sync_cpu_s: measured.sync_cpu_s,
            mib_per_s: ratio(bytes, seconds * MIB),
            ops_per_s: ratio(ops, seconds),
            slowest_of_mean,
            latency_us: latencies.percentiles(),
            cpu_s_per_gib: per(cpu, ratio(bytes, GIB)),
            cpu_us_per_op: per(cpu * MICROS, ratio(ops, 1.0)),
            cpu_s,
            memory_bytes: measured.memory,
            memory_bytes_per_connection: measured.memory_by_connection,
            slices: whole_slices(slices, seconds),
            errors,
        }
    }
}

/// Without the last one where time was over before its end.
fn whole_slices(slices: Vec<Slice>, seconds: f64) -> Vec<SliceReport> {
    let each = SLICE.as_secs_f64();
    let report = |slice: Slice| {
        let count = |latencies: &Latencies| latencies.count();
        SliceReport {
            mib_per_s: ratio(slice.bytes, each * MIB),
            ops_per_s: ratio(count(&slice.reads) + count(&slice.writes), each),
            read_us: slice.reads.percentiles(),
            write_us: slice.writes.percentiles(),
        }
    };
    let mut end = 0.0;
    let whole = slices.into_iter().take_while(|_| {
        end += each;
        end <= seconds
    });
    whole.map(report).collect()
}

impl Report {
    pub(super) fn print(&self, out: &mut Out) -> Result<()> {
        out.line(format_args!(
            "{}: {} clients, {} operations, {} in {:.3} s ({:.3} s, {:.3} s of processor, more to sync)",
            self.bench,
            self.clients,
            self.ops,
            size(self.bytes),
            self.seconds,
            self.sync_s,
            self.sync_cpu_s
        ))?;
        out.line(format_args!(
            "rate     {:.1} MiB/s, {:.0} operations/s, slowest caller {:.2} of the mean, {} errors",
            self.mib_per_s, self.ops_per_s, self.slowest_of_mean, self.errors
        ))?;
        out.line(format_args!("latency  {} µs", json(&self.latency_us)))?;
        out.line(format_args!(
            "cpu      {:.3} s/GiB, {:.1} µs/operation",
            self.cpu_s_per_gib, self.cpu_us_per_op
        ))?;
        let roles = self.cpu_s.iter().map(|(role, seconds)| format!("{role} {seconds:.3} s"));
        out.line(format_args!("cpu of   {}", roles.collect::<Vec<_>>().join(", ")))?;
        out.line(format_args!("memory   {}", json(&self.memory_bytes)))?;
        if let Some(each) = &self.memory_bytes_per_connection {
            out.line(format_args!("of one   {} B a connection", json(each)))?;
        }
        for (number, slice) in self.slices.iter().enumerate() {
            let from = number as u64 * SLICE.as_secs();
            out.line(format_args!(
                "from {from:>4} s {:.1} MiB/s, reads {} µs, writes {} µs",
                slice.mib_per_s,
                json(&slice.read_us),
                json(&slice.write_us)
            ))?;
        }
        Ok(())
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::time::Duration;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bench: crate::bench::BenchArgs,
    }

    fn report(outcome: Outcome, seconds: f64) -> serde_json::Value {
        let line = Line::try_parse_from(["bench", "write", "--clients", "2"]).unwrap();
        let report = Report::from(Measured {
            plan: &Plan::new(&line.bench).unwrap(),
            seconds,
            sync_s: 0.5,
            sync_cpu_s: 0.25,
            cpu_s: CpuSeconds::from([("client".to_owned(), 1.0), ("cs1".to_owned(), 3.0)]),
            memory: Memory::default(),
            memory_by_connection: None,
            outcome,
        });
        serde_json::to_value(report).unwrap()
    }

    #[test]
    fn rates_and_costs_follow_from_what_was_measured() {
        let report = report(Outcome { ops: 1000, bytes: 2 << 30, ..Outcome::default() }, 2.0);
        assert_eq!((&report["mib_per_s"], &report["ops_per_s"]), (&1024.0.into(), &500.0.into()));
        assert_eq!(report["cpu_s_per_gib"], 2.0);
        assert_eq!(report["cpu_us_per_op"], 4000.0);
        assert_eq!(report["cpu_s"]["cs1"], 3.0);
        assert_eq!(report["sync_cpu_s"], 0.25);
        assert!(report.get("slices").is_none());
    }

    #[test]
    fn nothing_done_is_no_division_by_nothing() {
        let report = report(Outcome::default(), 2.0);
        for field in ["mib_per_s", "ops_per_s", "cpu_s_per_gib", "cpu_us_per_op"] {
            assert_eq!(report[field], 0.0, "{field}");
        }
    }

    #[test]
    fn a_slice_that_was_cut_off_is_not_told() {
        let mut outcome = Outcome::default();
        outcome.slice(0).reads.add(Duration::from_micros(7));
        outcome.slice(0).bytes = 20 << 20;
        outcome.slice(1).bytes = 1;
        let report = report(outcome, 10.5);
        let slices = report["slices"].as_array().unwrap();
        assert_eq!(slices.len(), 1);
        assert_eq!((&slices[0]["mib_per_s"], &slices[0]["ops_per_s"]), (&2.0.into(), &0.1.into()));
        assert_eq!(slices[0]["read_us"]["p50"], 7);
    }
}
