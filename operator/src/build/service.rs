//! Services: headless, so that a name is the addresses of the pods themselves.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::meta;
use super::server::{GFS_PORT_NAME, MASTERS_GROUP};
use crate::place;
use crate::validate::{Component, GROUP_LABEL, ValidatedCluster, ValidatedDomain};

pub(super) fn all(cluster: &ValidatedCluster) -> Vec<Service> {
    let domains = cluster.domains().iter().map(|domain| of_domain(cluster, domain));
    [of_masters(cluster)].into_iter().chain(domains).collect()
}

/// All masters, ready or not: clients ask each who is the primary, and the operator formats one that is blank, so not ready.
fn of_masters(cluster: &ValidatedCluster) -> Service {
    let mut selector = cluster.instance_labels();
    selector.insert(GROUP_LABEL.to_owned(), MASTERS_GROUP.to_owned());
    Service {
        metadata: meta::child(cluster, cluster.masters_service_name(), Some(Component::Master)),
        spec: Some(ServiceSpec {
            publish_not_ready_addresses: Some(true),
            ..headless(selector, place::MASTER_PORT)
        }),
        status: None,
    }
}

/// What a StatefulSet must have; clients are told addresses by the master.
fn of_domain(cluster: &ValidatedCluster, domain: &ValidatedDomain) -> Service {
    let selector = cluster.domain_selector(domain);
    let name = cluster.domain_name(domain);
    Service {
        metadata: meta::child(cluster, name, Some(Component::Chunkserver)),
        spec: Some(headless(selector, place::CHUNKSERVER_PORT)),
        status: None,
    }
}

fn headless(selector: BTreeMap<String, String>, port: u16) -> ServiceSpec {
    ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        selector: Some(selector),
        ports: Some(vec![ServicePort {
            name: Some(GFS_PORT_NAME.to_owned()),
            port: i32::from(port),
            protocol: Some("TCP".to_owned()),
            target_port: Some(IntOrString::String(GFS_PORT_NAME.to_owned())),
            ..ServicePort::default()
        }]),
        ..ServiceSpec::default()
    }
}
