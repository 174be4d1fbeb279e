//! The `gfs` command: user commands, whole clusters for development, and the servers, in one binary.
//!
//! Everything is put together here: this is the only crate that knows client, master and chunkserver. It knows
//! nothing of how they work: commands call the library, servers are a configuration file and one function.
//! What scripts may rely on stands in `docs/cli.md`.

mod admin;
mod batch;
mod bench;
mod cli;
mod cluster;
mod dev;
mod failure;
mod fs;
mod http;
mod output;
mod progress;
mod records;
mod server;
mod text;

use std::process::ExitCode;

/// For every role, so that what is measured of one is true of all.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(status) => return ExitCode::from(status),
    };
    match cli::run(cli) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            if !failure.is_silent() {
                output::note(&failure);
            }
            ExitCode::from(failure.exit_status())
        }
    }
}
