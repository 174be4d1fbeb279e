//! Programs in pods.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gfs_tests::cluster::{Cluster, Options};
use gfs_tests::kubernetes::gfs_cluster::READY_WITHIN;
use gfs_tests::kubernetes::{GfsCluster, Namespace, Testbed, Toolbox, toolbox, until};
use serde_json::{Value, json};

const ROUNDS: usize = 5;
/// Of the rate that `gfs dev` has on the same machine.
const RATIO_MIN: f64 = 0.6;
const PROGRAM_WITHIN: Duration = Duration::from_secs(60);

/// The same commands on the same machine: in a pod against pods, and outside against processes.
pub(crate) fn a_gibibyte_goes_in_and_out_of_a_pod(namespace: &Namespace) -> Result<()> {
    let spec = json!({
        "chunkSize": "64MiB",
        "chunkservers": {"storage": {"size": "10Gi"}},
    });
    let cluster = GfsCluster::start(namespace, &spec)?;
    let toolbox = Toolbox::start(&cluster)?;
    let dev = Cluster::start_with(&Options::default());
    let scratch = dev.scratch();
    let scratch = scratch.to_str().context("a path in UTF-8")?;
    let mut ratios = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        let number = round.to_string();
        let in_pod = || rates(&toolbox.exec(&[toolbox::LOAD, "copy", "/scratch", &number])?);
        let outside =
            || rates(&toolbox::on_this_machine(&dev.masters, &["copy", scratch, &number])?);
        // Whatever else the machine does, it does to both.
        let (pod, dev) = if round % 2 == 0 {
            let pod = in_pod()?;
            (pod, outside()?)
        } else {
            let dev = outside()?;
            (in_pod()?, dev)
        };
        println!("round {round}: MiB/s put and get in a pod {pod:.0?}, with gfs dev {dev:.0?}");
        for (ratios, (pod, dev)) in ratios.iter_mut().zip(pod.into_iter().zip(dev)) {
            ratios.push(pod / dev);
        }
    }
    for (what, ratios) in ["put", "get"].into_iter().zip(&mut ratios) {
        ratios.sort_by(f64::total_cmp);
        let median = ratios[ROUNDS / 2];
        println!("{what} of 1 GiB in a pod: {:.0} % of the rate of gfs dev", 100.0 * median);
        ensure!(median >= RATIO_MIN, "{what}: {median:.2} of the rate of gfs dev: {ratios:.2?}");
    }
    Ok(())
}

/// Of put and get, in MiB/s.
fn rates(told: &str) -> Result<[f64; 2]> {
    // What `gfs` prints stands before it.
    let line = told.lines().last().context("no rates")?;
    let rates: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
    Ok([rates["put"].as_f64().context("put")?, rates["get"].as_f64().context("get")?])
}

/// `client/examples` in a Job that knows the cluster by its ConfigMap.
pub(crate) fn a_rust_program_in_a_pod_uses_the_client_library(namespace: &Namespace) -> Result<()> {
    // The name that the Job knows.
    let cluster = GfsCluster::apply(namespace, "my", &json!({}))?;
    cluster.ready(READY_WITHIN)?;
    let manifest = include_str!("../../../examples/kubernetes/job/job.yaml");
    let image = &Testbed::get()?.test_image;
    let mut job: Value = serde_yaml::from_str(manifest)?;
    let container = &mut job["spec"]["template"]["spec"]["containers"][0];
    container["image"] = json!(image);
    container["command"] = json!(["/usr/local/bin/store_and_read"]);
    namespace.apply(&job)?;
    until("the Job to succeed", PROGRAM_WITHIN, || {
        let status = &namespace.get("job", "store-and-read")?["status"];
        ensure!(status["succeeded"] == 1, "{status}");
        Ok(())
    })?;
    let said = namespace.kubectl(&["logs", "job/store-and-read"])?;
    ensure!(said.contains("identical"), "{said}");
    // It is there for others, too.
    let stored = Toolbox::start(&cluster)?.gfs(&["ls", "/example"])?;
    ensure!(stored.contains("job"), "{stored}");
    Ok(())
}
