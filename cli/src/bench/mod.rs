//! `bench`: load on a whole cluster, and what it cost.

mod cpu;
mod latency;
mod payload;
mod report;
mod run;
mod work;

use std::time::Duration;

use clap::{Args, ValueEnum};
use gfs_client::Client;
use gfs_types::ByteSize;

use crate::cluster::ClusterArgs;
use crate::failure::Result;
use crate::output::{Format, Out};
use crate::text::parse_duration;

/// `gfs bench`
#[derive(Debug, Args)]
#[command(after_help = "\
write and read move --size bytes in all, each caller its own file, in operations of --op-size bytes. From 1 MiB on \
they stream; smaller ones wait for each answer, front to back or --random. read uses the files that \
`write --keep --path` left, if they are there. append appends records of --op-size to one file, create makes empty files, stat asks for one of 1,000 files. With \
--seconds the bench stops after that time, at the latest; create, stat and append run 5 s unless told otherwise. \
Processor time is what each server reports of itself. What was made is removed, past the trash, unless --keep.

--output json: bench, clients, ops, bytes, seconds, sync_s (of write: until all is on disk), mib_per_s, ops_per_s, \
latency_us (p50, p90, p99, p999, max), cpu_s (client, and each role), cpu_s_per_gib, cpu_us_per_op, errors.

Examples:
  gfs bench write --size 1GiB
  gfs bench read --clients 16 --size 4GiB --verify
  gfs bench append --clients 64 --op-size 1KiB --seconds 10 --output json
  gfs bench create --clients 32 --seconds 5")]
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
    /// Bytes in all [default: 1GiB for write and read]
    #[arg(long, value_name = "SIZE")]
    size: Option<ByteSize>,
    /// Bytes of one operation [default: 1MiB; 1KiB for append]
    #[arg(long, value_name = "SIZE")]
    op_size: Option<ByteSize>,
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
    /// Compare what was read with what was written; after a write or append, read it back for that
    #[arg(long)]
    verify: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

/// The kinds of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
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
        }
    }
}

pub(crate) async fn run(args: &BenchArgs, cluster: &ClusterArgs, client: &Client) -> Result<()> {
    let report = run::run(&run::Plan::new(args)?, cluster, client).await?;
    let mut out = Out::stdout()?;
    match args.output {
        Format::Json => out.json(&report)?,
        Format::Text => report.print(&mut out)?,
    }
    out.flush()
}
