//! The claims of a cluster's pods: whether what a pod holds outlives it, and what was there before the cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::build::DATA_VOLUME;
use crate::labels;
use crate::validate::Component;

/// The phase of a claim whose volume is gone.
const LOST: &str = "Lost";

/// Two objects that were made in one go may say so much else of their time: API servers have a clock each, and controllers queues.
const MADE_TOGETHER: SignedDuration = SignedDuration::from_secs(10);

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

    /// The claims that none of these pods uses.
    #[must_use]
    pub fn without(&self, pods: &[Pod]) -> Vec<String> {
        let used: Vec<_> = pods.iter().map(|pod| claim_of(&pod.name_any())).collect();
        self.claims.keys().filter(|name| !used.contains(name)).cloned().collect()
    }

    /// Whether the volume goes when the pod ends: a claim that is deleted stays only as long as a pod uses it.
    #[must_use]
    pub fn goes_with(&self, pod: &str) -> bool {
        self.claims.get(&claim_of(pod)).is_none_or(is_going)
    }

    /// A claim of a chunkserver that was there before this cluster was made and before the claim of its master: another cluster's
    /// master wrote of what it holds, on a volume that is not here. Volumes that an install without success left behind are as old
    /// as their master's, and hold nothing.
    ///
    /// `chunkservers` is how the names of their pods begin.
    #[must_use]
    pub fn of_earlier_chunkserver(
        &self,
        chunkservers: &str,
        master: &str,
        cluster_since: Option<Timestamp>,
    ) -> Option<&str> {
        let begin = claim_of(chunkservers);
        let master_since = self.claims.get(&claim_of(master)).and_then(made_at);
        let was_there = |claim: &PersistentVolumeClaim, before: Option<Timestamp>| {
            let ages = made_at(claim).zip(before);
            // Who does not tell since when might be of an earlier cluster.
            ages.is_none_or(|(made, before)| made + MADE_TOGETHER < before)
        };
        let is_earlier = |claim| was_there(claim, cluster_since) && was_there(claim, master_since);
        let mut claims = self.claims.iter().filter(|(name, _)| name.starts_with(&begin));
        claims.find(|(_, claim)| is_earlier(claim)).map(|(name, _)| name.as_str())
    }
}

/// Whether a claim is one that a StatefulSet of this cluster made: of somebody else's, labels can be alike, and a name, but not both.
#[must_use]
pub fn is_of(claim: &PersistentVolumeClaim, cluster: &str) -> bool {
    let name = claim.name_any();
    let pod = name.strip_prefix(DATA_VOLUME).and_then(|rest| rest.strip_prefix('-'));
    let of_cluster = pod.and_then(|pod| pod.strip_prefix(cluster)?.strip_prefix('-'));
    let Some((set, number)) = of_cluster.and_then(|rest| rest.rsplit_once('-')) else {
        return false;
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let component = labels::component_of(claim.labels());
    let is_component = |wanted: Component| component == Some(wanted.as_str());
    is_number
        && match set {
            "master" => is_component(Component::Master),
            "shadow" => is_component(Component::ShadowMaster),
            _ => set.starts_with("chunk-") && is_component(Component::Chunkserver),
        }
}

/// Whether it is the claim of a primary master.
#[must_use]
pub fn is_masters(claim: &PersistentVolumeClaim) -> bool {
    labels::component_of(claim.labels()) == Some(Component::Master.as_str())
}

fn made_at(claim: &PersistentVolumeClaim) -> Option<Timestamp> {
    claim.metadata.creation_timestamp.as_ref().map(|made| made.0)
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
    fn a_volume_of_a_chunkserver_is_of_an_earlier_cluster_when_it_is_older_than_cluster_and_master()
    {
        // Seconds of the day: the cluster's, its master's claim, a chunkserver's.
        let table = [
            // Made in one go, by clocks that differ.
            (100, Some(100), 100, false),
            (100, Some(101), 95, false),
            // A chunkserver that came later; one that was retained beside its master.
            (100, Some(101), 500, false),
            (500, Some(100), 100, false),
            // The master's claim was lost: before the cluster was made again, or since.
            (500, Some(300), 100, true),
            (500, Some(501), 100, true),
            (500, None, 100, true),
            // Its own master lost its volume.
            (100, Some(500), 101, false),
            (111, Some(111), 100, true),
            (110, Some(110), 100, false),
        ];
        for (cluster, master, chunkserver, expected) in table {
            let since = |second: i64| Timestamp::from_second(second).unwrap();
            let claim = |pod: &str, second: i64| {
                let made = since(second).to_string();
                let metadata = json!({"name": claim_of(pod), "creationTimestamp": made});
                serde_json::from_value(json!({"metadata": metadata})).unwrap()
            };
            let master = master.map(|second| claim("c-master-0", second));
            let claims = master.into_iter().chain([claim("c-chunk-a-0", chunkserver)]);
            let volumes = Volumes::of(claims.collect());
            let earlier =
                volumes.of_earlier_chunkserver("c-chunk-", "c-master-0", Some(since(cluster)));
            let expected = expected.then_some("data-c-chunk-a-0");
            assert_eq!(earlier, expected, "{cluster} {chunkserver}: {volumes:?}");
        }
    }

    #[test]
    fn a_claim_is_known_by_its_name_and_its_component() {
        let is = |name: &str, component: Value| {
            let labels = json!({"app.kubernetes.io/component": component});
            let claim = json!({"metadata": {"name": name, "labels": labels}});
            is_of(&serde_json::from_value(claim).unwrap(), "c")
        };
        for (name, component) in [
            ("data-c-master-0", "master"),
            ("data-c-shadow-1", "shadow-master"),
            ("data-c-chunk-default-10", "chunkserver"),
            ("data-c-chunk-zone-a-0", "chunkserver"),
        ] {
            assert!(is(name, json!(component)), "{name}");
            assert!(!is(name, json!("database")), "{name} of another chart");
        }
        for name in [
            "data-c-chunk-0",
            "data-c-chunk-default",
            "data-c-chunk-default-copy",
            "data-c-chunk-default-",
            "data-d-chunk-default-0",
            "data-c-d-chunk-default-0",
            "backup-data-c-chunk-default-0",
            "data-c-masters-0",
            "c-chunk-default-0",
        ] {
            assert!(!is(name, json!("chunkserver")), "{name}");
        }
        let unlabelled = json!({"metadata": {"name": "data-c-master-0"}});
        assert!(!is_of(&serde_json::from_value(unlabelled).unwrap(), "c"));
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
