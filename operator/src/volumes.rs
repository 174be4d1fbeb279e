//! The claims of a cluster's pods: whether what a pod holds outlives it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;

use crate::build::DATA_VOLUME;

/// The phase of a claim whose volume is gone.
const LOST: &str = "Lost";

/// The claims there are, by name.
#[derive(Debug, Clone, Default)]
pub struct Volumes {
    claims: BTreeMap<String, PersistentVolumeClaim>,
}

/// The claim of a pod, as its StatefulSet names it.
#[must_use]
pub fn claim_of(pod: &str) -> String {
    format!("{DATA_VOLUME}-{pod}")
}

impl Volumes {
    /// Of these claims.
    #[must_use]
    pub fn of(claims: Vec<PersistentVolumeClaim>) -> Self {
        Self { claims: claims.into_iter().map(|claim| (claim.name_any(), claim)).collect() }
    }

    /// Whether the pod has a claim.
    #[must_use]
    pub fn has(&self, pod: &str) -> bool {
        self.claims.contains_key(&claim_of(pod))
    }

    /// Whether the volume goes when the pod ends: a claim that is deleted stays only as long as a pod uses it.
    #[must_use]
    pub fn goes_with(&self, pod: &str) -> bool {
        self.claims.get(&claim_of(pod)).is_none_or(is_going)
    }
}

fn is_going(claim: &PersistentVolumeClaim) -> bool {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    claim.metadata.deletion_timestamp.is_some() || phase == Some(LOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn volumes(extra: Value, phase: &str) -> Volumes {
        let mut claim = json!({"metadata": {"name": "data-a-0"}, "status": {"phase": phase}});
        if !extra.is_null() {
            claim["metadata"]["deletionTimestamp"] = extra;
        }
        Volumes::of(vec![serde_json::from_value(claim).unwrap()])
    }

    #[test]
    fn a_volume_stays_while_its_claim_is_there_and_nobody_deleted_it() {
        assert!(!volumes(Value::Null, "Bound").goes_with("a-0"));
        // The first pod of its name waits for it.
        assert!(!volumes(Value::Null, "Pending").goes_with("a-0"));
        assert!(volumes(json!("2026-01-01T00:00:00Z"), "Bound").goes_with("a-0"));
        assert!(volumes(Value::Null, "Lost").goes_with("a-0"));
        assert!(volumes(Value::Null, "Bound").goes_with("a-1"), "there is none");
    }
}
