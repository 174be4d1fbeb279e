//! A bench in several processes: this program again, told on stdin when to work and when to sync, telling on stdout
//! what came of it. A line each way for each step; the end of stdin ends the process.

use std::io::BufRead;
use std::process::Stdio;

use gfs_client::Client;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::crew;
use super::outcome::Outcome;
use super::plan::Plan;
use super::usage;
use crate::cluster::ClusterArgs;
use crate::failure::{Context, Failure, Result};
use crate::output::Out;

/// What a process is told when it starts.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    plan: Plan,
    dir: String,
    number: u32,
}

/// That its callers are ready.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {}

/// What came of its work.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) outcome: Outcome,
    pub(super) cpu_s: f64,
}

/// That what it wrote is on disk.
#[derive(Debug, Serialize, Deserialize)]
struct Synced {
    cpu_s: f64,
}

/// One process. It ends when this is dropped.
pub(super) struct Process {
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Process {
    /// Started, and its callers ready.
    pub(super) async fn start(
        plan: &Plan,
        dir: &str,
        cluster: &ClusterArgs,
        number: u32,
    ) -> Result<Self> {
        let starting = || "cannot start a process of the bench";
        let part = Part { plan: plan.clone(), dir: dir.to_owned(), number };
        let part = serde_json::to_string(&part)
            .map_err(|error| Failure::new(format!("{}: {error}", starting())))?;
        let mut command = Command::new(std::env::current_exe().during(starting)?);
        command.args(["bench", plan.kind.name(), "--part", &part]).args(cluster.arguments());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().during(starting)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
            return Err(Failure::new(format!("{}: it has no pipes", starting())));
        };
        let mut process = Self { stdin, stdout: BufReader::new(stdout).lines(), _child: child };
        process.heard::<Ready>().await?;
        Ok(process)
    }

    pub(super) async fn work(&mut self) -> Result<Done> {
        self.next().await
    }

    /// Processor seconds it took.
    pub(super) async fn sync(&mut self) -> Result<f64> {
        self.next::<Synced>().await.map(|synced| synced.cpu_s)
    }

    async fn next<T: DeserializeOwned>(&mut self) -> Result<T> {
        let told = self.stdin.write_all(b"next\n").await;
        told.during(|| "a process of the bench is gone")?;
        self.heard().await
    }

    async fn heard<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = self.stdout.next_line().await.during(|| "a process of the bench is gone")?;
        let line = line.ok_or_else(|| Failure::new("a process of the bench ended early"))?;
        serde_json::from_str(&line)
            .map_err(|error| Failure::new(format!("a process of the bench said {line:?}: {error}")))
    }
}

/// The other side: works as one of these processes.
pub(super) async fn serve(part: &str, cluster: &ClusterArgs, client: &Client) -> Result<()> {
    let part: Part = serde_json::from_str(part)
        .map_err(|error| Failure::usage(format!("--part: not from this program: {error}")))?;
    let Part { plan, dir, number } = part;
    let step = usize::try_from(plan.processes).unwrap_or(1).max(1);
    let numbers = (number..plan.clients).step_by(step);
    let connections = plan.connections.div_ceil(plan.processes.max(1));
    let callers = crew::callers(&plan, &dir, numbers, connections, (cluster, client)).await?;
    tell(&Ready {})?;
    if !told().await? {
        return Ok(());
    }
    let before_s = usage::own().cpu_s;
    let mut outcome = crew::work_here(&callers, plan.seconds).await?;
    let writers = std::mem::take(&mut outcome.writers);
    tell(&Done { outcome, cpu_s: crew::own_cpu_since(before_s) })?;
    if !told().await? {
        return Ok(());
    }
    let before_s = usage::own().cpu_s;
    crew::sync_here(writers).await?;
    tell(&Synced { cpu_s: crew::own_cpu_since(before_s) })
}

fn tell(what: &impl Serialize) -> Result<()> {
    let mut out = Out::stdout()?;
    out.json(what)?;
    out.flush()
}

/// Waits for the next line; false when there will be none.
async fn told() -> Result<bool> {
    let reading =
        tokio::task::spawn_blocking(|| std::io::stdin().lock().read_line(&mut String::new()));
    let read = reading.await.map_err(|error| Failure::new(error.to_string()))?;
    Ok(read.during(|| "cannot read stdin")? > 0)
}
