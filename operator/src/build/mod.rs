//! From a validated cluster to the objects that must be there. Pure: the same cluster gives the same objects, byte for byte.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::validate::ValidatedCluster;

/// The children of a cluster, in the order in which they are applied: what pods need comes before them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resources {
    /// One for each kind of server, without a token.
    pub service_accounts: Vec<ServiceAccount>,
    /// The headless services.
    pub services: Vec<Service>,
    /// The servers' configuration, and what clients need.
    pub config_maps: Vec<ConfigMap>,
    /// What a drain of nodes must leave standing.
    pub pod_disruption_budgets: Vec<PodDisruptionBudget>,
    /// Who may connect; empty when the manifest wants none.
    pub network_policies: Vec<NetworkPolicy>,
    /// The master's first, the shadows', then one for each failure domain.
    pub stateful_sets: Vec<StatefulSet>,
}

/// All children of a cluster.
#[must_use]
pub fn build(_cluster: &ValidatedCluster) -> Resources {
    Resources::default()
}
