//! `cargo xtask sim`: the whole cluster in one process, from as many seeds as one likes.

use anyhow::Result;
use clap::Args;

use crate::process::{cargo, run};
use crate::workspace::Workspace;

/// What `cargo xtask sim` takes; the simulator itself says what it does with it.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Worlds, each from a seed of its own [default: 200]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with_all = ["seed", "scenario"])]
    seeds: Option<u64>,
    /// The seed of the first; the next has the next [default: 1]
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seed", "scenario"])]
    first_seed: Option<u64>,
    /// So many at once [default: one a core]
    #[arg(long, value_name = "N")]
    at_once: Option<u16>,
    /// Build for speed first, which takes minutes: for ten thousand worlds and more
    #[arg(long, conflicts_with_all = ["seed", "scenario"])]
    gather: bool,
    /// How the sum is told: text or json
    #[arg(long, value_name = "FORMAT", conflicts_with = "seed")]
    output: Option<String>,
    /// Only the world of this seed
    #[arg(long, value_name = "SEED", conflicts_with = "scenario")]
    seed: Option<u64>,
    /// Only the worlds of this file of tests/sim/scenarios
    #[arg(long, value_name = "FILE")]
    scenario: Option<String>,
    /// Print what happens
    #[arg(long)]
    trace: bool,
    /// Leave out of a seed that fails what its violation does not need: time, faults, clients
    #[arg(long, requires = "seed", conflicts_with = "trace")]
    shrink: bool,
    /// Write what is left down as a scenario
    #[arg(long, value_name = "FILE", requires = "seed")]
    keep: Option<String>,
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
    /// This kind of fault in every world, as FailedSync
    #[arg(long, value_name = "FAULT")]
    also: Vec<String>,
}

/// Enough to come by most rare paths.
const SEEDS: u64 = 200;

impl Options {
    fn arguments(&self) -> Vec<String> {
        let many = self.seed.is_none() && self.scenario.is_none();
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let values = [
            ("--seeds", number(many.then_some(self.seeds.unwrap_or(SEEDS)))),
            ("--first-seed", number(self.first_seed)),
            ("--at-once", number(self.at_once.map(u64::from))),
            ("--output", self.output.clone()),
            ("--seed", number(self.seed)),
            ("--scenario", self.scenario.clone()),
            ("--keep", self.keep.clone()),
            ("--without-faults", self.without_faults.clone()),
            ("--without-clients", self.without_clients.clone()),
            ("--chaos-ms", number(self.chaos_ms)),
        ];
        let also = self.also.iter().map(|fault| ("--also", Some(fault.clone())));
        let given = values.into_iter().chain(also).filter_map(|(name, value)| Some((name, value?)));
        let mut arguments: Vec<_> =
            given.flat_map(|(name, value)| [name.to_owned(), value]).collect();
        let flags = [
            ("--trace", self.trace),
            ("--shrink", self.shrink),
            ("--calm-messages", self.calm_messages),
        ];
        let flags = flags.into_iter().filter(|(_, set)| *set);
        arguments.extend(flags.map(|(flag, _)| flag.to_owned()));
        arguments
    }
}

/// Runs them, optimised, and with the assertions on but where ten thousands are gathered; false when one found a violation.
pub(crate) fn run_seeds(workspace: &Workspace, options: &Options) -> Result<bool> {
    let profile = if options.gather { "gather" } else { "ci" };
    let arguments =
        ["run", "--quiet", "--profile", profile, "--locked", "--package", "gfs-sim", "--"];
    let mut simulator = cargo(&workspace.root, &arguments);
    Ok(run(simulator.args(options.arguments()))?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(options: &Options) -> String {
        options.arguments().join(" ")
    }

    #[test]
    fn one_seed_is_run_alone_and_many_in_a_row() {
        assert_eq!(told(&Options::default()), "--seeds 200");
        let also = vec!["FailedSync".to_owned()];
        let output = Some("json".to_owned());
        let many =
            Options { seeds: Some(7), first_seed: Some(3), also, output, ..Options::default() };
        assert_eq!(told(&many), "--seeds 7 --first-seed 3 --output json --also FailedSync");
        let one = Options { seed: Some(9), ..Options::default() };
        assert_eq!(told(&Options { trace: true, ..one }), "--seed 9 --trace");
        let faults = Some("2,5".to_owned());
        let cut = Options {
            seed: Some(9),
            without_faults: faults,
            chaos_ms: Some(70),
            ..Options::default()
        };
        assert_eq!(told(&cut), "--seed 9 --without-faults 2,5 --chaos-ms 70");
        let keep = Some("f.yaml".to_owned());
        let shrink = Options { seed: Some(9), shrink: true, keep, ..Options::default() };
        assert_eq!(told(&shrink), "--seed 9 --keep f.yaml --shrink");
        let file = Options { scenario: Some("f.yaml".to_owned()), ..Options::default() };
        assert_eq!(told(&file), "--scenario f.yaml");
    }
}
