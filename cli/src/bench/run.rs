//! The course of a bench: prepare, measure, sync, verify, clean up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use gfs_client::{Client, CreateOptions, DeleteOptions, ErrorKind, Writer};

use super::latency::Latencies;
use super::payload::Payload;
use super::report::{Measured, Report};
use super::work::{self, Caller, Outcome};
use super::{BenchArgs, Kind, cpu};
use crate::cluster::ClusterArgs;
use crate::failure::{Context, Failure, Result};
use crate::output::note;

const SIZE_DEFAULT: u64 = 1 << 30;
const OP_SIZE_DEFAULT: u64 = 1 << 20;
const RECORD_SIZE_DEFAULT: u64 = 1 << 10;
const TIME_DEFAULT: Duration = Duration::from_secs(5);
/// Largest operation: a caller holds a few of them.
const OP_SIZE_MAX: u64 = 64 << 20;
/// Files that `stat` asks for.
pub(super) const STAT_FILES: u64 = 1000;
/// Requests in flight while preparing.
const PREPARE_AT_ONCE: usize = 32;

/// What is to be done, checked.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    pub(super) clients: u32,
    connections: u32,
    /// Operations of each caller, at most.
    pub(super) ops_each: u64,
    pub(super) op_bytes: u64,
    pub(super) random: bool,
    pub(super) verify: bool,
    seconds: Option<Duration>,
    path: Option<String>,
    keep: bool,
}

impl Plan {
    pub(super) fn new(args: &BenchArgs) -> Result<Self> {
        let kind = args.bench;
        let moves_files = matches!(kind, Kind::Write | Kind::Read);
        if args.random && !moves_files {
            return Err(Failure::usage("--random: only for write and read"));
        }
        let op_default = if kind == Kind::Append { RECORD_SIZE_DEFAULT } else { OP_SIZE_DEFAULT };
        let op_bytes = args.op_size.map_or(op_default, |size| size.0);
        if !(1..=OP_SIZE_MAX).contains(&op_bytes) {
            return Err(Failure::usage("--op-size: from 1B to 64MiB"));
        }
        let size = args.size.map(|size| size.0).or(moves_files.then_some(SIZE_DEFAULT));
        let ops_each = match size {
            Some(size) if moves_files || kind == Kind::Append => {
                (size / u64::from(args.clients) / op_bytes).max(1)
            }
            _ => u64::MAX,
        };
        let seconds = args.seconds.or((ops_each == u64::MAX).then_some(TIME_DEFAULT));
        Ok(Self {
            kind,
            clients: args.clients,
            connections: args.connections.min(args.clients),
            ops_each,
            op_bytes,
            random: args.random,
            verify: args.verify,
            seconds,
            path: args.path.clone(),
            keep: args.keep,
        })
    }

    /// Bytes of each caller's file.
    pub(super) fn file_bytes(&self) -> u64 {
        self.ops_each.saturating_mul(self.op_bytes)
    }

    /// Whether files must be full before the measurement.
    fn needs_files(&self) -> bool {
        self.kind == Kind::Read || (self.kind == Kind::Write && self.random)
    }
}

/// The directory of one bench, and whether it may go at the end.
struct Place {
    dir: String,
    made: bool,
}

/// The path of a caller's file.
pub(super) fn file_path(dir: &str, caller: u32) -> String {
    format!("{dir}/file-{caller}")
}

pub(super) async fn run(plan: &Plan, cluster: &ClusterArgs, client: &Client) -> Result<Report> {
    let place = take_place(plan, client).await?;
    let outcome = measure(plan, &place, cluster, client).await;
    let cleaned = clean(plan, &place, client).await;
    let report = outcome?;
    cleaned.map(|()| report)
}

async fn take_place(plan: &Plan, client: &Client) -> Result<Place> {
    let fresh = || -> Result<String> {
        let mut random = [0; 6];
        getrandom::fill(&mut random)
            .map_err(|error| Failure::new(format!("cannot draw a name: {error}")))?;
        let suffix: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("gfs-bench-{suffix}"))
    };
    let dir = match &plan.path {
        None => format!("/{}", fresh()?),
        Some(path) if !exists(client, path).await? => path.trim_end_matches('/').to_owned(),
        Some(path) if plan.kind == Kind::Read && fits(plan, client, path).await? => {
            return Ok(Place { dir: path.trim_end_matches('/').to_owned(), made: false });
        }
        Some(path) => format!("{}/{}", path.trim_end_matches('/'), fresh()?),
    };
    client.mkdir(&dir, true).await?;
    Ok(Place { dir, made: true })
}

