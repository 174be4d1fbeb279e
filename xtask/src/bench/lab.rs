//! Where rows are measured: the programs, a cluster, a folder for everything, and how large the load is.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::cluster::Cluster;
use super::guard::Guard;
use super::machine;
use crate::process;
use crate::workspace::Workspace;

/// How much is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Full,
    /// About a tenth.
    Quick,
}

/// Everything that rows need. What it started ends with it.
pub(crate) struct Lab {
    pub(crate) scale: Scale,
    gfs: PathBuf,
    yardsticks: PathBuf,
    master_state: PathBuf,
    /// Before the folder: the cluster must have ended when that is removed.
    cluster: Option<Cluster>,
    folder: Folder,
    _guard: Guard,
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Lab {
    /// Builds the programs.
    pub(crate) fn build(workspace: &Workspace, scale: Scale, profile: &str) -> Result<Self> {
        let build = |arguments: &[&str]| -> Result<()> {
            let mut cargo = process::cargo(&workspace.root, &["build", "--locked"]);
            let status = process::run(cargo.args(["--profile", profile]).args(arguments))?;
            ensure!(status.success(), "it does not build: see above");
            Ok(())
        };
        build(&["--package", "gfs-cli"])?;
        build(&["--package", "gfs-yardsticks"])?;
        build(&["--package", "gfs-tests", "--example", "master-state"])?;
        let target = workspace.metadata()?.target_directory.join(profile);
        let folder = std::env::temp_dir().join(format!("gfs-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let guard = Guard::over(&folder, None)?;
        Ok(Self {
            scale,
            gfs: target.join("gfs"),
            yardsticks: target.join("yardsticks"),
            master_state: target.join("examples").join("master-state"),
            cluster: None,
            folder: Folder(folder),
            _guard: guard,
        })
    }

    /// `full`, or as much as a quick run has of it.
    pub(crate) fn sized<T>(&self, full: T, quick: T) -> T {
        if self.scale == Scale::Full { full } else { quick }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder.0
    }

    pub(crate) fn gfs(&self) -> &Path {
        &self.gfs
    }

    /// The cluster, which is started when the first row needs it.
    pub(crate) fn cluster(&mut self) -> Result<&mut Cluster> {
        if self.cluster.is_none() {
            self.cluster = Some(Cluster::start(&self.gfs, self.folder.0.join("cluster"))?);
        }
        self.cluster.as_mut().context("it was just started")
    }

    /// Takes another one, whose folder a row has made.
    pub(crate) fn set_cluster(&mut self, cluster: Cluster) {
        self.cluster = Some(cluster);
    }

    pub(crate) fn end_cluster(&mut self) -> Result<()> {
        self.cluster.take().map_or(Ok(()), |mut cluster| cluster.end())
    }

    /// Whether a row has taken a cluster already.
    pub(crate) fn has_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    /// `gfs bench` with these words; nothing may have failed.
    pub(crate) fn bench(&mut self, words: &str) -> Result<Report> {
        let arguments: Vec<&str> =
            ["bench"].into_iter().chain(words.split(' ')).chain(["--output", "json"]).collect();
        let report = Report(serde_json::from_str(&self.cluster()?.run(&arguments)?)?);
        ensure!(report.number("/errors")? == 0.0, "operations failed in gfs bench {words}");
        Ok(report)
    }

    /// Whether a path is there already.
    pub(crate) fn exists(&mut self, path: &str) -> Result<bool> {
        Ok(process::succeeds(&mut self.cluster()?.command(&["stat", path])))
    }

    pub(crate) fn yardstick(&self, words: &str) -> Result<Report> {
        let mut command = Command::new(&self.yardsticks);
        command.args(words.split(' ')).arg("--dir").arg(self.folder());
        Ok(Report(serde_json::from_str(&process::output(&mut command)?)?))
    }

    /// `examples/master-state` of the tests: states of masters that would take hours to reach.
    pub(crate) fn master_state(&self, arguments: &[&str]) -> Result<Report> {
        let mut command = Command::new(&self.master_state);
        Ok(Report(serde_json::from_str(&process::output(command.args(arguments))?)?))
    }

    /// Touches memory before a measurement, where there is as much.
    pub(crate) fn warm(&self, gib: u64) -> Result<()> {
        let gib = gib.min(machine::available_gib().saturating_sub(2)).max(1).to_string();
        process::output(Command::new(&self.yardsticks).args(["warm", "--gib", &gib])).map(drop)
    }
}

/// What a program printed as JSON.
pub(crate) struct Report(pub(crate) Value);

impl Report {
    /// The number at a JSON pointer.
    pub(crate) fn number(&self, pointer: &str) -> Result<f64> {
        let value = self.0.pointer(pointer).and_then(Value::as_f64);
        value.with_context(|| format!("no number {pointer} in {}", self.0))
    }

    /// The sum of a map of numbers, without one of its keys.
    pub(crate) fn sum_without(&self, pointer: &str, without: &str) -> Result<f64> {
        let map = self.0.pointer(pointer).and_then(Value::as_object);
        let map = map.with_context(|| format!("no map {pointer} in {}", self.0))?;
        let others = map.iter().filter(|(key, _)| *key != without);
        Ok(others.filter_map(|(_, value)| value.as_f64()).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_reports() {
        let report = Report(serde_json::json!({"a": {"client": 1, "x": 2, "y": 0.5}, "b": "c"}));
        assert_eq!(report.number("/a/x").expect("it is there").to_bits(), 2.0_f64.to_bits());
        assert!(report.number("/b").is_err() && report.number("/c").is_err());
        let sum = report.sum_without("/a", "client").expect("it is a map");
        assert_eq!(sum.to_bits(), 2.5_f64.to_bits());
    }
}
