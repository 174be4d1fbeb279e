//! SIGKILL of the master under load: nothing acknowledged is lost or wrong, and work goes on by itself
//! (docs/semantics.md, "Metadata changes", "Record append").

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use gfs_client::{Client, ErrorKind};
use gfs_tests::cluster::{Cluster, Options};
use gfs_tests::payload;
use tokio::sync::Mutex;
use tokio::time::sleep;

const ROUNDS: u64 = 20;
const APPENDERS: u64 = 8;
const NAMESPACE_CLIENTS: u64 = 3;
/// A round with less does not count.
const APPENDS_MIN: u64 = 50;
const CHANGES_MIN: u64 = 20;
/// Appends go on this soon after the master is back.
const RESUME_WITHIN: Duration = Duration::from_secs(2);

/// What all the load has in common.
struct Load {
    client: Client,
    over: AtomicBool,
    /// Acknowledged appends, for each of the two shared files.
    appends: [AtomicU64; 2],
    changes: AtomicU64,
    /// (writer, seq) → offset, as acknowledged.
    acknowledged: Mutex<BTreeMap<(u64, u64), u64>>,
}

/// Small chunks: every few records a new one is needed, and with it the master.
fn small_chunks() -> Options {
    Options::with(&["--chunk-size", "1MiB"])
}

