//! Who may connect: `spec.networkPolicy`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// Who may connect.
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicySpec {
    /// Whether the cluster gets a NetworkPolicy at all.
    #[serde(default = "default_enabled")]
    pub enabled: bool,
    /// Namespaces whose pods may be clients. Left out: only the cluster's own namespace. `{}`: every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub client_namespace_selector: Option<LabelSelector>,
}

impl Default for NetworkPolicySpec {
    fn default() -> Self {
        Self { enabled: default_enabled(), client_namespace_selector: None }
    }
}

fn default_enabled() -> bool {
    true
}
