//! A master from its start to its clean end.

mod membership;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use gfs_durable::data_dir::{DataDir, Opened};
use gfs_durable::fs::Fs;
use gfs_durable::fs::real::RealFs;
use gfs_master_core::Settings;
use gfs_membership::record::ConfigRecord;
use gfs_membership::store::file::FileStore;
use gfs_telemetry::Health;
use gfs_types::config::MasterConfig;
use gfs_types::ids::ServerUid;
use gfs_types::pace::MasterPace;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::duties;
use crate::fatal::Fatal;
use crate::front::{self, Front};
use crate::lifecycle;
use crate::metrics::Metrics;
use crate::oplog::Recovered;
use crate::outbox::Outbox;
use crate::running::{Parts, Running};
use crate::server::{self, FormatOrder, Member, Service, Standing};

/// Streams that are open at a clean end get so long for the replies they wait for.
const END_STREAMS: Duration = Duration::from_secs(3);

/// Runs a master until `shutdown` is ready, then ends it in order.
///
/// A disk that fails under the operation log ends the process at once, with exit code
/// [`crate::fatal::EXIT_CODE`]: behind that nothing can be promised.
///
/// # Errors
/// The configuration cannot work, an address or the data directory cannot be had, or what is in it
/// is foreign, newer or damaged. The message says what to do.
pub async fn run(config: MasterConfig, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let (told, _) = mpsc::unbounded_channel();
    run_observed(config, shutdown, told).await
}

/// How far a master is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It listens at these `HOST:PORT`s.
    Listening {
        /// Its own protocol.
        address: String,
        /// Health and metrics.
        http_address: String,
    },
    /// It waits for the order to format.
    Blank,
    /// It answers requests.
    Serving,
}

/// As [`run`], and tells how far it is: for whoever runs a master inside of a process.
///
/// # Errors
/// As [`run`].
pub async fn run_observed(
    config: MasterConfig,
    shutdown: impl Future<Output = ()>,
    told: mpsc::UnboundedSender<Event>,
) -> anyhow::Result<()> {
    config.validate().context("the configuration of the master cannot work")?;
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let dir = PathBuf::from(&config.dir);
    let opened = {
        let (fs, dir) = (fs.clone(), dir.clone());
        blocking(move || lifecycle::open(fs, &dir)).await?
    };
    front::unpublish(&fs, &dir)?;
    let front = Front::listen(&config.net).await?;
    front.publish(fs.as_ref(), &dir)?;
    tracing::info!(address = front.address, http = front.http_address, "listening");
    let (address, http_address) = (front.address.clone(), front.http_address.clone());
    let mut shell = Shell::start(config, fs, dir, front, told)?;
    shell.tell(Event::Listening { address, http_address });
    tokio::pin!(shutdown);
    let outcome = shell.live(opened, shutdown.as_mut()).await;
    let ended = shell.end().await;
    outcome.and(ended)
}

/// What is there all the time, whatever the master is.
struct Shell {
    config: MasterConfig,
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    http_address: String,
    health: Health,
    metrics: Arc<Metrics>,
    outbox: Arc<Outbox>,
    standing: watch::Sender<Standing>,
    orders: mpsc::Receiver<FormatOrder>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    http: JoinHandle<std::io::Result<()>>,
    running: Option<Running>,
    /// Locked until everything is written.
    held: Option<(DataDir, FileStore)>,
    told: mpsc::UnboundedSender<Event>,
}

impl Shell {
    fn start(
        config: MasterConfig,
        fs: Arc<dyn Fs>,
        dir: PathBuf,
        front: Front,
        told: mpsc::UnboundedSender<Event>,
    ) -> anyhow::Result<Self> {
        let registry = gfs_telemetry::http::registry()?;
        let metrics = Arc::new(Metrics::new(&registry)?);
        let (health, outbox) = (Health::starting(), Arc::new(Outbox::default()));
        let (standing, seen) = watch::channel(Standing::Starting);
        let (order, orders) = mpsc::channel(1);
        let service = Service::new(seen.clone(), outbox.clone(), metrics.clone(), order);
        let server = tokio::spawn(server::serve(front.listener, service, ending(seen)));
        let never = std::future::pending();
        let http = gfs_telemetry::http::serve(front.http_listener, health.clone(), registry, never);
        let http = tokio::spawn(http);
        let (http_address, running) = (front.http_address, None);
        Ok(Self {
            config,
            fs,
            dir,
            http_address,
            health,
            metrics,
            outbox,
            standing,
            orders,
            server,
            http,
            running,
            held: None,
            told,
        })
    }

    fn tell(&self, event: Event) {
        // Nobody has to listen.
        let _ = self.told.send(event);
    }

