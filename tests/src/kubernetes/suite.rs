//! Which tests run, in which order, and what is there before and after them.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Failed, Trial};

use super::command::kubectl;
use super::namespace::{Namespace, TEST_LABEL};
use super::operator;
use super::testbed::Testbed;

/// A test: it gets a namespace of its own.
#[derive(Clone, Copy)]
pub struct Case {
    /// As the function is called.
    pub name: &'static str,
    /// What it does.
    pub run: fn(&Namespace) -> Result<()>,
    /// What it needs beside a running operator.
    pub needs: Needs,
}

/// What a test needs for itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// A namespace.
    Namespace,
    /// The operator for itself, or quiet.
    Cluster,
    /// The same, and the power buttons of the nodes.
    Machines,
}

/// Runs all tests that the command line selects. Those that need the cluster for themselves come first, one after another.
#[must_use]
pub fn main(cases: &[Case]) -> ExitCode {
    let arguments = Arguments::from_args();
    let obstacle = Testbed::get().err().map(|why| format!("{why:#}"));
    if !arguments.list
        && obstacle.is_none()
        && let Err(why) = prepare()
    {
        eprintln!("{why:#}");
        return ExitCode::FAILURE;
    }
    let trials = |alone: bool| -> Vec<Trial> {
        let chosen = cases.iter().filter(|case| (case.needs != Needs::Namespace) == alone);
        chosen.map(|case| trial(*case, obstacle.as_deref())).collect()
    };
    if arguments.list {
        let _ =
            libtest_mimic::run(&arguments, trials(true).into_iter().chain(trials(false)).collect());
        return ExitCode::SUCCESS;
    }
    let one_by_one = Arguments { test_threads: Some(1), ..arguments.clone() };
    let alone = libtest_mimic::run(&one_by_one, trials(true));
    let together = libtest_mimic::run(&arguments, trials(false));
    let cleaned = if obstacle.is_none() { clean() } else { Ok(()) };
    if let Err(why) = &cleaned {
        eprintln!("something of the tests stays in the cluster: {why:#}");
    }
    let failed = alone.has_failed() || together.has_failed() || cleaned.is_err();
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn trial(case: Case, obstacle: Option<&str>) -> Trial {
    let obstacle = obstacle.map(str::to_owned);
    Trial::test(case.name, move || match obstacle.or_else(|| obstacle_of(case)) {
        Some(why) => skip(case.name, &why),
        None => {
            Namespace::with(case.name, case.run).map_err(|error| Failed::from(format!("{error:#}")))
        }
    })
}

fn obstacle_of(case: Case) -> Option<String> {
    let why = Testbed::get().ok()?.machines_obstacle()?;
    (case.needs == Needs::Machines).then(|| why.to_owned())
}

/// The task runner counts these lines.
fn skip(name: &str, why: &str) -> Result<(), Failed> {
    writeln!(std::io::stdout(), "\nskipped: {name}: {why}").map_err(Failed::from)
}

fn prepare() -> Result<()> {
    remove_namespaces().context("what an earlier run left")?;
    operator::install(Testbed::get()?).context("installing the operator")
}

/// Namespaces first: their clusters go in order while there is an operator.
fn clean() -> Result<()> {
    remove_namespaces()?;
    operator::remove_all()
}

fn remove_namespaces() -> Result<()> {
    let selector = format!("{TEST_LABEL}=true");
    kubectl(&["delete", "namespaces", "--selector", &selector, "--timeout=3m"]).map(drop)
}
