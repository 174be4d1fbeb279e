//! `cargo xtask fix`: the rewriting half of the checks.

use anyhow::Result;

use crate::process::{cargo, run};
use crate::workspace::Workspace;

/// Applies clippy's own remedies and formats the result; false when clippy could not go through.
pub(crate) fn run_all(workspace: &Workspace) -> Result<bool> {
    let clippy = ["clippy", "--fix", "--allow-dirty", "--allow-staged", "--profile", "ci"];
    let mut clippy = cargo(&workspace.root, &clippy);
    let linted = run(clippy.args(["--workspace", "--all-targets"]))?;
    let formatted = run(&mut cargo(&workspace.root, &["fmt", "--all"]))?;
    Ok(linted.success() && formatted.success())
}
