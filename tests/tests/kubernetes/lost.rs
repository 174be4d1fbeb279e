//! A volume that is gone is a person's business.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gfs_tests::kubernetes::gfs_cluster::READY_WITHIN;
use gfs_tests::kubernetes::{GfsCluster, Namespace, Toolbox, until};
use serde_json::{Value, json};

const TOLD_WITHIN: Duration = Duration::from_secs(60);
const MASTER_VOLUME: &str = "data-gfs-master-0";

/// Name and uid of each claim of a chunkserver.
fn volumes(cluster: &GfsCluster<'_>) -> Result<Vec<(Value, Value)>> {
    let claims = cluster.namespace.list("persistentvolumeclaims", &cluster.selector())?;
    let names = claims.iter().map(|claim| &claim["metadata"]);
    let of_chunkservers = names.filter(|metadata| metadata["name"] != MASTER_VOLUME);
    Ok(of_chunkservers.map(|it| (it["name"].clone(), it["uid"].clone())).collect())
}

pub(crate) fn a_lost_master_volume_is_reported_and_nothing_is_formatted(
    namespace: &Namespace,
) -> Result<()> {
    let cluster = GfsCluster::start(namespace, &json!({}))?;
    let toolbox = Toolbox::start(&cluster)?;
    toolbox.store("/kept", "what only the master knew\n")?;
    let before = volumes(&cluster)?;
    let chunkservers = chunkservers(&cluster)?;
    ensure!(before.len() == 3, "{before:?}");
    let cluster_uid = cluster.object()?["status"]["clusterUid"].clone();

    namespace.kubectl(&["delete", "pvc", MASTER_VOLUME, "--wait=false"])?;
    namespace.kubectl(&["delete", "pod", "gfs-master-0", "--force", "--grace-period=0"])?;
    let ready = cluster.told("Ready", "False", TOLD_WITHIN)?;
    until("MasterDataLost", TOLD_WITHIN, || {
        let stalled = cluster.told("Stalled", "True", Duration::ZERO)?;
        ensure!(stalled["reason"] == "MasterDataLost", "{stalled}");
        Ok(())
    })
    .with_context(|| format!("Ready: {ready}"))?;
    ensure!(namespace.has_event("MasterDataLost")?, "no event says so");

    // The operator goes on to look: each look must leave all as it is.
    let touch = |n: u32| {
        namespace.kubectl(&[
            "annotate",
            "gfscluster",
            "gfs",
            &format!("test/touched=\"{n}\""),
            "--overwrite",
        ])
    };
    for n in 0..3 {
        touch(n)?;
        std::thread::sleep(Duration::from_secs(2));
        let told = cluster.told("Stalled", "True", Duration::ZERO)?;
        ensure!(told["reason"] == "MasterDataLost", "{told}");
    }
    let object = cluster.object()?;
    ensure!(object["status"]["initialized"] == true, "{}", object["status"]);
    ensure!(volumes(&cluster)? == before, "volumes of chunkservers changed");
    ensure!(self::chunkservers(&cluster)? == chunkservers, "chunkservers were made anew");
    ensure!(object["status"]["clusterUid"] == cluster_uid, "{}", object["status"]);
    ensure!(formatted_once(namespace)?, "formatted again");
    let refused = toolbox.gfs(&["--timeout", "3s", "ls", "/"]);
    let why = refused.err().context("a fresh empty cluster")?;
    ensure!(format!("{why:#}").contains("format"), "not for being blank: {why:#}");
    Ok(())
}

fn chunkservers(cluster: &GfsCluster<'_>) -> Result<Vec<String>> {
    let pods = cluster.pods()?.into_iter().filter(|pod| pod.component == "chunkserver");
    Ok(pods.map(|pod| pod.uid).collect())
}

fn formatted_once(namespace: &Namespace) -> Result<bool> {
    let selector = "reason=Formatted";
    let events = namespace.json(&["get", "events.events.k8s.io", "--field-selector", selector])?;
    let events = events["items"].as_array().context("events")?;
    Ok(events.len() == 1 && events[0]["series"].is_null())
}

/// Waits until it is stalled for this reason.
fn stalled(cluster: &GfsCluster<'_>, reason: &str) -> Result<Value> {
    until(reason, TOLD_WITHIN, || {
        let stalled = cluster.told("Stalled", "True", Duration::ZERO)?;
        ensure!(stalled["reason"] == reason, "{stalled}");
        Ok(stalled)
    })
}

