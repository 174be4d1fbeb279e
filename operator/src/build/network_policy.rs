//! Who may connect to the pods of a cluster. What is not named here may not.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::meta;
use crate::place;
use crate::validate::{ValidatedCluster, ValidatedNetworkPolicy};

/// The label that every namespace has.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// One, or none if the manifest does not want it.
pub(super) fn all(cluster: &ValidatedCluster) -> Vec<NetworkPolicy> {
    let policy = cluster.network_policy().map(|policy| of(cluster, policy));
    policy.into_iter().collect()
}

fn of(cluster: &ValidatedCluster, policy: &ValidatedNetworkPolicy) -> NetworkPolicy {
    let servers = pods(cluster.instance_labels());
    let protocols = [place::MASTER_PORT, place::CHUNKSERVER_PORT];
    let http = [place::MASTER_HTTP_PORT, place::CHUNKSERVER_HTTP_PORT];
    let mut ingress = vec![
        rule(servers, &protocols),
        rule(clients(policy), &protocols),
        // Metrics are gathered from some namespace; probes come from the pod's own node, which is always let in.
        rule(all_pods(), &http),
    ];
    if let Some(namespace) = &policy.operator_namespace {
        ingress.push(rule(operator(namespace), &[place::MASTER_PORT]));
    }
    NetworkPolicy {
        metadata: meta::child(cluster, cluster.name().to_owned(), None),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(matching(cluster.instance_labels())),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(ingress),
            egress: None,
        }),
    }
}

/// Where clients are: in the chosen namespaces, or in the cluster's own.
fn clients(policy: &ValidatedNetworkPolicy) -> NetworkPolicyPeer {
    match &policy.client_namespace_selector {
        Some(selector) => NetworkPolicyPeer {
            namespace_selector: Some(selector.clone()),
            ..NetworkPolicyPeer::default()
        },
        None => pods(BTreeMap::new()),
    }
}

fn operator(namespace: &str) -> NetworkPolicyPeer {
    let labels = |key: &str, value: &str| {
        Some(matching(BTreeMap::from([(key.to_owned(), value.to_owned())])))
    };
    NetworkPolicyPeer {
        namespace_selector: labels(NAMESPACE_LABEL, namespace),
        pod_selector: labels("app.kubernetes.io/name", "gfs-operator"),
        ip_block: None,
    }
}

/// Pods of every namespace, but nobody from outside.
fn all_pods() -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    }
}

/// Pods of the cluster's own namespace.
fn pods(labels: BTreeMap<String, String>) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(matching(labels)), ..NetworkPolicyPeer::default() }
}

fn matching(labels: BTreeMap<String, String>) -> LabelSelector {
    let match_labels = (!labels.is_empty()).then_some(labels);
    LabelSelector { match_labels, match_expressions: None }
}

fn rule(from: NetworkPolicyPeer, ports: &[u16]) -> NetworkPolicyIngressRule {
    let port = |port: &u16| NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(*port))),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    };
    NetworkPolicyIngressRule {
        from: Some(vec![from]),
        ports: Some(ports.iter().map(port).collect()),
    }
}
