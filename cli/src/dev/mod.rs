//! `gfs dev`: a whole cluster on this machine, every role a process of this same binary.
//!
//! The foreground process starts the roles, tells what becomes of them, and ends them; it takes no part in their
//! work. What it knows lies in files of DIR, so that `start` and `kill` need nothing but DIR.

mod address;
mod children;
mod config;
mod foreground;
mod home;
mod kill;
mod layout;
mod plan;
mod process;
mod ready;
mod role;
mod signals;
mod start;
mod tables;
mod user_command;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use gfs_types::ByteSize;

use crate::failure::{Failure, Result};
use role::Role;

/// `gfs dev …`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
A DIR keeps everything: the next `gfs dev --dir DIR` finds all files again, at the same addresses where they are \
free. Without --dir everything lies in a temporary folder that is removed at the end.

Two lines go to stdout: `GFS_MASTERS=…`, and `ready` once files can be stored. With a COMMAND stdout belongs to \
COMMAND and the two lines go to stderr; COMMAND finds GFS_MASTERS and GFS_DEV_DIR set and this program first in \
its PATH, and without --listen a free port is taken when 7400 is in use.

Files in DIR: `pids` and `addresses` (a line for each role), logs/ROLE.log, ROLE.yaml, a data folder for each role. \
Roles are master1 and cs1, cs2, … A role that dies is not restarted: see `gfs dev start`.

Examples:
  gfs dev --dir data                        a cluster until Ctrl-C, its files kept in data/
  gfs dev -- gfs put README.md /            one command, then everything is gone
  gfs dev --dir d --listen 127.0.0.1:0      at a free port
  gfs dev kill cs2 --dir data; gfs dev start cs2 --dir data")]
pub(crate) struct DevArgs {
    #[command(subcommand)]
    command: Option<DevCommand>,
    /// Where everything is kept; made if need be [default: a temporary folder, removed at the end]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How many chunkservers; a cluster that exists may get more, never fewer [default: 3, or as many as DIR has]
    #[arg(long, value_name = "N")]
    chunkservers: Option<u16>,
    /// How many shadow masters; none are available yet
    #[arg(long, value_name = "N", default_value_t = 0)]
    shadows: u16,
    /// Bytes of a chunk; fixed when the cluster is made [default: 64MiB, or that of the cluster in DIR]
    #[arg(long, value_name = "SIZE")]
    chunk_size: Option<ByteSize>,
    /// Where the master listens; port 0 takes a free one [default: 127.0.0.1:7400, or where it was in DIR]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Run this once files can be stored, then end the cluster and exit with its status
    #[arg(last = true, value_name = "COMMAND")]
    run: Vec<OsString>,
}

#[derive(Debug, Subcommand)]
enum DevCommand {
    /// Start a role that is not running, detached; returns when it serves
    #[command(after_help = "\
Returns 0 when the role serves, 1 when it does not within 30 s. Its output goes on in DIR/logs/ROLE.log.

Examples:
  gfs dev start master1 --dir data
  gfs dev start cs2 --dir data")]
    Start(RoleArgs),
    /// End a role as a crash does (SIGKILL)
    #[command(after_help = "\
Returns when the process is gone. `gfs dev` does not restart it.

Examples:
  gfs dev kill cs2 --dir data")]
    Kill(RoleArgs),
}

#[derive(Debug, Args)]
struct RoleArgs {
    /// master1, or cs1, cs2, …
    #[arg(value_name = "ROLE")]
    role: Role,
    /// The DIR of the cluster
    #[arg(long, value_name = "DIR", env = "GFS_DEV_DIR")]
    dir: PathBuf,
}

/// Runs the command; the status is that of COMMAND, if there was one.
///
/// To be called on the thread that lives as long as the process: the kernel ends the roles when the thread that
/// started them ends.
pub(crate) async fn run(args: DevArgs) -> Result<u8> {
    match args.command {
        Some(DevCommand::Start(role)) => start::run(&role.dir, role.role).await.map(|()| 0),
        Some(DevCommand::Kill(role)) => kill::run(&role.dir, role.role).await.map(|()| 0),
        None if args.shadows > 0 => Err(Failure::usage(
            "--shadows: shadow masters are not available yet; leave the option out",
        )),
        None => foreground::run(args).await,
    }
}
