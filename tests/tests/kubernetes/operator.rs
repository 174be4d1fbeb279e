//! The operator dies, goes, comes back, or has nothing to do.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gfs_tests::kubernetes::gfs_cluster::READY_WITHIN;
use gfs_tests::kubernetes::{CrewPod, GfsCluster, Namespace, Testbed, Toolbox, operator, until};
use serde_json::json;

const NEXT_STEP_WITHIN: Duration = Duration::from_secs(60);
/// Longer than the lease of a leader that was killed.
const RECONCILED_WITHIN: Duration = Duration::from_secs(60);
/// Without a write for so long, nothing is on its way any more.
const QUIET: Duration = Duration::from_secs(3);
const PASSES: &str = "gfs_operator_reconcile_total";
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Everything that the operator writes for a cluster, and the cluster itself.
const KINDS: [&str; 7] = [
    "gfsclusters",
    "statefulsets",
    "services",
    "configmaps",
    "poddisruptionbudgets",
    "networkpolicies",
    "serviceaccounts",
];

/// Killed in the middle of the objects, twice, and again when the servers are there but not ready.
///
/// An operator writes all of its objects in a fraction of a second, which no test would hit. Objects of somebody else, with names
/// that it needs, stop it where the test wants it.
pub(crate) fn operator_killed_in_mid_install_resumes(namespace: &Namespace) -> Result<()> {
    let obstacles = [
        (json!({"apiVersion": "v1", "kind": "ConfigMap"}), "configmap", "gfs-client"),
        (
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"podSelector": {}}}),
            "networkpolicy",
            "gfs",
        ),
    ];
    for (object, _, name) in &obstacles {
        let mut object = object.clone();
        object["metadata"] = json!({"name": name});
        namespace.apply(&object)?;
    }
    let cluster = GfsCluster::apply(namespace, "gfs", &json!({}))?;
    // Of each obstacle: what is written just before it, and what comes just behind it.
    let around = [
        (("configmap", "gfs-chunk"), ("poddisruptionbudget", "gfs-master")),
        (("poddisruptionbudget", "gfs-chunk"), ("statefulset", "gfs-master")),
    ];
    for ((_, kind, name), (before, behind)) in obstacles.iter().zip(around) {
        kill_at(namespace, before)?;
        let written = namespace.find(behind.0, behind.1)?;
        ensure!(written.is_none(), "{behind:?} is there: it was not stopped by {kind} {name}");
        namespace.kubectl(&["delete", kind, name])?;
    }
    kill_at(namespace, ("pod", "gfs-master-0"))?;
    cluster.ready(READY_WITHIN)?;
    let object = cluster.object()?;
    let own = object["metadata"]["uid"].as_str().unwrap_or_default().replace('-', "");
    ensure!(object["status"]["clusterUid"] == own.as_str(), "formatted as another: {object}");
    let toolbox = Toolbox::start(&cluster)?;
    toolbox.store("/file", "stored\n")?;
    toolbox.holds("/file", "stored\n")
}

/// Kills the operators as soon as this object is there.
fn kill_at(namespace: &Namespace, (kind, name): (&str, &str)) -> Result<()> {
    until(&format!("{kind} {name}"), NEXT_STEP_WITHIN, || namespace.get(kind, name))?;
    until("an operator to kill", NEXT_STEP_WITHIN, || operator::kill(Testbed::get()?))
}

pub(crate) fn uninstall_and_reinstall_of_the_operator_goes_unnoticed(
    namespace: &Namespace,
) -> Result<()> {
    let cluster = GfsCluster::start(namespace, &json!({}))?;
    let crew = CrewPod::start(&cluster, None)?;
    let (pods, versions) = (cluster.pods()?, versions(namespace)?);
    let uninstalled = operator::uninstall();
    let alone = uninstalled.and_then(|()| {
        crew.resumed(SILENCE_MAX)?;
        ensure!(cluster.pods()? == pods, "pods changed when the operator went");
        ensure!(self::versions(namespace)? == versions, "objects changed when the operator went");
        Ok(())
    });
    // Others need it too.
    operator::install(Testbed::get()?)?;
    alone?;
    // A change shows that the new one has looked at the cluster.
    cluster.change(&json!({"chunkservers": {"replicas": 4}}))?;
    cluster.ready(READY_WITHIN)?;
    let mut after = cluster.pods()?;
    after.retain(|pod| pods.iter().any(|old| old.name == pod.name));
    ensure!(after == pods, "pods were made anew:\n{pods:?}\n{after:?}");
    let silences = crew.silences()?;
    println!("longest silences {silences:.1?} while the operator was replaced");
    ensure!(silences.writes < SILENCE_MAX && silences.reads < SILENCE_MAX, "{silences:?}");
    crew.check()
}

/// A leader that comes anew looks at everything, and so does one that is woken: neither may write one object.
pub(crate) fn an_unchanged_cluster_is_not_written(namespace: &Namespace) -> Result<()> {
    let cluster = GfsCluster::start(namespace, &json!({}))?;
    // The controllers of Kubernetes have things to write after a start, too.
    let mut before = until("quiet", READY_WITHIN, || {
        let before = versions(namespace)?;
        sleep(QUIET);
        ensure!(versions(namespace)? == before, "objects still change");
        Ok(before)
    })?;
    operator::kill(Testbed::get()?)?;
    passes_more_than(0.0)?;
    ensure!(versions(namespace)? == before, "written by the next leader: {before:#?}");
    let passes = operator::metric(PASSES)?;
    namespace.kubectl(&["annotate", "gfscluster", &cluster.name, "example.org/note=seen"])?;
    passes_more_than(passes)?;
    let mut after = versions(namespace)?;
    // Written by this test.
    let own = format!("gfsclusters/{}", cluster.name);
    before.remove(&own).context("the cluster itself")?;
    after.remove(&own).context("the cluster itself")?;
    ensure!(after == before, "written by a pass:\n{before:#?}\n{after:#?}");
    let writes = operator::metric("gfs_operator_writes_total")?;
    ensure!(writes == 0.0, "{writes} requests that write");
    Ok(())
}

fn passes_more_than(before: f64) -> Result<()> {
    until("a pass", RECONCILED_WITHIN, || {
        let passes = operator::metric(PASSES)?;
        ensure!(passes > before, "{passes} so far");
        Ok(())
    })
}

/// Each object's version: it changes with every write.
fn versions(namespace: &Namespace) -> Result<BTreeMap<String, String>> {
    let mut versions = BTreeMap::new();
    for kind in KINDS {
        let list = namespace.json(&["get", kind])?;
        for object in list["items"].as_array().context("a list")? {
            let metadata = &object["metadata"];
            let name = format!("{kind}/{}", metadata["name"].as_str().unwrap_or_default());
            versions.insert(name, metadata["resourceVersion"].to_string());
        }
    }
    Ok(versions)
}