async fn appender(load: Arc<Load>, writer: u64) -> anyhow::Result<()> {
    let file = load.client.open(format!("/log-{}", writer % 2)).await?;
    let records = file.record_writer();
    for seq in 0.. {
        if load.over.load(Ordering::Relaxed) {
            break;
        }
        let length = payload::length(writer, seq, 100, 64 << 10);
        let offset = records.append(payload::record(writer, seq, length)).await?;
        load.acknowledged.lock().await.insert((writer, seq), offset);
        load.appends[usize::from(writer % 2 == 1)].fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// One directory's names as one client knows them: it alone changes them.
#[derive(Default)]
struct Names {
    there: BTreeSet<String>,
    /// Outcome unknown: may be there or not.
    maybe: BTreeSet<String>,
}

impl Names {
    /// Notes the end of a change that takes `gone` away and brings `new`.
    fn note(
        &mut self,
        gone: Option<&str>,
        new: Option<&str>,
        outcome: &gfs_client::Result<()>,
    ) -> anyhow::Result<bool> {
        match outcome {
            Ok(()) => {
                if let Some(gone) = gone {
                    self.there.remove(gone);
                }
                self.there.extend(new.map(str::to_owned));
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Unknown => {
                for name in gone.into_iter().chain(new) {
                    self.there.remove(name);
                    self.maybe.insert(name.to_owned());
                }
                Ok(false)
            }
            Err(error) => anyhow::bail!("{gone:?} -> {new:?}: {error}"),
        }
    }
}

/// Creates, renames, deletes, brings back; every change is noted with its outcome.
async fn namespace_client(load: Arc<Load>, number: u64) -> anyhow::Result<Names> {
    let dir = format!("/names-{number}");
    load.client.mkdir(&dir, true).await?;
    let mut names = Names::default();
    for turn in 0u64.. {
        if load.over.load(Ordering::Relaxed) {
            break;
        }
        let path = |name: &str| format!("{dir}/{name}");
        let fresh = format!("file-{turn}");
        let created = load.client.create(path(&fresh), Default::default()).await.map(|_| ());
        let mut changed = names.note(None, Some(&fresh), &created)?;
        let settled = names.there.contains(&fresh);
        if settled && turn % 3 == 1 {
            let renamed = format!("renamed-{turn}");
            let outcome = load.client.rename(path(&fresh), path(&renamed), false).await.map(|_| ());
            changed &= names.note(Some(&fresh), Some(&renamed), &outcome)?;
        } else if settled && turn % 3 == 2 {
            let outcome = load.client.delete(path(&fresh), Default::default()).await;
            changed &= names.note(Some(&fresh), None, &outcome)?;
            if outcome.is_ok() && turn % 6 == 2 {
                let outcome = load.client.undelete(path(&fresh)).await.map(|_| ());
                changed &= names.note(None, Some(&fresh), &outcome)?;
            }
        }
        if changed {
            load.changes.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(names)
}

impl Load {
    fn appends(&self) -> [u64; 2] {
        [0, 1].map(|file| self.appends[file].load(Ordering::Relaxed))
    }

    /// How long it takes until both shared files have grown beyond `before`.
    async fn resumes(&self, before: [u64; 2]) -> anyhow::Result<Duration> {
        let back = Instant::now();
        while !(0..2).all(|file| self.appends()[file] > before[file]) {
            let waited = back.elapsed();
            anyhow::ensure!(
                waited < RESUME_WITHIN,
                "{waited:?} after the master's return appends stand still: {before:?} before, {:?} now",
                self.appends()
            );
            sleep(Duration::from_millis(5)).await;
        }
        Ok(back.elapsed())
    }
}

/// Kills the master at a random moment, brings it back, and demands that appends go on: of those who were at it,
/// and of one who comes anew. Gives whether the round counts.
async fn round(cluster: &Arc<Cluster>, load: &Load, seed: u64) -> anyhow::Result<bool> {
    let (appends, changes) = (load.appends(), load.changes.load(Ordering::Relaxed));
    sleep(Duration::from_millis(300 + payload::length(seed, 1, 1, 1500) as u64)).await;
    blocking(cluster, |cluster| cluster.kill("master1")).await?;
    sleep(Duration::from_millis(payload::length(seed, 2, 1, 700) as u64)).await;
    blocking(cluster, |cluster| cluster.restart("master1")).await?;

    let resumed = load.resumes(load.appends()).await?;
    let back = Instant::now();
    let probe = load.client.open("/probe").await?.record_writer();
    probe.append(payload::record(u64::MAX, seed, 100)).await?;
    let fresh = back.elapsed();
    anyhow::ensure!(fresh <= RESUME_WITHIN, "round {seed}: a fresh append took {fresh:?}");

    let appends: u64 = load.appends().iter().sum::<u64>() - appends.iter().sum::<u64>();
    let changes = load.changes.load(Ordering::Relaxed) - changes;
    println!(
        "round {seed}: {appends} appends, {changes} changes, resumed in {resumed:?}, fresh {fresh:?}"
    );
    Ok(appends >= APPENDS_MIN && changes >= CHANGES_MIN)
}

async fn blocking(cluster: &Arc<Cluster>, act: fn(&Cluster)) -> anyhow::Result<()> {
    let cluster = Arc::clone(cluster);
    Ok(tokio::task::spawn_blocking(move || act(&cluster)).await?)
}

async fn check_appends(load: &Load) -> anyhow::Result<()> {
    let acknowledged = load.acknowledged.lock().await;
    let mut found = BTreeMap::new();
    for path in ["/log-0", "/log-1"] {
        let mut records = load.client.open(path).await?.record_reader();
        while let Some(record) = records.next().await {
            let record = record?;
            let id = payload::check(&record.payload);
            let id =
                id.ok_or_else(|| anyhow::anyhow!("a wrong record at {} of {path}", record.offset))?;
            anyhow::ensure!(found.insert(id, record.offset).is_none(), "{id:?} came twice");
        }
    }
    for id in acknowledged.keys() {
        anyhow::ensure!(found.contains_key(id), "record {id:?} was acknowledged and is gone");
    }
    // A repeated append may stand twice; the offset that was told must hold one of the copies.
    for ((writer, seq), offset) in acknowledged.iter() {
        if found[&(*writer, *seq)] == *offset {
            continue;
        }
        let file = load.client.open(format!("/log-{}", writer % 2)).await?;
        let mut records = file.record_reader_from(*offset);
        let record = records.next().await.expect("a record stands at its offset")?;
        anyhow::ensure!(
            record.offset == *offset && payload::check(&record.payload) == Some((*writer, *seq))
        );
    }
    println!("{} acknowledged records, all there", acknowledged.len());
    Ok(())
}

async fn check_names(client: &Client, number: u64, names: &Names) -> anyhow::Result<()> {
    let entries = client.list(format!("/names-{number}"));
    let listed: BTreeSet<String> = entries.map_ok(|entry| entry.path).try_collect().await?;
    let lost: Vec<_> = names.there.difference(&listed).collect();
    anyhow::ensure!(lost.is_empty(), "acknowledged and gone: {lost:?}");
    let sure = |name: &&String| !names.there.contains(*name) && !names.maybe.contains(*name);
    let ghosts: Vec<_> = listed.iter().filter(sure).collect();
    anyhow::ensure!(ghosts.is_empty(), "deleted or renamed, and there again: {ghosts:?}");
    println!("{} names, {} of unknown outcome", names.there.len(), names.maybe.len());
    Ok(())
}

#[test]
fn the_master_dies_twenty_times_and_nothing_acknowledged_is_lost() -> anyhow::Result<()> {
    let cluster = Arc::new(Cluster::start_with(&small_chunks()));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let client = Client::connect(&cluster.masters).await?;
        for path in ["/log-0", "/log-1", "/probe"] {
            client.create(path, Default::default()).await?;
        }
        let load = Arc::new(Load {
            client,
            over: AtomicBool::new(false),
            appends: Default::default(),
            changes: AtomicU64::new(0),
            acknowledged: Mutex::default(),
        });
        let appenders: Vec<_> =
            (0..APPENDERS).map(|w| tokio::spawn(appender(Arc::clone(&load), w))).collect();
        let clients: Vec<_> = (0..NAMESPACE_CLIENTS)
            .map(|n| tokio::spawn(namespace_client(Arc::clone(&load), n)))
            .collect();

        let (mut counted, mut tried) = (0, 0);
        while counted < ROUNDS {
            tried += 1;
            anyhow::ensure!(
                tried <= 2 * ROUNDS,
                "only {counted} of {tried} rounds had enough load to count"
            );
            counted += u64::from(round(&cluster, &load, tried).await?);
        }
        load.over.store(true, Ordering::Relaxed);
        for appender in appenders {
            appender.await??;
        }
        for (number, client) in (0..).zip(clients) {
            check_names(&load.client, number, &client.await??).await?;
        }
        check_appends(&load).await
    })?;
    cluster.ok(&["fsck", "--replicas", "/"]);
    Ok(())
}
