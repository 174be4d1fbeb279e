//! `cargo xtask mutants`: the simulator with faults put in on purpose, each of which some seed must notice.

use anyhow::Result;
use clap::Args;

use crate::process::{cargo, run};
use crate::workspace::Workspace;

/// What `cargo xtask mutants` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Only this one
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// The worlds that each of them must get through to live: seeds from 1
    #[arg(long, value_name = "N", default_value_t = 80, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
}

impl Options {
    fn arguments(&self) -> Vec<String> {
        let mut arguments =
            vec!["--mutants".to_owned(), "--seeds".to_owned(), self.seeds.to_string()];
        arguments.extend(self.only.iter().flat_map(|only| ["--only".to_owned(), only.clone()]));
        arguments
    }
}

/// Builds the simulator with all of them and runs each; false when one lives that should not.
pub(crate) fn run_all(workspace: &Workspace, options: &Options) -> Result<bool> {
    let arguments = ["run", "--quiet", "--profile", "ci", "--locked", "--package", "gfs-sim", "--"];
    let mut simulator = cargo(&workspace.root, &arguments);
    // Other flags are other builds: in a folder of their own they do not throw away the ordinary one.
    simulator.env("RUSTFLAGS", "--cfg mutants");
    simulator.env("CARGO_TARGET_DIR", workspace.metadata()?.target_directory.join("mutants"));
    Ok(run(simulator.args(options.arguments()))?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_run_unless_one_is_named() {
        let all = Options { only: None, seeds: 7 };
        assert_eq!(all.arguments(), ["--mutants", "--seeds", "7"]);
        let one = Options { only: Some("grace-is-over".to_owned()), ..all };
        assert_eq!(one.arguments(), ["--mutants", "--seeds", "7", "--only", "grace-is-over"]);
    }
}
