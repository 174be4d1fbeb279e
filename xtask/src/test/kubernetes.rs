//! The step `kubernetes`: the suite of `tests/tests/kubernetes`, on a cluster that is made for it and ended after it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::report::Tally;
use super::steps::{cargo_test, program_under_test, tests};
use crate::cluster::{Testbed, obstacles};
use crate::image::{self, Image};
use crate::workspace::Workspace;

/// The target of the suite. The step `cluster` leaves it out.
pub(super) const SUITE: &str = "kubernetes";
/// How many nodes the suite asks for.
const NODES: u8 = 3;
/// Where the suite finds the names of its images: of GFS, and of what tests run in pods.
const IMAGE_VARIABLES: [&str; 2] = ["GFS_IMAGE", "GFS_TEST_IMAGE"];

/// Runs it on the cluster that `KUBECONFIG` names, else on a new one.
pub(super) fn run_suite(workspace: &Workspace) -> Result<Tally> {
    let Some(gfs) = program_under_test(workspace)? else {
        return Ok(Tally::failed("the program gfs does not build: see above"));
    };
    let given = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty());
    let testbed = Testbed::of(workspace)?;
    match given {
        None => run_on_new(workspace, &testbed, gfs),
        Some(path) if testbed.environment().is_ok_and(|ours| ours.kubeconfig() == path) => {
            run_on_ours(workspace, &testbed, &images(workspace)?, gfs)
        }
        Some(_) => run_on_given(workspace, gfs),
    }
}

fn run_on_given(workspace: &Workspace, gfs: PathBuf) -> Result<Tally> {
    if IMAGE_VARIABLES.iter().any(|image| std::env::var_os(image).is_none()) {
        return Ok(Tally::skipped(format!(
            "KUBECONFIG names a cluster, but {} no images that its nodes can get: see docs/testing.md",
            IMAGE_VARIABLES.join(" and ")
        )));
    }
    tests(&mut [suite(workspace, gfs)])
}

fn run_on_new(workspace: &Workspace, testbed: &Testbed, gfs: PathBuf) -> Result<Tally> {
    let mut obstacles = obstacles();
    obstacles.extend(image::debian_release().err().map(|error| error.to_string()));
    if !obstacles.is_empty() {
        return Ok(Tally::skipped(obstacles.join("; ")));
    }
    let images = images(workspace)?;
    let _guard = testbed.ended_with_us()?;
    testbed.up(NODES)?;
    run_on_ours(workspace, testbed, &images, gfs)
}

/// On one that is up, and stays so.
fn run_on_ours(
    workspace: &Workspace,
    testbed: &Testbed,
    images: &[Image; 2],
    gfs: PathBuf,
) -> Result<Tally> {
    testbed.load(images.iter().map(|image| image.archive.as_path()))?;
    let mut suite = suite(workspace, gfs);
    testbed.environment()?.set(&mut suite);
    for (variable, image) in IMAGE_VARIABLES.iter().zip(images) {
        suite.env(variable, &image.reference);
    }
    tests(&mut [suite])
}

/// Those of [`IMAGE_VARIABLES`].
fn images(workspace: &Workspace) -> Result<[Image; 2]> {
    let gfs = image::build(workspace, None, None)?;
    let tests = image::build_for_tests(workspace, &gfs)?;
    Ok([gfs, tests])
}

fn suite(workspace: &Workspace, gfs: PathBuf) -> Command {
    let mut command = cargo_test(workspace, &["--test", SUITE]);
    command.env("GFS_BIN", gfs);
    command
}
