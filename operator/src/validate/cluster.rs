//! A cluster that can be built.

use std::collections::BTreeMap;

use gfs_types::ids::ClusterUid;

use super::{Defaults, Problem};
use crate::crd::GfsCluster;

/// A manifest without a problem, with everything parsed that it says in texts.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedCluster {
    name: String,
    namespace: String,
    uid: String,
    cluster_uid: ClusterUid,
    domains: Vec<ValidatedDomain>,
}

/// A failure domain and its share of the chunkservers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedDomain {
    name: String,
    replicas: i32,
}

/// The kinds of servers: the value of the label `app.kubernetes.io/component`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The primary master.
    Master,
    /// A shadow master.
    ShadowMaster,
    /// A chunkserver.
    Chunkserver,
}

impl Component {
    /// As the label has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::ShadowMaster => "shadow-master",
            Self::Chunkserver => "chunkserver",
        }
    }
}

impl ValidatedDomain {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many chunkservers it has.
    #[must_use]
    pub const fn replicas(&self) -> i32 {
        self.replicas
    }
}

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
    pub const fn cluster_uid(&self) -> ClusterUid {
        self.cluster_uid
    }

    /// The failure domains, by name.
    #[must_use]
    pub fn domains(&self) -> &[ValidatedDomain] {
        &self.domains
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
        format!("{}-chunk-{}", self.name, domain.name)
    }

    /// `<c>-masters`: the Service of all masters.
    #[must_use]
    pub fn masters_service_name(&self) -> String {
        format!("{}-masters", self.name)
    }

    /// `<c>-client`: the ConfigMap for clients.
    #[must_use]
    pub fn client_name(&self) -> String {
        format!("{}-client", self.name)
    }

    /// `HOST:PORT` of all masters: what clients and chunkservers are told.
    #[must_use]
    pub fn masters_address(&self) -> String {
        format!("{}.{}.svc:7400", self.masters_service_name(), self.namespace)
    }

    /// `HOST:PORT` of the one master that the operator formats.
    #[must_use]
    pub fn first_master_address(&self) -> String {
        format!("{}-0.{}", self.master_name(), self.masters_address())
    }

    /// The labels by which pods of one kind are found; they never change.
    #[must_use]
    pub fn selector(&self, component: Component) -> BTreeMap<String, String> {
        [
            ("app.kubernetes.io/name", "gfs"),
            ("app.kubernetes.io/instance", self.name()),
            ("app.kubernetes.io/component", component.as_str()),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }
}

pub(super) fn validate(
    cluster: &GfsCluster,
    _defaults: &Defaults,
) -> Result<ValidatedCluster, Vec<Problem>> {
    let metadata = &cluster.metadata;
    let uid = metadata.uid.clone().unwrap_or_default();
    let cluster_uid = uid.replace('-', "").parse().map_err(|_| {
        vec![Problem {
            field: "metadata.uid".to_owned(),
            message: "is no UUID: the object was not read from an API server".to_owned(),
        }]
    })?;
    Ok(ValidatedCluster {
        name: metadata.name.clone().unwrap_or_default(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        uid,
        cluster_uid,
        domains: Vec::new(),
    })
}
