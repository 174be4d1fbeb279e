//! The callers at work: in this process, or in processes of their own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{join_all, try_join_all};
use gfs_client::{Client, Writer};

use super::outcome::Outcome;
use super::payload::Payload;
use super::plan::Plan;
use super::processes::Process;
use super::usage;
use super::work::{self, Caller};
use crate::cluster::ClusterArgs;
use crate::failure::{Context, Failure, Result};

/// Callers that are ready.
pub(super) enum Crew {
    Here { callers: Vec<Caller>, writers: Vec<Writer> },
    Apart(Vec<Process>),
}

impl Crew {
    /// Lets the callers get ready, in processes of their own if the plan says so.
    pub(super) async fn gather(
        plan: &Plan,
        dir: &str,
        cluster: &ClusterArgs,
        callers: Vec<Caller>,
    ) -> Result<Self> {
        if plan.processes == 0 {
            return Ok(Self::Here { callers, writers: Vec::new() });
        }
        let start = |number| Process::start(plan, dir, cluster, number);
        Ok(Self::Apart(try_join_all((0..plan.processes).map(start)).await?))
    }

    /// All at once, until all is done or time is over; what came of it, and processor seconds of other processes.
    pub(super) async fn work(&mut self, seconds: Option<Duration>) -> Result<(Outcome, f64)> {
        match self {
            Self::Here { callers, writers } => {
                let mut outcome = work_here(callers, seconds).await?;
                writers.append(&mut outcome.writers);
                Ok((outcome, 0.0))
            }
            Self::Apart(processes) => {
                let mut all = Outcome::default();
                let mut cpu_s = 0.0;
                for done in try_join_all(processes.iter_mut().map(Process::work)).await? {
                    all.add(done.outcome);
                    cpu_s += done.cpu_s;
                }
                Ok((all, cpu_s))
            }
        }
    }

    /// Waits until what was written is on disk; processor seconds of other processes.
    pub(super) async fn sync(&mut self) -> Result<f64> {
        match self {
            Self::Here { writers, .. } => sync_here(std::mem::take(writers)).await.map(|()| 0.0),
            Self::Apart(processes) => {
                let done = try_join_all(processes.iter_mut().map(Process::sync)).await?;
                Ok(done.into_iter().sum())
            }
        }
    }
}

/// Callers `numbers` of a plan, with so many connections between them.
pub(super) async fn callers(
    plan: &Plan,
    dir: &str,
    numbers: impl Iterator<Item = u32>,
    connections: u32,
    (cluster, client): (&ClusterArgs, &Client),
) -> Result<Vec<Caller>> {
    let mut clients = vec![client.clone()];
    for _ in 1..connections {
        clients.push(cluster.connect().await?);
    }
    let payload = Payload::new(usize::try_from(plan.op_bytes).unwrap_or_default());
    let (plan, dir) = (Arc::new(plan.clone()), Arc::<str>::from(dir));
    let callers = numbers.zip(clients.iter().cycle()).map(|(index, client)| Caller {
        index,
        client: client.clone(),
        plan: Arc::clone(&plan),
        dir: Arc::clone(&dir),
        payload: payload.clone(),
    });
    Ok(callers.collect())
}

pub(super) async fn work_here(callers: &[Caller], seconds: Option<Duration>) -> Result<Outcome> {
    let deadline = seconds.map(|seconds| Instant::now() + seconds);
    let tasks = callers.iter().cloned().map(|caller| tokio::spawn(work::run(caller, deadline)));
    let mut all = Outcome::default();
    for outcome in join_all(tasks).await {
        all.add(
            outcome
                .map_err(|error| Failure::new(format!("a caller of the bench failed: {error}")))?,
        );
    }
    Ok(all)
}

pub(super) async fn sync_here(writers: Vec<Writer>) -> Result<()> {
    for closed in join_all(writers.into_iter().map(Writer::close)).await {
        closed.during(|| "cannot sync")?;
    }
    Ok(())
}

/// Processor seconds that this process has used since an earlier moment.
pub(super) fn own_cpu_since(before_s: f64) -> f64 {
    (usage::own().cpu_s - before_s).max(0.0)
}
