//! `cargo xtask sim`: the whole cluster in one process, from as many seeds as one likes.

use anyhow::Result;
use clap::Args;

use crate::process::{cargo, run};
use crate::workspace::Workspace;

/// What `cargo xtask sim` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Worlds, each from a seed of its own
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The seed of the first; the next has the next
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    first_seed: u64,
    /// Only the world of this seed
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Print what happens in it
    #[arg(long, requires = "seed")]
    trace: bool,
}

impl Options {
    fn arguments(&self) -> Vec<String> {
        match self.seed {
            Some(seed) => {
                let trace = self.trace.then(|| "--trace".to_owned());
                ["--seed".to_owned(), seed.to_string()].into_iter().chain(trace).collect()
            }
            None => vec![
                "--seeds".to_owned(),
                self.seeds.to_string(),
                "--first-seed".to_owned(),
                self.first_seed.to_string(),
            ],
        }
    }
}

/// Runs them, optimised and with the assertions on; false when one found a violation.
pub(crate) fn run_seeds(workspace: &Workspace, options: &Options) -> Result<bool> {
    let arguments = ["run", "--quiet", "--profile", "ci", "--locked", "--package", "gfs-sim", "--"];
    let mut simulator = cargo(&workspace.root, &arguments);
    Ok(run(simulator.args(options.arguments()))?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_is_run_alone_and_many_in_a_row() {
        let many = Options { seeds: 7, first_seed: 3, seed: None, trace: false };
        assert_eq!(many.arguments(), ["--seeds", "7", "--first-seed", "3"]);
        let one = Options { seed: Some(9), trace: true, ..many };
        assert_eq!(one.arguments(), ["--seed", "9", "--trace"]);
    }
}
