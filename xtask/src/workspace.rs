//! The work tree as the checks see it: its root, its files and what cargo says about it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;

/// The work tree this program belongs to.
pub(crate) struct Workspace {
    /// The folder of the root `Cargo.toml`.
    pub(crate) root: PathBuf,
}

/// What `cargo metadata` says, cut down to what the checks ask.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: Vec<String>,
    pub(crate) resolve: Resolve,
    pub(crate) target_directory: PathBuf,
}

/// One package, of the workspace or from outside.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// Something a package is built into.
#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

/// One line of a package's dependency tables.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for an ordinary dependency, else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

/// The dependency graph cargo settled on.
#[derive(Deserialize)]
pub(crate) struct Resolve {
    pub(crate) nodes: Vec<Node>,
}

/// A package in the graph.
#[derive(Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) deps: Vec<Edge>,
}

/// An edge of the graph.
#[derive(Deserialize)]
pub(crate) struct Edge {
    pub(crate) pkg: String,
    pub(crate) dep_kinds: Vec<EdgeKind>,
}

/// In which role an edge stands.
#[derive(Deserialize)]
pub(crate) struct EdgeKind {
    pub(crate) kind: Option<String>,
}

impl Metadata {
    /// The version of one of our packages.
    pub(crate) fn version_of(&self, name: &str) -> Result<&str> {
        let package = self.packages.iter().find(|package| package.name == name);
        Ok(&package.with_context(|| format!("there is no package {name}"))?.version)
    }

    /// The names of all targets of `tests` folders of the workspace.
    pub(crate) fn test_targets(&self) -> Vec<&str> {
        let ours =
            self.packages.iter().filter(|package| self.workspace_members.contains(&package.id));
        let targets = ours.flat_map(|package| &package.targets);
        targets
            .filter(|target| target.kind == ["test"])
            .map(|target| target.name.as_str())
            .collect()
    }
}

impl Workspace {
    /// The workspace of this program: beside its own package.
    pub(crate) fn find() -> Result<Self> {
        let package = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.parent().context("the package xtask has no parent folder")?;
        let manifest = root.join("Cargo.toml");
        anyhow::ensure!(
            manifest.is_file(),
            "{} is missing: run in a whole clone",
            manifest.display()
        );
        Ok(Self { root: root.to_owned() })
    }

    /// What cargo knows of all packages. Asks for the committed `Cargo.lock`.
    pub(crate) fn metadata(&self) -> Result<Metadata> {
        let arguments = ["metadata", "--format-version", "1", "--locked"];
        let text = process::output(&mut process::cargo(&self.root, &arguments))?;
        serde_json::from_str(&text).context("cargo metadata: not the JSON that was expected")
    }

    /// Every file that git tracks or would track, relative to the root, in order.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let mut git = Command::new("git");
        git.current_dir(&self.root);
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let listed = process::output(&mut git)?;
        let mut files: Vec<_> = listed
            .split_terminator('\0')
            .map(PathBuf::from)
            .filter(|path| self.root.join(path).is_file())
            .collect();
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// The text of a file, or nothing when it is not text.
    pub(crate) fn text(&self, path: &Path) -> Result<Option<String>> {
        let full = self.root.join(path);
        let bytes =
            std::fs::read(&full).with_context(|| format!("cannot read {}", full.display()))?;
        Ok(String::from_utf8(bytes).ok())
    }

    /// Every text file with one of these endings, with its text.
    pub(crate) fn texts(&self, endings: &[&str]) -> Result<Vec<(PathBuf, String)>> {
        let mut texts = Vec::new();
        for path in self.files()? {
            let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            if (endings.is_empty() || endings.contains(&ending.as_str()))
                && let Some(text) = self.text(&path)?
            {
                texts.push((path, text));
            }
        }
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_knows_its_own_files() {
        let workspace = Workspace::find().expect("tests run inside the workspace");
        let files = workspace.files().expect("git lists the files");
        assert!(files.contains(&PathBuf::from("xtask/src/workspace.rs")));
        assert!(!files.iter().any(|path| path.starts_with("target")));
    }

    #[test]
    fn cargo_metadata_is_understood() {
        let workspace = Workspace::find().expect("tests run inside the workspace");
        let metadata = workspace.metadata().expect("cargo metadata is read");
        assert!(metadata.packages.iter().any(|package| package.name == "gfs-types"));
        assert!(!metadata.resolve.nodes.is_empty() && !metadata.workspace_members.is_empty());
    }
}
