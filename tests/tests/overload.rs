//! More than the servers can do, and peers that are slow or many: everybody gets a part, nothing acknowledged is lost, memory
//! stays bounded, and afterwards all is as before (docs/limits.md).

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gfs_client::{Client, ErrorKind, Options as ClientOptions};
use gfs_protocol::frame::{self, Head, blocking};
use gfs_tests::cluster::Cluster;
use gfs_tests::payload;
use gfs_types::ids::{ClusterUid, ProcessSession, ServerUid};
use gfs_types::limits::{CONNECTIONS_MAX, PUSHED_BYTES_MAX, REQUEST_BYTES_MAX};
use gfs_types::message::data::{Hello, PROTOCOL_VERSION};

const MIB: u64 = 1 << 20;
/// Slow ones are given up after 30 s of waiting; somewhat later at the latest.
const PATIENCE: Duration = Duration::from_secs(55);
/// What a chunkserver may hold for others, and as much again for itself.
const MEMORY_MAX: u64 = 2 * (PUSHED_BYTES_MAX + REQUEST_BYTES_MAX as u64);

fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test)
}

/// A field of `/proc/PID/status`, in bytes.
fn memory(cluster: &Cluster, role: &str, field: &str) -> u64 {
    let pid = cluster.pids()[role];
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// Who says hello to one chunkserver, under any name.
struct Strangers {
    address: String,
    cluster: ClusterUid,
    peer: ServerUid,
}

impl Strangers {
    fn of(cluster: &Cluster, role: &str) -> Self {
        let address = cluster.address(role);
        let (uid, servers) = block_on(async {
            let client = Client::connect(&cluster.masters).await.unwrap();
            (client.record().cluster, client.status().await.unwrap().chunkservers)
        });
        let peer = servers.iter().find(|server| server.address == address).unwrap().uid;
        Self { address, cluster: uid, peer }
    }

    fn dial(&self, me: u128) -> Result<TcpStream, gfs_types::Error> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            cluster: self.cluster,
            me: ServerUid(me),
            peer: self.peer,
            session: ProcessSession(0),
            peer_session: ProcessSession(0),
        };
        // One past the limit is refused unheard.
        let _ = stream.write_all(&frame::encode_hello(&hello).unwrap());
        match blocking::read_head(&mut stream).unwrap() {
            Some((_, Head::HelloReply(answer))) => answer.map(|_| stream),
            other => panic!("no answer to a hello: {other:?}"),
        }
    }
}

/// One file for each number, written, read again and removed.
async fn work(client: &Client, number: u64) {
    let path = format!("/work-{number}");
    let file = client.create(&path, Default::default()).await.unwrap();
    let bytes = payload::record(number, 1, 200_000);
    file.write_at(0, bytes.clone()).await.unwrap();
    assert!(file.read_at(0, 1 << 20).await.unwrap() == bytes);
    client.delete(&path, Default::default()).await.unwrap();
}

#[test]
fn a_thousand_idle_connections_and_streams_cost_little_and_the_one_too_many_is_told() {
    gfs_tests_open_files();
    let cluster = Cluster::start();
    let strangers = Strangers::of(&cluster, "cs1");
    let before = memory(&cluster, "cs1", "VmRSS:");
    let mut idle: Vec<_> = (0..1000).map(|at| strangers.dial(1_000 + at / 4).unwrap()).collect();
    let each = memory(&cluster, "cs1", "VmRSS:").saturating_sub(before) / 1000;
    println!("{each} bytes of chunkserver memory for an idle connection");
    assert!(each <= 256 << 10, "{each} bytes for each of 1,000 idle connections");

    block_on(async {
        let before = memory(&cluster, "master1", "VmRSS:");
        let mut streams = Vec::new();
        for _ in 0..1000 {
            streams.push(Client::connect(&cluster.masters).await.unwrap());
        }
        let each = memory(&cluster, "master1", "VmRSS:").saturating_sub(before) / 1000;
        println!("{each} bytes of master memory for an idle stream");
        assert!(each <= 256 << 10, "{each} bytes for each of 1,000 idle streams");
        let busy = streams.iter().take(16).zip(0..).map(|(client, number)| work(client, number));
        futures::future::join_all(busy).await;
    });

    let error = loop {
        match strangers.dial(2_000 + idle.len() as u128 / 4) {
            Ok(stream) => idle.push(stream),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, gfs_types::ErrorKind::Busy);
    assert!(error.message.contains("4096 connections") && error.retry_after_ms > 0, "{error}");
    // The other servers, and those of the cluster itself, have a few.
    assert!(idle.len() <= CONNECTIONS_MAX && idle.len() > CONNECTIONS_MAX - 64, "{}", idle.len());
    assert!(strangers.dial(1).is_err(), "and so on");
    drop(idle);
    let again = Instant::now();
    while strangers.dial(1).is_err() {
        assert!(again.elapsed() < Duration::from_secs(30), "the places do not become free");
    }
    block_on(async { work(&Client::connect(&cluster.masters).await.unwrap(), 99).await });
}

/// A test that holds thousands of connections needs as many files as the servers.
fn gfs_tests_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).unwrap();
}

