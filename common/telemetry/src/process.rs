//! Metrics of the process itself: processor time, memory, open files.
//!
//! The crate's own process collector counts processor time in whole seconds, too coarse for `gfs bench`.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Lets the process open as many files as the system allows it: one is needed for every connection and chunk in use.
/// Gives the limit now.
pub fn raise_open_files_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, "the limit of open files stays as it is");
            limit.current.unwrap_or(u64::MAX)
        }
    }
}

/// Reads `/proc/self` when it is collected.
pub struct ProcessCollector {
    cpu_seconds: Counter,
    resident_bytes: Gauge,
    live_bytes: Gauge,
    open_fds: Gauge,
    threads: Gauge,
}

impl ProcessCollector {
    /// With the names that Prometheus users know.
    ///
    /// # Errors
    /// Never in practice: the names are constant and valid.
    pub fn new() -> Result<Self, prometheus::Error> {
        let gauge = |name, help| Gauge::with_opts(Opts::new(name, help));
        Ok(Self {
            cpu_seconds: Counter::with_opts(Opts::new(
                "process_cpu_seconds_total",
                "User and system processor time, in seconds.",
            ))?,
            resident_bytes: gauge("process_resident_memory_bytes", "Resident memory, in bytes.")?,
            live_bytes: gauge(
                "process_live_memory_bytes",
                "Memory that the allocator has given out and not got back, in bytes.",
            )?,
            open_fds: gauge("process_open_fds", "Open file descriptors.")?,
            threads: gauge("process_threads", "Threads.")?,
        })
    }

    fn parts(&self) -> [&dyn Collector; 5] {
        [&self.cpu_seconds, &self.resident_bytes, &self.live_bytes, &self.open_fds, &self.threads]
    }

    fn refresh(&self) {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        #[expect(clippy::cast_precision_loss, reason = "seconds of processor time stay below 2^53")]
        let seconds = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
        self.cpu_seconds.inc_by((seconds - self.cpu_seconds.get()).max(0.0));
        if let Some(bytes) = status_field("VmRSS:") {
            self.resident_bytes.set(bytes * 1024.0);
        }
        if let Some(bytes) = live_bytes() {
            self.live_bytes.set(bytes);
        }
        if let Some(count) = status_field("Threads:") {
            self.threads.set(count);
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            #[expect(clippy::cast_precision_loss, reason = "a process has fewer files than 2^53")]
            self.open_fds.set(entries.count() as f64);
        }
    }
}

/// What jemalloc says, in a program that has it as its allocator.
fn live_bytes() -> Option<f64> {
    tikv_jemalloc_ctl::epoch::advance().ok()?;
    let bytes = tikv_jemalloc_ctl::stats::allocated::read().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "memory stays below 2^53 bytes")]
    Some(bytes as f64)
}

/// The number behind a field of `/proc/self/status`.
fn status_field(field: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    line[field.len()..].split_whitespace().next()?.parse().ok()
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.refresh();
        self.parts().into_iter().flat_map(Collector::collect).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_raised_to_what_is_allowed() {
        let raised = raise_open_files_limit();
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), raised);
    }

    #[test]
    fn the_process_tells_of_itself() {
        let families = ProcessCollector::new().unwrap().collect();
        let value = |name: &str| {
            let family = families.iter().find(|family| family.name() == name).unwrap();
            let metric = &family.get_metric()[0];
            metric.get_counter().get_value() + metric.get_gauge().get_value()
        };
        assert!(value("process_cpu_seconds_total") > 0.0);
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_live_memory_bytes") > 0.0);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_threads") >= 1.0);
    }
}
