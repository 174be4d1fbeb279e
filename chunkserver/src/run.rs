//! A chunkserver from its start to its clean end.

mod front;
mod serving;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use gfs_durable::data_dir::{BlankDir, DataDir, Opened, Role};
use gfs_durable::fs::Fs;
use gfs_durable::fs::real::RealFs;
use gfs_telemetry::Health;
use gfs_types::config::ChunkserverConfig;
use gfs_types::ids::{ProcessSession, ServerUid};
use tokio::sync::watch;

use crate::master_link::{Identity, Obeyed, introduce};
use crate::metrics::Metrics;
use front::Front;
use serving::Serving;

/// Runs a chunkserver until `shutdown` is ready, then gives its leases up and ends.
///
/// A sync that fails ends the process at once, with exit code [`crate::EXIT_DISK_FAILED`]: behind that nothing
/// can be promised.
///
/// # Errors
/// The configuration cannot work, an address or the data directory cannot be had, or what is in it is foreign,
/// newer or damaged. The message says what to do.
pub async fn run(
    config: ChunkserverConfig,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    config.validate().context("the configuration of the chunkserver cannot work")?;
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let dir = Path::new(&config.dir);
    let opened = DataDir::open(fs.clone(), dir, Role::Chunkserver)
        .with_context(|| format!("the data directory {} cannot be used", dir.display()))?;
    front::unpublish(&*fs, dir)?;
    let front = Front::listen(&config.net).await?;
    front.publish(&*fs, dir)?;
    tracing::info!(address = front.address, http = front.http_address, "listening");
    let registry = gfs_telemetry::http::registry()?;
    let metrics = Arc::new(Metrics::new(&registry)?);
    let health = Health::starting();
    let (end, ended) = watch::channel(false);
    let http =
        gfs_telemetry::http::serve(front.http_listener, health.clone(), registry, has_ended(ended));
    let http = tokio::spawn(http);
    let addresses = (front.address, front.http_address);
    let identity = |chunkserver, session| Identity {
        cluster: config.cluster,
        chunkserver,
        session,
        address: addresses.0.clone(),
        http_address: addresses.1.clone(),
        topology: config.topology.clone(),
    };
    tokio::pin!(shutdown);
    let prepared = tokio::select! {
        prepared = prepare(&*fs, opened, &config, &identity, &health) => Some(prepared?),
        () = &mut shutdown => None,
    };
    if let Some((data_dir, session)) = prepared {
        let format = data_dir.format();
        let mut identity = identity(format.own_uid, session);
        identity.cluster = Some(format.cluster_uid);
        let obeyed = Obeyed::open(&*fs, dir, session)?;
        let parts = serving::Parts { config: &config, identity, obeyed, listener: front.listener };
        let serving = Serving::start(fs.clone(), parts, health.clone(), metrics).await?;
        shutdown.await;
        health.not_ready("ending");
        serving.end().await;
        tracing::info!("the chunkserver ended in order");
        drop(data_dir);
    }
    front::unpublish(&*fs, dir)?;
    end.send_replace(true);
    http.await??;
    Ok(())
}

async fn has_ended(mut ended: watch::Receiver<bool>) {
    // The sender is gone only when the server is.
    let _ = ended.wait_for(|ended| *ended).await;
}

/// A formatted directory, and the number of this run. A blank one belongs to the cluster of the first master that
/// answers, or to the one in the configuration and no other.
async fn prepare(
    fs: &dyn Fs,
    opened: Opened,
    config: &ChunkserverConfig,
    identity: &impl Fn(ServerUid, ProcessSession) -> Identity,
    health: &Health,
) -> anyhow::Result<(DataDir, ProcessSession)> {
    let mut data_dir = match opened {
        Opened::Formatted(data_dir) => data_dir,
        Opened::Blank(blank) => {
            health.not_ready("blank: no master has said yet which cluster this is");
            let me = ServerUid(random()?);
            let introduction = introduce(&config.masters, &identity(me, ProcessSession(0))).await;
            format(fs, blank, me, introduction)?
        }
    };
    if let Some(expected) = config.cluster {
        data_dir.expect_cluster(expected)?;
    }
    let session = data_dir.next_session()?;
    Ok((data_dir, session))
}

fn format(
    fs: &dyn Fs,
    blank: BlankDir,
    me: ServerUid,
    introduction: crate::master_link::Introduction,
) -> anyhow::Result<DataDir> {
    let cluster = introduction.cluster;
    tracing::info!(%cluster, chunkserver = %me, "formatting the data directory");
    let data_dir = blank.format(cluster, me, |dir| {
        Obeyed::create(fs, dir, introduction.epoch, introduction.chunk_size)
    })?;
    Ok(data_dir)
}

fn random() -> anyhow::Result<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("the system gives no random numbers")?;
    Ok(u128::from_le_bytes(bytes))
}
