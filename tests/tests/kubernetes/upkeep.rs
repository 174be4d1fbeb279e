//! A cluster that runs is changed, deleted, left alone, and meddled with.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gfs_tests::kubernetes::gfs_cluster::{READY_WITHIN, manifest};
use gfs_tests::kubernetes::watch::{Watch, most_away};
use gfs_tests::kubernetes::{CrewPod, GfsCluster, Namespace, Toolbox, until};
use serde_json::{Value, json};

/// Three restarts, each after the one before has registered.
const ROLLED_OUT_WITHIN: Duration = Duration::from_secs(120);
const SEEN_WITHIN: Duration = Duration::from_secs(60);
const CONTENT: &str = "here before\n";

pub(crate) fn scale_up_adds_chunkservers_that_take_chunks(namespace: &Namespace) -> Result<()> {
    let cluster = GfsCluster::start(namespace, &json!({}))?;
    let crew = CrewPod::start(&cluster, None)?;
    let before = cluster.pods()?;
    namespace.kubectl(&["scale", "gfscluster", "gfs", "--replicas", "5"])?;
    cluster.ready(READY_WITHIN)?;
    let status = cluster.object()?["status"].clone();
    ensure!(status["chunkservers"]["registered"] == 5, "{status}");
    let mut after = cluster.pods()?;
    ensure!(after.len() == 6, "{after:?}");
    after.retain(|pod| before.iter().any(|old| old.name == pod.name));
    ensure!(after == before, "pods were made anew:\n{before:?}\n{after:?}");
    until("chunks on all five", SEEN_WITHIN, || {
        let status = crew.toolbox.gfs_json(&["status"])?;
        let servers = status["chunkservers"].as_array().context("chunkservers")?;
        let with = servers.iter().filter(|it| it["replicas"].as_u64() > Some(0)).count();
        ensure!(servers.len() == 5 && with == 5, "{with} of {} have chunks", servers.len());
        Ok(())
    })?;
    crew.check()
}

pub(crate) fn config_change_is_rolled_out_one_at_a_time(namespace: &Namespace) -> Result<()> {
    let cluster = GfsCluster::start(namespace, &json!({}))?;
    let crew = CrewPod::start(&cluster, None)?;
    let before = cluster.pods()?;
    let (master, chunkservers): (Vec<_>, Vec<_>) =
        before.into_iter().partition(|pod| pod.component == "master");
    let watch = Watch::start(&cluster)?;
    cluster.change(&json!({"chunkservers": {"config": {"pushBuffer": "128MiB"}}}))?;
    cluster.pods_anew(&chunkservers, 4, ROLLED_OUT_WITHIN)?;
    cluster.ready(READY_WITHIN)?;
    ensure!(cluster.master()? == master[0], "the master was restarted for chunkservers");
    crew.resumed(SEEN_WITHIN)?;
    let events = watch.end()?;
    let away = most_away(&events, "chunkserver", 3);
    ensure!(away == 1, "{away} chunkservers were away at once: {events:#?}");
    // Without a master nobody is ready for a while, but nobody else is made anew.
    let chunkservers: Vec<_> = cluster.pods()?.into_iter().filter(|it| *it != master[0]).collect();
    cluster.change(&json!({"masters": {"config": {"heartbeat": "2s"}}}))?;
    cluster.pods_anew(&master, 4, ROLLED_OUT_WITHIN)?;
    cluster.ready(READY_WITHIN)?;
    crew.resumed(SEEN_WITHIN)?;
    println!("longest silences {:.1?} while all servers were restarted", crew.silences()?);
    let after = cluster.pods()?;
    ensure!(chunkservers.iter().all(|pod| after.contains(pod)), "{chunkservers:?}\n{after:?}");
    crew.check()
}

