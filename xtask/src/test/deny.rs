//! The step `deny`: cargo-deny in the pinned version, built once and kept under `target/tools`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::report::Tally;
use crate::process::{cargo, output, run};
use crate::workspace::Workspace;

/// Pinned, so that the same tree gets the same answer everywhere.
const VERSION: &str = "0.20.2";

/// Checks all dependencies against `deny.toml`, without asking the network for anything but the tool.
pub(super) fn run_pinned(workspace: &Workspace) -> Result<Tally> {
    let target = workspace.metadata()?.target_directory;
    let Some(program) = find(&target).or_else(|| install(workspace, &target)) else {
        let why =
            "cargo-deny could not be built; by hand: cargo install --locked cargo-deny --version";
        return Ok(Tally::skipped(format!("{why} {VERSION}")));
    };
    let mut deny = Command::new(program);
    deny.current_dir(&workspace.root).args(["--locked", "check", "--hide-inclusion-graph"]);
    let status = run(deny.args(["bans", "licenses", "sources"]))?;
    Ok(Tally::of(status.success(), "deny.toml is broken by a dependency: see above"))
}

/// The pinned version on the path or where an earlier run put it.
fn find(target: &Path) -> Option<PathBuf> {
    [PathBuf::from("cargo-deny"), folder(target).join("bin/cargo-deny")].into_iter().find(is_pinned)
}

fn is_pinned(program: &PathBuf) -> bool {
    output(Command::new(program).arg("--version"))
        .is_ok_and(|version| version.split_whitespace().last() == Some(VERSION))
}

fn folder(target: &Path) -> PathBuf {
    target.join("tools").join(format!("cargo-deny-{VERSION}"))
}

/// Builds it unoptimised: it runs for a second, so a quick build is worth more.
fn install(workspace: &Workspace, target: &Path) -> Option<PathBuf> {
    let folder = folder(target);
    let arguments =
        ["install", "--locked", "--debug", "--quiet", "cargo-deny", "--version", VERSION];
    let mut install = cargo(&workspace.root, &arguments);
    install.arg("--root").arg(&folder).env("CARGO_PROFILE_DEV_DEBUG", "0");
    install.env_remove("CARGO_TARGET_DIR");
    run(&mut install).ok().filter(std::process::ExitStatus::success)?;
    find(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_program_is_not_taken_for_the_pinned_one() {
        assert!(!is_pinned(&PathBuf::from("gfs-no-such-program")));
        assert!(!is_pinned(&PathBuf::from("git")));
    }

    #[test]
    fn each_version_has_a_folder_of_its_own() {
        assert!(folder(Path::new("t")).ends_with("tools/cargo-deny-0.20.2"));
    }
}
