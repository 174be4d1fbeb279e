//! Whether volumes go with their StatefulSets: the one word of a manifest that is carried out whatever else stands in the way.
//!
//! StatefulSets alone hold it, and Kubernetes reads it when the cluster is deleted, without asking anybody. A manifest that says
//! `Retain` while a set still says `Delete` is the last chance to keep the data, so neither a pause, nor a field that is refused,
//! nor a child whose name is taken may hold it up. The other way round it waits its turn: volumes that stay can still be deleted.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::apply::{Kind, Live};
use crate::context::Context;
use crate::crd::{DELETION_CONFIRMATION, DeletionPolicy};
use crate::error::{Error, Result};
use crate::events::Reason;
use crate::owner::{Owner, Whose};

const DELETE: &str = "Delete";
const RETAIN: &str = "Retain";

/// What a manifest says of its volumes, readable or not. What is not said twice is not said.
#[must_use]
pub fn wanted(spec: &Value) -> DeletionPolicy {
    let says = |field: &str, word: &str| spec.get(field).and_then(Value::as_str) == Some(word);
    if says("deletionPolicy", DELETE) && says("deletionConfirmation", DELETION_CONFIRMATION) {
        DeletionPolicy::Delete
    } else {
        DeletionPolicy::Retain
    }
}

/// Takes `Delete` back from every StatefulSet that still has it, and from nothing else of it.
///
/// # Errors
/// The API server does not take it.
pub async fn take_back(ctx: &Context, owner: &Owner, live: &mut Live) -> Result<()> {
    let mut kept = Vec::new();
    for ((kind, name), object) in live.iter_mut() {
        let going = object.metadata.deletion_timestamp.is_some();
        let ours = *kind == Kind::StatefulSet && owner.whose(object) == Whose::Ours;
        if ours && !going && when_deleted(object) == Some(DELETE) {
            *object = keep(ctx, owner, name, object).await?;
            kept.push(name.as_str());
        }
    }
    if !kept.is_empty() {
        let note = format!(
            "the manifest says deletionPolicy Retain: the volumes of {} stay when the cluster is deleted",
            kept.join(", ")
        );
        ctx.events.tell(&owner.reference(), Reason::VolumesKept, &note).await;
    }
    Ok(())
}

fn when_deleted(set: &DynamicObject) -> Option<&str> {
    let policy = "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted";
    set.data.pointer(policy).and_then(Value::as_str)
}

/// Not an apply: that would take away every field of ours that it does not name.
async fn keep(
    ctx: &Context,
    owner: &Owner,
    name: &str,
    set: &DynamicObject,
) -> Result<DynamicObject> {
    let kind = Kind::StatefulSet;
    let api: Api<DynamicObject> =
        Api::namespaced_with(ctx.client.clone(), &owner.namespace, &kind.resource());
    let params = PatchParams {
        field_manager: Some(kind.field_manager().to_owned()),
        ..PatchParams::default()
    };
    // With the uid: a set of the same name that came since is another cluster's.
    let patch = json!({
        "metadata": {"uid": set.uid()},
        "spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": RETAIN}},
    });
    let written = api.patch(name, &params, &Patch::Merge(&patch)).await;
    ctx.metrics.wrote(kind.name());
    written
        .map_err(|source| Error::api(format!("keeping the volumes of StatefulSet {name}"), source))
}

/// What becomes of the volumes if the cluster is deleted now; `before` is what was told last. None while there is no StatefulSet.
///
/// A set says `Retain` a moment before its controller has taken its name off the claims. Until then it is told as it was.
#[must_use]
pub fn effective(sets: &[StatefulSet], before: Option<DeletionPolicy>) -> Option<DeletionPolicy> {
    let deletes = |set: &StatefulSet| {
        let policy = set.spec.as_ref()?.persistent_volume_claim_retention_policy.as_ref()?;
        Some(policy.when_deleted.as_deref() == Some(DELETE))
    };
    let is_seen = |set: &StatefulSet| {
        let seen = set.status.as_ref().and_then(|status| status.observed_generation);
        seen >= set.metadata.generation
    };
    if sets.is_empty() {
        None
    } else if sets.iter().any(|set| deletes(set) == Some(true)) {
        Some(DeletionPolicy::Delete)
    } else if sets.iter().all(is_seen) {
        Some(DeletionPolicy::Retain)
    } else {
        before.or(Some(DeletionPolicy::Retain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_twice_is_not_said() {
        let twice = json!({"deletionPolicy": "Delete", "deletionConfirmation": "yes-delete-data"});
        assert_eq!(wanted(&twice), DeletionPolicy::Delete);
        for spec in [
            json!({}),
            json!(null),
            json!({"deletionPolicy": "Retain", "deletionConfirmation": "yes-delete-data"}),
            json!({"deletionPolicy": "Delete"}),
            json!({"deletionPolicy": "Delete", "deletionConfirmation": "yes"}),
            json!({"deletionPolicy": ["Delete"], "deletionConfirmation": "yes-delete-data"}),
        ] {
            assert_eq!(wanted(&spec), DeletionPolicy::Retain, "{spec}");
        }
    }

    /// A set with this policy, of this generation, that its controller has seen up to `seen`.
    fn set(when_deleted: &str, generation: i64, seen: i64) -> StatefulSet {
        let policy = json!({"whenDeleted": when_deleted, "whenScaled": "Retain"});
        serde_json::from_value(json!({
            "metadata": {"generation": generation},
            "spec": {
                "persistentVolumeClaimRetentionPolicy": policy,
                "selector": {}, "serviceName": "", "template": {},
            },
            "status": {"replicas": 0, "observedGeneration": seen},
        }))
        .unwrap()
    }

    #[test]
    fn volumes_are_told_to_stay_only_when_every_controller_has_seen_it() {
        use DeletionPolicy::{Delete, Retain};
        let table = [
            (vec![], None, None),
            (vec![set("Retain", 1, 0)], None, Some(Retain)),
            (vec![set("Delete", 1, 0)], None, Some(Delete)),
            (vec![set("Retain", 2, 2), set("Delete", 2, 2)], Some(Retain), Some(Delete)),
            (vec![set("Retain", 2, 2), set("Retain", 2, 1)], Some(Delete), Some(Delete)),
            (vec![set("Retain", 2, 2), set("Retain", 2, 2)], Some(Delete), Some(Retain)),
            // Something else of it changed.
            (vec![set("Retain", 3, 2)], Some(Retain), Some(Retain)),
        ];
        for (sets, before, told) in table {
            assert_eq!(effective(&sets, before), told, "{before:?} {sets:?}");
        }
    }
}
