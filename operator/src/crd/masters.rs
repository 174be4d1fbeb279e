//! Masters: `spec.masters` and `spec.shadows`.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::parts::{LogFormat, Resources, Scheduling, Storage};
use super::rules;

/// The primary master.
#[derive(Debug, Clone, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MastersSpec {
    /// Its volume: operation log and checkpoints.
    #[serde(default = "default_storage")]
    #[x_kube(
        validation = rules::volume("spec.masters.storage"),
        validation = rules::fixed("spec.masters.storage", "volumes do not grow yet")
    )]
    pub storage: Storage,
    /// What its container asks for and may use.
    #[serde(default)]
    pub resources: Resources,
    /// On which nodes it may run.
    #[serde(default)]
    pub scheduling: Scheduling,
    /// Its settings; what is left out is as the server has it.
    #[serde(default)]
    pub config: MasterSettings,
}

impl Default for MastersSpec {
    fn default() -> Self {
        Self {
            storage: default_storage(),
            resources: Resources::default(),
            scheduling: Scheduling::default(),
            config: MasterSettings::default(),
        }
    }
}

/// Settings of a master.
#[derive(Debug, Clone, PartialEq, Eq, Default, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::heartbeat_fits_lease())]
pub struct MasterSettings {
    /// How long a chunk's primary holds its lease, as 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = rules::duration("spec.masters.config.lease"))]
    pub lease: Option<String>,
    /// Time between two heartbeats of a chunkserver, as 500ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = rules::duration("spec.masters.config.heartbeat"))]
    pub heartbeat: Option<String>,
    /// Deleted files can come back for this long, as 3d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = rules::duration("spec.masters.config.trashGrace"))]
    pub trash_grace: Option<String>,
    /// How its log lines look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
}

/// The shadow masters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShadowsSpec {
    /// How many. None yet: masters do not replicate.
    #[serde(default)]
    #[schemars(range(min = 0))]
    #[x_kube(validation = rules::no_shadows())]
    pub replicas: i32,
}

fn default_storage() -> Storage {
    Storage::of("10Gi")
}
