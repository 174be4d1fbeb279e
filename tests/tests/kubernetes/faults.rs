//! Pods, nodes and the API server go away while a crew works: nothing acknowledged is lost, and the service comes back by itself.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gfs_tests::kubernetes::gfs_cluster::Pod;
use gfs_tests::kubernetes::{CrewPod, GfsCluster, Namespace, Testbed, until};
use serde_json::json;

/// After whatever happened, everybody can write again within this.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// Kubelets come back to an API server that was away after up to 40 s here, each, and till then their pods are called not ready.
const SEEN_AGAIN_WITHIN: Duration = Duration::from_secs(180);
/// The machine's power is off for so long: the control plane has noticed, and evicted nobody yet.
const NOTICED_WITHIN: Duration = Duration::from_secs(90);
const OFF: Duration = Duration::from_secs(5);
const WITHOUT_API: Duration = Duration::from_secs(60);
/// While only the API server is away, no client waits longer than for a slow disk.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Deletes pods, and waits until there are others and everybody can write.
fn delete(cluster: &GfsCluster<'_>, crew: &CrewPod<'_>, pods: &[Pod], what: &str) -> Result<()> {
    let count = cluster.pods()?.len();
    let begun = Instant::now();
    let names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
    cluster.namespace.kubectl(&[&["delete", "pods", "--wait=false"][..], &names].concat())?;
    cluster.pods_anew(pods, count, BACK_WITHIN).with_context(|| what.to_owned())?;
    let left = BACK_WITHIN.saturating_sub(begun.elapsed());
    crew.resumed(left).with_context(|| what.to_owned())?;
    let silence = crew.silences()?.writes;
    println!("{what}: back after {:.1?}, longest silence {silence:.1?}", begun.elapsed());
    Ok(())
}

pub(crate) fn every_pod_deleted_one_by_one_and_all_at_once(namespace: &Namespace) -> Result<()> {
    let cluster = GfsCluster::start(namespace, &json!({}))?;
    let crew = CrewPod::start(&cluster, None)?;
    for pod in cluster.pods()? {
        delete(&cluster, &crew, std::slice::from_ref(&pod), &format!("{} deleted", pod.name))?;
    }
    crew.check()?;
    crew.resume()?;
    delete(&cluster, &crew, &cluster.pods()?, "all deleted at once")?;
    crew.check()
}

/// The node with the master, which has a chunkserver too: its volumes are nowhere else.
pub(crate) fn a_node_is_powered_off_and_on(namespace: &Namespace) -> Result<()> {
    let testbed = Testbed::get()?;
    let cluster = GfsCluster::start(namespace, &json!({}))?;
    let master = cluster.master()?.node;
    let others: Vec<_> = testbed.nodes()?.into_iter().filter(|node| *node != master).collect();
    let [crews, other, ..] = &others[..] else { anyhow::bail!("three nodes, not {others:?}") };
    let crew = CrewPod::start(&cluster, Some(crews))?;
    for node in [other, &master] {
        turn_off_and_on(testbed, &cluster, &crew, node).with_context(|| node.clone())?;
    }
    crew.check()
}

fn turn_off_and_on(
    testbed: &Testbed,
    cluster: &GfsCluster<'_>,
    crew: &CrewPod<'_>,
    node: &str,
) -> Result<()> {
    let pods = cluster.pods()?;
    let here: Vec<_> = pods.iter().filter(|pod| pod.node == node).collect();
    ensure!(!here.is_empty(), "nothing runs on {node}");
    let has_master = here.iter().any(|pod| pod.component == "master");
    let off = Instant::now();
    testbed.power_off(node)?;
    let on_again = OnAgain { testbed, node };
    if !has_master {
        // Two of three chunkservers are enough, and need not be told so by the control plane.
        let left = BACK_WITHIN.saturating_sub(off.elapsed());
        crew.resumed(left).context("while it was off")?;
        println!("{node} off: everybody writes again {:.1?} later", off.elapsed());
    }
    until("the control plane to notice", NOTICED_WITHIN, || {
        ensure!(!is_ready(cluster.namespace, node)?, "{node} is Ready");
        Ok(())
    })?;
    sleep(OFF);
    let on = Instant::now();
    drop(on_again);
    until("the node", BACK_WITHIN, || {
        ensure!(is_ready(cluster.namespace, node)?, "{node} is not Ready");
        Ok(())
    })?;
    let count = pods.len();
    cluster.pods_anew(&[], count, BACK_WITHIN.saturating_sub(on.elapsed()))?;
    crew.resumed(BACK_WITHIN.saturating_sub(on.elapsed()))?;
    let what = if has_master { "with the master" } else { "without the master" };
    println!("{node}, {what}, off and on: back {:.1?} after its power", on.elapsed());
    Ok(())
}

/// Turns the node on when it goes, whatever happened: the tests behind this one need it.
struct OnAgain<'t> {
    testbed: &'t Testbed,
    node: &'t str,
}

impl Drop for OnAgain<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.testbed.power_on(self.node) {
            eprintln!("{} stays off: {error:#}", self.node);
        }
    }
}

fn is_ready(namespace: &Namespace, node: &str) -> Result<bool> {
    let node = namespace.get("node", node)?;
    let conditions = node["status"]["conditions"].as_array().context("conditions of a node")?;
    Ok(conditions.iter().any(|known| known["type"] == "Ready" && known["status"] == "True"))
}

pub(crate) fn reads_and_writes_go_on_without_the_api_server(namespace: &Namespace) -> Result<()> {
    let testbed = Testbed::get()?;
    let cluster = GfsCluster::start(namespace, &json!({}))?;
    let crew = CrewPod::start(&cluster, None)?;
    let before = crew.appends()?;
    let pods = cluster.pods()?;
    testbed.stop_api()?;
    sleep(WITHOUT_API);
    testbed.start_api()?;
    let silences = until("the API server", BACK_WITHIN, || crew.silences())?;
    let appends = crew.appends()? - before;
    println!("{appends} appends, longest silences {silences:.1?}, while the API server was away");
    ensure!(silences.writes < SILENCE_MAX, "nothing was written for {:?}", silences.writes);
    ensure!(silences.reads < SILENCE_MAX, "nothing was read for {:?}", silences.reads);
    // What the status says may be from before: only an operator that is back carries out a change.
    cluster.change(&json!({"chunkservers": {"replicas": 4}}))?;
    cluster.ready(SEEN_AGAIN_WITHIN)?;
    let mut after = cluster.pods()?;
    ensure!(after.len() == pods.len() + 1, "no fourth chunkserver: {after:?}");
    after.retain(|pod| pods.iter().any(|old| old.name == pod.name));
    ensure!(after == pods, "pods were made anew:\n{pods:?}\n{after:?}");
    crew.check()
}
