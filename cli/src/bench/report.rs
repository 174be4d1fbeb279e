//! The result of a bench.

use serde::Serialize;

use super::cpu::CpuSeconds;
use super::latency::Percentiles;
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
    mib_per_s: f64,
    ops_per_s: f64,
    latency_us: Percentiles,
    cpu_s: CpuSeconds,
    cpu_s_per_gib: f64,
    cpu_us_per_op: f64,
    errors: u64,
}

/// What was measured.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) bench: &'static str,
    pub(super) clients: u32,
    pub(super) ops: u64,
    pub(super) bytes: u64,
    pub(super) seconds: f64,
    pub(super) sync_s: f64,
    pub(super) latency_us: Percentiles,
    pub(super) cpu_s: CpuSeconds,
    pub(super) errors: u64,
}

const MIB: f64 = 1_048_576.0;
const GIB: f64 = 1024.0 * MIB;
const MICROS: f64 = 1e6;

impl From<Measured> for Report {
    fn from(measured: Measured) -> Self {
        let Measured { bench, clients, ops, bytes, seconds, sync_s, latency_us, cpu_s, errors } =
            measured;
        let cpu: f64 = cpu_s.values().sum();
        let per = |cost: f64, count: f64| if count > 0.0 { cost / count } else { 0.0 };
        Self {
            bench,
            clients,
            ops,
            bytes,
            seconds,
            sync_s,
            mib_per_s: ratio(bytes, seconds * MIB),
            ops_per_s: ratio(ops, seconds),
            latency_us,
            cpu_s_per_gib: per(cpu, ratio(bytes, GIB)),
            cpu_us_per_op: per(cpu * MICROS, ratio(ops, 1.0)),
            cpu_s,
            errors,
        }
    }
}

impl Report {
    pub(super) fn print(&self, out: &mut Out) -> Result<()> {
        out.line(format_args!(
            "{}: {} clients, {} operations, {} in {:.3} s ({:.3} s more to sync)",
            self.bench,
            self.clients,
            self.ops,
            size(self.bytes),
            self.seconds,
            self.sync_s
        ))?;
        out.line(format_args!(
            "rate     {:.1} MiB/s, {:.0} operations/s, {} errors",
            self.mib_per_s, self.ops_per_s, self.errors
        ))?;
        let latency = serde_json::to_string(&self.latency_us).unwrap_or_default();
        out.line(format_args!("latency  {latency} µs"))?;
        out.line(format_args!(
            "cpu      {:.3} s/GiB, {:.1} µs/operation",
            self.cpu_s_per_gib, self.cpu_us_per_op
        ))?;
        let roles = self.cpu_s.iter().map(|(role, seconds)| format!("{role} {seconds:.3} s"));
        out.line(format_args!("cpu of   {}", roles.collect::<Vec<_>>().join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::latency::Latencies;

    fn report(ops: u64, bytes: u64) -> serde_json::Value {
        let report = Report::from(Measured {
            bench: "write",
            clients: 2,
            ops,
            bytes,
            seconds: 2.0,
            sync_s: 0.5,
            latency_us: Latencies::default().percentiles(),
            cpu_s: CpuSeconds::from([("client".to_owned(), 1.0), ("cs1".to_owned(), 3.0)]),
            errors: 0,
        });
        serde_json::to_value(report).unwrap()
    }

    #[test]
    fn rates_and_costs_follow_from_what_was_measured() {
        let report = report(1000, 2 << 30);
        assert_eq!((&report["mib_per_s"], &report["ops_per_s"]), (&1024.0.into(), &500.0.into()));
        assert_eq!(report["cpu_s_per_gib"], 2.0);
        assert_eq!(report["cpu_us_per_op"], 4000.0);
        assert_eq!(report["cpu_s"]["cs1"], 3.0);
    }

    #[test]
    fn nothing_done_is_no_division_by_nothing() {
        let report = report(0, 0);
        for field in ["mib_per_s", "ops_per_s", "cpu_s_per_gib", "cpu_us_per_op"] {
            assert_eq!(report[field], 0.0, "{field}");
        }
    }
}
