//! SIGKILL of the master under load: nothing acknowledged is lost or wrong, and work goes on by itself
//! (docs/semantics.md, "Metadata changes", "Record append").

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use gfs_client::Client;
use gfs_tests::cluster::{Cluster, Options};
use gfs_tests::equal;
use gfs_tests::load::{Crew, Load};
use gfs_tests::payload;
use gfs_tests::rounds::draw;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

const ROUNDS: u64 = 20;
const CREW: Crew = Crew { appenders: 8, namers: 3, contenders: 4, overwriters: 0, readers: 0 };
/// A round with less does not count.
const APPENDS_MIN: u64 = 50;
const CHANGES_MIN: u64 = 20;
/// Appends go on this soon after the master is back.
const RESUME_WITHIN: Duration = Duration::from_secs(2);
/// All replicas are equal after so much calm.
const EQUAL_WITHIN: Duration = Duration::from_secs(60);

/// Kills the master at a random moment, brings it back, and demands that appends go on: of those who were at it,
/// and of one who comes anew. Gives whether the round counts.
async fn round(cluster: &Arc<Cluster>, load: &Load, probe: &Client, seed: u64) -> Result<bool> {
    let before = load.counts();
    sleep(Duration::from_millis(draw(seed, 1, 300, 1800))).await;
    blocking(cluster, |cluster| cluster.kill("master1")).await?;
    sleep(Duration::from_millis(draw(seed, 2, 1, 700))).await;
    blocking(cluster, |cluster| cluster.restart("master1")).await?;

    let back = Instant::now();
    let resumed = load.resumed(back, RESUME_WITHIN).await?;
    let records = probe.open("/probe").await?.record_writer();
    records.append(payload::record(u64::MAX, seed, 100)).await?;
    let fresh = back.elapsed() - resumed;
    anyhow::ensure!(fresh <= RESUME_WITHIN, "round {seed}: a fresh append took {fresh:?}");

    let counts = load.counts().since(before);
    println!("round {seed}: {counts}, resumed in {resumed:?}, fresh {fresh:?}");
    Ok(counts.appends >= APPENDS_MIN && counts.changes >= CHANGES_MIN)
}

async fn blocking(cluster: &Arc<Cluster>, act: fn(&Cluster)) -> Result<()> {
    let cluster = Arc::clone(cluster);
    Ok(spawn_blocking(move || act(&cluster)).await?)
}

#[test]
fn the_master_dies_twenty_times_and_nothing_acknowledged_is_lost() -> Result<()> {
    // Small chunks: every few records a new one is needed, and with it the master.
    let cluster = Arc::new(Cluster::start_with(&Options::with(&["--chunk-size", "1MiB"])));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let probe = Client::connect(&cluster.masters).await?;
        probe.create("/probe", Default::default()).await?;
        let mut load = Load::start(&cluster.masters, "/load", 0, CREW).await?;
        let (mut counted, mut tried) = (0, 0);
        while counted < ROUNDS {
            tried += 1;
            anyhow::ensure!(
                tried <= 2 * ROUNDS,
                "only {counted} of {tried} rounds had enough load to count"
            );
            counted += u64::from(round(&cluster, &load, &probe, tried).await?);
        }
        load.end().await?;
        load.check().await?;
        // A member that was slow was left out by a raise, and is made equal again by itself.
        equal::wait(&cluster.masters, "/", Instant::now() + EQUAL_WITHIN).await
    })?;
    cluster.ok(&["fsck", "--replicas", "/"]);
    Ok(())
}
