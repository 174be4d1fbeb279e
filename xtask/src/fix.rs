//! `cargo xtask fix`: the rewriting half of the checks.

use anyhow::Result;

use crate::charts;
use crate::process::{cargo, run};
use crate::workspace::Workspace;

/// Applies clippy's own remedies, formats the result, and writes what of the charts is generated; false when clippy could not go
/// through.
pub(crate) fn run_all(workspace: &Workspace) -> Result<bool> {
    for file in charts::generated(&workspace.root)? {
        file.write()?;
    }
    let clippy = ["clippy", "--fix", "--allow-dirty", "--allow-staged", "--profile", "ci"];
    let mut clippy = cargo(&workspace.root, &clippy);
    let linted = run(clippy.args(["--workspace", "--all-targets"]))?;
    let formatted = run(&mut cargo(&workspace.root, &["fmt", "--all"]))?;
    Ok(linted.success() && formatted.success())
}
