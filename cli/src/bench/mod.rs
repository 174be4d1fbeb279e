//! `bench`: load on a whole cluster, and what it cost.

mod crew;
mod idle;
mod latency;
mod mixed;
mod outcome;
mod payload;
mod place;
mod plan;
mod processes;
mod report;
mod run;
mod stored;
mod usage;
mod work;

use std::time::Duration;

use clap::{Args, ValueEnum};
use gfs_client::Client;
use gfs_types::ByteSize;
use serde::{Deserialize, Serialize};

use crate::cluster::ClusterArgs;
use crate::failure::Result;
use crate::output::{Format, Out};
use crate::text::parse_duration;

/// `gfs bench`
#[derive(Debug, Args)]
#[command(after_help = "\
write and read move --size bytes in all, each caller its own file, in operations of --op-size bytes. From 1 MiB on \
they stream; smaller ones wait for each answer, front to back or --random. read and list use what \
`write --keep --path` and `list --keep --path` left, if it is there. append appends records of --op-size to one file, \
create makes empty files, stat asks for one of 1,000 files, list lists a directory of --files empty files. \
In mixed every other caller reads its file while the others write over theirs, round and round. idle opens --clients \
connections to each master and to a chunkserver, and tells what memory each takes there. With \
--seconds the bench stops after that time, at the latest; create, stat, append, mixed and idle run 5 s unless told \
otherwise. --processes starts so many processes of this program for the callers.

Times and processor time are those up to the last acknowledgement: waiting until all is on disk is told apart. \
Processor time and memory are what each server reports of itself. What was made is removed, past the trash, unless --keep.

--output json: bench, clients, ops, bytes, seconds, sync_s and sync_cpu_s (until all is on disk), mib_per_s, ops_per_s, \
slowest_of_mean (the slowest caller's rate), latency_us (p50, p90, p99, p999, max), cpu_s (client, and each role), \
cpu_s_per_gib, cpu_us_per_op, memory_bytes (of each role: start, peak, end), memory_bytes_per_connection (of idle), \
slices (of mixed: each 10 s, with mib_per_s, ops_per_s, read_us, write_us), errors.

Examples:
  gfs bench write --size 1GiB
  gfs bench read --clients 16 --size 4GiB --verify
  gfs bench append --clients 64 --op-size 1KiB --seconds 10 --output json
  gfs bench create --clients 32 --seconds 5
  gfs bench stat --processes 32
  gfs bench mixed --clients 64 --seconds 300")]
pub(crate) struct BenchArgs {
    /// What to do
    #[arg(value_enum)]
    bench: Kind,
    /// Callers at once
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
    clients: u32,
    /// Connections to the masters, shared by the callers
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// Start so many processes, which share the callers; 0 is none, the callers are in this one
    #[arg(long, value_name = "N", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=256))]
    processes: u32,
    /// Bytes in all [default: 1GiB for write, read and mixed]
    #[arg(long, value_name = "SIZE")]
    size: Option<ByteSize>,
    /// Bytes of one operation [default: 1MiB; 1KiB for append, 256KiB for mixed, 4KiB for idle]
    #[arg(long, value_name = "SIZE")]
    op_size: Option<ByteSize>,
    /// Files of the directory that list lists
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    files: u64,
    /// At random offsets, one answer after another: for write (over what is there) and read
    #[arg(long)]
    random: bool,
    /// Stop after this time
    #[arg(long, value_name = "S", value_parser = parse_duration)]
    seconds: Option<Duration>,
    /// A directory for its files; made if need be [default: a new one below /]
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Leave the files
    #[arg(long)]
    keep: bool,
    /// Compare what was read with what was written: of whole blocks the stored checksums with those noted at writing;
    /// after a write or append, read it back for that
    #[arg(long)]
    verify: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    /// One of the processes that a bench starts
    #[arg(long, hide = true)]
    part: Option<String>,
}

/// The kinds of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Files, front to back
    Write,
    /// Files, front to back
    Read,
    /// Records to one file
    Append,
    /// Empty files
    Create,
    /// Questions about files
    Stat,
    /// All names of one directory
    List,
    /// Readers and writers together
    Mixed,
    /// Connections that nothing happens on
    Idle,
}

impl Kind {
    /// As on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Append => "append",
            Self::Create => "create",
            Self::Stat => "stat",
            Self::List => "list",
            Self::Mixed => "mixed",
            Self::Idle => "idle",
        }
    }
}

impl BenchArgs {
    /// Whether no data of files is moved.
    pub(crate) fn asks_only_the_master(&self) -> bool {
        matches!(self.bench, Kind::Create | Kind::Stat)
    }
}

pub(crate) async fn run(args: &BenchArgs, cluster: &ClusterArgs, client: &Client) -> Result<()> {
    if let Some(part) = &args.part {
        return processes::serve(part, cluster, client).await;
    }
    let report = run::run(&plan::Plan::new(args)?, cluster, client).await?;
    let mut out = Out::stdout()?;
    match args.output {
        Format::Json => out.json(&report)?,
        Format::Text => report.print(&mut out)?,
    }
    out.flush()
}
