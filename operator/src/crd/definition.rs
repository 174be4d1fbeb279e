//! The CustomResourceDefinition, as the API server takes it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_yaml::{Number, Value};

use super::GfsCluster;

const HEAD: &str =
    "# Generated from operator/src/crd by `cargo xtask crds`: change it there, and run that.\n";

/// The definition of `GfsCluster`.
#[must_use]
pub fn definition() -> CustomResourceDefinition {
    let mut definition = GfsCluster::crd();
    let schemas = definition.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    for schema in schemas.filter_map(|schema| schema.open_api_v3_schema.as_mut()) {
        refuse_nulls(schema);
    }
    definition
}

/// The definition as YAML: the file `crds/gfsclusters.gfs.rs.yaml`.
///
/// # Errors
/// None that is known: a definition is maps, lists and texts.
pub fn yaml() -> Result<String, serde_yaml::Error> {
    let mut value = serde_yaml::to_value(definition())?;
    write_whole_numbers(&mut value);
    Ok(format!("{HEAD}{}", serde_yaml::to_string(&value)?))
}

/// `Option` becomes `nullable`; without that the API server takes a field that is null for one left out, and fills its default in.
fn refuse_nulls(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.properties.iter_mut().flat_map(|all| all.values_mut()).for_each(refuse_nulls);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        refuse_nulls(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        refuse_nulls(values);
    }
}

/// Bounds are floating point in the type of a schema; `minimum: 1.0` is written `minimum: 1`.
fn write_whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = whole(number) {
                *number = whole;
            }
        }
        Value::Sequence(items) => items.iter_mut().for_each(write_whole_numbers),
        Value::Mapping(fields) => fields.values_mut().for_each(write_whole_numbers),
        _ => {}
    }
}

fn whole(number: &Number) -> Option<Number> {
    let value = number.is_f64().then(|| number.as_f64()).flatten()?;
    format!("{value:.0}").parse::<i64>().ok().map(Number::from)
}
