//! A `GfsCluster`, and what Kubernetes made of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::command::until;
use super::namespace::Namespace;

/// A cluster with an operator that works is ready within this.
pub const READY_WITHIN: Duration = Duration::from_secs(90);

/// A `GfsCluster`.
#[derive(Debug, Clone)]
pub struct GfsCluster<'n> {
    /// Where it is.
    pub namespace: &'n Namespace,
    /// What it is called.
    pub name: String,
}

/// A pod of a cluster.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Stays when its pod is made anew.
    pub name: String,
    /// Another one for each pod.
    pub uid: String,
    /// Where it runs.
    pub node: String,
    /// `master` or `chunkserver`.
    pub component: String,
    /// As its readiness probe has it.
    pub ready: bool,
    /// Of its container.
    pub restarts: u64,
}

/// A manifest: small chunks and volumes, and these fields of its spec.
#[must_use]
pub fn manifest(name: &str, spec: &Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "gfs.rs/v1alpha1",
        "kind": "GfsCluster",
        "metadata": {"name": name},
        "spec": {
            "masters": {"storage": {"size": "1Gi"}},
            "chunkservers": {"replicas": 3, "storage": {"size": "4Gi"}},
            "chunkSize": "1MiB",
        },
    });
    merge(&mut manifest["spec"], spec);
    manifest
}

impl<'n> GfsCluster<'n> {
    /// Applies the [`manifest`] of a cluster.
    ///
    /// # Errors
    /// When it is refused.
    pub fn apply(namespace: &'n Namespace, name: &str, spec: &Value) -> Result<Self> {
        namespace.apply(&manifest(name, spec))?;
        Ok(Self { namespace, name: name.to_owned() })
    }

    /// A running cluster.
    ///
    /// # Errors
    /// When it is refused, or not ready in time.
    pub fn start(namespace: &'n Namespace, spec: &Value) -> Result<Self> {
        let cluster = Self::apply(namespace, "gfs", spec)?;
        cluster.ready(READY_WITHIN)?;
        Ok(cluster)
    }

    /// As the API server has it.
    ///
    /// # Errors
    /// When it is not there.
    pub fn object(&self) -> Result<Value> {
        self.namespace.get("gfscluster", &self.name)
    }

    /// Changes fields of its spec.
    ///
    /// # Errors
    /// When that is refused.
    pub fn change(&self, spec: &Value) -> Result<()> {
        self.namespace.patch("gfscluster", &self.name, &json!({"spec": spec}))
    }

    /// Waits until the operator calls it ready, as it is asked for now.
    ///
    /// # Errors
    /// When it does not in time; with its conditions.
    pub fn ready(&self, within: Duration) -> Result<()> {
        self.told("Ready", "True", within).map(drop)
    }

    /// Waits until a condition has a status, told of the newest spec; gives the condition.
    ///
    /// # Errors
    /// When it has not in time; with all conditions.
    pub fn told(&self, kind: &str, status: &str, within: Duration) -> Result<Value> {
        until(&format!("{kind} to be {status}"), within, || {
            let object = self.object()?;
            let all = &object["status"]["conditions"];
            let found = condition(&object, kind).with_context(|| format!("no {kind} in {all}"))?;
            let newest = &object["metadata"]["generation"];
            let generation = &found["observedGeneration"];
            ensure!(found["status"] == status, "{all}");
            ensure!(generation == newest, "told of generation {generation}, not of {newest}");
            Ok(found.clone())
        })
    }

    /// Its pods.
    ///
    /// # Errors
    /// When the cluster does not tell.
    pub fn pods(&self) -> Result<Vec<Pod>> {
        let pods = self.namespace.list("pods", &self.selector())?;
        pods.iter().map(Pod::of).collect()
    }

    /// Selects all that belongs to it.
    #[must_use]
    pub fn selector(&self) -> String {
        format!("app.kubernetes.io/instance={},app.kubernetes.io/name=gfs", self.name)
    }

    /// Where its master runs.
    ///
    /// # Errors
    /// When it runs nowhere.
    pub fn master(&self) -> Result<Pod> {
        let master = self.pods()?.into_iter().find(|pod| pod.component == "master");
        master.context("no master")
    }

    /// Waits until as many pods as now, or so many more, are there, all ready, and none of these uids among them.
    ///
    /// # Errors
    /// When they are not in time.
    pub fn pods_anew(&self, gone: &[Pod], count: usize, within: Duration) -> Result<Vec<Pod>> {
        until("fresh pods", within, || {
            let pods = self.pods()?;
            let waited_for: Vec<_> = pods.iter().filter(|pod| !pod.ready).collect();
            let stale: Vec<_> =
                pods.iter().filter(|pod| gone.iter().any(|old| old.uid == pod.uid)).collect();
            ensure!(stale.is_empty(), "still there: {stale:?}");
            ensure!(
                pods.len() == count && waited_for.is_empty(),
                "{} pods, not ready: {waited_for:?}",
                pods.len()
            );
            Ok(pods)
        })
    }
}

impl Pod {
    /// As `kubectl` tells of it.
    ///
    /// # Errors
    /// When it is no pod.
    pub fn of(pod: &Value) -> Result<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &pod["metadata"];
        let statuses = pod["status"]["containerStatuses"].as_array();
        let restarts = statuses.into_iter().flatten();
        Ok(Self {
            name: metadata["name"].as_str().context("a pod has a name")?.to_owned(),
            uid: text(&metadata["uid"]),
            node: text(&pod["spec"]["nodeName"]),
            component: text(&metadata["labels"]["app.kubernetes.io/component"]),
            ready: condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True")
                && metadata["deletionTimestamp"].is_null(),
            restarts: restarts.filter_map(|status| status["restartCount"].as_u64()).sum(),
        })
    }
}

/// The condition of this type, if there is one.
fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)
}

/// The same container since: whether it is ready may come and go.
impl PartialEq for Pod {
    fn eq(&self, other: &Self) -> bool {
        (&self.uid, self.restarts) == (&other.uid, other.restarts)
    }
}

/// As a merge patch does it (RFC 7386), but that null stays null.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_manifest_are_replaced_one_by_one() {
        let spec = json!({"chunkservers": {"replicas": 4}, "deletionPolicy": "Retain"});
        let manifest = manifest("a", &spec);
        let spec = &manifest["spec"];
        assert_eq!(spec["chunkservers"], json!({"replicas": 4, "storage": {"size": "4Gi"}}));
        assert_eq!(spec["deletionPolicy"], "Retain");
        assert_eq!(manifest["metadata"]["name"], "a");
    }
}
