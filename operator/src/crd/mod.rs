//! The resource `GfsCluster`: what its manifest may say, and what is told of it.
//!
//! The rules that the API server itself keeps stand here, beside the fields: every text, list and map is bounded, so that
//! the cost of the rules is too. [`crate::validate`] says all of it again, for clusters that came past an older schema.

#![expect(
    unreachable_pub,
    reason = "the derive of schemas writes each type again, inside of a function"
)]

mod chunkservers;
mod definition;
pub(crate) mod limits;
mod masters;
mod network_policy;
mod parts;
mod rules;
mod schema;
mod status;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::LocalObjectReference;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use chunkservers::{ChunkserverSettings, ChunkserversSpec, Domain};
pub use definition::{definition, yaml};
pub use masters::{MasterSettings, MastersSpec, ShadowsSpec};
pub use network_policy::NetworkPolicySpec;
pub use parts::{Image, LogFormat, PullPolicy, Resources, Scheduling, Storage};
pub use status::{ChunkserversStatus, GfsClusterStatus, MastersStatus};

/// What must stand in `spec.deletionConfirmation` beside `deletionPolicy: Delete`.
pub const DELETION_CONFIRMATION: &str = "yes-delete-data";
/// With it, unless it is `false`, no child of the cluster is written; the status still is.
pub const PAUSED_ANNOTATION: &str = "gfs.rs/paused";

/// A Google File System: a master, chunkservers, and what they need.
#[derive(Debug, Clone, PartialEq, CustomResource, KubeSchema, Serialize, Deserialize)]
#[kube(
    group = "gfs.rs",
    version = "v1alpha1",
    kind = "GfsCluster",
    plural = "gfsclusters",
    singular = "gfscluster",
    shortname = "gfs",
    category = "gfs",
    namespaced,
    doc = "A Google File System: a master, chunkservers, and what they need.",
    status = "GfsClusterStatus",
    derive = "PartialEq",
    scale(
        spec_replicas_path = ".spec.chunkservers.replicas",
        status_replicas_path = ".status.chunkservers.replicas",
        label_selector_path = ".status.chunkservers.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Primary", type_ = "string", json_path = ".status.masters.primary"),
    printcolumn(
        name = "Chunkservers",
        type_ = "integer",
        json_path = ".status.chunkservers.readyReplicas"
    ),
    printcolumn(name = "Wanted", type_ = "integer", json_path = ".spec.chunkservers.replicas"),
    printcolumn(name = "Image", type_ = "string", json_path = ".status.image", priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = rules::name_is_short(),
    validation = rules::name_is_a_label(),
    validation = rules::name_is_no_domains()
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::factor_has_servers(),
    validation = rules::deletion_is_confirmed()
)]
pub struct GfsClusterSpec {
    /// The program that runs; the operator's own image when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Secrets of its namespace with which nodes fetch the image, where its registry asks who they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::pull_secrets")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// The primary master: it keeps the namespace.
    #[serde(default)]
    pub masters: MastersSpec,
    /// The shadow masters.
    #[serde(default)]
    pub shadows: ShadowsSpec,
    /// The chunkservers: they keep the bytes.
    #[serde(default)]
    pub chunkservers: ChunkserversSpec,
    /// How many replicas a chunk has.
    #[serde(default)]
    pub replication: ReplicationSpec,
    /// Bytes of a chunk, as 64MiB. Fixed when the cluster is formatted.
    #[serde(default = "default_chunk_size")]
    #[schemars(length(max = 16))]
    #[x_kube(
        validation = rules::size("spec.chunkSize"),
        validation = rules::chunk_size_is_possible(),
        validation = rules::fixed("spec.chunkSize", "the chunk size is fixed when the cluster is formatted")
    )]
    pub chunk_size: String,
    /// Who may connect.
    #[serde(default)]
    pub network_policy: NetworkPolicySpec,
    /// What becomes of the volumes when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// With `deletionPolicy: Delete` it must be `yes-delete-data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub deletion_confirmation: Option<String>,
}

/// How many replicas a chunk has.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationSpec {
    /// Replicas of each chunk of a file that does not ask for another number.
    #[serde(default = "default_factor")]
    #[schemars(range(min = 1, max = gfs_types::limits::REPLICATION_MAX))]
    pub factor: i32,
}

impl Default for ReplicationSpec {
    fn default() -> Self {
        Self { factor: default_factor() }
    }
}

/// What becomes of the volumes when the cluster is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, JsonSchema, Serialize, Deserialize)]
pub enum DeletionPolicy {
    /// They stay: a cluster of the same name takes them up again.
    #[default]
    Retain,
    /// They are deleted with the cluster. It must be said twice, in `deletionConfirmation` too.
    Delete,
}

impl DeletionPolicy {
    /// Whether the data is given up: what is not said twice is not said.
    #[must_use]
    pub fn gives_up(self, confirmation: Option<&str>) -> bool {
        self == Self::Delete && confirmation == Some(DELETION_CONFIRMATION)
    }
}

fn default_chunk_size() -> String {
    gfs_types::ByteSize(gfs_types::limits::CHUNK_BYTES_DEFAULT).to_string()
}

fn default_factor() -> i32 {
    i32::from(gfs_types::limits::REPLICATION_DEFAULT)
}
