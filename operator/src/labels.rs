//! By which labels the objects of a cluster are found.

use std::collections::BTreeMap;

const NAME: &str = "app.kubernetes.io/name";
const INSTANCE: &str = "app.kubernetes.io/instance";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const COMPONENT: &str = "app.kubernetes.io/component";
const GFS: &str = "gfs";
const OPERATOR: &str = "gfs-operator";

/// Selects the children of all clusters.
pub const CHILDREN: &str = "app.kubernetes.io/managed-by=gfs-operator";

/// Selects the children of a cluster, its pods included.
#[must_use]
pub fn children_of(cluster: &str) -> String {
    format!("{NAME}={GFS},{INSTANCE}={cluster},{MANAGED_BY}={OPERATOR}")
}

/// Selects the claims of a cluster's pods, retained ones included: they were made from a template, and nobody manages them.
#[must_use]
pub fn claims_of(cluster: &str) -> String {
    format!("{NAME}={GFS},{INSTANCE}={cluster}")
}

/// The same, for a person: without what another chart of this name may have.
#[must_use]
pub fn claims_of_servers(cluster: &str) -> String {
    format!("{},{COMPONENT} in (master,shadow-master,chunkserver)", claims_of(cluster))
}

/// Whether an object says that it is a child of this cluster.
#[must_use]
pub fn is_of(labels: &BTreeMap<String, String>, cluster: &str) -> bool {
    let is = |key: &str, value: &str| labels.get(key).is_some_and(|found| found == value);
    is(NAME, GFS) && is(INSTANCE, cluster) && is(MANAGED_BY, OPERATOR)
}

/// The cluster that a child says it is of.
#[must_use]
pub fn cluster_of(labels: &BTreeMap<String, String>) -> Option<&str> {
    let cluster = labels.get(INSTANCE)?;
    is_of(labels, cluster).then_some(cluster)
}

/// What kind of server a pod or its set is.
#[must_use]
pub fn component_of(labels: &BTreeMap<String, String>) -> Option<&str> {
    labels.get(COMPONENT).map(String::as_str)
}

/// The same, of labels in JSON.
#[must_use]
pub fn component_in(labels: &serde_json::Value) -> Option<&str> {
    labels.get(COMPONENT)?.as_str()
}
