//! Every metric of the operator; listed in `docs/metrics.md`.

use std::time::Duration;

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

use crate::error::Category;

/// The operator's metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    passes: IntCounter,
    errors: IntCounterVec,
    pass_seconds: Histogram,
    writes: IntCounterVec,
    formats: IntCounter,
    pod_restarts: IntCounter,
    leader: IntGauge,
    watch_answered: GaugeVec,
    last_pass: Gauge,
}

impl Metrics {
    /// Declares them all in a registry.
    ///
    /// # Errors
    /// A name is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = IntCounter::new;
        let counters = |name, help, label| IntCounterVec::new(Opts::new(name, help), &[label]);
        let made = Self {
            passes: counter("gfs_operator_reconcile_total", "Passes over a cluster.")?,
            errors: counters(
                "gfs_operator_reconcile_errors_total",
                "Passes that did not come to their end, by the kind of the error.",
                "category",
            )?,
            pass_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "gfs_operator_reconcile_seconds",
                    "Time of a pass over a cluster, in seconds.",
                )
                .buckets(prometheus::exponential_buckets(0.01, 2.0, 13)?),
            )?,
            writes: counters(
                "gfs_operator_writes_total",
                "Requests that change something in the API server, events and the lease aside.",
                "kind",
            )?,
            formats: counter("gfs_operator_formats_total", "Masters formatted.")?,
            pod_restarts: counter(
                "gfs_operator_pod_restarts_total",
                "Pods deleted because they were outdated.",
            )?,
            leader: IntGauge::new("gfs_operator_leader", "1 while this process is the leader.")?,
            watch_answered: GaugeVec::new(
                Opts::new(
                    "gfs_operator_watch_last_event_timestamp_seconds",
                    "When a watch was last begun with success; seconds since 1970.",
                ),
                &["kind"],
            )?,
            last_pass: Gauge::new(
                "gfs_operator_last_reconcile_timestamp_seconds",
                "When a pass last came to its end; seconds since 1970.",
            )?,
        };
        made.register(registry)?;
        Ok(made)
    }

    fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.passes.clone()))?;
        registry.register(Box::new(self.errors.clone()))?;
        registry.register(Box::new(self.pass_seconds.clone()))?;
        registry.register(Box::new(self.writes.clone()))?;
        registry.register(Box::new(self.formats.clone()))?;
        registry.register(Box::new(self.pod_restarts.clone()))?;
        registry.register(Box::new(self.leader.clone()))?;
        registry.register(Box::new(self.watch_answered.clone()))?;
        registry.register(Box::new(self.last_pass.clone()))
    }

    /// A pass ended.
    pub fn passed(&self, took: Duration, error: Option<Category>) {
        self.passes.inc();
        self.pass_seconds.observe(took.as_secs_f64());
        match error {
            Some(category) => self.errors.with_label_values(&[category.label()]).inc(),
            None => self.last_pass.set(seconds_since_1970()),
        }
    }

    /// A request went out that changes an object of this kind.
    pub fn wrote(&self, kind: &str) {
        self.writes.with_label_values(&[kind]).inc();
    }

    /// A master was formatted.
    pub fn formatted(&self) {
        self.formats.inc();
    }

    /// A pod was deleted because it was outdated.
    pub fn restarted(&self) {
        self.pod_restarts.inc();
    }

    /// Whether this process is the leader.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// A list or a watch of this kind was answered.
    pub fn heard(&self, kind: &str) {
        self.watch_answered.with_label_values(&[kind]).set(seconds_since_1970());
    }
}

fn seconds_since_1970() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64()
}
