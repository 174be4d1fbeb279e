//! The simulator: as many seeds as a change must get through, and the same traces from a program as it is released.

use std::process::Command;

use anyhow::Result;

use super::report::Tally;
use super::steps::cargo_test;
use crate::process::run_watched;
use crate::workspace::Workspace;

/// The target of its tests.
pub(super) const SUITE: &str = "seeds";
/// Worlds that every change gets through.
const SEEDS: &str = "2000";
/// The test that prints what the traces of some seeds come to.
const TRACES: &str = "the_same_seed_gives_the_same_world";
/// What a line of it begins with.
const TRACE: &str = "trace of seed ";
/// Our crates without assertions and overflow checks, as in a release. Those of others stay as they are: nothing of them is built
/// again.
const AS_RELEASED: [&str; 4] = [
    "profile.ci.debug-assertions=false",
    "profile.ci.overflow-checks=false",
    "profile.ci.package.\"*\".debug-assertions=true",
    "profile.ci.package.\"*\".overflow-checks=true",
];

pub(super) fn run_suite(workspace: &Workspace) -> Result<Tally> {
    let mut suite = cargo_test(workspace, &["--test", SUITE]);
    suite.env("GFS_SIM_SEEDS", SEEDS).args(["--", "--nocapture"]);
    let (mut sum, traces) = traces(&mut suite)?;
    let mut released = cargo_test(workspace, &["--test", SUITE]);
    released.args(AS_RELEASED.iter().flat_map(|setting| ["--config", setting]));
    released.args(["--", "--nocapture", "--exact", TRACES]);
    let (again, theirs) = self::traces(&mut released)?;
    sum.add(again);
    sum.add(equal(&traces, &theirs));
    Ok(sum)
}

/// Runs tests, counts them, and collects what traces come to.
fn traces(tests: &mut Command) -> Result<(Tally, Vec<String>)> {
    let (mut tally, mut traces) = (Tally::default(), Vec::new());
    let status = run_watched(tests, |line| {
        tally.count_line(line);
        traces.extend(trace(line));
    })?;
    Ok((tally.ended(status.success()).not_empty(), traces))
}

/// A test that is told of in the same line stands before it.
fn trace(line: &str) -> Option<String> {
    line.find(TRACE).map(|at| line[at..].to_owned())
}

fn equal(ours: &[String], theirs: &[String]) -> Tally {
    let why = match ours.iter().zip(theirs).find(|(one, other)| one != other) {
        Some((one, other)) => format!("another trace without assertions: {one}, {other}"),
        None => format!("{} traces, and {} without assertions", ours.len(), theirs.len()),
    };
    Tally::of(!ours.is_empty() && ours == theirs, &why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_that_differ_or_are_not_there_are_a_failure() {
        let traces = |hashes: &[u64]| {
            let line = |hash| trace(&format!("test a ... {TRACE}1: (Some({hash}), 7)"));
            hashes.iter().filter_map(line).collect::<Vec<_>>()
        };
        let failed = |ours: &[u64], theirs: &[u64]| equal(&traces(ours), &traces(theirs)).failed;
        assert_eq!(failed(&[5, 6], &[5, 6]), 0);
        for (ours, theirs) in [(&[5, 6], &[5, 7][..]), (&[5, 6], &[5]), (&[5, 6], &[])] {
            assert_eq!(failed(ours, theirs), 1, "{ours:?} {theirs:?}");
        }
        assert_eq!(failed(&[], &[]), 1);
        assert_eq!(trace("test result: ok."), None);
    }
}
