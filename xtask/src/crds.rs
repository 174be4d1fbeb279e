//! `cargo xtask crds`: the definitions of the resources, from the code of the operator.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::charts;
use crate::process::{cargo, output};
use crate::workspace::Workspace;

/// What the operator prints; a test of the operator compares.
const FILE: &str = "crds/gfsclusters.gfs.rs.yaml";

/// Writes the file.
pub(crate) fn write(workspace: &Workspace) -> Result<bool> {
    let arguments =
        ["run", "--quiet", "--profile", "ci", "--locked", "--package", "gfs-operator", "--"];
    let printed = output(cargo(&workspace.root, &arguments).arg("crds"))?;
    let said = if replace(&workspace.root.join(FILE), &printed)? { "written" } else { "unchanged" };
    println!("{FILE}: {said}");
    // A chart reads no file outside of its folder.
    charts::generated(&workspace.root)?.iter().try_for_each(charts::Generated::write)?;
    Ok(true)
}

/// Whether there was anything to write.
fn replace(path: &Path, text: &str) -> Result<bool> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}
