//! What is applied, and the mark by which it is known again.

use std::collections::BTreeMap;

use kube::api::DynamicObject;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

use super::covers::first_difference;
use super::kinds::Kind;
use crate::build::Resources;

/// On each child: the fingerprint of what was applied. Fields that were applied and no longer are would otherwise go
/// unnoticed: nothing that is wanted differs.
pub const APPLIED_ANNOTATION: &str = "gfs.rs/applied";

/// The children there are, as the API server has them.
pub type Live = BTreeMap<(Kind, String), DynamicObject>;

/// One child as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What is applied, the mark included.
    pub body: Value,
    fingerprint: String,
}

/// Why a child is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// There is none.
    Absent,
    /// It should be another way than when it was written last.
    Changed,
    /// Someone changed this field, which is ours.
    Meddled(String),
}

impl Manifest {
    /// Of a typed object.
    ///
    /// # Errors
    /// When it does not become JSON: a defect.
    pub fn new<K: Resource + Serialize>(kind: Kind, object: &K) -> Result<Self, serde_json::Error> {
        let mut body = serde_json::to_value(object)?;
        let fingerprint = fingerprint(&body);
        body["metadata"]["annotations"][APPLIED_ANNOTATION] = json!(fingerprint);
        let name = object.meta().name.clone().unwrap_or_default();
        Ok(Self { kind, name, body, fingerprint })
    }

    /// Why it has to be written, if it has to.
    #[must_use]
    pub fn to_write(&self, live: Option<&DynamicObject>) -> Option<Why> {
        let Some(live) = live else { return Some(Why::Absent) };
        if live.annotations().get(APPLIED_ANNOTATION) != Some(&self.fingerprint) {
            return Some(Why::Changed);
        }
        let mut wanted = self.body.clone();
        if let Some(fields) = wanted.as_object_mut() {
            // Objects in a list come without them.
            fields.remove("apiVersion");
            fields.remove("kind");
        }
        // Read from JSON a moment ago, it becomes JSON again.
        let live = serde_json::to_value(live).unwrap_or_default();
        first_difference(self.kind, &wanted, &live).map(Why::Meddled)
    }
}

/// All children that were built, in the order of their application.
///
/// # Errors
/// As [`Manifest::new`].
pub fn manifests(resources: &Resources) -> Result<Vec<Manifest>, serde_json::Error> {
    fn all<'a, K: Resource + Serialize>(
        kind: Kind,
        objects: &'a [K],
    ) -> impl Iterator<Item = Result<Manifest, serde_json::Error>> + 'a {
        objects.iter().map(move |object| Manifest::new(kind, object))
    }
    // Without `..`: a new kind of children does not go unapplied.
    let Resources {
        service_accounts,
        services,
        config_maps,
        pod_disruption_budgets,
        network_policies,
        stateful_sets,
    } = resources;
    all(Kind::ServiceAccount, service_accounts)
        .chain(all(Kind::Service, services))
        .chain(all(Kind::ConfigMap, config_maps))
        .chain(all(Kind::PodDisruptionBudget, pod_disruption_budgets))
        .chain(all(Kind::NetworkPolicy, network_policies))
        .chain(all(Kind::StatefulSet, stateful_sets))
        .collect()
}

/// The same for the same JSON, in every version of this program: maps are sorted.
fn fingerprint(body: &Value) -> String {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, body.to_string().as_bytes());
    format!("{crc:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    fn config_map(text: &str) -> Manifest {
        let object = ConfigMap {
            metadata: ObjectMeta { name: Some("a".to_owned()), ..ObjectMeta::default() },
            data: Some([("key".to_owned(), text.to_owned())].into()),
            ..ConfigMap::default()
        };
        Manifest::new(Kind::ConfigMap, &object).unwrap()
    }

    fn live(body: &Value) -> DynamicObject {
        serde_json::from_value(body.clone()).unwrap()
    }

    #[test]
    fn what_was_applied_is_not_written_again() {
        let manifest = config_map("text");
        assert_eq!(manifest.to_write(None), Some(Why::Absent));
        let mut body = manifest.body.clone();
        body["metadata"]["uid"] = json!("1");
        body["data"]["theirs"] = json!("x");
        assert_eq!(manifest.to_write(Some(&live(&body))), None);
    }

    #[test]
    fn a_change_of_ours_and_of_others_is_told_apart() {
        let (manifest, mut body) = (config_map("new"), config_map("old").body);
        assert_eq!(manifest.to_write(Some(&live(&body))), Some(Why::Changed));
        body = manifest.body.clone();
        body["data"]["key"] = json!("edited");
        let meddled = Some(Why::Meddled("data.key".to_owned()));
        assert_eq!(manifest.to_write(Some(&live(&body))), meddled);
        body["metadata"]["annotations"] = json!({});
        assert_eq!(manifest.to_write(Some(&live(&body))), Some(Why::Changed));
    }

    #[test]
    fn fingerprints_are_fixed() {
        assert_eq!(
            fingerprint(&json!({"b": 1, "a": [2]})),
            fingerprint(&json!({"a": [2], "b": 1}))
        );
        assert_eq!(fingerprint(&json!({})), "4afd70a707a98d3c");
    }
}
