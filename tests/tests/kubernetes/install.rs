//! From nothing to the first file.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use gfs_tests::kubernetes::{GfsCluster, Namespace, Testbed, Toolbox, helm, operator};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/gfs-cluster");
const INSTALL_WITHIN: Duration = Duration::from_secs(120);
const FIRST: &str = "the first file\n";

/// Both charts, `helm test`, and a file: on a cluster that never saw GFS.
pub(crate) fn install_to_first_file_takes_less_than_two_minutes(
    namespace: &Namespace,
) -> Result<()> {
    operator::remove_all()?;
    let begun = Instant::now();
    operator::install(Testbed::get()?)?;
    let here = ["--namespace", namespace.name.as_str(), "--timeout", "2m"];
    // Small volumes: nothing else is asked for.
    let values = ["--set", "masters.storage.size=1Gi", "--set", "chunkservers.storage.size=4Gi"];
    helm(&[&["install", "gfs", CHART, "--wait"][..], &here, &values].concat())?;
    let cluster = GfsCluster { namespace, name: "gfs".to_owned() };
    // Helm takes a resource that says nothing of itself yet for ready.
    cluster.ready(INSTALL_WITHIN)?;
    let toolbox = Toolbox::start(&cluster)?;
    toolbox.store("/first", FIRST)?;
    let took = begun.elapsed();
    println!("install to first file: {took:.1?}");
    toolbox.holds("/first", FIRST)?;
    ensure!(took < INSTALL_WITHIN, "the first file took {took:?}");

    helm(&[&["test", "gfs"][..], &here].concat())?;
    helm(&[&["upgrade", "gfs", CHART, "--wait"][..], &here, &values].concat())?;
    toolbox.holds("/first", FIRST)?;
    helm(&[&["uninstall", "gfs", "--wait"][..], &here].concat())?;
    let left = namespace.list("persistentvolumeclaims", &cluster.selector())?;
    ensure!(left.len() == 4, "{} volumes are left of four", left.len());
    Ok(())
}
