//! FULL-1: a full disk is a normal state. Disks are filled to their last byte under load and emptied again: reads, deletes
//! and undeletes go on, writers are told which server has no space, nothing acknowledged is lost, and all goes on by itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gfs_client::{Client, ErrorKind, Options as ClientOptions};
use gfs_tests::cluster::{Cluster, Options};
use gfs_tests::command::run;
use gfs_tests::disks::{Disk, with_own_mounts};
use gfs_tests::payload;
use tokio::task::JoinHandle;
use tokio::time::sleep;

const APPENDERS: u64 = 8;
/// Files that are read, deleted and brought back.
const KEPT: u64 = 4;
const KEPT_BYTES: usize = 3 << 20;
/// So long a writer waits for space before it tells.
const PATIENCE: Duration = Duration::from_secs(2);
/// Everything goes on this soon after there is space.
const RESUME_WITHIN: Duration = Duration::from_secs(10);
/// Replicas are equal this soon.
const CALM_WITHIN: Duration = Duration::from_secs(30);
const CHUNKSERVER_DISK: u64 = 300 << 20;
const MASTER_DISK: u64 = 256 << 20;

/// A cluster whose servers have small disks of their own.
struct Small {
    cluster: Cluster,
    disks: BTreeMap<String, Disk>,
}

fn cluster(chunkservers: u64, disk_bytes: u64) -> Small {
    let count = chunkservers.to_string();
    let options = ["--chunk-size", "4MiB", "--chunkservers", &count];
    let dir = Cluster::start_with(&Options::with(&options)).stop();
    let home = dir.path().join("cluster");
    let mut disks = BTreeMap::new();
    let roles = (1..=chunkservers).map(|number| (format!("cs{number}"), disk_bytes));
    for (role, bytes) in roles.chain([("master1".to_owned(), MASTER_DISK)]) {
        let path = home.join(format!("{role}.yaml"));
        let config = std::fs::read_to_string(&path).expect("a configuration");
        let config = config.replace("reserve: 64MiB", "reserve: 4MiB");
        let config = config.replace("log_segment_size: 64MiB", "log_segment_size: 2MiB");
        std::fs::write(&path, config).expect("a configuration");
        disks.insert(role.clone(), Disk::under(&home.join(&role), bytes));
    }
    Small { cluster: Cluster::start_in(dir, &Options::default()), disks }
}

/// What all the load has in common.
struct Load {
    client: Client,
    over: AtomicBool,
    /// Acknowledged appends of each writer.
    appended: Vec<AtomicU64>,
    acknowledged: Mutex<BTreeMap<(u64, u64), u64>>,
    /// What each writer was told last, since it last had success.
    told: Vec<Mutex<Option<String>>>,
    puts: AtomicU64,
    put_told: Mutex<Option<String>>,
    reads: AtomicU64,
}

fn kept(number: u64) -> Vec<u8> {
    payload::record(1000 + number, 0, KEPT_BYTES)
}

async fn put(client: &Client, path: &str, bytes: Vec<u8>) -> gfs_client::Result<()> {
    let mut upload = client.upload(path, Default::default()).await?;
    upload.write(bytes).await?;
    upload.finish().await.map(|_| ())
}

/// Appends until it is over; a record whose outcome is not known is not repeated.
async fn appender(load: Arc<Load>, writer: u64) -> anyhow::Result<()> {
    let number = usize::try_from(writer)?;
    let file = load.client.open(format!("/log-{writer}")).await?;
    let mut records = file.record_writer();
    for seq in 0.. {
        if load.over.load(Ordering::Relaxed) {
            break;
        }
        let length = payload::length(writer, seq, 100, 8 << 10);
        match records.append(payload::record(writer, seq, length)).await {
            Ok(offset) => {
                load.acknowledged.lock().expect("no panic").insert((writer, seq), offset);
                load.appended[number].fetch_add(1, Ordering::Relaxed);
                *load.told[number].lock().expect("no panic") = None;
                sleep(Duration::from_millis(5)).await;
            }
            Err(error) => {
                let waits = matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unknown);
                anyhow::ensure!(waits, "append to /log-{writer}: {error}");
                *load.told[number].lock().expect("no panic") = Some(error.to_string());
                records = file.record_writer();
            }
        }
    }
    Ok(())
}

