//! What a cluster can tell about a test that failed, as files of a folder that is kept.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::command::{json, kubectl};
use super::operator;

/// All that lives in a namespace of a test.
const KINDS: &str = "gfsclusters,statefulsets,deployments,jobs,pods,services,endpointslices,configmaps,persistentvolumeclaims,poddisruptionbudgets,networkpolicies,serviceaccounts";

/// Writes objects, events and logs of these namespaces, and of the operator, into a fresh folder.
pub(super) fn write(test: &str, namespaces: &[&str]) -> Result<PathBuf> {
    let folder = tempfile::Builder::new().prefix(&format!("gfs-{test}-")).tempdir()?.keep();
    for namespace in namespaces.iter().chain(&[operator::NAMESPACE]) {
        let folder = folder.join(namespace);
        fs::create_dir_all(&folder)?;
        let save = |file: &str, arguments: &[&str]| {
            let arguments = [&["--namespace", namespace], arguments].concat();
            // What cannot be told is told as such.
            let text = kubectl(&arguments).unwrap_or_else(|error| format!("{error:#}\n"));
            fs::write(folder.join(file), text)
        };
        save("objects.yaml", &["get", KINDS, "--output", "yaml"])?;
        save("pods.txt", &["get", "pods", "--output", "wide"])?;
        save("pods-described.txt", &["describe", "pods"])?;
        save("events.txt", &["get", "events", "--sort-by", ".lastTimestamp"])?;
        logs(namespace, &folder)?;
    }
    let nodes = kubectl(&["describe", "nodes"]).unwrap_or_else(|error| format!("{error:#}\n"));
    fs::write(folder.join("nodes.txt"), nodes)?;
    Ok(folder)
}

/// A file for each pod, and one for what it said before its last restart.
fn logs(namespace: &str, folder: &Path) -> Result<()> {
    let Ok(pods) = json(&["--namespace", namespace, "get", "pods"]) else { return Ok(()) };
    let pods = pods["items"].as_array().context("pods")?;
    for name in pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str()) {
        let logs = ["--namespace", namespace, "logs", name, "--all-containers"];
        for (suffix, more) in [("", &[][..]), (".before", &["--previous"])] {
            if let Ok(text) = kubectl(&[&logs, more].concat()) {
                fs::write(folder.join(format!("{name}{suffix}.log")), text)?;
            }
        }
    }
    Ok(())
}
