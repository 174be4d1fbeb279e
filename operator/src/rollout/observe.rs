//! What the API server and the master say of pods, as the decision needs it.

use std::collections::BTreeMap;

use gfs_types::message::client::ChunkserverStatus;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use super::{Observed, PodView, Role};
use crate::labels;
use crate::validate::Component;

/// The label in which a StatefulSet controller says of which revision a pod is.
const REVISION_LABEL: &str = "controller-revision-hash";

/// Puts together what is known. `known` are the chunkservers of the master, when it could be asked.
#[must_use]
pub fn observe(
    sets: &[StatefulSet],
    pods: &[Pod],
    known: Option<&[ChunkserverStatus]>,
) -> Observed {
    let revisions: BTreeMap<String, Option<String>> =
        sets.iter().map(|set| (set.name_any(), newest_revision(set))).collect();
    let wanted = |set: &StatefulSet| set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    let chunkserver_sets = sets.iter().filter(|set| role(set.labels()) == Some(Role::Chunkserver));
    let mut views: Vec<_> = pods.iter().filter_map(|pod| view(pod, &revisions, known)).collect();
    views.sort_by(|a, b| a.name.cmp(&b.name));
    Observed {
        settled: revisions.values().all(Option::is_some),
        pods: views,
        chunkservers_wanted: chunkserver_sets
            .map(|set| usize::try_from(wanted(set)).unwrap_or(0))
            .sum(),
    }
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
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = |conditions: &Vec<_>| {
        conditions.iter().any(
            |condition: &k8s_openapi::api::core::v1::PodCondition| {
                condition.type_ == "Ready" && condition.status == "True"
            },
        )
    };
    conditions.is_some_and(ready)
}
