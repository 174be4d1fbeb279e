//! The command line: what can be typed, and what it leads to.

use std::io;
use std::sync::mpsc;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::admin::{df, fsck, locate, status};
use crate::cluster::ClusterArgs;
use crate::failure::{Context, Failure, Result};
use crate::fs::{cat, get, ls, namespace, put, stat, trash};
use crate::records::{append, list};
use crate::{batch, bench, dev, server};

/// A Google File System: files in chunks, three times, on many machines.
#[derive(Debug, Parser)]
#[command(name = "gfs", version, max_term_width = 100)]
#[command(after_help = "\
Exit status: 0 done; 1 failed; 2 wrong usage; 3 outcome unknown (time ran out after the request was sent); 130 and 143 \
ended by a signal. Paths in the cluster are absolute and UTF-8.

Examples:
  gfs dev -- sh -c 'gfs put README.md /; gfs ls -l /'
  export GFS_MASTERS=master.example:7400; gfs put -r project /backup")]
pub(crate) struct Cli {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a whole cluster on this machine, for development
    Dev(dev::DevArgs),
    /// Copy local files and trees into the cluster
    Put(put::PutArgs),
    /// Copy files and trees of the cluster to this machine
    Get(get::GetArgs),
    /// Print files
    Cat(cat::CatArgs),
    /// List a directory
    Ls(ls::LsArgs),
    /// Make directories
    Mkdir(namespace::MkdirArgs),
    /// Make an empty file
    Create(namespace::CreateArgs),
    /// Give a file or directory another name
    Mv(namespace::MvArgs),
    /// Remove files and directories; they can be brought back for some days
    Rm(namespace::RmArgs),
    /// Bring back what was removed
    Undelete(namespace::UndeleteArgs),
    /// List what can be brought back
    Trash(trash::TrashArgs),
    /// Tell about one file or directory
    Stat(stat::StatArgs),
    /// Wait until a file is on disk everywhere
    Sync(namespace::SyncArgs),
    /// Append records, a line each
    Append(append::AppendArgs),
    /// Print records, each once
    Records(list::RecordsArgs),
    /// Tell where the chunks of a file are
    Locate(locate::LocateArgs),
    /// Tell how the cluster is
    Status(status::StatusArgs),
    /// Tell how much space there is
    Df(df::DfArgs),
    /// Look for chunks and replicas that are not as they should be
    Fsck(fsck::FsckArgs),
    /// Run many commands, a line each, with answers in JSON
    Batch(batch::BatchArgs),
    /// Measure the cluster under load
    Bench(bench::BenchArgs),
    /// Serve as a master
    Master(server::MasterArgs),
    /// Serve as a chunkserver
    Chunkserver(server::ChunkserverArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
}

impl Command {
    /// Whether all it does is wait for one stream. Long lists are taken apart by a second thread.
    fn asks_only_the_master(&self) -> bool {
        match self {
            Self::Mkdir(_) | Self::Create(_) | Self::Mv(_) | Self::Rm(_) => true,
            Self::Undelete(_) | Self::Trash(_) | Self::Stat(_) | Self::Locate(_) => true,
            Self::Status(_) | Self::Df(_) => true,
            Self::Bench(args) => args.asks_only_the_master(),
            _ => false,
        }
    }
}

/// `gfs completions`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gfs completions bash > /etc/bash_completion.d/gfs
  gfs completions zsh > ~/.zfunc/_gfs")]
struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// As shells have it: 128 and the number of the signal.
const INTERRUPTED: u8 = 128 + 2;
const TERMINATED: u8 = 128 + 15;
/// Time for what was interrupted to put away its drafts.
const PUT_AWAY: std::time::Duration = std::time::Duration::from_secs(2);

/// Does what the command line says; the exit status where it was done.
pub(crate) fn run(cli: Cli) -> Result<u8> {
    match cli.command {
        Command::Master(args) => server::master(&args).map(|()| 0),
        Command::Chunkserver(args) => server::chunkserver(&args).map(|()| 0),
        Command::Completions(args) => completions(args.shell).map(|()| 0),
        Command::Dev(args) => {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime.during(|| "cannot start the runtime")?.block_on(dev::run(args))
        }
        command => in_cluster(cli.cluster, command).map(|()| 0),
    }
}

/// Runs the command beside the signals, on threads of its own: it may stand in a write to a pipe that nobody reads.
fn in_cluster(cluster: ClusterArgs, command: Command) -> Result<()> {
    let no_runtime = || "cannot start the runtime";
    let mut work = match command.asks_only_the_master() {
        // One stream feeds no second thread: it would be woken for nothing (docs/adr/0027).
        true => Builder::new_current_thread(),
        false => Builder::new_multi_thread(),
    };
    let work = work.enable_all().build().during(no_runtime)?;
    let mut task = work.spawn(async move {
        let client = cluster.connect().await?;
        perform(command, &cluster, client).await
    });
    let (end, ended) = oneshot::channel::<()>();
    let (ending, is_over) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        let _ = work.block_on(ended);
        work.shutdown_timeout(PUT_AWAY);
        drop(ending);
    });
    let signals = Builder::new_current_thread().enable_all().build().during(no_runtime)?;
    let outcome = signals.block_on(done_or_interrupted(&mut task));
    drop(end);
    // Threads that stand in a read of stdin, or in that write, are not waited for.
    let _ = is_over.recv_timeout(PUT_AWAY);
    outcome
}

