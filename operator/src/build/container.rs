//! The one container of a pod: the program `gfs`.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction,
    ObjectFieldSelector, Probe, ResourceRequirements, SecurityContext, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::server::{GFS_PORT_NAME, HTTP_PORT_NAME, Server};
use crate::crd::PullPolicy;
use crate::place;
use crate::validate::{ValidatedCluster, ValidatedResources};

/// The volume with the data directory; with the StatefulSet's name and a number it names a claim, so it never changes.
pub(crate) const DATA_VOLUME: &str = "data";
/// The volume with the configuration file.
pub(super) const CONFIG_VOLUME: &str = "config";

pub(super) fn of(cluster: &ValidatedCluster, server: &Server<'_>) -> Container {
    let image = cluster.validated_image();
    Container {
        name: server.component.as_str().to_owned(),
        image: Some(image.reference.clone()),
        image_pull_policy: Some(pull_policy(image.pull_policy).to_owned()),
        command: Some(vec!["gfs".to_owned()]),
        args: Some(server.arguments.clone()),
        env: Some(environment()),
        ports: Some(vec![port(GFS_PORT_NAME, server.port), port(HTTP_PORT_NAME, server.http_port)]),
        resources: resources(&server.validated.resources),
        volume_mounts: Some(vec![
            mount(DATA_VOLUME, place::DATA_DIR, None),
            mount(CONFIG_VOLUME, place::CONFIG_DIR, Some(true)),
        ]),
        // A master reads its log before it answers: ten minutes for that.
        startup_probe: Some(probe("/livez", 1, 600)),
        // For what hangs for a minute, never for what lags.
        liveness_probe: Some(probe("/livez", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 3)),
        security_context: Some(restricted()),
        ..Container::default()
    }
}

const fn pull_policy(policy: PullPolicy) -> &'static str {
    match policy {
        PullPolicy::Always => "Always",
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Never => "Never",
    }
}

/// Who and where the pod is; the arguments name these.
fn environment() -> Vec<EnvVar> {
    let of = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { api_version: None, field_path: path.to_owned() }),
            ..EnvVarSource::default()
        }),
    };
    vec![
        of("POD_NAME", "metadata.name"),
        of("POD_IP", "status.podIP"),
        of("NODE_NAME", "spec.nodeName"),
    ]
}

fn port(name: &str, port: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(port),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn resources(resources: &ValidatedResources) -> Option<ResourceRequirements> {
    let ValidatedResources { requests, limits } = resources;
    let some = !requests.is_empty() || !limits.is_empty();
    some.then(|| ResourceRequirements {
        requests: (!requests.is_empty()).then(|| requests.clone()),
        limits: (!limits.is_empty()).then(|| limits.clone()),
        claims: None,
    })
}

fn mount(volume: &str, path: &str, read_only: Option<bool>) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only,
        ..VolumeMount::default()
    }
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(HTTP_PORT_NAME.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failure_threshold),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

/// The container's part of the restricted Pod Security Standard.
fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        read_only_root_filesystem: Some(true),
        ..SecurityContext::default()
    }
}
