//! Service accounts: an identity for each kind of server, and no rights at all.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::meta;
use crate::validate::{Component, ValidatedCluster};

pub(super) fn all(cluster: &ValidatedCluster) -> Vec<ServiceAccount> {
    let of = |name, component| ServiceAccount {
        metadata: meta::child(cluster, name, Some(component)),
        // No server speaks to the API server.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    vec![
        of(cluster.master_name(), Component::Master),
        of(cluster.chunk_name(), Component::Chunkserver),
    ]
}
