//! What the operator tells of a cluster: `status`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is known of the cluster.
#[derive(Debug, Clone, PartialEq, Default, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GfsClusterStatus {
    /// The `metadata.generation` that the rest speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The conditions in one word, for people. Nothing may depend on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub phase: Option<String>,
    /// Whether the cluster was formatted: from then on a blank master means lost data.
    #[serde(default)]
    pub initialized: bool,
    /// The uid in the master's data directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub cluster_uid: Option<String>,
    /// The masters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masters: Option<MastersStatus>,
    /// The chunkservers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunkservers: Option<ChunkserversStatus>,
    /// The image that the pods are to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub image: Option<String>,
    /// Ready, Reconciling, Stalled, SpecValid, PrimaryAvailable, ChunkserversAvailable, ChunksAvailable, Paused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
}

/// What is known of the masters.
#[derive(Debug, Clone, PartialEq, Eq, Default, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MastersStatus {
    /// The pod of the primary, when one answers as such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub primary: Option<String>,
    /// Its epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// Pods there are.
    #[serde(default)]
    pub replicas: i32,
    /// Pods that are ready.
    #[serde(default)]
    pub ready_replicas: i32,
}

/// What is known of the chunkservers.
#[derive(Debug, Clone, PartialEq, Eq, Default, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChunkserversStatus {
    /// Pods there are.
    #[serde(default)]
    pub replicas: i32,
    /// Pods that are ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Chunkservers in touch with the master, as it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered: Option<i32>,
    /// The labels of their pods, for `/scale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub selector: Option<String>,
}
