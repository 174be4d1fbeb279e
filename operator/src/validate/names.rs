//! The names of a cluster's children, and the labels by which its pods are found.

use std::collections::BTreeMap;

use super::{Component, ValidatedCluster, ValidatedDomain};
use crate::place;

/// The label with the name of a pod's failure domain.
pub const DOMAIN_LABEL: &str = "gfs.rs/domain";
/// The label that says on which pods a Service of masters rests, whatever their role is.
pub const GROUP_LABEL: &str = "gfs.rs/group";

impl ValidatedCluster {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// `metadata.uid`: owner references name it.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The uid with which a blank master is formatted: `metadata.uid`, so that asking twice changes nothing.
    #[must_use]
    pub const fn cluster_uid(&self) -> gfs_types::ids::ClusterUid {
        self.cluster_uid
    }

    /// `<c>-master`: StatefulSet, ConfigMap, PodDisruptionBudget and ServiceAccount of the primary master.
    #[must_use]
    pub fn master_name(&self) -> String {
        format!("{}-master", self.name)
    }

    /// `<c>-shadow`: the StatefulSet of the shadow masters.
    #[must_use]
    pub fn shadow_name(&self) -> String {
        format!("{}-shadow", self.name)
    }

    /// `<c>-chunk`: ConfigMap, PodDisruptionBudget and ServiceAccount of all chunkservers.
    #[must_use]
    pub fn chunk_name(&self) -> String {
        format!("{}-chunk", self.name)
    }

    /// `<c>-chunk-<domain>`: StatefulSet and Service of a failure domain.
    #[must_use]
    pub fn domain_name(&self, domain: &ValidatedDomain) -> String {
        format!("{}-chunk-{}", self.name, domain.name())
    }

    /// `<c>-masters`: the Service of all masters.
    #[must_use]
    pub fn masters_service_name(&self) -> String {
        masters_service_name(&self.name)
    }

    /// `<c>-client`: the ConfigMap for clients.
    #[must_use]
    pub fn client_name(&self) -> String {
        format!("{}-client", self.name)
    }

    /// `HOST:PORT` of all masters: what clients and chunkservers are told.
    #[must_use]
    pub fn masters_address(&self) -> String {
        masters_address(&self.name, &self.namespace)
    }

    /// `HOST:PORT` of the one master that the operator asks and formats.
    #[must_use]
    pub fn first_master_address(&self) -> String {
        format!("{}-0.{}", self.master_name(), self.masters_address())
    }

    /// The labels of everything that belongs to the cluster.
    #[must_use]
    pub fn instance_labels(&self) -> BTreeMap<String, String> {
        labels([("app.kubernetes.io/name", "gfs"), ("app.kubernetes.io/instance", &self.name)])
    }

    /// The labels by which pods of one kind are found; they never change.
    #[must_use]
    pub fn selector(&self, component: Component) -> BTreeMap<String, String> {
        let mut selector = self.instance_labels();
        selector.extend(labels([("app.kubernetes.io/component", component.as_str())]));
        selector
    }

    /// The labels by which the chunkservers of one failure domain are found.
    #[must_use]
    pub fn domain_selector(&self, domain: &ValidatedDomain) -> BTreeMap<String, String> {
        let mut selector = self.selector(Component::Chunkserver);
        selector.extend(labels([(DOMAIN_LABEL, domain.name())]));
        selector
    }

    /// The labels of all chunkservers as `/scale` wants them: `key=value,key=value`.
    #[must_use]
    pub fn chunkserver_selector_text(&self) -> String {
        let selector = self.selector(Component::Chunkserver);
        let terms: Vec<_> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        terms.join(",")
    }
}

pub(super) fn masters_address(name: &str, namespace: &str) -> String {
    format!("{}.{namespace}.svc:{}", masters_service_name(name), place::MASTER_PORT)
}

fn masters_service_name(name: &str) -> String {
    format!("{name}-masters")
}

fn labels<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}