/// Stores files and removes them for good.
async fn putter(load: Arc<Load>) -> anyhow::Result<()> {
    for turn in 0.. {
        if load.over.load(Ordering::Relaxed) {
            break;
        }
        let path = format!("/put-{}", turn % 5);
        match put(&load.client, &path, payload::record(77, turn, 256 << 10)).await {
            Ok(()) => {
                load.puts.fetch_add(1, Ordering::Relaxed);
                *load.put_told.lock().expect("no panic") = None;
            }
            Err(error) => {
                let waits = matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unknown);
                anyhow::ensure!(waits, "put {path}: {error}");
                *load.put_told.lock().expect("no panic") = Some(error.to_string());
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Whatever else happens, what was stored is read.
async fn reader(load: Arc<Load>, first: u64) -> anyhow::Result<()> {
    for turn in first.. {
        if load.over.load(Ordering::Relaxed) {
            break;
        }
        let number = turn % KEPT;
        let file = load.client.open(format!("/kept-{number}")).await?;
        let read = file.read_at(0, KEPT_BYTES as u64).await?;
        anyhow::ensure!(read == kept(number), "/kept-{number} is another file");
        load.reads.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

impl Load {
    async fn start(
        masters: &str,
    ) -> anyhow::Result<(Arc<Self>, Vec<JoinHandle<anyhow::Result<()>>>)> {
        let options = ClientOptions { timeout: PATIENCE, ..ClientOptions::new(masters)? };
        let client = Client::connect_with(options).await?;
        for number in 0..KEPT {
            put(&client, &format!("/kept-{number}"), kept(number)).await?;
            put(&client, &format!("/comes-and-goes-{number}"), kept(number)).await?;
        }
        for writer in 0..APPENDERS {
            client.create(format!("/log-{writer}"), Default::default()).await?;
        }
        let writers = 0..APPENDERS;
        let load = Arc::new(Self {
            client,
            over: AtomicBool::new(false),
            appended: writers.clone().map(|_| AtomicU64::new(0)).collect(),
            acknowledged: Mutex::default(),
            told: writers.clone().map(|_| Mutex::default()).collect(),
            puts: AtomicU64::new(0),
            put_told: Mutex::default(),
            reads: AtomicU64::new(0),
        });
        let mut tasks: Vec<_> =
            writers.map(|writer| tokio::spawn(appender(Arc::clone(&load), writer))).collect();
        tasks.push(tokio::spawn(putter(Arc::clone(&load))));
        tasks.extend((0..2).map(|first| tokio::spawn(reader(Arc::clone(&load), first))));
        Ok((load, tasks))
    }

    fn appended(&self) -> Vec<u64> {
        self.appended.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// What the writers that wait were told last.
    fn told(&self) -> Vec<Option<String>> {
        self.told.iter().map(|told| told.lock().expect("no panic").clone()).collect()
    }

    /// Waits until every appender and the putter had success after now.
    async fn goes_on(&self, within: Duration) -> anyhow::Result<Duration> {
        let (appended, puts, since) =
            (self.appended(), self.puts.load(Ordering::Relaxed), Instant::now());
        loop {
            let now = self.appended();
            let stuck: Vec<_> = (0..now.len()).filter(|at| now[*at] == appended[*at]).collect();
            if stuck.is_empty() && self.puts.load(Ordering::Relaxed) > puts {
                return Ok(since.elapsed());
            }
            anyhow::ensure!(
                since.elapsed() < within,
                "{within:?} later these appenders stand still: {stuck:?}; told: {:?}, {:?}",
                self.told(),
                self.put_told.lock().expect("no panic")
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reads go on, and so does all that frees.
    async fn works_without_space(&self) -> anyhow::Result<()> {
        let reads = self.reads.load(Ordering::Relaxed);
        for number in 0..KEPT {
            let path = format!("/comes-and-goes-{number}");
            self.client.stat(&path).await?;
            self.client.delete(&path, Default::default()).await?;
            anyhow::ensure!(self.client.stat(&path).await.is_err(), "{path} was deleted");
            self.client.undelete(&path).await?;
            let read = self.client.open(&path).await?.read_at(0, KEPT_BYTES as u64).await?;
            anyhow::ensure!(read == kept(number), "{path} came back as another file");
        }
        for writer in 0..APPENDERS {
            // Bytes that were acknowledged, of a file that waits for space.
            let file = self.client.open(format!("/log-{writer}")).await?;
            file.length().await?;
            let mut records = file.record_reader();
            let first = records.next().await.expect("a record")?;
            anyhow::ensure!(payload::check(&first.payload) == Some((writer, 0)), "/log-{writer}");
        }
        let since = Instant::now();
        while self.reads.load(Ordering::Relaxed) < reads + 10 {
            anyhow::ensure!(since.elapsed() < RESUME_WITHIN, "the readers stand still");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Ends the load, and looks for everything that was acknowledged.
    async fn end(&self, tasks: Vec<JoinHandle<anyhow::Result<()>>>) -> anyhow::Result<()> {
        self.over.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await??;
        }
        let mut found = BTreeMap::new();
        for writer in 0..APPENDERS {
            let mut records = self.client.open(format!("/log-{writer}")).await?.record_reader();
            while let Some(record) = records.next().await {
                let record = record?;
                let id = payload::check(&record.payload);
                let id = id.ok_or_else(|| anyhow::anyhow!("a wrong record in /log-{writer}"))?;
                anyhow::ensure!(found.insert(id, ()).is_none(), "{id:?} came twice");
            }
        }
        let acknowledged = self.acknowledged.lock().expect("no panic");
        let lost: Vec<_> = acknowledged.keys().filter(|id| !found.contains_key(id)).collect();
        anyhow::ensure!(lost.is_empty(), "acknowledged and gone: {lost:?}");
        println!(
            "{} acknowledged records, all there; {} puts, {} reads",
            acknowledged.len(),
            self.puts.load(Ordering::Relaxed),
            self.reads.load(Ordering::Relaxed)
        );
        Ok(())
    }
}

/// Every replica is equal to the others before long. A chunk that was born while a disk was full may have fewer than it should:
/// it gets more when there is re-replication.
fn becomes_calm(cluster: &Cluster) -> anyhow::Result<()> {
    let since = Instant::now();
    loop {
        let output = run(&mut cluster.gfs(&["fsck", "--replicas", "/"]));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let findings = text.lines().filter(|line| line.contains(" chunk ") || line.contains('\t'));
        let differing: Vec<_> = findings.filter(|line| !line.contains("below goal")).collect();
        if output.status.success() || (differing.is_empty() && text.contains("below goal")) {
            println!("calm after {:?}", since.elapsed());
            return Ok(());
        }
        anyhow::ensure!(
            since.elapsed() < CALM_WITHIN,
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Runs the body of a test where disks can be mounted, on a cluster of so many chunkservers with disks of so many bytes.
fn test(
    name: &str,
    chunkservers: u64,
    disk_bytes: u64,
    act: impl AsyncFnOnce(&Small) -> anyhow::Result<()>,
) {
    with_own_mounts(name, || {
        let small = cluster(chunkservers, disk_bytes);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
        if let Err(error) = runtime.block_on(act(&small)) {
            // Before the cluster ends, which then prints its logs.
            drop(runtime);
            panic!("{error}");
        }
    });
}

/// Fills disks to their last byte, until they stay as full: a chunkserver gives back space that it took ahead of its writers.
async fn fill(disks: &[&Disk]) -> anyhow::Result<()> {
    for _ in 0..10 {
        disks.iter().for_each(|disk| disk.fill());
        sleep(PATIENCE).await;
        if disks.iter().all(|disk| disk.free_bytes() == 0) {
            return Ok(());
        }
    }
    anyhow::bail!("space is given back again and again")
}

/// Waits until so many of the writers that `waits` picks were told of one of these servers.
async fn are_told(load: &Load, names: &[String], writers: &[u64]) -> anyhow::Result<()> {
    let since = Instant::now();
    loop {
        let told = load.told();
        let named = |writer: &&u64| {
            let told = told[usize::try_from(**writer).unwrap_or(0)].as_ref();
            told.is_some_and(|told| {
                told.contains("no space left") && names.iter().any(|name| told.contains(name))
            })
        };
        if writers.iter().filter(named).count() == writers.len() {
            println!("told, for example: {}", told.iter().flatten().next().map_or("", |told| told));
            return Ok(());
        }
        anyhow::ensure!(since.elapsed() < 4 * PATIENCE, "{names:?}, {writers:?}: {told:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// The files whose last chunk has a replica on the server at this address.
async fn writers_to(load: &Load, address: &str) -> anyhow::Result<Vec<u64>> {
    let mut writers = Vec::new();
    for writer in 0..APPENDERS {
        let found = load.client.locate(format!("/log-{writer}")).await?;
        let last = found.chunks.last();
        let here =
            last.is_some_and(|chunk| chunk.replicas.iter().any(|one| one.address == address));
        writers.extend(here.then_some(writer));
    }
    Ok(writers)
}

#[test]
fn one_chunkserver_without_space_is_named_and_all_goes_on_when_it_has_some() {
    let name = "one_chunkserver_without_space_is_named_and_all_goes_on_when_it_has_some";
    test(name, 4, CHUNKSERVER_DISK, async |Small { cluster, disks }| {
        let address = cluster.address("cs1");
        let (load, tasks) = Load::start(&cluster.masters).await?;
        load.goes_on(RESUME_WITHIN).await?;
        for _ in 0..2 {
            fill(&[&disks["cs1"]]).await?;
            let writers = writers_to(&load, &address).await?;
            anyhow::ensure!(!writers.is_empty(), "no file has a chunk there");
            are_told(&load, std::slice::from_ref(&address), &writers).await?;
            load.works_without_space().await?;
            let puts = load.puts.load(Ordering::Relaxed);
            sleep(PATIENCE).await;
            let puts = load.puts.load(Ordering::Relaxed) - puts;
            anyhow::ensure!(puts > 0, "new files go to the other servers: {:?}", load.put_told);
            disks["cs1"].empty();
            println!("went on after {:?}", load.goes_on(RESUME_WITHIN).await?);
        }
        load.end(tasks).await?;
        becomes_calm(cluster)
    });
}

#[test]
fn when_all_chunkservers_are_full_what_is_there_is_read_and_freed() {
    let name = "when_all_chunkservers_are_full_what_is_there_is_read_and_freed";
    test(name, 3, CHUNKSERVER_DISK, async |Small { cluster, disks }| {
        let all: Vec<_> = disks.iter().filter(|(role, _)| role.starts_with("cs")).collect();
        let addresses: Vec<_> = all.iter().map(|(role, _)| cluster.address(role)).collect();
        let (load, tasks) = Load::start(&cluster.masters).await?;
        load.goes_on(RESUME_WITHIN).await?;
        fill(&all.iter().map(|(_, disk)| *disk).collect::<Vec<_>>()).await?;
        are_told(&load, &addresses, &(0..APPENDERS).collect::<Vec<_>>()).await?;
        load.works_without_space().await?;
        let told = load.put_told.lock().expect("no panic").clone().unwrap_or_default();
        anyhow::ensure!(
            told.contains("no space left") && addresses.iter().any(|one| told.contains(one)),
            "the putter was told: {told}"
        );
        all.iter().for_each(|(_, disk)| disk.empty());
        println!("went on after {:?}", load.goes_on(RESUME_WITHIN).await?);
        load.end(tasks).await?;
        becomes_calm(cluster)
    });
}

#[test]
fn a_master_without_space_answers_frees_and_starts() {
    let name = "a_master_without_space_answers_frees_and_starts";
    test(name, 3, CHUNKSERVER_DISK, async |Small { cluster, disks }| {
        let disk = &disks["master1"];
        let (load, tasks) = Load::start(&cluster.masters).await?;
        load.goes_on(RESUME_WITHIN).await?;
        for round in 0..2 {
            disk.fill();
            anyhow::ensure!(disk.free_bytes() == 0, "it is full to the last byte");
            sleep(Duration::from_millis(500)).await;
            if round == 1 {
                cluster.kill("master1");
                cluster.restart("master1");
                // What its start freed.
                disk.fill();
            }
            let error = load.client.create("/new", Default::default()).await.err();
            let told = error.map(|error| (error.kind(), error.to_string()));
            let (kind, told) = told.ok_or_else(|| anyhow::anyhow!("/new was created"))?;
            println!("told: {told}");
            anyhow::ensure!(kind != ErrorKind::Internal, "{told}");
            for word in ["the master's disk", "master1", "free space"] {
                anyhow::ensure!(told.contains(word), "{word}: {told}");
            }
            load.works_without_space().await?;
            anyhow::ensure!(load.client.mkdir("/dir", true).await.is_err());
            disk.empty();
            println!("went on after {:?}", load.goes_on(RESUME_WITHIN).await?);
            load.client.create(format!("/new-{round}"), Default::default()).await?;
        }
        load.end(tasks).await?;
        becomes_calm(cluster)
    });
}

/// No ballast: the files themselves fill the disks, and their removal is what frees them.
#[test]
fn disks_that_were_filled_by_writing_are_freed_by_deleting() {
    let name = "disks_that_were_filled_by_writing_are_freed_by_deleting";
    test(name, 3, 96 << 20, async |Small { cluster, disks }| {
        let options = ClientOptions { timeout: PATIENCE, ..ClientOptions::new(&cluster.masters)? };
        let client = Client::connect_with(options).await?;
        let piece = |seq| Bytes::from(payload::record(5, seq, 256 << 10));
        let writers = 4;
        let mut stored = BTreeMap::new();
        let mut files = Vec::new();
        for file in 0..writers {
            files.push(client.create(format!("/fill-{file}"), Default::default()).await?);
        }
        let mut refused = 0;
        for seq in 0.. {
            let file = seq % writers;
            match files[usize::try_from(file)?].append(piece(seq)).await {
                Ok(offset) => {
                    refused = 0;
                    stored.insert((file, offset), seq);
                }
                Err(error) => {
                    refused += 1;
                    anyhow::ensure!(error.to_string().contains("no space left"), "{error}");
                    if refused == writers {
                        println!("full after {} pieces: {error}", stored.len());
                        break;
                    }
                }
            }
        }
        for (role, disk) in disks.iter().filter(|(role, _)| role.starts_with("cs")) {
            let free = disk.free_bytes();
            anyhow::ensure!(free < 24 << 20, "{role} has {free} bytes free");
        }
        anyhow::ensure!(stored.len() > 100, "only {} pieces fit", stored.len());
        for ((file, offset), seq) in &stored {
            let read = files[usize::try_from(*file)?].read_at(*offset, 256 << 10).await?;
            anyhow::ensure!(read == piece(*seq), "/fill-{file} at {offset}");
        }
        cluster.ok(&["rm", "--purge", "/fill-0", "/fill-1"]);
        let since = Instant::now();
        while let Err(error) = files[3].append(piece(1)).await {
            anyhow::ensure!(since.elapsed() < RESUME_WITHIN, "{error}");
        }
        println!("went on after {:?}", since.elapsed());
        becomes_calm(cluster)
    });
}