/// Both claims are `Terminating` and the data is whole; a change that restarts chunkservers must not be what loses it.
pub(crate) fn a_deleted_claim_keeps_its_pod(namespace: &Namespace) -> Result<()> {
    let two = json!({"chunkservers": {"replicas": 2}, "replication": {"factor": 2}});
    let cluster = GfsCluster::start(namespace, &two)?;
    let toolbox = Toolbox::start(&cluster)?;
    toolbox.store("/kept", "on volumes that are about to go\n")?;
    let before = cluster.pods()?;
    for index in 0..2 {
        let claim = format!("data-gfs-chunk-default-{index}");
        namespace.kubectl(&["delete", "pvc", &claim, "--wait=false"])?;
    }
    cluster.change(&json!({"chunkservers": {"config": {"logFormat": "text"}}}))?;
    let why = stalled(&cluster, "VolumeDeleted")?;
    let message = why["message"].as_str().unwrap_or_default();
    ensure!(message.contains("data-gfs-chunk-default-0"), "{why}");
    ensure!(namespace.has_event("VolumeDeleted")?, "no event says so");
    // The operator goes on to look: each look must leave all as it is.
    for n in 0..3 {
        let note = format!("test/touched=\"{n}\"");
        namespace.kubectl(&["annotate", "gfscluster", "gfs", &note, "--overwrite"])?;
        std::thread::sleep(Duration::from_secs(2));
    }
    ensure!(cluster.pods()? == before, "made anew: {before:?} {:?}", cluster.pods()?);
    toolbox.holds("/kept", "on volumes that are about to go\n")
}

/// The volumes were retained, and the master's was lost before the cluster was made again.
pub(crate) fn nothing_is_formatted_beside_volumes_of_an_earlier_cluster(
    namespace: &Namespace,
) -> Result<()> {
    let cluster = GfsCluster::start(namespace, &json!({}))?;
    Toolbox::start(&cluster)?.store("/kept", "what only the master knew\n")?;
    delete(&cluster)?;
    namespace.kubectl(&["delete", "pvc", MASTER_VOLUME])?;
    // Longer than two things that are made in one go are apart.
    std::thread::sleep(Duration::from_secs(11));
    GfsCluster::apply(namespace, "gfs", &json!({}))?;
    stalled(&cluster, "EarlierVolumes")?;
    ensure!(namespace.has_event("EarlierVolumes")?, "no event says so");
    let status = cluster.object()?["status"].clone();
    ensure!(status["initialized"] != true, "{status}");
    ensure!(formatted_once(namespace)?, "formatted again");
    Ok(())
}

/// Adopted under another domain: its chunkservers are new, and those that have the chunks are no more.
pub(crate) fn a_cluster_without_its_chunks_is_not_ready(namespace: &Namespace) -> Result<()> {
    let one = |domain: &str| {
        json!({
            "chunkservers": {"replicas": 1, "domains": [{"name": domain}]},
            "replication": {"factor": 1},
        })
    };
    let cluster = GfsCluster::start(namespace, &one("first"))?;
    Toolbox::start(&cluster)?.store("/kept", "elsewhere\n")?;
    delete(&cluster)?;
    GfsCluster::apply(namespace, "gfs", &one("second"))?;
    let missing = cluster.told("ChunksAvailable", "False", READY_WITHIN)?;
    until("the chunkserver", READY_WITHIN, || {
        let available = cluster.told("ChunkserversAvailable", "True", Duration::ZERO)?;
        let ready = cluster.told("Ready", "False", Duration::ZERO)?;
        ensure!(ready["reason"] == "ChunksMissing", "{ready} {available} {missing}");
        let message = ready["message"].as_str().unwrap_or_default();
        ensure!(message.contains("data-gfs-chunk-first-0"), "{ready}");
        Ok(())
    })
}

/// Deletes it, and waits for the end of its pods.
fn delete(cluster: &GfsCluster<'_>) -> Result<()> {
    cluster.namespace.kubectl(&["delete", "gfscluster", &cluster.name, "--timeout=60s"])?;
    cluster.namespace.kubectl(&["delete", "pod", "toolbox"])?;
    until("the pods to end", TOLD_WITHIN, || {
        let pods = cluster.pods()?;
        ensure!(pods.is_empty(), "{pods:?}");
        Ok(())
    })
}

/// None of them is ready then, and what is not ready is what budgets let go as a rule.
pub(crate) fn without_a_master_no_chunkserver_is_evicted(namespace: &Namespace) -> Result<()> {
    let cluster = GfsCluster::start(namespace, &json!({}))?;
    namespace.kubectl(&["annotate", "gfscluster", "gfs", "gfs.rs/paused=true"])?;
    cluster.told("Paused", "True", TOLD_WITHIN)?;
    namespace.kubectl(&["scale", "statefulset", "gfs-master", "--replicas=0"])?;
    let pods = until("all chunkservers to be unready", TOLD_WITHIN, || {
        let pods = cluster.pods()?;
        let unready = pods.iter().all(|pod| !pod.ready && pod.component == "chunkserver");
        ensure!(unready && pods.len() == 3, "{pods:?}");
        let budget = namespace.get("poddisruptionbudget", "gfs-chunk")?;
        ensure!(budget["status"]["currentHealthy"] == 0, "{budget}");
        Ok(pods)
    })?;
    for pod in &pods {
        let why = namespace.eviction_refused(&pod.name)?;
        ensure!(why.contains("disruption budget"), "{why}");
    }
    namespace.kubectl(&["annotate", "gfscluster", "gfs", "gfs.rs/paused-"])?;
    cluster.ready(READY_WITHIN)?;
    let mut after = cluster.pods()?;
    after.retain(|pod| pod.component == "chunkserver");
    ensure!(after == pods, "made anew: {pods:?} {after:?}");
    Ok(())
}