pub(crate) fn deletion_keeps_data_unless_said_twice(namespace: &Namespace) -> Result<()> {
    let cluster = GfsCluster::start(namespace, &json!({}))?;
    Toolbox::start(&cluster)?.store("/kept", CONTENT)?;
    let uid = cluster.object()?["status"]["clusterUid"].clone();
    delete(&cluster)?;
    four_volumes_stay(&cluster)?;

    // One of the name that never took them up has no word on them.
    let mut refused = given_up();
    refused["masters"] = json!({"config": {"lease": "1h"}});
    let never = GfsCluster::apply(namespace, "gfs", &refused)?;
    never.told("Stalled", "True", SEEN_WITHIN)?;
    delete(&never)?;
    until("the word that they stay", SEEN_WITHIN, || {
        ensure!(namespace.has_event("VolumesKept")?, "no event says that volumes stay");
        Ok(())
    })?;
    four_volumes_stay(&cluster)?;

    // The same name again: what lies there is taken over.
    GfsCluster::apply(namespace, "gfs", &json!({}))?.ready(READY_WITHIN)?;
    let object = cluster.object()?;
    ensure!(object["status"]["clusterUid"] == uid, "{}", object["status"]);
    ensure!(namespace.has_event("Adopted")?, "no event says that data was adopted");
    namespace.kubectl(&["delete", "pod", "toolbox"])?;
    Toolbox::start(&cluster)?.holds("/kept", CONTENT)?;

    let once = namespace.apply_refused(&manifest("gfs", &json!({"deletionPolicy": "Delete"})))?;
    ensure!(once.contains("deletionConfirmation"), "{once}");
    cluster.change(&given_up())?;
    cluster.ready(READY_WITHIN)?;

    // Only the cluster's own deletion counts, not that of what its pods are made from.
    let sets = ["delete", "statefulset", "gfs-master", "gfs-chunk-default", "--cascade=foreground"];
    namespace.kubectl(&sets)?;
    until("the pods to come back", SEEN_WITHIN, || {
        let pods = cluster.pods()?;
        ensure!(pods.len() == 4, "{pods:?}");
        Ok(())
    })?;
    cluster.ready(READY_WITHIN)?;
    namespace.kubectl(&["delete", "pod", "toolbox"])?;
    Toolbox::start(&cluster)?.holds("/kept", CONTENT)?;

    delete(&cluster)?;
    volumes_go(&cluster)?;
    ensure!(namespace.has_event("VolumesDeleted")?, "no event says that volumes were deleted");
    Ok(())
}

/// Whatever was said before, and though nobody acted on the last word: it is said in a pause, right before the deletion.
pub(crate) fn the_last_word_before_a_deletion_counts(namespace: &Namespace) -> Result<()> {
    let cluster = GfsCluster::start(namespace, &given_up())?;
    namespace.kubectl(&["annotate", "gfscluster", "gfs", "gfs.rs/paused=true"])?;
    cluster.told("Paused", "True", SEEN_WITHIN)?;
    cluster.change(&json!({"deletionPolicy": "Retain"}))?;
    delete(&cluster)?;
    four_volumes_stay(&cluster)?;

    // The other way round.
    GfsCluster::apply(namespace, "gfs", &json!({}))?.ready(READY_WITHIN)?;
    cluster.change(&given_up())?;
    delete(&cluster)?;
    volumes_go(&cluster)
}

fn given_up() -> Value {
    json!({"deletionPolicy": "Delete", "deletionConfirmation": "yes-delete-data"})
}

fn four_volumes_stay(cluster: &GfsCluster<'_>) -> Result<()> {
    let left = cluster.namespace.list("persistentvolumeclaims", &cluster.selector())?;
    let going = left.iter().filter(|it| !it["metadata"]["deletionTimestamp"].is_null()).count();
    ensure!(left.len() == 4 && going == 0, "{} volumes are left, {going} of them go", left.len());
    Ok(())
}

fn volumes_go(cluster: &GfsCluster<'_>) -> Result<()> {
    until("the volumes to go", SEEN_WITHIN, || {
        let left = cluster.namespace.list("persistentvolumeclaims", &cluster.selector())?;
        ensure!(left.is_empty(), "{} are left", left.len());
        Ok(())
    })
}

/// Deletes it, and waits for the end of its pods.
fn delete(cluster: &GfsCluster<'_>) -> Result<()> {
    cluster.namespace.kubectl(&["delete", "gfscluster", &cluster.name, "--timeout=60s"])?;
    until("the pods to end", SEEN_WITHIN, || {
        let pods = cluster.pods()?;
        ensure!(pods.is_empty(), "{pods:?}");
        Ok(())
    })
}

