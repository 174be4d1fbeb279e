//! Budgets: what a drain of nodes must leave standing.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::meta;
use crate::validate::{Component, ValidatedCluster};

/// One that is not ready may always be evicted. It is alone: it holds nobody up, and nobody it.
const ALWAYS: &str = "AlwaysAllow";
/// One that is not ready may be evicted only when the others are. While the master is away no chunkserver is ready, and all hold data:
/// the master would come back to a cluster that was drained at once.
const WHEN_OTHERS_ARE_WELL: &str = "IfHealthyBudget";

/// No pod is in two of them: such a pod cannot be evicted at all.
pub(super) fn all(cluster: &ValidatedCluster) -> Vec<PodDisruptionBudget> {
    vec![
        one_at_a_time(cluster, cluster.master_name(), Component::Master, ALWAYS),
        one_at_a_time(cluster, cluster.chunk_name(), Component::Chunkserver, WHEN_OTHERS_ARE_WELL),
    ]
}

/// As "at most one away", never "at least so many": with one master that would hold up a drain for ever.
fn one_at_a_time(
    cluster: &ValidatedCluster,
    name: String,
    component: Component,
    unready: &str,
) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: meta::child(cluster, name, Some(component)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(cluster.selector(component)),
                match_expressions: None,
            }),
            unhealthy_pod_eviction_policy: Some(unready.to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}
