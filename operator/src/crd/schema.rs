//! Schemas of what has no type with one of its own: maps, with their bounds.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Labels of nodes.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "type": "string", "maxLength": 63 },
    })
}

/// Amounts of resources by their names: `cpu: 500m`, `memory: 2Gi`.
pub(super) fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 8,
        "additionalProperties": { "x-kubernetes-int-or-string": true },
    })
}
