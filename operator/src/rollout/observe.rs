//! What the API server and the master say of pods, as the decision needs it.

use std::collections::BTreeMap;

use gfs_types::message::client::{ChunkserverStatus, ClusterStatus};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{Chunks, Observed, PodView, Role};
use crate::labels;
use crate::validate::Component;
use crate::volumes::Volumes;

/// The label in which a StatefulSet controller says of which revision a pod is.
const REVISION_LABEL: &str = "controller-revision-hash";

/// Replicas that were not made equal so long after the last chunkserver came back are not expected back: its restart is not what
/// they lack, and a person is told.
const CATCH_UP: SignedDuration = SignedDuration::from_mins(10);

/// A chunkserver finds a master that was made anew by its name, which DNS remembers as missing for half a minute. Who is unready
/// so long lacks something else.
const UNREADY: SignedDuration = SignedDuration::from_mins(2);

/// Puts together what is known. `known` is the cluster as its master sees it, when that could be asked.
#[must_use]
pub fn observe(
    sets: &[StatefulSet],
    pods: &[Pod],
    volumes: &Volumes,
    known: Option<&ClusterStatus>,
    now: Timestamp,
) -> Observed {
    let revisions: BTreeMap<String, Option<String>> =
        sets.iter().map(|set| (set.name_any(), newest_revision(set))).collect();
    let wanted = |set: &StatefulSet| set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    let chunkserver_sets = sets.iter().filter(|set| role(set.labels()) == Some(Role::Chunkserver));
    let servers = known.map(|known| known.chunkservers.as_slice());
    let is_master = |pod: &&Pod| role(pod.labels()) == Some(Role::Master);
    let mut masters = pods.iter().filter(is_master);
    let served = masters.any(|pod| has_long_been(pod, "True", now));
    let views = pods.iter().filter_map(|pod| {
        let view = view(pod, &revisions, servers)?;
        let long = has_long_been(pod, "False", now) && (served || view.role == Role::Master);
        let volume_goes = volumes.goes_with(&view.name);
        Some(PodView { unready_long: long, volume_goes, ..view })
    });
    let mut views: Vec<_> = views.collect();
    views.sort_by(|a, b| a.name.cmp(&b.name));
    Observed {
        settled: revisions.values().all(Option::is_some),
        pods: views,
        chunks: known.and_then(chunks),
        back_long: are_back_long(pods, now),
        chunkservers_wanted: chunkserver_sets
            .map(|set| usize::try_from(wanted(set)).unwrap_or(0))
            .sum(),
    }
}

/// None while the master counts: what it found by then is not what lacks.
fn chunks(known: &ClusterStatus) -> Option<Chunks> {
    let (below_goal, missing) = (known.chunks_below_goal, known.chunks_missing);
    (known.chunks_uncounted == 0).then_some(Chunks { all: known.chunks, below_goal, missing })
}

/// Whether what the last chunkserver missed while it restarted should not be missing any more.
fn are_back_long(pods: &[Pod], now: Timestamp) -> bool {
    let servers = pods.iter().filter(|pod| role(pod.labels()) == Some(Role::Chunkserver));
    let last =
        servers.filter_map(|pod| ready(pod)?.last_transition_time.as_ref()).map(|at| at.0).max();
    last.is_some_and(|last| now.duration_since(last) >= CATCH_UP)
}

/// The revision that new pods get, once the controller has seen the newest state of the set.
fn newest_revision(set: &StatefulSet) -> Option<String> {
    let status = set.status.as_ref()?;
    (status.observed_generation >= set.metadata.generation).then_some(())?;
    status.update_revision.clone()
}

fn role(labels: &BTreeMap<String, String>) -> Option<Role> {
    let component = labels::component_of(labels)?;
    let roles = [(Component::Master, Role::Master), (Component::Chunkserver, Role::Chunkserver)];
    roles.into_iter().find_map(|(is, role)| (is.as_str() == component).then_some(role))
}

fn view(
    pod: &Pod,
    revisions: &BTreeMap<String, Option<String>>,
    known: Option<&[ChunkserverStatus]>,
) -> Option<PodView> {
    let role = role(pod.labels())?;
    let set = pod.owner_references().iter().find(|owner| owner.kind == "StatefulSet")?;
    let newest = revisions.get(&set.name).cloned().flatten();
    let revision = pod.labels().get(REVISION_LABEL);
    let name = pod.name_any();
    let in_touch = known.map(|known| is_in_touch(pod, known));
    Some(PodView {
        role,
        outdated: newest.is_some_and(|newest| revision != Some(&newest)),
        ending: pod.metadata.deletion_timestamp.is_some(),
        running: is_running(pod),
        ready: is_ready(pod),
        unready_long: false,
        volume_goes: false,
        in_touch: in_touch.filter(|_| role == Role::Chunkserver),
        uid: pod.uid()?,
        resource_version: pod.resource_version()?,
        name,
    })
}

/// The last label of a chunkserver's topology is its pod; of what was known under that name before, the address differs.
fn is_in_touch(pod: &Pod, known: &[ChunkserverStatus]) -> bool {
    let name = pod.name_any();
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
    let here = |server: &&ChunkserverStatus| {
        let host = server.address.rsplit_once(':').map(|(host, _)| host.trim_matches(['[', ']']));
        server.topology.labels().last() == Some(&name) && host == ip
    };
    known.iter().filter(here).any(|server| server.alive)
}

/// Whether all of its containers run.
#[must_use]
pub(crate) fn is_running(pod: &Pod) -> bool {
    let runs = |container: &ContainerStatus| {
        container.state.as_ref().is_some_and(|state| state.running.is_some())
    };
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.is_some_and(|statuses| !statuses.is_empty() && statuses.iter().all(runs))
}

/// Whether its condition `Ready` is true.
#[must_use]
pub(crate) fn is_ready(pod: &Pod) -> bool {
    ready(pod).is_some_and(|condition| condition.status == "True")
}

/// Whether its condition `Ready` has been so for minutes.
fn has_long_been(pod: &Pod, status: &str, now: Timestamp) -> bool {
    let condition = ready(pod).filter(|condition| condition.status == status);
    let since = condition.and_then(|condition| condition.last_transition_time.as_ref());
    since.is_some_and(|since| now.duration_since(since.0) >= UNREADY)
}

fn ready(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn server(name: &str, ready_since: &str) -> Pod {
        let labels = json!({"app.kubernetes.io/component": "chunkserver"});
        let conditions =
            json!([{"type": "Ready", "status": "True", "lastTransitionTime": ready_since}]);
        let metadata = json!({"name": name, "labels": labels});
        serde_json::from_value(json!({"metadata": metadata, "status": {"conditions": conditions}}))
            .unwrap()
    }

    #[test]
    fn the_last_chunkserver_that_came_back_is_the_one_that_counts() {
        let pods = [server("a", "2026-01-01T11:00:00Z"), server("b", "2026-01-01T11:50:01Z")];
        let at = |text: &str| text.parse().unwrap();
        let noon = at("2026-01-01T12:00:00Z");
        assert!(!are_back_long(&pods, noon), "b is back for less than ten minutes");
        assert!(are_back_long(&pods, at("2026-01-01T12:00:01Z")), "b is back for ten minutes");
        assert!(!are_back_long(&[], noon), "nobody is back");
    }
}
