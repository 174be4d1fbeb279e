//! Schemas of what is of Kubernetes' own types, with bounds and choices that those do not have.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{limits, rules};

const LABELS_MAX: u32 = 16;
const LABEL_VALUE_CHARACTERS_MAX: u32 = 63;
const LABEL_KEY_CHARACTERS_MAX: u32 = 317;

/// Labels that a node must have.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": LABELS_MAX,
        "additionalProperties": { "type": "string", "maxLength": LABEL_VALUE_CHARACTERS_MAX },
        "x-kubernetes-validations": [rules::labels()],
    })
}

/// Amounts of resources by their names: `cpu: 500m`, `memory: 2Gi`.
pub(super) fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 8,
        "additionalProperties": {
            "anyOf": [{ "type": "integer" }, { "type": "string" }],
            "maxLength": 32,
            "minimum": 0,
            "pattern": rules::AMOUNT,
            "x-kubernetes-int-or-string": true,
        },
        "x-kubernetes-validations": [rules::resource_names()],
    })
}

/// Taints of nodes that do not keep the pods away.
pub(super) fn tolerations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object",
            "properties": {
                "key": { "type": "string", "maxLength": LABEL_KEY_CHARACTERS_MAX },
                "operator": { "type": "string", "enum": ["Exists", "Equal"] },
                "value": { "type": "string", "maxLength": LABEL_VALUE_CHARACTERS_MAX },
                "effect": { "type": "string", "enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"] },
                "tolerationSeconds": { "type": "integer", "format": "int64" },
            },
            "x-kubernetes-validations": rules::toleration(),
        },
    })
}

/// Secrets with which nodes fetch images.
pub(super) fn pull_secrets(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": limits::PULL_SECRETS_MAX,
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {
                    "type": "string",
                    "maxLength": limits::OBJECT_NAME_CHARACTERS_MAX,
                    "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
                },
            },
        },
    })
}

/// Which namespaces, by their labels.
pub(super) fn label_selector(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": labels(generator),
            "matchExpressions": {
                "type": "array",
                "maxItems": LABELS_MAX,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": { "type": "string", "maxLength": LABEL_KEY_CHARACTERS_MAX },
                        "operator": {
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "type": "array",
                            "maxItems": LABELS_MAX,
                            "x-kubernetes-list-type": "atomic",
                            "items": { "type": "string", "maxLength": LABEL_VALUE_CHARACTERS_MAX },
                        },
                    },
                    "x-kubernetes-validations": rules::selector_expression(),
                },
            },
        },
    })
}
