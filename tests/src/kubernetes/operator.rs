//! The operator, installed and removed by its chart. One serves all tests.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::command::{helm, json, kubectl};
use super::testbed::Testbed;

/// Where the tests install it.
pub const NAMESPACE: &str = "gfs-test-operator";
const RELEASE: &str = "gfs-operator";
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/gfs-operator");
const SELECTOR: &str = "app.kubernetes.io/name=gfs-operator";
const CRD: &str = "gfsclusters.gfs.rs";
/// By this a CRD of a chart tells which release brought it.
const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

/// Installs it, or brings it up to date; it runs when this returns.
///
/// # Errors
/// When it does not run within two minutes, or the cluster has one already.
pub fn install(testbed: &Testbed) -> Result<()> {
    leave_others_alone()?;
    let repository = format!("image.repository={}", testbed.repository);
    let tag = format!("image.tag={}", testbed.tag);
    let image = ["--set-string", &repository, "--set-string", &tag];
    let place = ["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "2m"];
    let what = ["upgrade", "--install", RELEASE, CHART];
    helm(&[&what[..], &place, &image].concat()).map(drop)
}

/// Removes it; its CRDs and all that it made stay.
///
/// # Errors
/// When helm refuses.
pub fn uninstall() -> Result<()> {
    let place = ["--namespace", NAMESPACE, "--ignore-not-found", "--wait", "--timeout", "2m"];
    helm(&[&["uninstall", RELEASE][..], &place].concat()).map(drop)
}

/// Removes it, its CRDs and its namespace; so every cluster that is left, too.
///
/// # Errors
/// When something stays.
pub fn remove_all() -> Result<()> {
    leave_others_alone()?;
    uninstall()?;
    kubectl(&["delete", "crd", CRD, "--ignore-not-found", "--timeout=2m"])?;
    kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=2m"]).map(drop)
}

/// The names of its pods.
///
/// # Errors
/// When the cluster does not tell.
pub fn pods() -> Result<Vec<String>> {
    let pods = json(&["--namespace", NAMESPACE, "get", "pods", "--selector", SELECTOR])?;
    let pods = pods["items"].as_array().context("pods")?;
    let name = |pod: &Value| Some(pod["metadata"]["name"].as_str()?.to_owned());
    Ok(pods.iter().filter_map(name).collect())
}

/// SIGKILL to all of its replicas: none ends its pass, and none gives the lease back.
///
/// # Errors
/// When there are none, or the machines are not ours.
pub fn kill(testbed: &Testbed) -> Result<()> {
    let pods = running()?;
    ensure!(!pods.is_empty(), "no operator runs");
    for pod in pods {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        testbed.kill_pod(&text(&pod["spec"]["nodeName"]), &text(&pod["metadata"]["uid"]))?;
    }
    Ok(())
}

/// Its pods whose container runs.
fn running() -> Result<Vec<Value>> {
    let pods = json(&["--namespace", NAMESPACE, "get", "pods", "--selector", SELECTOR])?;
    let pods = pods["items"].as_array().context("pods")?.iter();
    let runs = |pod: &&Value| pod["status"]["containerStatuses"][0]["state"]["running"].is_object();
    Ok(pods.filter(runs).cloned().collect())
}

/// The sum of a counter over its replicas and all labels; one that never counted is not told, and 0.
///
/// # Errors
/// When a replica does not tell.
pub fn metric(name: &str) -> Result<f64> {
    let mut sum = 0.0;
    for pod in pods()? {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8080/proxy/metrics");
        let text = kubectl(&["get", "--raw", &path])?;
        let is_meant = |line: &&str| line.split(['{', ' ']).next() == Some(name);
        let values = text.lines().filter(is_meant).filter_map(|line| line.rsplit(' ').next());
        sum += values.filter_map(|value| value.parse::<f64>().ok()).sum::<f64>();
    }
    Ok(sum)
}

/// A cluster that somebody uses for GFS is no place for tests.
fn leave_others_alone() -> Result<()> {
    let text = kubectl(&["get", "crd", CRD, "--ignore-not-found", "--output", "json"])?;
    if text.trim().is_empty() {
        return Ok(());
    }
    let crd: Value = serde_json::from_str(&text)?;
    ensure!(
        crd["metadata"]["annotations"][RELEASE_NAMESPACE] == NAMESPACE,
        "this cluster has the CRD {CRD} already, not from these tests: they need a cluster without"
    );
    Ok(())
}
