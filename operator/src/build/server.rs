//! What differs between the kinds of servers.

use std::collections::BTreeMap;

use crate::place;
use crate::validate::{
    Component, DOMAIN_LABEL, GROUP_LABEL, ValidatedCluster, ValidatedDomain, ValidatedServer,
};

/// Name of the port of a server's own protocol, in pods and services.
pub(super) const GFS_PORT_NAME: &str = "gfs";
/// Name of the port with `/livez`, `/readyz` and `/metrics`.
pub(super) const HTTP_PORT_NAME: &str = "http";
/// Masters, primary or shadow.
pub(super) const MASTERS_GROUP: &str = "masters";

const CHUNKSERVERS_GROUP: &str = "chunkservers";
/// A master may make a checkpoint before it ends.
const MASTER_GRACE_SECONDS: i64 = 120;
/// A chunkserver gives its leases up before it ends.
const CHUNKSERVER_GRACE_SECONDS: i64 = 60;

/// The pods of one StatefulSet.
pub(super) struct Server<'a> {
    pub(super) component: Component,
    /// Pods that should not share a host with one another carry the same.
    pub(super) group: &'static str,
    /// The StatefulSet.
    pub(super) set_name: String,
    /// Its headless Service.
    pub(super) service_name: String,
    /// ConfigMap and ServiceAccount.
    pub(super) shared_name: String,
    pub(super) replicas: i32,
    pub(super) selector: BTreeMap<String, String>,
    /// What its pods carry beside the recommended labels.
    pub(super) extra_labels: BTreeMap<String, String>,
    pub(super) arguments: Vec<String>,
    pub(super) port: u16,
    pub(super) http_port: u16,
    pub(super) node_selector: &'a BTreeMap<String, String>,
    pub(super) grace_seconds: i64,
    pub(super) validated: &'a ValidatedServer,
}

/// The primary master: one, until masters replicate.
pub(super) fn master(cluster: &ValidatedCluster) -> Server<'_> {
    of_master(cluster, Component::Master, cluster.master_name(), 1)
}

/// The shadow masters: none, until masters replicate.
pub(super) fn shadow(cluster: &ValidatedCluster) -> Server<'_> {
    of_master(cluster, Component::ShadowMaster, cluster.shadow_name(), 0)
}

fn of_master(
    cluster: &ValidatedCluster,
    component: Component,
    set_name: String,
    replicas: i32,
) -> Server<'_> {
    let file = format!("{}/{}", place::CONFIG_DIR, place::MASTER_FILE);
    Server {
        component,
        group: MASTERS_GROUP,
        set_name,
        service_name: cluster.masters_service_name(),
        shared_name: cluster.master_name(),
        replicas,
        selector: cluster.selector(component),
        extra_labels: labels([(GROUP_LABEL, MASTERS_GROUP)]),
        arguments: arguments(["master", "--config", &file, "--advertise", "$(POD_IP)"]),
        port: place::MASTER_PORT,
        http_port: place::MASTER_HTTP_PORT,
        node_selector: &cluster.master().scheduling.node_selector,
        grace_seconds: MASTER_GRACE_SECONDS,
        validated: cluster.master(),
    }
}

/// The chunkservers of one failure domain. A pod has one volume, so its name is that of its disk.
pub(super) fn chunkserver<'a>(
    cluster: &'a ValidatedCluster,
    domain: &'a ValidatedDomain,
) -> Server<'a> {
    let file = format!("{}/{}", place::CONFIG_DIR, place::CHUNKSERVER_FILE);
    let topology = format!("{}/$(NODE_NAME)/$(POD_NAME)", domain.name());
    let given = ["chunkserver", "--config", &file, "--advertise", "$(POD_IP)", "--topology"];
    Server {
        component: Component::Chunkserver,
        group: CHUNKSERVERS_GROUP,
        set_name: cluster.domain_name(domain),
        service_name: cluster.domain_name(domain),
        shared_name: cluster.chunk_name(),
        replicas: domain.replicas(),
        selector: cluster.domain_selector(domain),
        extra_labels: labels([(GROUP_LABEL, CHUNKSERVERS_GROUP), (DOMAIN_LABEL, domain.name())]),
        arguments: arguments(given).into_iter().chain([topology]).collect(),
        port: place::CHUNKSERVER_PORT,
        http_port: place::CHUNKSERVER_HTTP_PORT,
        node_selector: domain.node_selector(),
        grace_seconds: CHUNKSERVER_GRACE_SECONDS,
        validated: cluster.chunkserver(),
    }
}

fn arguments<const N: usize>(arguments: [&str; N]) -> Vec<String> {
    arguments.map(str::to_owned).into()
}

fn labels<const N: usize>(labels: [(&str, &str); N]) -> BTreeMap<String, String> {
    labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}