async fn exists(client: &Client, path: &str) -> Result<bool> {
    match client.stat(path).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether an earlier bench left files that are long enough.
async fn fits(plan: &Plan, client: &Client, dir: &str) -> Result<bool> {
    for caller in 0..plan.clients {
        match client.stat(file_path(dir.trim_end_matches('/'), caller)).await {
            Ok(entry) if entry.length >= plan.file_bytes() => {}
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

async fn clean(plan: &Plan, place: &Place, client: &Client) -> Result<()> {
    if plan.keep {
        note(format_args!("files are kept in {}", place.dir));
        return Ok(());
    }
    if !place.made {
        return Ok(());
    }
    let all = DeleteOptions { recursive: true, purge: true };
    Ok(client.delete(&place.dir, all).await?)
}

async fn measure(
    plan: &Plan,
    place: &Place,
    cluster: &ClusterArgs,
    client: &Client,
) -> Result<Report> {
    let payload = Payload::new(usize::try_from(plan.op_bytes).unwrap_or_default());
    let callers = callers(plan, place, &payload, cluster, client).await?;
    if place.made {
        prepare(plan, place, client, &callers).await.during(|| "while preparing")?;
    }
    let before = cpu::now(client).await?;
    let begin = Instant::now();
    let deadline = plan.seconds.map(|seconds| begin + seconds);
    let tasks = callers.iter().cloned().map(|caller| tokio::spawn(work::run(caller, deadline)));
    let outcomes: Vec<_> = join_all(tasks).await.into_iter().collect();
    let seconds = begin.elapsed().as_secs_f64();
    let mut total = Outcome::default();
    let mut latencies = Latencies::default();
    for outcome in outcomes {
        let mut outcome = outcome
            .map_err(|error| Failure::new(format!("a caller of the bench failed: {error}")))?;
        latencies.extend(std::mem::take(&mut outcome.latencies));
        total.add(outcome);
    }
    let sync_s = sync(std::mem::take(&mut total.writers)).await?;
    let spent = cpu::spent(&before, &cpu::now(client).await?);
    if plan.verify {
        verify(plan, place, client, &callers, total.ops).await?;
    }
    if let Some(error) = &total.first_error {
        note(format_args!("{} operations failed, the first: {error}", total.errors));
    }
    Ok(Report::from(Measured {
        bench: plan.kind.name(),
        clients: plan.clients,
        ops: total.ops,
        bytes: total.bytes,
        seconds,
        sync_s,
        latency_us: latencies.percentiles(),
        cpu_s: spent,
        errors: total.errors,
    }))
}

async fn callers(
    plan: &Plan,
    place: &Place,
    payload: &Payload,
    cluster: &ClusterArgs,
    client: &Client,
) -> Result<Vec<Caller>> {
    let mut clients = vec![client.clone()];
    for _ in 1..plan.connections {
        clients.push(cluster.connect().await?);
    }
    let (plan, payload) = (Arc::new(plan.clone()), payload.clone());
    let dir: Arc<str> = Arc::from(place.dir.as_str());
    let callers = (0..plan.clients).zip(clients.iter().cycle()).map(|(index, client)| Caller {
        index,
        client: client.clone(),
        plan: Arc::clone(&plan),
        dir: Arc::clone(&dir),
        payload: payload.clone(),
    });
    Ok(callers.collect())
}

/// Makes what the load needs to find.
async fn prepare(plan: &Plan, place: &Place, client: &Client, callers: &[Caller]) -> Result<()> {
    match plan.kind {
        _ if plan.needs_files() => {
            let fill = callers.iter().cloned().map(|caller| tokio::spawn(work::fill(caller)));
            for filled in join_all(fill).await {
                filled.map_err(|error| Failure::new(error.to_string()))??;
            }
            Ok(())
        }
        Kind::Append => {
            client.create(work::log_path(&place.dir), CreateOptions::default()).await?;
            Ok(())
        }
        Kind::Stat => {
            stream::iter(0..STAT_FILES)
                .map(|number| async move {
                    let path = work::stat_path(&place.dir, number);
                    client.create(path, CreateOptions::default()).await.map(|_| ())
                })
                .buffer_unordered(PREPARE_AT_ONCE)
                .try_collect::<()>()
                .await?;
            Ok(())
        }
        Kind::Write | Kind::Read | Kind::Create => Ok(()),
    }
}

/// Waits until what was written is on disk; in seconds.
async fn sync(writers: Vec<Writer>) -> Result<f64> {
    let begin = Instant::now();
    for closed in join_all(writers.into_iter().map(Writer::close)).await {
        closed.during(|| "cannot sync")?;
    }
    Ok(begin.elapsed().as_secs_f64())
}

/// Reads back what was written.
async fn verify(
    plan: &Plan,
    place: &Place,
    client: &Client,
    callers: &[Caller],
    ops: u64,
) -> Result<()> {
    match plan.kind {
        Kind::Write if !plan.random => {
            for caller in callers {
                work::verify_file(caller).await?;
            }
            Ok(())
        }
        Kind::Append => {
            let log = work::log_path(&place.dir);
            let found = work::count_records(client, &log, &callers[0].payload).await?;
            if found >= ops {
                return Ok(());
            }
            Err(Failure::new(format!("{log} has {found} records, {ops} were acknowledged")))
        }
        // `read` compares as it goes; the others have no bytes.
        Kind::Write | Kind::Read | Kind::Create | Kind::Stat => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn plan(line: &str) -> Result<Plan> {
        Plan::new(&Line::try_parse_from(line.split(' ')).unwrap().bench)
    }

    #[test]
    fn the_work_is_shared_out() {
        let write = plan("bench write --clients 4 --size 1GiB --op-size 1MiB").unwrap();
        assert_eq!((write.ops_each, write.file_bytes()), (256, 256 << 20));
        assert_eq!(write.seconds, None);
        let append = plan("bench append --seconds 2").unwrap();
        assert_eq!((append.ops_each, append.op_bytes), (u64::MAX, 1 << 10));
        let create = plan("bench create --size 8MiB").unwrap();
        assert_eq!((create.ops_each, create.seconds), (u64::MAX, Some(TIME_DEFAULT)));
        assert_eq!(plan("bench write --clients 9 --size 1KiB").unwrap().ops_each, 1);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in ["bench write --op-size 0", "bench read --op-size 65MiB", "bench stat --random"]
        {
            assert_eq!(plan(line).unwrap_err().exit_status(), 2, "{line}");
        }
    }
}