/// `gfs cat` and `gfs append` that were stopped half way.
fn stopped(cluster: &Cluster) -> Vec<std::process::Child> {
    let mut children = Vec::new();
    for number in 0..4 {
        let mut reader = cluster.gfs(&["cat", "/long"]).stdout(Stdio::piped()).spawn().unwrap();
        reader.stdout.as_mut().unwrap().read_exact(&mut [0; 100]).unwrap();
        children.push(reader);
        let name = format!("/appended-{number}");
        let mut writer = cluster
            .gfs(&["append", "--length-prefixed", &name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let record = payload::record(number, 1, 500_000);
        let stdin = writer.stdin.as_mut().unwrap();
        stdin.write_all(&500_000u32.to_be_bytes()).unwrap();
        stdin.write_all(&record).unwrap();
        children.push(writer);
    }
    for child in &children {
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    }
    children
}

#[test]
fn two_hundred_slow_ones_and_stopped_processes_cost_only_themselves() {
    let cluster = Cluster::start();
    let long = cluster.scratch().join("long");
    std::fs::write(&long, payload::record(1, 1, 32 << 20)).unwrap();
    cluster.ok(&["put", long.to_str().unwrap(), "/long"]);
    let strangers = Strangers::of(&cluster, "cs1");
    let before = memory(&cluster, "cs1", "VmRSS:");
    let slow = || (0..100).map(|at| strangers.dial(1_000 + at).unwrap()).collect::<Vec<_>>();
    let (mut halves, mut drips) = (slow(), slow());
    let push = half_a_push();
    for (half, drip) in halves.iter_mut().zip(&mut drips) {
        half.write_all(&push[..push.len() / 2]).unwrap();
        drip.write_all(&push[..2_000]).unwrap();
    }
    let mut children = stopped(&cluster);
    let started = Instant::now();
    let ended = AtomicBool::new(false);
    let rounds = thread::scope(|scope| {
        scope.spawn(|| {
            while !(halves.is_empty() && drips.is_empty()) && started.elapsed() < PATIENCE {
                halves.retain_mut(|stream| !is_over(stream));
                drips.retain_mut(|stream| !is_over(stream) && stream.write_all(&[0]).is_ok());
                thread::sleep(Duration::from_millis(500));
            }
            ended.store(true, Ordering::Relaxed);
        });
        block_on(async {
            let client = Client::connect(&cluster.masters).await.unwrap();
            let mut rounds = 0;
            while !ended.load(Ordering::Relaxed) {
                work(&client, rounds).await;
                rounds += 1;
            }
            rounds
        })
    });
    println!("{rounds} rounds beside the slow ones");
    assert!(rounds >= 10, "others did {rounds} rounds in {:?}", started.elapsed());
    assert_eq!((halves.len(), drips.len()), (0, 0), "these are served for ever");
    let peak = memory(&cluster, "cs1", "VmHWM:");
    assert!(peak - before <= MEMORY_MAX, "{} MiB more than before", (peak - before) / MIB);
    for child in &children {
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    }
    for child in &mut children {
        drop(child.stdin.take());
        let mut said = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut said).unwrap();
        let status = child.wait().unwrap();
        assert!(status.success(), "a process that went on ended with {status}");
    }
    cluster.ok(&["fsck", "--replicas", "/long"]);
}

/// The beginning of a push of a full frame.
fn half_a_push() -> Vec<u8> {
    use gfs_types::fence::{ChunkVersion, MasterEpoch};
    use gfs_types::ids::{ChunkHandle, DataId};
    use gfs_types::message::data::{DataRequest, Target};
    let bytes = vec![7; 1 << 20];
    let sums = gfs_protocol::checksum::blocks(0, &bytes);
    let (handle, version, epoch) = (ChunkHandle(1), ChunkVersion(1), MasterEpoch(1));
    let target = Target { handle, version, epoch, left_ms: 10_000 };
    let data = DataId { client: 7, seq: 7 };
    let request = DataRequest::Push { data, chain: Vec::new(), offset: 0 };
    let mut frame = frame::encode_request(1, &target, &request, 1 << 20, &sums).unwrap();
    frame.extend_from_slice(&bytes);
    frame
}

/// Whether the server ended this connection.
fn is_over(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let over = !matches!(stream.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    over
}

const HAMMERS: u64 = 64;
const HAMMERING: Duration = Duration::from_secs(20);

/// Eight callers of one client at once, without a pause; gives the records that were acknowledged.
async fn hammer(client: Client, me: u64, until: Instant) -> (u64, BTreeSet<(u64, u64, u64)>) {
    let done = AtomicU64::new(0);
    let next = AtomicU64::new(0);
    let file = client.open(format!("/shared-{}", me % 4)).await.unwrap();
    let (client, file, done, next) = (&client, &file, &done, &next);
    let callers = (0..8).map(|caller| async move {
        let mut kept = BTreeSet::new();
        while Instant::now() < until {
            let seq = next.fetch_add(1, Ordering::Relaxed);
            let length = payload::length(me, seq, 1_000, 200_000);
            let outcome = match caller % 4 {
                0 => {
                    let path = format!("/dir/{me}-{seq}");
                    client.create(&path, Default::default()).await.map(drop)
                }
                1 => file.read_at(seq % 1000, 100_000).await.map(drop),
                _ => file.append(payload::record(me, seq, length)).await.map(|offset| {
                    kept.insert((me, seq, offset));
                }),
            };
            match outcome {
                Ok(()) => drop(done.fetch_add(1, Ordering::Relaxed)),
                Err(error) => assert!(
                    matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unknown),
                    "client {me}: {error}"
                ),
            }
        }
        kept
    });
    let kept = futures::future::join_all(callers).await.into_iter().flatten().collect();
    (done.load(Ordering::Relaxed), kept)
}

/// Those of these records that do not stand where their writers were told.
async fn missing(client: &Client, path: &str, kept: &BTreeSet<(u64, u64, u64)>) -> usize {
    let file = client.open(path).await.unwrap();
    let bytes = file.read_at(0, file.length().await.unwrap()).await.unwrap();
    let stands = |&&(me, seq, offset): &&(u64, u64, u64)| {
        let at = usize::try_from(offset).unwrap();
        let record = bytes.get(at..at + payload::length(me, seq, 1_000, 200_000));
        record.and_then(payload::check) == Some((me, seq))
    };
    kept.len() - kept.iter().filter(stands).count()
}

#[test]
fn sixty_four_clients_that_want_everything_each_get_their_part_and_nothing_is_lost() {
    let cluster = Cluster::start();
    block_on(async {
        let quiet = Client::connect(&cluster.masters).await.unwrap();
        quiet.mkdir("/dir", false).await.unwrap();
        for file in 0..4 {
            let file = quiet.create(format!("/shared-{file}"), Default::default()).await.unwrap();
            file.append(payload::record(1000, 0, 1_000)).await.unwrap();
        }
        let mut clients = Vec::new();
        for _ in 0..HAMMERS {
            let options = ClientOptions::new(&cluster.masters).unwrap();
            clients.push(Client::connect_with(options).await.unwrap());
        }
        // All are there before the first begins: each has the same time.
        let until = Instant::now() + HAMMERING;
        let hammer = |(client, me)| tokio::spawn(hammer(client, me, until));
        let hammers: Vec<_> = clients.into_iter().zip(0..).map(hammer).collect();
        let mut outcomes = Vec::new();
        for hammer in hammers {
            outcomes.push(hammer.await.unwrap());
        }
        let counts: Vec<u64> = outcomes.iter().map(|(count, _)| *count).collect();
        let mean = counts.iter().sum::<u64>() / HAMMERS;
        let least = counts.iter().min().unwrap();
        println!("operations of each client: {mean} on average, {least} at least");
        assert!(mean >= 8, "{counts:?}");
        assert!(*least >= mean / 4, "one got less than a quarter of the mean: {counts:?}");
        for role in ["cs1", "cs2", "cs3", "master1"] {
            let peak = memory(&cluster, role, "VmHWM:");
            println!("{role}: {} MiB at most", peak / MIB);
            assert!(peak <= MEMORY_MAX, "{role} took {} MiB", peak / MIB);
        }
        let after = Instant::now();
        work(&quiet, 1).await;
        println!("one round right after it: {:?}", after.elapsed());
        for file in 0..4 {
            let kept: BTreeSet<_> = outcomes
                .iter()
                .flat_map(|(_, kept)| kept)
                .filter(|(me, ..)| me % 4 == file)
                .copied()
                .collect();
            let missing = missing(&quiet, &format!("/shared-{file}"), &kept).await;
            assert_eq!(missing, 0, "of {} records", kept.len());
        }
    });
}
