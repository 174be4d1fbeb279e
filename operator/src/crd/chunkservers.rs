//! Chunkservers: `spec.chunkservers`.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::parts::{LogFormat, Resources, Scheduling, Storage};
use super::{limits, rules, schema};

/// The chunkservers.
#[derive(Debug, Clone, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::volume_is_above_reserve())]
pub struct ChunkserversSpec {
    /// How many, over all failure domains.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = limits::CHUNKSERVERS_MAX))]
    #[x_kube(validation = rules::no_fewer_chunkservers())]
    pub replicas: i32,
    /// Failure domains: each has a StatefulSet of its own, and its share of the chunkservers.
    #[serde(default = "default_domains")]
    #[schemars(length(min = 1, max = limits::DOMAINS_MAX))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".to_owned()]),
        validation = rules::fixed("spec.chunkservers.domains", "a chunkserver does not change its domain")
    )]
    pub domains: Vec<Domain>,
    /// The volume of each: chunks.
    #[serde(default = "default_storage")]
    #[x_kube(
        validation = rules::volume("spec.chunkservers.storage"),
        validation = rules::fixed("spec.chunkservers.storage", "volumes do not grow yet")
    )]
    pub storage: Storage,
    /// What each container asks for and may use.
    #[serde(default)]
    pub resources: Resources,
    /// On which nodes they may run.
    #[serde(default)]
    pub scheduling: Scheduling,
    /// Their settings; what is left out is as the server has it.
    #[serde(default)]
    pub config: ChunkserverSettings,
}

impl Default for ChunkserversSpec {
    fn default() -> Self {
        Self {
            replicas: default_replicas(),
            domains: default_domains(),
            storage: default_storage(),
            resources: Resources::default(),
            scheduling: Scheduling::default(),
            config: ChunkserverSettings::default(),
        }
    }
}

/// What fails together: a rack, a zone.
#[derive(Debug, Clone, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Domain {
    /// Its name: lower-case letters, digits and `-`.
    #[schemars(length(min = 1, max = limits::DOMAIN_NAME_CHARACTERS_MAX))]
    #[x_kube(validation = rules::domain_name())]
    pub name: String,
    /// Its share: a domain with 2 gets twice the chunkservers of one with 1.
    #[serde(default = "default_weight")]
    #[schemars(range(min = 1, max = limits::WEIGHT_MAX))]
    pub weight: i32,
    /// Labels of its nodes, beside those of `scheduling`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub node_selector: BTreeMap<String, String>,
}

/// Settings of a chunkserver.
#[derive(Debug, Clone, PartialEq, Eq, Default, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChunkserverSettings {
    /// Disk space never given to chunks, as 1GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = rules::size("spec.chunkservers.config.reserve"))]
    pub reserve: Option<String>,
    /// Pushed data held in memory for mutations to come, as 256MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = rules::size("spec.chunkservers.config.pushBuffer"))]
    pub push_buffer: Option<String>,
    /// How their log lines look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
}

fn default_replicas() -> i32 {
    3
}

fn default_domains() -> Vec<Domain> {
    vec![Domain {
        name: "default".to_owned(),
        weight: default_weight(),
        node_selector: BTreeMap::new(),
    }]
}

fn default_weight() -> i32 {
    1
}

fn default_storage() -> Storage {
    Storage::of("100Gi")
}
