//! Budgets: what a drain of nodes must leave standing.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::meta;
use crate::validate::{Component, ValidatedCluster};

/// No pod is in two of them: such a pod cannot be evicted at all.
pub(super) fn all(cluster: &ValidatedCluster) -> Vec<PodDisruptionBudget> {
    vec![
        one_at_a_time(cluster, cluster.master_name(), Component::Master),
        one_at_a_time(cluster, cluster.chunk_name(), Component::Chunkserver),
    ]
}

/// As "at most one away", never "at least so many": with one master that would hold up a drain for ever. What is not ready
/// anyway may always go.
fn one_at_a_time(
    cluster: &ValidatedCluster,
    name: String,
    component: Component,
) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: meta::child(cluster, name, Some(component)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(cluster.selector(component)),
                match_expressions: None,
            }),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}
