//! The template of a server's pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, ConfigMapVolumeSource, LocalObjectReference, PodAffinityTerm, PodAntiAffinity,
    PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile, TopologySpreadConstraint, Volume,
    WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ObjectMeta;

use super::container::{self, CONFIG_VOLUME};
use super::meta;
use super::server::Server;
use crate::validate::{GROUP_LABEL, ValidatedCluster};

/// A digest of the configuration file: with another one a pod is outdated, though nothing else in its template changed.
pub const CONFIG_HASH_ANNOTATION: &str = "gfs.rs/config-hash";

/// User and group of the program, also in the image.
const NOBODY: i64 = 65532;
const HOST_LABEL: &str = "kubernetes.io/hostname";

pub(super) fn template(cluster: &ValidatedCluster, server: &Server<'_>) -> PodTemplateSpec {
    let mut labels = meta::labels(cluster, Some(server.component));
    labels.extend(server.extra_labels.clone());
    let hash = server.validated.config.hash.clone();
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some([(CONFIG_HASH_ANNOTATION.to_owned(), hash)].into()),
            ..ObjectMeta::default()
        }),
        spec: Some(spec(cluster, server)),
    }
}

fn spec(cluster: &ValidatedCluster, server: &Server<'_>) -> PodSpec {
    let scheduling = &server.validated.scheduling;
    let tolerations = &scheduling.tolerations;
    PodSpec {
        containers: vec![container::of(cluster, server)],
        volumes: Some(vec![config_volume(server)]),
        service_account_name: Some(server.shared_name.clone()),
        automount_service_account_token: Some(false),
        // Dozens of variables with the addresses of every service of the namespace, which nobody reads.
        enable_service_links: Some(false),
        security_context: Some(restricted()),
        termination_grace_period_seconds: Some(server.grace_seconds),
        node_selector: some_map(server.node_selector),
        tolerations: (!tolerations.is_empty()).then(|| tolerations.clone()),
        priority_class_name: scheduling.priority_class_name.clone(),
        affinity: Some(apart(cluster, server)),
        topology_spread_constraints: Some(vec![even(cluster, server)]),
        image_pull_secrets: pull_secrets(cluster),
        ..PodSpec::default()
    }
}

fn pull_secrets(cluster: &ValidatedCluster) -> Option<Vec<LocalObjectReference>> {
    let names = &cluster.validated_image().pull_secrets;
    let of = |name: &String| LocalObjectReference { name: name.clone() };
    (!names.is_empty()).then(|| names.iter().map(of).collect())
}

fn config_volume(server: &Server<'_>) -> Volume {
    Volume {
        name: CONFIG_VOLUME.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: server.shared_name.clone(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The pod's part of the restricted Pod Security Standard; the volume is given to the group, once.
fn restricted() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(NOBODY),
        run_as_group: Some(NOBODY),
        fs_group: Some(NOBODY),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

/// Not beside another of its group, if a host without one has room.
fn apart(cluster: &ValidatedCluster, server: &Server<'_>) -> Affinity {
    let term = PodAffinityTerm {
        label_selector: Some(group(cluster, server)),
        topology_key: HOST_LABEL.to_owned(),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm { weight: 100, pod_affinity_term: term },
            ]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// As many on one host as on another. A wish, not a condition: a pod that cannot start helps nobody, and the master places
/// the replicas of a chunk on different hosts as long as there are.
fn even(cluster: &ValidatedCluster, server: &Server<'_>) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        label_selector: Some(group(cluster, server)),
        max_skew: 1,
        topology_key: HOST_LABEL.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        ..TopologySpreadConstraint::default()
    }
}

fn group(cluster: &ValidatedCluster, server: &Server<'_>) -> LabelSelector {
    let mut labels = cluster.instance_labels();
    labels.insert(GROUP_LABEL.to_owned(), server.group.to_owned());
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}

fn some_map(map: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then(|| map.clone())
}
