//! A volume that is gone is a person's business.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
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
