//! A pod of a user: it has `gfs`, and finds the cluster as the operator tells it to.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::command::{kubectl_fed, until};
use super::gfs_cluster::GfsCluster;
use super::namespace::Namespace;
use super::testbed::Testbed;
use crate::command::{gfs_binary, run};

const RUNS_WITHIN: Duration = Duration::from_secs(60);
/// Of the programs of the tests, in their image.
pub const LOAD: &str = "gfs-load";

/// A running pod.
#[derive(Debug)]
pub struct Toolbox<'n> {
    namespace: &'n Namespace,
    pod: String,
}

/// A pod that runs one of the programs of the tests as a client of a cluster; `name` is its and that of its container.
///
/// # Errors
/// When there is no testbed.
pub fn client_pod(cluster: &GfsCluster<'_>, name: &str, command: &[&str]) -> Result<Value> {
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": name,
                "image": Testbed::get()?.test_image,
                "imagePullPolicy": "IfNotPresent",
                "command": command,
                "envFrom": [{"configMapRef": {"name": format!("{}-client", cluster.name)}}],
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
            }],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
        },
    }))
}

impl<'n> Toolbox<'n> {
    /// A pod that does nothing by itself.
    ///
    /// # Errors
    /// When it does not run in time.
    pub fn start(cluster: &GfsCluster<'n>) -> Result<Self> {
        Self::run(cluster.namespace, &client_pod(cluster, "toolbox", &[LOAD, "wait"])?)
    }

    /// This pod, running.
    ///
    /// # Errors
    /// When it does not run in time.
    pub fn run(namespace: &'n Namespace, pod: &Value) -> Result<Self> {
        namespace.apply(pod)?;
        let pod = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        until(&format!("pod {pod} to run"), RUNS_WITHIN, || {
            let phase = namespace.get("pod", &pod)?["status"]["phase"].clone();
            ensure!(phase == "Running", "{phase}");
            Ok(())
        })?;
        Ok(Self { namespace, pod })
    }

    /// Runs a command in it; its stdout.
    ///
    /// # Errors
    /// When it fails: with all it said.
    pub fn exec(&self, command: &[&str]) -> Result<String> {
        self.namespace.kubectl(&[&["exec", &self.pod, "--"], command].concat())
    }

    /// Runs a command in it that reads this.
    ///
    /// # Errors
    /// When it fails: with all it said.
    pub fn exec_fed(&self, command: &[&str], stdin: &[u8]) -> Result<String> {
        let place = ["--namespace", &self.namespace.name, "exec", "--stdin", &self.pod, "--"];
        kubectl_fed(&[&place, command].concat(), stdin)
    }

    /// `gfs` in it.
    ///
    /// # Errors
    /// When it fails: with all it said.
    pub fn gfs(&self, arguments: &[&str]) -> Result<String> {
        self.exec(&[&["gfs"], arguments].concat())
    }

    /// `gfs … --output json`.
    ///
    /// # Errors
    /// When it fails, or prints something else.
    pub fn gfs_json(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.gfs(&[arguments, &["--output", "json"]].concat())?)?)
    }

    /// Stores a file of this content.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn store(&self, path: &str, content: &str) -> Result<()> {
        self.exec_fed(&["gfs", "put", "-", path], content.as_bytes()).map(drop)
    }

    /// A file must have this content.
    ///
    /// # Errors
    /// When it has not.
    pub fn holds(&self, path: &str, content: &str) -> Result<()> {
        let found = self.gfs(&["cat", path])?;
        ensure!(found == content, "{path} holds {} other bytes", found.len());
        Ok(())
    }
}

/// One of the programs of the tests as a process of this machine, against these masters; its stdout.
///
/// # Errors
/// When it fails: with all it said.
pub fn on_this_machine(masters: &str, arguments: &[&str]) -> Result<String> {
    let gfs = gfs_binary();
    let folder = gfs.parent().context("a program lies in a folder")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(folder.join("examples").join("load"));
    command.args(arguments).env("GFS_MASTERS", masters);
    command.env("PATH", format!("{}:{path}", folder.display()));
    let output = run(&mut command);
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
