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
            persistent_volume_claim_retention_policy: Some(retain()),
            template: pod::template(cluster, server),
            volume_claim_templates: Some(vec![claim(server)]),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

/// Claims never have an owner, so nothing takes them away but the operator, which looks at the last manifest (`deletion`). Both
/// values are written, though they are the defaults: whoever changes them is put right.
fn retain() -> StatefulSetPersistentVolumeClaimRetentionPolicy {
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: Some("Retain".to_owned()),
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
