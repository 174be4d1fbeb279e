//! The Kubernetes of the environment: what it is called, what it can run, and what may be done to its machines.
//!
//! | Variable | |
//! |---|---|
//! | `KUBECONFIG` | the cluster |
//! | `GFS_IMAGE` | `REPOSITORY:TAG` of the image under test, as its nodes know it |
//! | `GFS_TEST_IMAGE` | the same image with the programs of the tests in it (`tests/kubernetes/images/tests.Containerfile`) |
//! | `GFS_TESTBED` | a program that does `power-off NODE`, `power-on NODE`, `kill-pod NODE UID`, `stop-api` and `start-api`; without it the cluster belongs to somebody else, and nothing is done to its machines |

use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use super::command::{json, kubectl};

/// A cluster that tests may use.
#[derive(Debug)]
pub struct Testbed {
    /// Of the image under test.
    pub repository: String,
    /// Of the image under test.
    pub tag: String,
    /// With `gfs`, and the programs of the tests.
    pub test_image: String,
    machines: Option<String>,
}

impl Testbed {
    /// The one of the environment.
    ///
    /// # Errors
    /// Why there is none, for the one who wants to run the tests.
    pub fn get() -> Result<&'static Self> {
        static TESTBED: OnceLock<std::result::Result<Testbed, String>> = OnceLock::new();
        let found = TESTBED.get_or_init(|| Self::find().map_err(|error| format!("{error:#}")));
        found.as_ref().map_err(|why| anyhow::anyhow!(why.clone()))
    }

    fn find() -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        variable("KUBECONFIG").context(
            "KUBECONFIG names no cluster: `cargo xtask test --only kubernetes` starts one",
        )?;
        let image = variable("GFS_IMAGE").context("GFS_IMAGE names no image (REPOSITORY:TAG)")?;
        let (repository, tag) = image.rsplit_once(':').context("GFS_IMAGE is REPOSITORY:TAG")?;
        let test_image = variable("GFS_TEST_IMAGE").context("GFS_TEST_IMAGE names no image")?;
        Ok(Self {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            test_image,
            machines: variable("GFS_TESTBED"),
        })
    }

    /// Why nothing may be done to the machines, if so.
    #[must_use]
    pub fn machines_obstacle(&self) -> Option<&'static str> {
        self.machines.is_none().then_some(
            "it turns off a machine or the API server, which is done to the tests' own cluster only",
        )
    }

    /// The names of the nodes that run pods.
    ///
    /// # Errors
    /// When the cluster does not tell.
    pub fn nodes(&self) -> Result<Vec<String>> {
        let nodes = json(&["get", "nodes"])?;
        let nodes = nodes["items"].as_array().context("nodes")?;
        let usable = nodes.iter().filter(|node| node["spec"]["unschedulable"] != true);
        Ok(usable.filter_map(|node| Some(node["metadata"]["name"].as_str()?.to_owned())).collect())
    }

    /// A node's programs all die at once.
    ///
    /// # Errors
    /// When the testbed cannot do it.
    pub fn power_off(&self, node: &str) -> Result<()> {
        self.machine(&["power-off", node])
    }

    /// The node starts again, with what was on its disk.
    ///
    /// # Errors
    /// When the testbed cannot do it.
    pub fn power_on(&self, node: &str) -> Result<()> {
        self.machine(&["power-on", node])
    }

    /// SIGKILL to all containers of a pod; nobody is told.
    ///
    /// # Errors
    /// When the testbed cannot do it.
    pub fn kill_pod(&self, node: &str, uid: &str) -> Result<()> {
        self.machine(&["kill-pod", node, uid])
    }

    /// Nobody reaches the API server any more.
    ///
    /// # Errors
    /// When the testbed cannot do it, or it still answers.
    pub fn stop_api(&self) -> Result<()> {
        self.machine(&["stop-api"])?;
        ensure!(kubectl(&["get", "--raw", "/livez"]).is_err(), "the API server still answers");
        Ok(())
    }

    /// The API server is back when this returns.
    ///
    /// # Errors
    /// When the testbed cannot do it.
    pub fn start_api(&self) -> Result<()> {
        self.machine(&["start-api"])
    }

    fn machine(&self, arguments: &[&str]) -> Result<()> {
        let program = self.machines.as_ref().context("the machines are not ours")?;
        let output = Command::new(program).args(arguments).output();
        let output = output.with_context(|| format!("starting {program}"))?;
        ensure!(
            output.status.success(),
            "{program} {}: {}\n{}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}
