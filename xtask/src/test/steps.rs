//! The steps of `cargo xtask test`, in the order in which they run: the quick ones first.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::report::Tally;
use super::tools::{CLIPPY, GIT, GO, RUSTFMT, Tool};
use super::{charts, deny, kubernetes, sim, tools};
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
pub(crate) const STEPS: [Step; 12] = [
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
        run: format,
    },
    Step {
        name: "tidy",
        about: "rules of the tree that no compiler knows (`cargo xtask tidy --list`)",
        slow: false,
        needs: &[&GIT],
        run: tidy::tally,
    },
    Step {
        name: "charts",
        about: "Helm charts: rendered, judged by the schemas of Kubernetes, their pages current",
        slow: true,
        needs: &[&GO],
        run: charts::run_all,
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
        about: "tests beside the code, and the examples of its documentation",
        slow: false,
        needs: &[],
        run: unit,
    },
    Step {
        name: "sim",
        about: "the whole cluster in one process, from two thousand seeds; the same traces from a build as released",
        slow: true,
        needs: &[],
        run: sim::run_suite,
    },
    Step {
        name: "cluster",
        about: "tests in `tests` folders: the whole system, as real processes on loopback",
        slow: true,
        needs: &[],
        run: cluster,
    },
    Step {
        name: "kubernetes",
        about: "the whole system on a real Kubernetes of three nodes, made here or named by KUBECONFIG",
        slow: true,
        needs: &[],
        run: kubernetes::run_suite,
    },
    Step {
        name: "readme",
        about: "the first command of README.md: a real file goes in, comes out, and is compared",
        slow: true,
        needs: &[],
        run: readme,
    },
];

fn clippy(workspace: &Workspace) -> Result<Tally> {
    // All crates, so that one run shows all there is to mend.
    let arguments = ["clippy", "--profile", "ci", "--locked", "--keep-going", "--workspace"];
    let mut clippy = cargo(&workspace.root, &arguments);
    let status = run(clippy.args(["--all-targets", "--", "-D", "warnings"]))?;
    Ok(Tally::of(status.success(), "lints are listed above; `cargo xtask fix` mends some"))
}

fn format(workspace: &Workspace) -> Result<Tally> {
    let status = run(&mut cargo(&workspace.root, &["fmt", "--all", "--check"]))?;
    Ok(Tally::of(status.success(), "run `cargo xtask fix`"))
}

fn docs(workspace: &Workspace) -> Result<Tally> {
    let arguments =
        ["doc", "--profile", "ci", "--locked", "--keep-going", "--workspace", "--no-deps"];
    let mut doc = cargo(&workspace.root, &arguments);
    let status = run(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Tally::of(status.success(), "rustdoc's complaints are listed above"))
}

// All test commands select the whole workspace and differ only in the kind of target: another selection of
// packages would unify features differently, and half of the dependencies would compile a second time.

fn unit(workspace: &Workspace) -> Result<Tally> {
    let code = cargo_test(workspace, &["--lib", "--bins", "--examples"]);
    tests(&mut [code, cargo_test(workspace, &["--doc"])])
}

/// Builds the program under test, alone, with the features its users get; nothing when it does not build.
pub(crate) fn program_under_test(workspace: &Workspace) -> Result<Option<PathBuf>> {
    let build = ["build", "--profile", "ci", "--locked", "--package", "gfs-cli", "--bin", "gfs"];
    if !run(&mut cargo(&workspace.root, &build))?.success() {
        return Ok(None);
    }
    Ok(Some(workspace.metadata()?.target_directory.join("ci").join("gfs")))
}

fn cluster(workspace: &Workspace) -> Result<Tally> {
    let Some(gfs) = program_under_test(workspace)? else {
        return Ok(Tally::failed("the program gfs does not build: see above"));
    };
    let metadata = workspace.metadata()?;
    let apart = [kubernetes::SUITE, sim::SUITE];
    let targets = metadata.test_targets().into_iter().filter(|target| !apart.contains(target));
    let mut whole = cargo_test(workspace, &[]);
    whole.args(targets.flat_map(|target| ["--test", target])).env("GFS_BIN", gfs);
    tests(&mut [whole])
}

fn readme(workspace: &Workspace) -> Result<Tally> {
    let mut script = Command::new("sh");
    script.current_dir(&workspace.root).arg("examples/first-light.sh").stdin(Stdio::null());
    let mut compared = false;
    let status = run_watched(&mut script, |line| compared |= line.starts_with("identical: "))?;
    let good = status.success() && compared;
    Ok(Tally::of(good, "examples/first-light.sh did not get an identical file back: see above"))
}

/// `cargo test` of these targets.
pub(crate) fn cargo_test(workspace: &Workspace, targets: &[&str]) -> Command {
    let arguments = ["test", "--profile", "ci", "--locked", "--no-fail-fast", "--workspace"];
    let mut command = cargo(&workspace.root, &arguments);
    command.args(targets);
    command
}

/// Runs tests, one command after another, and counts them together.
pub(super) fn tests(commands: &mut [Command]) -> Result<Tally> {
    let mut sum = Tally::default();
    for command in commands {
        let mut tally = Tally::default();
        let status = run_watched(command, |line| tally.count_line(line))?;
        sum.add(tally.ended(status.success()));
    }
    Ok(sum.not_empty())
}