async fn done_or_interrupted(task: &mut JoinHandle<Result<()>>) -> Result<()> {
    let failed = || "cannot listen for signals";
    let mut interrupt = signal(SignalKind::interrupt()).during(failed)?;
    let mut terminate = signal(SignalKind::terminate()).during(failed)?;
    let status = tokio::select! {
        outcome = &mut *task => {
            let broken = |error| Failure::new(format!("the command broke: {error}"));
            return outcome.map_err(broken)?;
        }
        _ = interrupt.recv() => INTERRUPTED,
        _ = terminate.recv() => TERMINATED,
    };
    task.abort();
    Err(Failure::reported(status))
}

async fn perform(
    command: Command,
    cluster: &ClusterArgs,
    client: gfs_client::Client,
) -> Result<()> {
    let done = dispatch(command, cluster, &client).await;
    client.close().await;
    done
}

async fn dispatch(
    command: Command,
    cluster: &ClusterArgs,
    client: &gfs_client::Client,
) -> Result<()> {
    match command {
        Command::Put(args) => put::run(&args, client).await,
        Command::Get(args) => get::run(&args, client).await,
        Command::Cat(args) => cat::run(&args, client).await,
        Command::Ls(args) => ls::run(&args, client).await,
        Command::Mkdir(args) => namespace::mkdir(&args, client).await,
        Command::Create(args) => namespace::create(&args, client).await.map(drop),
        Command::Mv(args) => namespace::mv(&args, client).await.map(drop),
        Command::Rm(args) => namespace::rm(&args, client).await,
        Command::Undelete(args) => namespace::undelete(&args, client).await.map(drop),
        Command::Trash(args) => trash::run(&args, client).await,
        Command::Stat(args) => stat::run(&args, client).await,
        Command::Sync(args) => namespace::sync(&args, client).await,
        Command::Append(args) => append::run(&args, client).await,
        Command::Records(args) => list::run(&args, client).await,
        Command::Locate(args) => locate::run(&args, client).await,
        Command::Status(args) => status::run(&args, client).await,
        Command::Df(args) => df::run(&args, client).await,
        Command::Fsck(args) => fsck::run(&args, client).await,
        Command::Batch(args) => batch::run(&args, client).await,
        Command::Bench(args) => bench::run(&args, cluster, client).await,
        Command::Dev(_)
        | Command::Master(_)
        | Command::Chunkserver(_)
        | Command::Completions(_) => unreachable!("these need no cluster"),
    }
}

fn completions(shell: Shell) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "gfs", &mut text);
    let mut out = crate::output::Out::stdout()?;
    out.bytes(&text)?;
    out.flush()
}

/// The command line of this process; wrong usage and `--help` end here.
pub(crate) fn parse() -> std::result::Result<Cli, u8> {
    Cli::try_parse().map_err(|error| {
        // Help goes to stdout, the rest to stderr; a reader that left needs neither.
        let _: io::Result<()> = error.print();
        u8::try_from(error.exit_code()).unwrap_or(2)
    })
}

#[cfg(test)]
mod tests;