pub(crate) fn a_paused_cluster_is_left_alone(namespace: &Namespace) -> Result<()> {
    let cluster = GfsCluster::start(namespace, &json!({}))?;
    namespace.kubectl(&["annotate", "gfscluster", "gfs", "gfs.rs/paused=true"])?;
    cluster.told("Paused", "True", SEEN_WITHIN)?;
    let replicas = || -> Result<Value> {
        Ok(namespace.get("statefulset", "gfs-chunk-default")?["spec"]["replicas"].clone())
    };
    namespace.kubectl(&["delete", "poddisruptionbudget", "gfs-chunk"])?;
    cluster.change(&json!({"chunkservers": {"replicas": 4}}))?;
    // Told of the new spec: whoever read that came behind both, and saw that the budget was gone.
    cluster.told("Paused", "True", SEEN_WITHIN)?;
    ensure!(replicas()? == 3, "a paused cluster was scaled");
    let budget = namespace.find("poddisruptionbudget", "gfs-chunk")?;
    ensure!(budget.is_none(), "an object of a paused cluster was made");

    namespace.kubectl(&["annotate", "gfscluster", "gfs", "gfs.rs/paused-"])?;
    until("the end of the pause", SEEN_WITHIN, || {
        ensure!(replicas()? == 4, "still three");
        namespace.get("poddisruptionbudget", "gfs-chunk")
    })?;
    cluster.ready(READY_WITHIN)
}

pub(crate) fn an_object_someone_else_changed_is_put_back(namespace: &Namespace) -> Result<()> {
    let cluster = GfsCluster::start(namespace, &json!({}))?;
    let meddling = [
        (
            "configmap",
            "gfs-chunk",
            "/data/chunkserver.yaml",
            json!({"data": {"chunkserver.yaml": "dir: /elsewhere\n"}}),
        ),
        (
            "configmap",
            "gfs-client",
            "/data/GFS_MASTERS",
            json!({"data": {"GFS_MASTERS": "elsewhere:1"}}),
        ),
        (
            "service",
            "gfs-masters",
            "/spec/publishNotReadyAddresses",
            json!({"spec": {"publishNotReadyAddresses": false}}),
        ),
        ("statefulset", "gfs-chunk-default", "/spec/replicas", json!({"spec": {"replicas": 2}})),
        (
            "poddisruptionbudget",
            "gfs-chunk",
            "/spec/maxUnavailable",
            json!({"spec": {"maxUnavailable": 2}}),
        ),
    ];
    for (kind, name, field, change) in meddling {
        let before = namespace.get(kind, name)?;
        namespace.patch(kind, name, &change)?;
        until(&format!("{field} of {kind} {name} to be put back"), SEEN_WITHIN, || {
            let now = namespace.get(kind, name)?;
            ensure!(now.pointer(field) == before.pointer(field), "{:?}", now.pointer(field));
            Ok(())
        })?;
    }
    for (kind, name) in [("service", "gfs-chunk-default"), ("configmap", "gfs-master")] {
        let before = namespace.get(kind, name)?;
        namespace.kubectl(&["delete", kind, name])?;
        until(&format!("{kind} {name} to be made anew"), SEEN_WITHIN, || {
            let now = namespace.get(kind, name)?;
            ensure!(now["data"] == before["data"], "{now}");
            Ok(())
        })?;
    }
    cluster.ready(READY_WITHIN)
}

/// Deleted with `--cascade=orphan` and made again with fewer: no rule sees both manifests, and the pods that would go hold chunks.
pub(crate) fn a_set_of_chunkservers_is_never_made_smaller(namespace: &Namespace) -> Result<()> {
    let cluster = GfsCluster::start(namespace, &json!({}))?;
    let toolbox = Toolbox::start(&cluster)?;
    toolbox.store("/kept", CONTENT)?;
    let before = cluster.pods()?;
    namespace.kubectl(&["delete", "gfscluster", "gfs", "--cascade=orphan", "--timeout=60s"])?;
    let one = json!({"chunkservers": {"replicas": 1}, "replication": {"factor": 1}});
    GfsCluster::apply(namespace, "gfs", &one)?;
    let stalled = cluster.told("Stalled", "True", SEEN_WITHIN)?;
    ensure!(stalled["reason"] == "FewerChunkservers", "{stalled}");
    let set = namespace.get("statefulset", "gfs-chunk-default")?;
    ensure!(set["spec"]["replicas"] == 3, "{}", set["spec"]["replicas"]);
    // As many as there are: they are taken up.
    cluster.change(&json!({"chunkservers": {"replicas": 3}, "replication": {"factor": 3}}))?;
    cluster.ready(READY_WITHIN)?;
    let mut after = cluster.pods()?;
    after.retain(|pod| pod.component == "chunkserver");
    ensure!(after.iter().all(|pod| before.contains(pod)), "made anew: {before:?} {after:?}");
    toolbox.holds("/kept", CONTENT)
}