    /// From whatever was found in the data directory until the order to end.
    async fn live(
        &mut self,
        opened: Opened,
        mut shutdown: impl Future<Output = ()> + Unpin,
    ) -> anyhow::Result<()> {
        let mut data_dir = match opened {
            Opened::Formatted(data_dir) => data_dir,
            Opened::Blank(blank) => match self.formatted(blank, &mut shutdown).await? {
                Some(data_dir) => data_dir,
                None => return Ok(()),
            },
        };
        if let Some(cluster) = self.config.format {
            data_dir.expect_cluster(cluster)?;
        }
        let session = data_dir.next_session()?;
        let (record, store) = lifecycle::config_record(self.fs.clone(), &data_dir)?;
        let master = data_dir.format().own_uid;
        self.held = Some((data_dir, store));
        tracing::info!(cluster = %record.cluster, %master, session = session.0, "recovering");
        let Some(recovered) = self.recover(record.cluster, &mut shutdown).await? else {
            return Ok(());
        };
        self.serve(recovered, record, master).await?;
        self.attend(&mut shutdown).await
    }

    /// Starts the threads and, if the record names this master, the service.
    async fn serve(
        &mut self,
        recovered: Recovered,
        record: ConfigRecord,
        master: ServerUid,
    ) -> anyhow::Result<()> {
        let chunk_bytes = recovered.state.chunk_size().bytes();
        let running = Running::start(recovered, self.parts()?)?;
        let (inputs, commit) = (running.inputs.clone(), running.commit.clone());
        let (epoch, primary) = (record.epoch, record.primary);
        if primary == master {
            running.serve(epoch).await;
            self.health.ready();
            tracing::info!(epoch = epoch.0, "serving as the primary master");
        } else {
            self.health.not_ready(format!("not the primary master: the record names {primary}"));
            tracing::warn!(epoch = epoch.0, %primary, "not the primary master: not serving");
        }
        let member = Member { master, record, chunk_bytes, inputs, commit };
        let serving = member.is_primary();
        self.standing.send_replace(Standing::Member(Arc::new(member)));
        self.running = Some(running);
        if serving {
            self.tell(Event::Serving);
        }
        Ok(())
    }

    fn parts(&self) -> anyhow::Result<Parts> {
        let config = &self.config;
        let settings = Settings {
            replication: config.replication,
            lease_ms: config.lease,
            heartbeat_ms: config.heartbeat,
            trash_grace_ms: config.trash_grace,
            pace: MasterPace::default(),
            http_address: self.http_address.clone(),
            random: getrandom::u64()?,
        };
        Ok(Parts {
            fs: self.fs.clone(),
            dir: self.dir.clone(),
            settings,
            checkpoint_log_bytes: config.log_segment_size.0,
            reserve_bytes: config.reserve.0,
            outbox: self.outbox.clone(),
            metrics: self.metrics.clone(),
            fatal: Fatal::default(),
        })
    }

    /// The duties of every day, until the order to end.
    async fn attend(
        &self,
        shutdown: &mut (impl Future<Output = ()> + Unpin),
    ) -> anyhow::Result<()> {
        let Some(running) = &self.running else { return Ok(()) };
        tokio::select! {
            () = shutdown => {}
            () = duties::tick(&running.inputs) => {}
            () = duties::observe(&running.inputs, &self.outbox, &self.metrics) => {}
            () = duties::watch_disk(&running.inputs, &running.disk, &self.metrics) => {}
            down = duties::stepped_down(&self.outbox) => {
                let reason = format!("a newer epoch exists: {down}");
                self.health.not_ready(reason.clone());
                anyhow::bail!("{reason}: this master must not serve any more");
            }
        }
        Ok(())
    }

    /// Stops accepting, lets streams end, makes everything durable.
    async fn end(mut self) -> anyhow::Result<()> {
        self.health.not_ready("ending");
        self.standing.send_replace(Standing::Ending);
        if tokio::time::timeout(END_STREAMS, &mut self.server).await.is_err() {
            tracing::info!("some streams did not end in time: they are cut");
            self.server.abort();
        }
        let ended = match self.running.take() {
            Some(running) => running.end().await,
            None => Ok(()),
        };
        self.http.abort();
        front::unpublish(&self.fs, &self.dir)?;
        tracing::info!("ended");
        ended
    }
}

async fn ending(mut standing: watch::Receiver<Standing>) {
    // An error says that the shell itself is gone.
    let _ = standing.wait_for(|standing| matches!(standing, Standing::Ending)).await;
}

/// Runs what blocks on the disk beside the runtime's own threads.
async fn blocking<T, E>(act: impl FnOnce() -> Result<T, E> + Send + 'static) -> anyhow::Result<T>
where
    T: Send + 'static,
    E: Into<anyhow::Error> + Send + 'static,
{
    tokio::task::spawn_blocking(act).await?.map_err(Into::into)
}
