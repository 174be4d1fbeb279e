//! SIGSTOP: a server that stands still for long and wakes believes what it believed before. It must not acknowledge anything
//! that the others do not have (docs/semantics.md, LEASE-2).

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gfs_client::Client;
use gfs_tests::cluster::{Cluster, Options};
use gfs_tests::rounds::{self, Plan, draw};
use rustix::process::Signal;
use tokio::time::sleep;

/// In the test command: longer than a lease. `cargo xtask soak` asks for more and longer ones.
const ROUNDS: u64 = 1;
const STOPPED: Duration = Duration::from_secs(12);
const STOPPED_IN_SOAK: Duration = Duration::from_secs(60);

const LOOKS: u32 = 100;
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The server that leads the last chunk of a file. A chunk that is just made has nobody for a moment.
async fn primary(cluster: &Cluster, path: &str) -> Result<String> {
    let client = Client::connect(&cluster.masters).await?;
    for _ in 0..LOOKS {
        let chunk = client.locate(path).await?.chunks.pop().context("no chunk")?;
        let leads = |uid| chunk.replicas.iter().find(|replica| replica.chunkserver == uid);
        if let Some(primary) = chunk.primary.and_then(leads) {
            return cluster.role_at(&primary.address).context("a primary that is no role");
        }
        sleep(LOOK_AGAIN).await;
    }
    bail!("nobody leads the last chunk of {path}")
}

/// Mostly who leads, since that is who could do harm.
async fn victim(cluster: &Cluster, seed: u64, dir: &str) -> Result<String> {
    Ok(match seed % 4 {
        0 => "master1".to_owned(),
        1 | 2 => primary(cluster, &format!("{dir}/log-0")).await?,
        _ => format!("cs{}", draw(seed, 10, 1, 3)),
    })
}

async fn stop(cluster: Arc<Cluster>, seed: u64, dir: String, stopped: Duration) -> Result<String> {
    let role = victim(&cluster, seed, &dir).await?;
    cluster.signal(&role, Signal::STOP);
    sleep(stopped).await;
    cluster.signal(&role, Signal::CONT);
    Ok(format!("{role} stopped for {stopped:?}"))
}

#[test]
fn a_stopped_server_wakes_and_nothing_acknowledged_is_lost() -> Result<()> {
    let cluster = Arc::new(Cluster::start_with(&Options::with(&["--chunk-size", "1MiB"])));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let plan = Plan::of(ROUNDS)?;
    let stopped = if plan.soak { STOPPED_IN_SOAK } else { STOPPED };
    let fault = |seed, dir| stop(Arc::clone(&cluster), seed, dir, stopped);
    runtime.block_on(rounds::run(&cluster.masters, plan, fault))
}
