//! From a validated cluster to the objects that must be there. Pure: the same cluster gives the same objects, byte for byte.

mod config_map;
mod container;
mod meta;
mod network_policy;
mod pod;
mod pod_disruption_budget;
mod server;
mod service;
mod service_account;
mod stateful_set;
#[cfg(test)]
mod tests;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::validate::ValidatedCluster;

pub(crate) use container::DATA_VOLUME;
pub use pod::CONFIG_HASH_ANNOTATION;

/// The children of a cluster, in the order in which they are applied: what pods need comes before them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resources {
    /// One for each kind of server, without a token.
    pub service_accounts: Vec<ServiceAccount>,
    /// The headless services: of all masters, then one for each failure domain.
    pub services: Vec<Service>,
    /// The servers' configuration, and what clients need.
    pub config_maps: Vec<ConfigMap>,
    /// What a drain of nodes must leave standing.
    pub pod_disruption_budgets: Vec<PodDisruptionBudget>,
    /// Who may connect; empty when the manifest wants none.
    pub network_policies: Vec<NetworkPolicy>,
    /// The master's first, then the shadows', then one for each failure domain.
    pub stateful_sets: Vec<StatefulSet>,
}

/// All children of a cluster.
#[must_use]
pub fn build(cluster: &ValidatedCluster) -> Resources {
    Resources {
        service_accounts: service_account::all(cluster),
        services: service::all(cluster),
        config_maps: config_map::all(cluster),
        pod_disruption_budgets: pod_disruption_budget::all(cluster),
        network_policies: network_policy::all(cluster),
        stateful_sets: stateful_set::all(cluster),
    }
}
