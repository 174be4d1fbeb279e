//! The steps of `cargo xtask test`, in the order in which they run: the quick ones first.

use std::process::{Command, Stdio};

use anyhow::Result;

use super::report::Tally;
use super::tools::{CLIPPY, GIT, RUSTFMT, Tool};
use super::{deny, tools};
use crate::process::{cargo, run, run_watched};
use crate::tidy;
use crate::workspace::Workspace;

/// One step. It does not depend on the success of those before it.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Left out by `--fast`.
    pub(crate) slow: bool,
    /// Without these on the machine it is skipped.
    pub(crate) needs: &'static [&'static Tool],
    /// Carries it out; an error is one failure.
    pub(crate) run: fn(&Workspace) -> Result<Tally>,
}

/// Every step there is.
pub(crate) const STEPS: [Step; 9] = [
    Step {
        name: "install",
        about: "the tools the other steps need, installed where that can be done",
        slow: false,
        needs: &[],
        run: |_| Ok(tools::install()),
    },
    Step {
        name: "fmt",
        about: "formatting, as `cargo fmt` leaves it",
        slow: false,
        needs: &[&RUSTFMT],
        run: |workspace| simple(workspace, &["fmt", "--all", "--check"], "run `cargo xtask fix`"),
    },
    Step {
        name: "tidy",
        about: "rules of the tree that no compiler knows (`cargo xtask tidy --list`)",
        slow: false,
        needs: &[&GIT],
        run: tidy::tally,
    },
    Step {
        name: "clippy",
        about: "lints of all targets, warnings are errors",
        slow: false,
        needs: &[&CLIPPY],
        run: clippy,
    },
    Step {
        name: "deny",
        about: "licences, banned crates and sources of every dependency",
        slow: true,
        needs: &[],
        run: deny::run_pinned,
    },
    Step {
        name: "docs",
        about: "rustdoc of every crate, warnings are errors",
        slow: true,
        needs: &[],
        run: docs,
    },
    Step {
        name: "unit",
        about: "tests beside the code, and the examples in its documentation",
        slow: false,
        needs: &[],
        run: unit,
    },
    Step {
        name: "cluster",
        about: "tests of the whole system: real processes on the loopback interface",
        slow: true,
        needs: &[],
        run: cluster,
    },
    Step {
        name: "readme",
        about: "the first command of README.md: a real file goes in, comes out, and is compared",
        slow: true,
        needs: &[],
        run: readme,
    },
];

/// The crate of the whole-system tests; its tests need the built `gfs`.
const SYSTEM_TESTS: &str = "gfs-tests";

fn simple(workspace: &Workspace, arguments: &[&str], remedy: &str) -> Result<Tally> {
    let status = run(&mut cargo(&workspace.root, arguments))?;
    Ok(Tally::of(status.success(), remedy))
}

fn clippy(workspace: &Workspace) -> Result<Tally> {
    let arguments = [
        "clippy",
        "--profile",
        "ci",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    simple(workspace, &arguments, "lints are listed above; `cargo xtask fix` mends some")
}

fn docs(workspace: &Workspace) -> Result<Tally> {
    let arguments = ["doc", "--profile", "ci", "--locked", "--workspace", "--no-deps"];
    let mut doc = cargo(&workspace.root, &arguments);
    let status = run(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Tally::of(status.success(), "rustdoc's complaints are listed above"))
}

fn unit(workspace: &Workspace) -> Result<Tally> {
    tests(&mut cargo_test(workspace, &["--workspace", "--exclude", SYSTEM_TESTS]))
}

fn cluster(workspace: &Workspace) -> Result<Tally> {
    let build = ["build", "--profile", "ci", "--locked", "--package", "gfs-cli", "--bin", "gfs"];
    if !run(&mut cargo(&workspace.root, &build))?.success() {
        return Ok(Tally::failed("the program gfs does not build: see above"));
    }
    let gfs = workspace.metadata()?.target_directory.join("ci").join("gfs");
    tests(cargo_test(workspace, &["--package", SYSTEM_TESTS]).env("GFS_BIN", gfs))
}

fn readme(workspace: &Workspace) -> Result<Tally> {
    let mut script = Command::new("sh");
    script.current_dir(&workspace.root).arg("examples/first-light.sh").stdin(Stdio::null());
    Ok(Tally::of(run(&mut script)?.success(), "examples/first-light.sh failed: see above"))
}

fn cargo_test(workspace: &Workspace, selection: &[&str]) -> Command {
    let mut command = cargo(&workspace.root, &["test", "--profile", "ci", "--locked"]);
    command.arg("--no-fail-fast").args(selection);
    command
}

/// Runs tests and counts them. A run that ends badly without a failed test (it did not compile, a
/// test process died) is one failure.
fn tests(command: &mut Command) -> Result<Tally> {
    let mut tally = Tally::default();
    let status = run_watched(command, |line| tally.count_line(line))?;
    if !status.success() && tally.failed == 0 {
        tally.failed = 1;
        tally.notes.push(format!("no test failed, but cargo test ended with {status}: see above"));
    }
    Ok(tally)
}
