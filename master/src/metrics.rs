//! Every metric of the master; listed in `docs/metrics.md`.

use std::time::Duration;

use gfs_types::fence::LogPosition;
use gfs_types::message::client::{ClusterStatus, Mutation, Query, Request};
use gfs_types::{Error, ErrorKind};
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

/// What a client can ask, as the label `operation` has it.
const OPERATIONS: [&str; 15] = [
    "open_session",
    "close_session",
    "stat",
    "list",
    "locate",
    "status",
    "trash",
    "lease",
    "report_corrupt",
    "create",
    "mkdir",
    "rename",
    "delete",
    "undelete",
    "set_length",
];

/// Of these one is counted: its place in the list of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation(usize);

impl Operation {
    /// What is asked.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        Self(match request {
            Request::OpenSession => 0,
            Request::CloseSession(_) => 1,
            Request::Query(Query::Stat { .. }) => 2,
            Request::Query(Query::List { .. }) => 3,
            Request::Query(Query::Locate { .. }) => 4,
            Request::Query(Query::Status) => 5,
            Request::Query(Query::Trash { .. }) => 6,
            Request::Lease { .. } => 7,
            Request::ReportCorrupt { .. } => 8,
            Request::Mutate { mutation, .. } => match mutation {
                Mutation::Create { .. } => 9,
                Mutation::Mkdir { .. } => 10,
                Mutation::Rename { .. } => 11,
                Mutation::Delete { .. } => 12,
                Mutation::Undelete { .. } => 13,
                Mutation::SetLength { .. } => 14,
            },
        })
    }
}

/// The master's metrics.
#[derive(Debug)]
pub struct Metrics {
    /// For each operation: the good outcome, then one for each kind of error.
    operations: Vec<Vec<IntCounter>>,
    operation_seconds: Vec<Histogram>,
    connections: IntGaugeVec,
    log_records: IntCounter,
    log_bytes: IntCounter,
    flushes: IntCounter,
    flush_seconds: Histogram,
    batch_records: Histogram,
    log_position: IntGauge,
    checkpoint_seconds: Histogram,
    checkpoint_failures: IntCounter,
    checkpoint_position: IntGauge,
    free_bytes: IntGauge,
    replay_seconds: Gauge,
    replay_records: IntGauge,
    files: IntGauge,
    directories: IntGauge,
    chunks: IntGauge,
    chunks_below_goal: IntGauge,
    chunks_missing: IntGauge,
    chunks_uncounted: IntGauge,
    chunkservers: IntGaugeVec,
}

/// Registers what is made in one place.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn keep<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        made: prometheus::Result<C>,
    ) -> prometheus::Result<C> {
        let made = made?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.keep(IntCounter::new(name, help))
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.keep(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> prometheus::Result<IntGaugeVec> {
        self.keep(IntGaugeVec::new(Opts::new(name, help), &[label]))
    }

    /// Buckets from `first`, each twice the one before.
    fn histogram(
        &self,
        name: &str,
        help: &str,
        first: f64,
        count: usize,
    ) -> prometheus::Result<Histogram> {
        let buckets = prometheus::exponential_buckets(first, 2.0, count)?;
        self.keep(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)))
    }
}

