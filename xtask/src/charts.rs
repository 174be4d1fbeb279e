//! The Helm charts of `charts/`: what in them is generated, and what they must be like.

mod generated;
mod schemas;
mod values;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(crate) use self::generated::{Generated, all as generated};
pub(crate) use self::schemas::{FILE_TEMPLATE, write as write_schemas};

/// Every chart, by its folder.
pub(crate) const CHARTS: [&str; 2] = ["gfs-operator", "gfs-cluster"];

/// The folder of a chart.
pub(crate) fn folder(root: &Path, chart: &str) -> PathBuf {
    root.join("charts").join(chart)
}

/// Charts whose version, or that of what they install, is not the workspace's.
pub(crate) fn of_another_version(root: &Path) -> Result<Vec<&'static str>> {
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let ours = field(&manifest, "version = ").context("Cargo.toml names no version")?;
    let mut others = Vec::new();
    for name in CHARTS {
        let chart = fs::read_to_string(folder(root, name).join("Chart.yaml"))
            .with_context(|| format!("{name} has no Chart.yaml"))?;
        if ["version: ", "appVersion: "].iter().any(|key| field(&chart, key) != Some(ours)) {
            others.push(name);
        }
    }
    Ok(others)
}

/// What stands behind `key` at the beginning of a line.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_begins_its_line() {
        let text = "appVersion: 2.0\nversion: \"1.0\"\n";
        assert_eq!(field(text, "version: "), Some("1.0"));
        assert_eq!(field(text, "Version: "), None);
    }
}
