//! Why a pod does not come up, as Kubernetes itself tells it of the pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use crate::rollout::{Observed, Role};

/// What is said of each pod that has something in its way.
pub type Troubles = BTreeMap<String, String>;

/// Of all of these pods.
#[must_use]
pub fn troubles(pods: &[Pod]) -> Troubles {
    pods.iter().filter_map(|pod| Some((pod.name_any(), trouble(pod)?))).collect()
}

/// No node takes it, or a container waits.
fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let mut conditions = status.conditions.iter().flatten();
    let unscheduled = conditions.find(|it| it.type_ == "PodScheduled" && it.status == "False");
    if let Some(unscheduled) = unscheduled {
        let reason = unscheduled.reason.as_deref().unwrap_or("Unschedulable");
        return Some(told(reason, unscheduled.message.as_deref()));
    }
    status.container_statuses.iter().flatten().find_map(waiting)
}

fn waiting(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    Some(told(waiting.reason.as_deref()?, waiting.message.as_deref()))
}

fn told(reason: &str, message: Option<&str>) -> String {
    message.map_or_else(|| reason.to_owned(), |message| format!("{reason}: {message}"))
}

/// What is waited for: the first pod of `role` that has something in its way, as the end of a sentence.
pub(super) fn waited_for(pods: &Observed, role: Option<Role>, troubles: &Troubles) -> String {
    let mut pods = pods.pods.iter().filter(|pod| role.is_none_or(|role| pod.role == role));
    let first = pods.find_map(|pod| Some((&pod.name, troubles.get(&pod.name)?)));
    first.map_or_else(String::new, |(pod, trouble)| format!("; {pod} does not run: {trouble}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(status: Value) -> Option<String> {
        let pod = json!({"metadata": {"name": "a"}, "status": status});
        troubles(&[serde_json::from_value(pod).unwrap()]).remove("a")
    }

    #[test]
    fn what_kubernetes_says_of_a_pod_is_told() {
        let scheduled = |status: &str| json!({"type": "PodScheduled", "status": status, "reason": "Unschedulable", "message": "no node"});
        let container = |state: Value| json!([{"name": "gfs", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]);
        let unscheduled = of(json!({"conditions": [scheduled("False")]}));
        assert_eq!(unscheduled.as_deref(), Some("Unschedulable: no node"));
        let pull =
            container(json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}}));
        let waits = of(json!({"conditions": [scheduled("True")], "containerStatuses": pull}));
        assert_eq!(waits.as_deref(), Some("ErrImagePull: not found"));
        let creating = container(json!({"waiting": {"reason": "ContainerCreating"}}));
        assert_eq!(
            of(json!({"containerStatuses": creating})).as_deref(),
            Some("ContainerCreating")
        );
        assert_eq!(of(json!({"containerStatuses": container(json!({"running": {}}))})), None);
        assert_eq!(of(json!({})), None);
    }
}
