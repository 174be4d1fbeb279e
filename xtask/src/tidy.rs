//! `cargo xtask tidy`: the rules of the tree that no compiler knows.
//!
//! A check reads files and returns findings; it changes nothing. Each lives in a module of its own.

mod decisions;
mod dependencies;
mod formats;
mod links;
mod metrics;
mod promises;
mod size;
mod source;
mod unwraps;
mod words;

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::test::Tally;
use crate::workspace::Workspace;

/// What `cargo xtask tidy` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Name the checks and what each demands, and run none
    #[arg(long)]
    list: bool,
}

/// Something a check objects to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: PathBuf,
    /// Counted from 1; `None` for the file as a whole.
    line: Option<usize>,
    message: String,
}

/// One rule.
struct Check {
    name: &'static str,
    about: &'static str,
    find: fn(&Workspace) -> Result<Vec<Finding>>,
}

const CHECKS: [Check; 9] = [
    Check {
        name: "size",
        about: "no Rust file has more than 400 lines before its tests",
        find: size::find,
    },
    Check {
        name: "dependencies",
        about: "crates depend on one another only as ARCHITECTURE.md says; the cores stay without I/O",
        find: dependencies::find,
    },
    Check {
        name: "unwraps",
        about: "no unwrap outside tests: an error is returned, or `expect` says why there is none",
        find: unwraps::find,
    },
    Check {
        name: "words",
        about: "nothing names a place of the machine on which it was written",
        find: words::find,
    },
    Check {
        name: "decisions",
        about: "each page of docs/adr is named NNNN-title.md and stands in its index",
        find: decisions::find,
    },
    Check {
        name: "metrics",
        about: "the metrics in the source and in docs/metrics.md are the same",
        find: metrics::find,
    },
    Check {
        name: "links",
        about: "every relative link of every Markdown page leads to a file",
        find: links::find,
    },
    Check {
        name: "formats",
        about: "each on-disk format has a page in docs/formats, and its source names the page",
        find: formats::find,
    },
    Check {
        name: "promises",
        about: "each test that a page names as `path.rs::test` exists",
        find: promises::find,
    },
];

/// Runs every check and prints what it finds; false when there was something.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    if options.list {
        for check in &CHECKS {
            println!("{:<13} {}", check.name, check.about);
        }
        return Ok(true);
    }
    let tally = tally(workspace)?;
    tally.notes.iter().for_each(|note| println!("{note}"));
    Ok(tally.failed == 0)
}

/// Runs every check, each counted as one test.
pub(crate) fn tally(workspace: &Workspace) -> Result<Tally> {
    let mut tally = Tally::default();
    for check in &CHECKS {
        let findings = (check.find)(workspace)?;
        for finding in &findings {
            println!("{finding}");
        }
        if findings.is_empty() {
            tally.passed += 1;
            println!("{}: ok", check.name);
        } else {
            tally.failed += 1;
            tally.notes.push(format!(
                "{}: {} findings ({})",
                check.name,
                findings.len(),
                check.about
            ));
        }
    }
    Ok(tally)
}

impl Finding {
    fn whole(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self { path: path.into(), line: None, message: message.into() }
    }

    fn at(path: impl Into<PathBuf>, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.into(), line: Some(line), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.message)
    }
}
