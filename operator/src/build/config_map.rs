//! ConfigMaps: the servers' configuration files, and what a client needs in its environment.

use k8s_openapi::api::core::v1::ConfigMap;

use super::meta;
use crate::place;
use crate::validate::{Component, ValidatedCluster};

/// What `Client::from_env` of the client library reads.
const MASTERS_VARIABLE: &str = "GFS_MASTERS";

pub(super) fn all(cluster: &ValidatedCluster) -> Vec<ConfigMap> {
    let of = |name, component, key: &str, value: &str| ConfigMap {
        metadata: meta::child(cluster, name, component),
        data: Some([(key.to_owned(), value.to_owned())].into()),
        ..ConfigMap::default()
    };
    let master = Some(Component::Master);
    let chunkserver = Some(Component::Chunkserver);
    let (master_text, chunk_text) =
        (&cluster.master().config.text, &cluster.chunkserver().config.text);
    vec![
        of(cluster.master_name(), master, place::MASTER_FILE, master_text),
        of(cluster.chunk_name(), chunkserver, place::CHUNKSERVER_FILE, chunk_text),
        of(cluster.client_name(), None, MASTERS_VARIABLE, &cluster.masters_address()),
    ]
}
