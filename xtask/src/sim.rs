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
    /// Leave out of a seed that fails what its violation does not need: time, faults, clients
    #[arg(long, requires = "seed", conflicts_with = "trace")]
    shrink: bool,
    /// Without these faults, by their numbers in the seed: as --shrink says
    #[arg(long, value_name = "NUMBERS", requires = "seed")]
    without_faults: Option<String>,
    /// Without these clients
    #[arg(long, value_name = "NUMBERS", requires = "seed")]
    without_clients: Option<String>,
    /// Faults and load for this time only
    #[arg(long, value_name = "MS", requires = "seed")]
    chaos_ms: Option<u64>,
    /// Without faults of messages
    #[arg(long, requires = "seed")]
    calm_messages: bool,
}

impl Options {
    fn arguments(&self) -> Vec<String> {
        match self.seed {
            Some(seed) => {
                let mut arguments = vec!["--seed".to_owned(), seed.to_string()];
                let flags = [
                    ("--trace", self.trace),
                    ("--shrink", self.shrink),
                    ("--calm-messages", self.calm_messages),
                ];
                let flags = flags.into_iter().filter(|(_, set)| *set);
                arguments.extend(flags.map(|(flag, _)| flag.to_owned()));
                let chaos_ms = self.chaos_ms.map(|ms| ms.to_string());
                let values = [
                    ("--without-faults", &self.without_faults),
                    ("--without-clients", &self.without_clients),
                    ("--chaos-ms", &chaos_ms),
                ];
                for (name, value) in values {
                    let value = value.iter().flat_map(|v| [name.to_owned(), v.clone()]);
                    arguments.extend(value);
                }
                arguments
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
        let many = Options {
            seeds: 7,
            first_seed: 3,
            seed: None,
            trace: false,
            shrink: false,
            without_faults: None,
            without_clients: None,
            chaos_ms: None,
            calm_messages: false,
        };
        assert_eq!(many.arguments(), ["--seeds", "7", "--first-seed", "3"]);
        let one = Options { seed: Some(9), trace: true, ..many };
        assert_eq!(one.arguments(), ["--seed", "9", "--trace"]);
        let faults = Some("2,5".to_owned());
        let cut = Options { trace: false, without_faults: faults, chaos_ms: Some(70), ..one };
        assert_eq!(cut.arguments().join(" "), "--seed 9 --without-faults 2,5 --chaos-ms 70");
        let shrink = Options { shrink: true, without_faults: None, chaos_ms: None, ..cut };
        assert_eq!(shrink.arguments(), ["--seed", "9", "--shrink"]);
    }
}
