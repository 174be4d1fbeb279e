//! Yardsticks: the least code that does the bytes' work of an operation, and nothing else.
//!
//! `yardsticks chain|read|log` starts its own processes on loopback and prints one JSON line; `warm` touches memory.
//! There is no protocol here, no metadata, no answer to an error but the end: a real system cannot be below these
//! figures on the same machine in the same minute, and is compared with them as a ratio (docs/performance.md). So this
//! knows nothing of the project's crates, and whoever makes it slower makes the project look better than it is.

mod chain;
mod frame;
mod log;
mod process;
mod read;
mod report;
mod warm;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "yardsticks", about = "What this machine can do at most")]
struct Arguments {
    #[command(subcommand)]
    yardstick: Yardstick,
}

#[derive(Subcommand)]
enum Yardstick {
    /// Write through a chain of replicas: receive, verify, forward, write to the page cache
    Chain {
        #[arg(long, default_value_t = 1024)]
        mib: u64,
        #[arg(long, default_value_t = 3)]
        replicas: u32,
        /// A folder for the files, which are removed
        #[arg(long)]
        dir: PathBuf,
    },
    /// Send out of the page cache by sendfile, verified by the reader
    Read {
        #[arg(long, default_value_t = 1024)]
        mib: u64,
        /// A folder for the files, which are removed
        #[arg(long)]
        dir: PathBuf,
    },
    /// Durable flushes of records of 100 bytes into a segment filled with zeros
    Log {
        /// Records of one flush
        #[arg(long, default_value_t = 1)]
        batch: usize,
        #[arg(long, default_value_t = 3)]
        seconds: u64,
        /// A folder for the file, which is removed
        #[arg(long)]
        dir: PathBuf,
    },
    /// Touch and free memory, so that the next program does not pay for a virtual machine's first use of each page
    Warm {
        #[arg(long, default_value_t = 6)]
        gib: usize,
    },
    #[command(hide = true)]
    Replica {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        next: Option<String>,
    },
    #[command(hide = true)]
    Writer {
        #[arg(long)]
        to: String,
        #[arg(long)]
        mib: u64,
    },
    #[command(hide = true)]
    Server {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        mib: u64,
    },
    #[command(hide = true)]
    Reader {
        #[arg(long)]
        to: String,
        #[arg(long)]
        mib: u64,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().yardstick {
        Yardstick::Chain { mib, replicas, dir } => chain::measure(&dir, mib, replicas),
        Yardstick::Read { mib, dir } => read::measure(&dir, mib),
        Yardstick::Log { batch, seconds, dir } => log::measure(&dir, batch, seconds),
        Yardstick::Warm { gib } => warm::touch(gib),
        Yardstick::Replica { dir, next } => chain::replica(&dir, next.as_deref()),
        Yardstick::Writer { to, mib } => chain::writer(&to, mib),
        Yardstick::Server { dir, mib } => read::server(&dir, mib),
        Yardstick::Reader { to, mib } => read::reader(&to, mib),
    }
}
