//! `gfs-operator`.

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "gfs-operator",
    version,
    about = "Keeps GFS clusters on Kubernetes as their manifests say"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the definitions of the resources, as YAML
    #[command(after_help = "Example:\n  gfs-operator crds | kubectl apply --server-side -f -")]
    Crds,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Crds => print!("{}", gfs_operator::crd::yaml()?),
    }
    Ok(())
}
