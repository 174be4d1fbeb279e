//! What a chunkserver counts. Listed in docs/metrics.md.

use gfs_types::Error;
use gfs_types::message::data::DataResponse;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Every metric of a chunkserver.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: IntCounterVec,
    applied: IntCounter,
    orders: IntCounter,
    bad_blocks: IntCounter,
    replicas: IntGauge,
    leases: IntGauge,
    registered: IntGauge,
    capacity: IntGauge,
    free: IntGauge,
    connections: IntGauge,
    pushed: IntCounter,
    push_buffer: IntGauge,
    read: IntCounter,
    copied: IntCounter,
    copies: IntGauge,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// Never in practice: the names are constant and valid.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name, help| register(registry, IntCounter::new(name, help)?);
        let gauge = |name, help| register(registry, IntGauge::new(name, help)?);
        let requests = Opts::new(
            "gfs_chunkserver_requests_total",
            "Requests that the driver answered, by outcome: ok, or the kind of the error.",
        );
        Ok(Self {
            requests: register(registry, IntCounterVec::new(requests, &["outcome"])?)?,
            applied: counter(
                "gfs_chunkserver_applied_bytes_total",
                "Bytes of mutations applied to replicas here, as primary or secondary.",
            )?,
            orders: counter(
                "gfs_chunkserver_orders_sent_total",
                "Messages that primaries here sent to members: orders and notices of commits.",
            )?,
            bad_blocks: counter(
                "gfs_chunkserver_bad_blocks_total",
                "Blocks that were read in order with the mutations and did not match their checksum.",
            )?,
            replicas: gauge("gfs_chunkserver_replicas", "Replicas on this server.")?,
            leases: gauge("gfs_chunkserver_leases", "Leases this server holds as primary.")?,
            registered: gauge(
                "gfs_chunkserver_registered",
                "1 while a master knows this server and all of its replicas.",
            )?,
            capacity: gauge("gfs_chunkserver_capacity_bytes", "Bytes of the disk.")?,
            free: gauge(
                "gfs_chunkserver_free_bytes",
                "Bytes free for new chunks: what the disk has left, less the reserve.",
            )?,
            connections: gauge(
                "gfs_chunkserver_connections",
                "Open connections of the data plane.",
            )?,
            pushed: counter(
                "gfs_chunkserver_pushed_bytes_total",
                "Bytes of data pushed here, ahead of the mutation that uses them.",
            )?,
            push_buffer: gauge(
                "gfs_chunkserver_push_buffer_bytes",
                "Bytes of pushed data that wait for their mutation.",
            )?,
            copied: counter(
                "gfs_chunkserver_copied_bytes_total",
                "Bytes copied from other servers to make replicas here equal to theirs.",
            )?,
            copies: gauge(
                "gfs_chunkserver_copies",
                "Copies from other servers that are being made.",
            )?,
            read: counter("gfs_chunkserver_read_bytes_total", "Bytes of chunks sent to readers.")?,
        })
    }

    pub(crate) fn answered(&self, result: &Result<DataResponse, Error>) {
        let outcome = match result {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.kind.to_string(),
        };
        self.requests.with_label_values(&[&outcome]).inc();
    }

    pub(crate) fn applied(&self, bytes: u64) {
        self.applied.inc_by(bytes);
    }

    pub(crate) fn sent_to_member(&self) {
        self.orders.inc();
    }

    pub(crate) fn bad_blocks(&self) {
        self.bad_blocks.inc();
    }

    pub(crate) fn holds(&self, replicas: usize, leases: usize) {
        self.replicas.set(i64::try_from(replicas).unwrap_or(i64::MAX));
        self.leases.set(i64::try_from(leases).unwrap_or(i64::MAX));
    }

    pub(crate) fn registered(&self, yes: bool) {
        self.registered.set(i64::from(yes));
    }

    pub(crate) fn space(&self, capacity_bytes: u64, free_bytes: u64) {
        self.capacity.set(i64::try_from(capacity_bytes).unwrap_or(i64::MAX));
        self.free.set(i64::try_from(free_bytes).unwrap_or(i64::MAX));
    }

    /// Open connections of the data plane: the gauge itself.
    #[must_use]
    pub fn connections(&self) -> &IntGauge {
        &self.connections
    }

    /// Data was pushed here.
    pub fn pushed(&self, bytes: u64) {
        self.pushed.inc_by(bytes);
    }

    /// So much pushed data waits now.
    pub fn push_buffer(&self, bytes: u64) {
        self.push_buffer.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Bytes of another server's replica are in place here.
    pub(crate) fn copied(&self, bytes: u64) {
        self.copied.inc_by(bytes);
    }

    /// Copies under way: the gauge itself.
    pub(crate) fn copies(&self) -> &IntGauge {
        &self.copies
    }

    /// Bytes were sent to a reader.
    pub fn read(&self, bytes: u64) {
        self.read.inc_by(bytes);
    }
}

fn register<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    metric: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
