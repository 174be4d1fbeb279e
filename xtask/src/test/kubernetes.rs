//! The step `kubernetes`: the suite of `tests/tests/kubernetes.rs`, on a cluster that is made for it and ended after it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::report::Tally;
use super::steps::{cargo_test, program_under_test, tests};
use crate::cluster::{Testbed, obstacles};
use crate::image;
use crate::workspace::Workspace;

/// The target of the suite. The step `cluster` leaves it out.
pub(super) const SUITE: &str = "kubernetes";
/// How many nodes the suite asks for.
const NODES: u8 = 3;

/// Runs it on the cluster that `KUBECONFIG` names, else on one of our own.
pub(super) fn run_suite(workspace: &Workspace) -> Result<Tally> {
    let given = std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
    let Some(gfs) = program_under_test(workspace)? else {
        return Ok(Tally::failed("the program gfs does not build: see above"));
    };
    if given { run_on_given(workspace, gfs) } else { run_on_own(workspace, gfs) }
}

fn run_on_given(workspace: &Workspace, gfs: PathBuf) -> Result<Tally> {
    if ["GFS_IMAGE", "GFS_TEST_IMAGE"].iter().any(|image| std::env::var_os(image).is_none()) {
        let why = "KUBECONFIG names a cluster, but GFS_IMAGE and GFS_TEST_IMAGE no images that its nodes can get: \
            see docs/testing.md";
        return Ok(Tally::skipped(why));
    }
    tests(&mut [suite(workspace, gfs)])
}

fn run_on_own(workspace: &Workspace, gfs: PathBuf) -> Result<Tally> {
    let obstacles = obstacles();
    if !obstacles.is_empty() {
        return Ok(Tally::skipped(obstacles.join("; ")));
    }
    let gfs_image = image::build(workspace, None, None)?;
    let tests_image = image::build_for_tests(workspace, &gfs_image)?;
    let testbed = Testbed::of(workspace)?;
    let _guard = testbed.ended_with_us()?;
    testbed.up(NODES)?;
    testbed.load(&[gfs_image.archive, tests_image.archive])?;
    let mut suite = suite(workspace, gfs);
    testbed.environment()?.set(&mut suite);
    suite.env("GFS_IMAGE", gfs_image.reference).env("GFS_TEST_IMAGE", tests_image.reference);
    tests(&mut [suite])
}

fn suite(workspace: &Workspace, gfs: PathBuf) -> Command {
    let mut command = cargo_test(workspace, &["--test", SUITE]);
    command.env("GFS_BIN", gfs);
    command
}
