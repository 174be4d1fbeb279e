//! `cargo xtask test`: the steps in order, each with its name, its time and what it counted.

mod charts;
mod deny;
mod kubernetes;
mod report;
mod sim;
mod steps;
pub(crate) mod tools;

use std::time::Instant;

use anyhow::Result;
use clap::Args;

use self::report::Report;
pub(crate) use self::report::Tally;
use self::steps::{STEPS, Step};
pub(crate) use self::steps::{cargo_test, program_under_test};
use crate::workspace::Workspace;

/// What `cargo xtask test` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Run only this step (may be repeated)
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Name the steps and what each does, and run none
    #[arg(long)]
    list: bool,
    /// Skip the slow steps: charts, deny, docs, sim, cluster, kubernetes and readme
    #[arg(long, conflicts_with = "only")]
    fast: bool,
}

/// Runs the chosen steps; false when something failed, or was skipped where nothing may be.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    if options.list {
        list();
        return Ok(true);
    }
    let chosen = chosen(&options.only)?;
    let strict = std::env::var_os("CI").is_some_and(|value| value == "true");
    let mut report = Report::default();
    for (index, step) in chosen.iter().enumerate() {
        println!("\n=== [{}/{}] {}: {}", index + 1, chosen.len(), step.name, step.about);
        let started = Instant::now();
        let tally = run_step(workspace, step, options.fast);
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "=== [{}/{}] {}: {} in {seconds:.1} s",
            index + 1,
            chosen.len(),
            step.name,
            tally.word()
        );
        report.add(step.name, tally, seconds);
    }
    print!("\n{report}");
    Ok(report.good(strict))
}

/// A step that cannot be carried out at all is one failure; the others still run.
fn run_step(workspace: &Workspace, step: &Step, fast: bool) -> Tally {
    if fast && step.slow {
        return Tally::skipped("left out by --fast");
    }
    let lacking = tools::lacking(step.needs);
    if !lacking.is_empty() {
        return Tally::skipped(lacking.join("; "));
    }
    match (step.run)(workspace) {
        Ok(tally) => tally,
        Err(error) => Tally::failed(format!("{error:#}")),
    }
}

fn list() {
    for step in &STEPS {
        println!("{:<10} {}", step.name, step.about);
    }
}

fn chosen(only: &[String]) -> Result<Vec<&'static Step>> {
    let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
    for name in only {
        anyhow::ensure!(
            names.contains(&name.as_str()),
            "no step {name}: there are {}",
            names.join(", ")
        );
    }
    let wanted = |step: &&Step| only.is_empty() || only.iter().any(|name| name == step.name);
    Ok(STEPS.iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keeps_the_order_of_the_steps_and_refuses_unknown_names() {
        let names = |only: &[&str]| {
            let only: Vec<_> = only.iter().map(ToString::to_string).collect();
            chosen(&only).map(|steps| steps.iter().map(|step| step.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["clippy", "fmt"]).expect("both exist"), ["fmt", "clippy"]);
        assert_eq!(names(&[]).expect("all").len(), STEPS.len());
        let error = names(&["lint"]).expect_err("no such step").to_string();
        assert!(error.contains("no step lint") && error.contains("clippy"), "{error}");
    }
}
