//! `cargo xtask`: every task of the project that is more than one cargo command.
//!
//! It knows the workspace from outside (files, `cargo metadata`, exit statuses) and links none of its
//! crates, so that it still runs when they do not compile.

mod bench;
mod charts;
mod cluster;
mod crds;
mod fix;
mod image;
mod mutants;
mod process;
mod sim;
mod soak;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    about = "The tasks of the project"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run everything that must pass before a change lands; CI runs exactly this
    #[command(after_help = "Examples:\n  cargo xtask test                 everything\n  \
        cargo xtask test --fast          without charts, deny, docs, sim, cluster, kubernetes, readme\n  \
        cargo xtask test --only clippy   one step\n  \
        cargo xtask test --list          the steps, and what each does")]
    Test(test::Options),
    /// Break running clusters again and again, under load, and compare what they hold with what they acknowledged
    #[command(
        after_help = "Examples:\n  cargo xtask soak                                   an hour\n  \
        cargo xtask soak --rounds 10 --first-seed 1000     a shorter one, with other seeds\n  \
        cargo xtask soak --only killed --rounds 200        one kind of fault\n\n\
        A line tells of each round; the last line is the sum. It ends with 1 if anything acknowledged was lost or\n\
        wrong, or if replicas did not become equal; the directory of that cluster, with its logs, is kept and named."
    )]
    Soak(soak::Options),
    /// Run the whole cluster in one process, from seeds: network, disks and clocks fail, and nothing acknowledged may be lost
    #[command(
        after_help = "Examples:\n  cargo xtask sim --seeds 2000                 two thousand worlds, a minute each in them\n  \
        cargo xtask sim --seeds 500 --first-seed 9000   others\n  \
        cargo xtask sim --seed 51 --trace            what happens in one\n  \
        cargo xtask sim --seed 51 --shrink           how little of it still fails, if it fails\n  \
        cargo xtask sim --scenario tests/sim/scenarios/left-behind.yaml   worlds that once showed something\n\n\
        As many run at once as there are cores. A line tells of each violation with its seed; the last line is the sum. It\n\
        ends with 1 if there was one, or if in 200 seeds or more some kind of fault or some rare path hardly ever came."
    )]
    Sim(sim::Options),
    /// Put mistakes into the simulated cluster, one at a time: some seed must notice each of them
    #[command(
        after_help = "Examples:\n  cargo xtask mutants                            all of them\n  \
        cargo xtask mutants --only log-not-flushed     one\n  \
        cargo xtask mutants --seeds 400                with more patience\n\n\
        It builds the simulator with --cfg mutants in a target folder of its own. A line tells of each: how many seeds it\n\
        took from three first seeds, their median, and what was violated. It ends with 1 if one lives that should not."
    )]
    Mutants(mutants::Options),
    /// Measure the whole system against what this machine can do at most, and write docs/performance.md
    #[command(
        after_help = "Examples:\n  cargo xtask bench                        five rounds of every row: half an hour\n  \
        cargo xtask bench --only write,read      two rows; the page stays as it is\n  \
        cargo xtask bench --quick                one small round of every row\n  \
        cargo xtask bench --list                 the rows, and what each measures\n\n\
        It needs some 20 GiB of disk in the temporary folder (TMPDIR) and 16 GiB of memory, and a machine that does\n\
        nothing else. Everything it starts has ended, and its folder is gone, when it returns."
    )]
    Bench(bench::Options),
    /// Start, break and end a real Kubernetes on this machine, made for the tests
    #[command(
        after_help = "Example:\n  cargo xtask cluster up && eval \"$(cargo xtask cluster env)\" && kubectl get nodes\n\n\
        Every command has a --help of its own; tests/kubernetes/README.md says what is in the cluster."
    )]
    Cluster(cluster::Options),
    /// Build the container image of GFS from the programs that the tests run
    #[command(
        after_help = "Examples:\n  cargo xtask image                  made of Debian's packages, without a registry\n  \
        cargo xtask image --base gcr.io/distroless/cc-debian12 --out gfs.tar"
    )]
    Image(image::Options),
    /// Check the rules of the tree that no compiler knows: sizes, dependency direction, links, names
    #[command(after_help = "Examples:\n  cargo xtask tidy\n  cargo xtask tidy --list")]
    Tidy(tidy::Options),
    /// Write the definitions of the Kubernetes resources, from the code of the operator
    #[command(after_help = "Example:\n  cargo xtask crds && git diff crds")]
    Crds,
    /// Rewrite what can be rewritten: formatting, lints that know their own remedy, what of charts/ is generated
    #[command(after_help = "Example:\n  cargo xtask fix && git diff")]
    Fix,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// Runs one task; false when it ran and found something wrong.
fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let workspace = Workspace::find()?;
    match &arguments.task {
        Task::Test(options) => test::run(&workspace, options),
        Task::Soak(options) => soak::run(&workspace, options),
        Task::Sim(options) => sim::run_seeds(&workspace, options),
        Task::Mutants(options) => mutants::run_all(&workspace, options),
        Task::Bench(options) => bench::run(&workspace, options),
        Task::Cluster(options) => cluster::run_action(&workspace, options),
        Task::Image(options) => image::run_build(&workspace, options),
        Task::Tidy(options) => tidy::run(&workspace, options),
        Task::Crds => crds::write(&workspace),
        Task::Fix => fix::run_all(&workspace),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_task_shows_an_example_in_its_help() {
        let mut command = Arguments::command();
        command.build();
        for task in command.get_subcommands_mut().filter(|task| task.get_name() != "help") {
            let help = task.render_help().to_string();
            assert!(help.contains("cargo xtask"), "{}: no example in\n{help}", task.get_name());
            assert!(help.contains("Example"), "{}: no example in\n{help}", task.get_name());
        }
    }
}
