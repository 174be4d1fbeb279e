//! `gfs-operator`.

use std::process::ExitCode;

use clap::Parser;
use gfs_operator::cli::{Arguments, Command};

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gfs-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Crds => print!("{}", gfs_operator::crd::yaml()?),
        Command::Run(args) => {
            // Named here once: with none, or two to choose from, the first connection would panic.
            let installed = rustls::crypto::ring::default_provider().install_default();
            installed.map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(gfs_operator::run::run(args))?;
        }
    }
    Ok(())
}
