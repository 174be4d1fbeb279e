//! Schemas by which kubeconform judges manifests, without a network: Kubernetes publishes what its API takes in its own sources
//! (`api/openapi-spec/v3`), and ours stands in `crds/`.
//!
//! What an API server ignores (a field that does not exist) these refuse: every object that names its fields has no others.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// How kubeconform finds the schema of a kind, for a folder that [`write()`] filled.
pub(crate) const FILE_TEMPLATE: &str = "{{.ResourceKind}}_{{.Group}}_{{.ResourceAPIVersion}}.json";

/// Writes a file for each kind that Kubernetes or we have; says how many.
pub(crate) fn write(openapi: &Path, crds: &Path, to: &Path) -> Result<usize> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let mut count = 0;
    for path in files(openapi, "_openapi.json")? {
        let spec = serde_json::from_slice(&fs::read(&path)?)
            .with_context(|| format!("{}: no JSON", path.display()))?;
        for (name, schema) in of_openapi(spec) {
            fs::write(to.join(name), serde_json::to_vec(&schema)?)?;
            count += 1;
        }
    }
    for path in files(crds, ".yaml")? {
        let definition: Value = serde_yaml::from_str(&fs::read_to_string(&path)?)
            .with_context(|| format!("{}: no YAML", path.display()))?;
        for (name, schema) in of_definition(&definition)? {
            fs::write(to.join(name), serde_json::to_vec(&schema)?)?;
            count += 1;
        }
    }
    Ok(count)
}

fn files(folder: &Path, suffix: &str) -> Result<Vec<std::path::PathBuf>> {
    let failed = || format!("cannot read {}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(failed)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(suffix) {
            found.push(path);
        }
    }
    anyhow::ensure!(!found.is_empty(), "{}: nothing ends with {suffix}", folder.display());
    Ok(found)
}

fn file_name(group: &str, version: &str, kind: &str) -> String {
    // Of `v1` alone kubeconform takes the version for the group.
    let group = if group.is_empty() { version } else { group };
    FILE_TEMPLATE
        .replace("{{.ResourceKind}}", &kind.to_lowercase())
        .replace("{{.Group}}", group)
        .replace("{{.ResourceAPIVersion}}", version)
}

/// A schema for each kind of one version of one group.
fn of_openapi(mut spec: Value) -> Vec<(String, Value)> {
    let Value::Object(mut types) = spec["components"]["schemas"].take() else {
        return Vec::new();
    };
    let mut kinds = Vec::new();
    for (name, schema) in &mut types {
        for kind in schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let text = |key: &str| kind[key].as_str().unwrap_or_default().to_owned();
            kinds.push((name.clone(), text("group"), text("version"), text("kind")));
        }
        close(schema);
    }
    // Options of deletions are of every group; they are no manifests.
    kinds.retain(|(name, ..)| !name.contains("apimachinery"));
    let one = |(name, group, version, kind): (String, String, String, String)| {
        let mut schema = types.get(&name).cloned().unwrap_or_default();
        // In a manifest a kind says what it is.
        schema["properties"]["kind"] = json!({"const": kind});
        schema["required"] = json!(["apiVersion", "kind", "metadata"]);
        schema["definitions"] = Value::Object(types.clone());
        (file_name(&group, &version, &kind), schema)
    };
    kinds.into_iter().map(one).collect()
}

/// A schema for each version of a resource that a definition has.
fn of_definition(definition: &Value) -> Result<Vec<(String, Value)>> {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().map(str::to_owned).context("no definition");
    let (group, kind) = (text(&spec["group"])?, text(&spec["names"]["kind"])?);
    let versions = spec["versions"].as_array().context("a definition without versions")?;
    let one = |version: &Value| {
        let mut schema = version["schema"]["openAPIV3Schema"].clone();
        for (key, value) in [
            ("apiVersion", json!({"type": "string"})),
            ("kind", json!({"const": kind})),
            ("metadata", json!({"type": "object"})),
        ] {
            schema["properties"][key] = value;
        }
        close(&mut schema);
        Ok((file_name(&group, &text(&version["name"])?, &kind), schema))
    };
    versions.iter().map(one).collect()
}

/// Into the language of JSON Schema, and closed: no fields but those that are named.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            close_object(fields);
            fields.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

fn close_object(fields: &mut Map<String, Value>) {
    if let Some(Value::String(reference)) = fields.get_mut("$ref") {
        *reference = reference.replace("#/components/schemas/", "#/definitions/");
    }
    if fields.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        fields.remove("type");
        fields.insert("anyOf".to_owned(), json!([{"type": "integer"}, {"type": "string"}]));
    }
    // A property may be named `properties`: only a schema has an object of schemas there.
    let open = fields.contains_key("x-kubernetes-preserve-unknown-fields")
        || fields.contains_key("additionalProperties");
    let named = fields.get("properties").is_some_and(Value::is_object)
        && fields.get("type") == Some(&json!("object"));
    if named && !open {
        fields.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_kubernetes_becomes_a_closed_schema_with_all_it_refers_to() {
        let spec = json!({"components": {"schemas": {
            "io.k8s.api.apps.v1.Thing": {
                "type": "object",
                "properties": {"spec": {"allOf": [{"$ref": "#/components/schemas/Spec"}]}},
                "x-kubernetes-group-version-kind": [
                    {"group": "apps", "version": "v1", "kind": "Thing"}
                ],
            },
            "Spec": {"type": "object", "properties": {"count": {"type": "integer"}}},
        }}});
        let found = of_openapi(spec);
        let [(name, schema)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(name, "thing_apps_v1.json");
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["definitions"]["Spec"]["additionalProperties"], json!(false));
        assert_eq!(schema["properties"]["spec"]["allOf"][0]["$ref"], "#/definitions/Spec");
    }

    #[test]
    fn a_definition_becomes_a_closed_schema_that_knows_a_manifests_head() {
        let definition = json!({"spec": {
            "group": "x.rs",
            "names": {"kind": "Thing"},
            "versions": [{"name": "v1", "schema": {"openAPIV3Schema": {
                "type": "object",
                "properties": {
                    "size": {"x-kubernetes-int-or-string": true},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            }}}],
        }});
        let found = of_definition(&definition).expect("a definition");
        let [(name, schema)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(name, "thing_x.rs_v1.json");
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["properties"]["kind"], json!({"const": "Thing"}));
        assert!(schema["properties"]["size"]["anyOf"].is_array());
        assert_eq!(schema["properties"]["labels"]["additionalProperties"]["type"], "string");
        assert!(of_definition(&json!({"kind": "List"})).is_err());
    }
}
