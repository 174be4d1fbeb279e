//! `cargo xtask soak`: the rounds of fault and calm that the test command runs a few of, for as long as one likes.

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::process::run_watched;
use crate::test::{cargo_test, program_under_test};
use crate::workspace::Workspace;

/// What `cargo xtask soak` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Rounds in which processes are killed; for each fifty, ten in which one is stopped and thirty in which the network is cut
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// The seed of the first round of each kind; the next has the next
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    first_seed: u64,
    /// Only faults of this kind (may be repeated)
    #[arg(long, value_enum, value_name = "KIND")]
    only: Vec<Kind>,
}

/// A kind of fault; each has a test of its own.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// SIGKILL of one process, of two, or of all
    Killed,
    /// SIGSTOP of a server for a minute
    Stopped,
    /// The network is cut between two members
    Partitions,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Killed, Self::Stopped, Self::Partitions];

    /// The file of its test.
    const fn target(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Stopped => "stopped",
            Self::Partitions => "partitions",
        }
    }

    /// A minute's stop takes longer than a kill, and there are thirty ways to cut one pair off.
    const fn rounds(self, rounds: u64) -> u64 {
        match self {
            Self::Killed => rounds,
            Self::Stopped => (rounds * 10).div_ceil(50),
            Self::Partitions => (rounds * 30).div_ceil(50),
        }
    }
}

/// What the rounds said.
#[derive(Default)]
struct Heard {
    rounds: u64,
    violations: u64,
    skipped: u64,
    /// What is worth saying again at the end.
    lines: Vec<String>,
}

impl Heard {
    fn line(&mut self, kind: Kind, line: &str) {
        let counts = line.starts_with("round ") && !line.ends_with("repeated");
        self.rounds += u64::from(counts);
        self.violations += u64::from(line.starts_with("violation: "));
        self.skipped += u64::from(line.starts_with("skipped: "));
        if ["summary: ", "violation: ", "skipped: "].iter().any(|word| line.starts_with(word)) {
            self.lines.push(format!("{}: {line}", kind.target()));
        }
    }

    /// A test that failed without a word (it panicked, it did not compile) is a violation too.
    fn ended(&mut self, kind: Kind, success: bool, violations_before: u64) {
        if !success && self.violations == violations_before {
            self.violations += 1;
            self.lines.push(format!("{}: violation: its test failed: see above", kind.target()));
        }
    }

    fn sum(&self) -> String {
        let Self { rounds, violations, skipped, .. } = self;
        format!("{rounds} rounds, {violations} violations, {skipped} kinds of fault skipped")
    }
}

/// Runs the rounds of each kind; false when one found a violation.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let Some(program) = program_under_test(workspace)? else { return Ok(false) };
    let mut heard = Heard::default();
    let wanted = |kind: &Kind| options.only.is_empty() || options.only.contains(kind);
    for kind in Kind::ALL.into_iter().filter(wanted) {
        let mut test = cargo_test(workspace, &["--test", kind.target(), "--", "--nocapture"]);
        test.env("GFS_BIN", &program)
            .env("GFS_SOAK_ROUNDS", kind.rounds(options.rounds).to_string())
            .env("GFS_SOAK_SEED", options.first_seed.to_string())
            .env("GFS_TEST_KEEP", "1");
        let before = heard.violations;
        let status = run_watched(&mut test, |line| heard.line(kind, line))?;
        heard.ended(kind, status.success(), before);
    }
    heard.lines.iter().for_each(|line| println!("{line}"));
    println!("{}", heard.sum());
    Ok(heard.violations == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &[&str]) -> Heard {
        let mut heard = Heard::default();
        lines.iter().for_each(|line| heard.line(Kind::Killed, line));
        heard
    }

    #[test]
    fn rounds_are_counted_and_repeated_ones_are_not() {
        let heard = heard(&[
            "round 1 (seed 1): x",
            "round 2 (seed 2): y; too little load: repeated",
            "a round",
        ]);
        assert_eq!(heard.sum(), "1 rounds, 0 violations, 0 kinds of fault skipped");
    }

    #[test]
    fn a_violation_and_a_test_that_died_are_both_one() {
        let mut spoken = heard(&["violation: round 3: a record is gone"]);
        spoken.ended(Kind::Killed, false, 0);
        assert_eq!((spoken.violations, spoken.lines.len()), (1, 1));
        let mut silent = heard(&["round 1 (seed 1): x"]);
        silent.ended(Kind::Killed, false, 0);
        assert_eq!(silent.violations, 1);
        let mut good = heard(&["summary: all"]);
        good.ended(Kind::Killed, true, 0);
        assert_eq!((good.violations, good.lines.len()), (0, 1));
    }

    #[test]
    fn every_kind_has_a_round_and_its_test_a_file() {
        let workspace = Workspace::find().expect("tests run inside the workspace");
        for kind in Kind::ALL {
            assert!(kind.rounds(1) >= 1);
            let file = format!("tests/tests/{}.rs", kind.target());
            assert!(workspace.root.join(&file).is_file(), "{file}");
        }
        assert_eq!(Kind::ALL.map(|kind| kind.rounds(50)), [50, 10, 30]);
    }
}
