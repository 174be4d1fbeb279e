//! What the metadata of every child says.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use kube::api::ObjectMeta;

use crate::crd::GfsCluster;
use crate::validate::{Component, ValidatedCluster};

/// Metadata of a child; `component` is what kind of server it is for, if it is for one.
pub(super) fn child(
    cluster: &ValidatedCluster,
    name: String,
    component: Option<Component>,
) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(cluster.namespace().to_owned()),
        labels: Some(labels(cluster, component)),
        owner_references: Some(vec![owner(cluster)]),
        ..ObjectMeta::default()
    }
}

/// The recommended labels. Selectors have fewer: those never change.
pub(super) fn labels(
    cluster: &ValidatedCluster,
    component: Option<Component>,
) -> BTreeMap<String, String> {
    let mut labels = component
        .map_or_else(|| cluster.instance_labels(), |component| cluster.selector(component));
    labels.insert("app.kubernetes.io/part-of".to_owned(), "gfs".to_owned());
    labels.insert("app.kubernetes.io/managed-by".to_owned(), "gfs-operator".to_owned());
    if let Some(version) = &cluster.validated_image().version {
        labels.insert("app.kubernetes.io/version".to_owned(), version.clone());
    }
    labels
}

/// Children go with their cluster. Volumes have no owner: see `stateful_set::retain`.
fn owner(cluster: &ValidatedCluster) -> OwnerReference {
    OwnerReference {
        api_version: GfsCluster::api_version(&()).into_owned(),
        kind: GfsCluster::kind(&()).into_owned(),
        name: cluster.name().to_owned(),
        uid: cluster.uid().to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