impl Metrics {
    /// Declares them all in a registry.
    ///
    /// # Errors
    /// A name is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let make = Maker(registry);
        let operations = make.keep(IntCounterVec::new(
            Opts::new("gfs_master_operations_total", "Clients' operations answered."),
            &["operation", "outcome"],
        ))?;
        let buckets = prometheus::exponential_buckets(50e-6, 2.0, 18)?;
        let seconds = make.keep(HistogramVec::new(
            HistogramOpts::new(
                "gfs_master_operation_seconds",
                "From a client's request to its reply, in seconds.",
            )
            .buckets(buckets),
            &["operation"],
        ))?;
        Ok(Self {
            operations: OPERATIONS.iter().map(|name| outcomes(&operations, name)).collect(),
            operation_seconds: OPERATIONS
                .iter()
                .map(|name| seconds.with_label_values(&[name]))
                .collect(),
            connections: make.gauges(
                "gfs_master_connections",
                "Open streams, by who is at the other end.",
                "peer",
            )?,
            log_records: make.counter("gfs_master_log_records_total", "Log records written.")?,
            log_bytes: make.counter("gfs_master_log_bytes_total", "Bytes of records written.")?,
            flushes: make.counter("gfs_master_log_flushes_total", "Flushes of the log.")?,
            flush_seconds: make.histogram(
                "gfs_master_log_flush_seconds",
                "Time to append and flush one batch, in seconds.",
                50e-6,
                18,
            )?,
            batch_records: make.histogram(
                "gfs_master_log_batch_records",
                "Records flushed together.",
                1.0,
                14,
            )?,
            log_position: make
                .gauge("gfs_master_log_position", "Position of the newest durable log record.")?,
            checkpoint_seconds: make.histogram(
                "gfs_master_checkpoint_seconds",
                "Time to make a checkpoint, in seconds.",
                0.01,
                16,
            )?,
            checkpoint_failures: make.counter(
                "gfs_master_checkpoint_failures_total",
                "Checkpoints that could not be made.",
            )?,
            free_bytes: make
                .gauge("gfs_master_free_bytes", "bytes free on the disk of log and checkpoints")?,
            checkpoint_position: make.gauge(
                "gfs_master_checkpoint_position",
                "Log position that the newest checkpoint holds.",
            )?,
            replay_seconds: make.keep(Gauge::new(
                "gfs_master_replay_seconds",
                "Time the last start took for checkpoint and log, in seconds.",
            ))?,
            replay_records: make
                .gauge("gfs_master_replay_records", "Log records replayed by the last start.")?,
            files: make.gauge("gfs_master_files", "Files, the trash counted.")?,
            directories: make.gauge("gfs_master_directories", "Directories, the trash counted.")?,
            chunks: make.gauge("gfs_master_chunks", "Chunks that a file refers to.")?,
            chunks_below_goal: make.gauge(
                "gfs_master_chunks_below_goal",
                "Chunks with fewer current replicas than wanted.",
            )?,
            chunks_missing: make
                .gauge("gfs_master_chunks_missing", "Chunks without a current replica.")?,
            chunks_uncounted: make.gauge(
                "gfs_master_chunks_uncounted",
                "Chunks not looked at since a chunkserver came or went; until it is 0 those missing are as counted before.",
            )?,
            chunkservers: make.gauges(
                "gfs_master_chunkservers",
                "Chunkservers known, by whether they are in touch.",
                "state",
            )?,
        })
    }

    /// A client's operation was answered.
    pub fn answered<T>(&self, operation: Operation, result: &Result<T, Error>, took: Duration) {
        let outcome = result.as_ref().err().map_or(0, |error| error.kind as usize);
        self.operations[operation.0][outcome].inc();
        self.operation_seconds[operation.0].observe(took.as_secs_f64());
    }

    /// So many streams of clients and chunkservers are open.
    pub fn connections(&self, clients: usize, chunkservers: usize) {
        self.connections.with_label_values(&["client"]).set(signed(clients as u64));
        self.connections.with_label_values(&["chunkserver"]).set(signed(chunkservers as u64));
    }

    /// A batch was appended and flushed.
    pub fn flushed(&self, records: u64, bytes: u64, durable: LogPosition, took: Duration) {
        self.log_records.inc_by(records);
        self.log_bytes.inc_by(bytes);
        self.flushes.inc();
        self.flush_seconds.observe(took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^53 records")]
        self.batch_records.observe(records as f64);
        self.log_position.set(signed(durable.0));
    }

    /// A checkpoint was made.
    pub fn checkpoint_made(&self, position: LogPosition, took: Duration) {
        self.checkpoint_seconds.observe(took.as_secs_f64());
        self.checkpoint_position.set(signed(position.0));
    }

    /// A checkpoint could not be made.
    pub fn checkpoint_failed(&self) {
        self.checkpoint_failures.inc();
    }

    /// So much is free on the disk.
    pub fn free_bytes(&self, bytes: u64) {
        self.free_bytes.set(signed(bytes));
    }

    /// The master started from this checkpoint and replayed so many records behind it.
    pub fn replayed(
        &self,
        checkpoint: LogPosition,
        last: LogPosition,
        records: u64,
        took: Duration,
    ) {
        self.checkpoint_position.set(signed(checkpoint.0));
        self.log_position.set(signed(last.0));
        self.replay_records.set(signed(records));
        self.replay_seconds.set(took.as_secs_f64());
    }

    /// The cluster at a glance.
    pub fn cluster(&self, status: &ClusterStatus) {
        self.files.set(signed(status.files));
        self.directories.set(signed(status.directories));
        self.chunks.set(signed(status.chunks));
        self.chunks_uncounted.set(signed(status.chunks_uncounted));
        if status.chunks_uncounted == 0 {
            self.chunks_below_goal.set(signed(status.chunks_below_goal));
            self.chunks_missing.set(signed(status.chunks_missing));
        }
        let alive = status.chunkservers.iter().filter(|server| server.alive).count();
        let silent = status.chunkservers.len() - alive;
        self.chunkservers.with_label_values(&["alive"]).set(signed(alive as u64));
        self.chunkservers.with_label_values(&["silent"]).set(signed(silent as u64));
    }
}

fn outcomes(operations: &IntCounterVec, name: &str) -> Vec<IntCounter> {
    let kinds = ErrorKind::ALL.iter().map(ToString::to_string);
    std::iter::once("ok".to_owned())
        .chain(kinds)
        .map(|outcome| operations.with_label_values(&[name, &outcome]))
        .collect()
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn touched() -> Registry {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        metrics.connections(1, 2);
        metrics.cluster(&ClusterStatus::default());
        let stat = Operation::of(&Request::Query(Query::Stat { path: "/".to_owned() }));
        metrics.answered(stat, &Ok(()), Duration::from_micros(80));
        metrics.answered(stat, &Err::<(), _>(Error::need_data("the last kind")), Duration::ZERO);
        registry
    }

    #[test]
    fn the_page_lists_exactly_what_is_declared() {
        let page = include_str!("../../docs/metrics.md");
        let listed: BTreeSet<_> = page
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| name.starts_with("gfs_master_"))
            .map(str::to_owned)
            .collect();
        let declared: BTreeSet<_> =
            touched().gather().iter().map(|family| family.name().to_owned()).collect();
        assert_eq!(listed, declared);
    }

    #[test]
    fn operations_are_counted_by_outcome() {
        let families = touched().gather();
        let family =
            families.iter().find(|family| family.name() == "gfs_master_operations_total").unwrap();
        let count = |operation: &str, outcome: &str| -> f64 {
            let wanted = |metric: &&prometheus::proto::Metric| {
                let values: Vec<_> = metric.get_label().iter().map(|pair| pair.value()).collect();
                values == [operation, outcome]
            };
            family.get_metric().iter().filter(wanted).map(|m| m.get_counter().get_value()).sum()
        };
        assert!((count("stat", "ok") - 1.0).abs() < f64::EPSILON);
        assert!((count("stat", "NeedData") - 1.0).abs() < f64::EPSILON);
        assert!(count("create", "ok").abs() < f64::EPSILON);
    }
}
