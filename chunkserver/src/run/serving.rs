//! Everything that runs once the data directory is known: store, driver, data plane, link to the master.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use gfs_chunkserver_core::Settings;
use gfs_chunkserver_core::report::Holdings;
use gfs_durable::fs::Fs;
use gfs_telemetry::Health;
use gfs_types::config::ChunkserverConfig;
use gfs_types::limits::LEASE_CLOSE_MS;
use gfs_types::pace::ServerPace;

use crate::data_plane::{self, DataPlane, PeerLinks};
use crate::driver::{self, Clock, Driver};
use crate::master_link::{self, Identity, MasterLink, Obeyed};
use crate::metrics::Metrics;
use crate::store::{self, Store, StoreConfig};

/// Threads that own replicas: more than the processors help nobody, fewer than two let a slow write hold all up.
const SHARDS: (usize, usize) = (2, 8);
/// Threads that look at the replicas when the store is opened.
const OPEN_THREADS: usize = 8;
/// The leases' end takes at most what their members are given for it, and a little more.
const END_LEASES: Duration = Duration::from_millis(LEASE_CLOSE_MS.0 + 500);
/// Servers that end together need one another: the one with the lease can end it in order only while its members listen. So long
/// a server without leases waits for the end of those its replicas are members of.
const END_MEMBERSHIPS: Duration = Duration::from_millis(1_500);

/// What was prepared.
pub(super) struct Parts<'a> {
    pub(super) config: &'a ChunkserverConfig,
    pub(super) identity: Identity,
    pub(super) obeyed: Obeyed,
    pub(super) listener: TcpListener,
}

/// The running server.
pub(super) struct Serving {
    driver: Driver,
    data_plane: DataPlane,
    link: MasterLink,
    holdings: Arc<Mutex<Holdings>>,
}

impl Serving {
    pub(super) async fn start(
        fs: Arc<dyn Fs>,
        parts: Parts<'_>,
        health: Health,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let Parts { config, identity, obeyed, listener } = parts;
        health.not_ready("opening the store");
        let store_config = store_config(config, &identity, &obeyed)?;
        let opening = tokio::task::spawn_blocking(move || Store::open(fs, store_config));
        let (store, found) = opening.await?.context("the store cannot be opened")?;
        tracing::info!(replicas = found.len(), session = identity.session.0, "the store is open");
        health.not_ready("not registered with a master");
        let store = Arc::new(store);
        let clock = Clock::start();
        let holdings = Arc::new(Mutex::new(Holdings::default()));
        let (handle, inboxes) = driver::channels(shards());
        let known = data_plane_identity(&identity)?;
        let bounds = data_plane::Bounds {
            pushed_bytes_max: config.push_buffer.0,
            ..data_plane::Bounds::default()
        };
        let (outbox, outgoing) = master_link::outbox();
        let driver = Driver::start(
            handle.clone(),
            inboxes,
            driver::Parts {
                settings: Settings {
                    chunkserver: identity.chunkserver,
                    session: identity.session,
                    chunk_size: obeyed.chunk_size(),
                    pace: ServerPace::default(),
                },
                store: store.clone(),
                found,
                peers: Arc::new(PeerLinks::new(
                    known,
                    bounds,
                    handle.clone(),
                    store.clone(),
                    metrics.clone(),
                )),
                outbox,
                holdings: holdings.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
            },
        )?;
        let data_plane = DataPlane::start(
            listener,
            data_plane::Parts {
                identity: known,
                bounds,
                store: store.clone(),
                driver: handle.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
            },
        )?;
        let link = MasterLink::start(
            master_link::Parts {
                masters: config.masters.clone(),
                identity,
                obeyed,
                driver: handle,
                holdings: holdings.clone(),
                store,
                clock,
                health,
                metrics,
            },
            outgoing,
        )?;
        Ok(Self { driver, data_plane, link, holdings })
    }

    /// Gives the leases up, tells the master, and ends every thread. Takes a few seconds at most.
    pub(super) async fn end(self) {
        self.driver.handle().give_up_leases();
        let leases = self.settle(END_LEASES, Holdings::lease_count).await;
        if leases > 0 {
            tracing::warn!(leases, "some leases could not be ended in order");
        }
        let unclean = self.settle(END_MEMBERSHIPS, Holdings::unclean_count).await;
        if unclean > 0 {
            tracing::warn!(
                unclean,
                "some replicas end unclean: whoever holds their leases did not end them in time"
            );
        }
        let Self { driver, data_plane, link, .. } = self;
        let ending = tokio::task::spawn_blocking(move || {
            link.stop();
            data_plane.stop();
            driver.stop();
        });
        if ending.await.is_err() {
            tracing::error!("the end of the server panicked");
        }
    }

    /// Waits until nothing is left to count, or time is out; gives what is left.
    async fn settle(&self, patience: Duration, count: fn(&Holdings) -> usize) -> usize {
        let left = || count(&self.holdings.lock().unwrap_or_else(PoisonError::into_inner));
        let started = Instant::now();
        while left() > 0 && started.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        left()
    }
}

fn store_config(
    config: &ChunkserverConfig,
    identity: &Identity,
    obeyed: &Obeyed,
) -> anyhow::Result<StoreConfig> {
    Ok(StoreConfig {
        dir: PathBuf::from(&config.dir),
        cluster: identity.cluster.context("a formatted directory names its cluster")?,
        chunk_size: obeyed.chunk_size(),
        server: format!("{} at {}", identity.chunkserver, identity.address),
        boot: store::boot_id().context("the kernel does not tell its boot id")?,
        reserve_bytes: config.reserve.0,
        // A chunk of a small file would hold 64 MiB of the disk: space is taken as the chunk grows.
        preallocate: false,
        open_threads: OPEN_THREADS,
    })
}

fn data_plane_identity(identity: &Identity) -> anyhow::Result<data_plane::Identity> {
    Ok(data_plane::Identity {
        cluster: identity.cluster.context("a formatted directory names its cluster")?,
        me: identity.chunkserver,
        session: identity.session,
    })
}

fn shards() -> usize {
    let processors = std::thread::available_parallelism().map_or(SHARDS.0, usize::from);
    processors.clamp(SHARDS.0, SHARDS.1)
}
