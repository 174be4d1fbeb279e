//! StatefulSets: of the master, of the shadow masters, and one for each failure domain.

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ObjectMeta;

use super::container::DATA_VOLUME;
use super::server::{self, Server};
use super::{meta, pod};
use crate::crd::DeletionPolicy;
use crate::validate::ValidatedCluster;

pub(super) fn all(cluster: &ValidatedCluster) -> Vec<StatefulSet> {
    let masters = [server::master(cluster), server::shadow(cluster)];
    let domains = cluster.domains().iter().map(|domain| server::chunkserver(cluster, domain));
    masters.into_iter().chain(domains).map(|server| of(cluster, &server)).collect()
}

fn of(cluster: &ValidatedCluster, server: &Server<'_>) -> StatefulSet {
    StatefulSet {
        metadata: meta::child(cluster, server.set_name.clone(), Some(server.component)),
        spec: Some(StatefulSetSpec {
            replicas: Some(server.replicas),
            service_name: Some(server.service_name.clone()),
            selector: LabelSelector {
                match_labels: Some(server.selector.clone()),
                match_expressions: None,
            },
            // One pod that does not start holds no other up, nor the way back from a bad change.
            pod_management_policy: Some("Parallel".to_owned()),
            // The operator deletes outdated pods: it knows of all sets, and asks the master first.
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            persistent_volume_claim_retention_policy: Some(retention(cluster.deletion_policy())),
            template: pod::template(cluster, server),
            volume_claim_templates: Some(vec![claim(server)]),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

/// Claims have no owner of ours. With `Delete` the StatefulSet becomes their owner; both values are always written, so that
/// going back to `Retain` really is going back.
fn retention(policy: DeletionPolicy) -> StatefulSetPersistentVolumeClaimRetentionPolicy {
    let when_deleted = match policy {
        DeletionPolicy::Retain => "Retain",
        DeletionPolicy::Delete => "Delete",
    };
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: Some(when_deleted.to_owned()),
        when_scaled: Some("Retain".to_owned()),
    }
}

/// Nothing here can ever change, so nothing here says a version.
fn claim(server: &Server<'_>) -> PersistentVolumeClaim {
    let storage = &server.validated.storage;
    let size = Quantity(storage.size.clone());
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(DATA_VOLUME.to_owned()),
            labels: Some(server.selector.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), size)].into()),
                limits: None,
            }),
            storage_class_name: storage.storage_class_name.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}
