//! A cluster that can be built.

use gfs_types::ids::ClusterUid;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::config::{self, ClusterWide, RenderedConfig};
use super::domains::{self, ValidatedDomain};
use super::image::{self, ValidatedImage};
use super::parts::{self, ValidatedResources, ValidatedScheduling, ValidatedStorage};
use super::problem::Problems;
use super::{Defaults, Problem, label, names};
use crate::crd::limits::NAME_CHARACTERS_MAX;
use crate::crd::{
    ChunkserversSpec, DELETION_CONFIRMATION, DeletionPolicy, GfsCluster, GfsClusterSpec,
    MastersSpec, NetworkPolicySpec, ReplicationSpec, ShadowsSpec,
};

/// A manifest without a problem, with everything parsed that it says in texts.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedCluster {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) cluster_uid: ClusterUid,
    pub(super) image: ValidatedImage,
    pub(super) master: ValidatedServer,
    pub(super) chunkserver: ValidatedServer,
    pub(super) domains: Vec<ValidatedDomain>,
    pub(super) network_policy: Option<ValidatedNetworkPolicy>,
}

/// What all pods of one kind have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedServer {
    pub(crate) storage: ValidatedStorage,
    pub(crate) resources: ValidatedResources,
    pub(crate) scheduling: ValidatedScheduling,
    pub(crate) config: RenderedConfig,
}

/// Who may connect.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedNetworkPolicy {
    /// None: only the cluster's own namespace.
    pub(crate) client_namespace_selector: Option<LabelSelector>,
    pub(crate) operator_namespace: Option<String>,
}

impl ValidatedCluster {
    /// The image that the pods are to run.
    #[must_use]
    pub fn image(&self) -> &str {
        &self.image.reference
    }

    /// The failure domains, by name.
    #[must_use]
    pub fn domains(&self) -> &[ValidatedDomain] {
        &self.domains
    }

    /// Chunkservers of all domains together.
    #[must_use]
    pub fn chunkservers(&self) -> i32 {
        self.domains.iter().map(ValidatedDomain::replicas).sum()
    }

    pub(crate) const fn validated_image(&self) -> &ValidatedImage {
        &self.image
    }

    pub(crate) const fn master(&self) -> &ValidatedServer {
        &self.master
    }

    pub(crate) const fn chunkserver(&self) -> &ValidatedServer {
        &self.chunkserver
    }

    pub(crate) const fn network_policy(&self) -> Option<&ValidatedNetworkPolicy> {
        self.network_policy.as_ref()
    }
}

pub(super) fn validate(
    cluster: &GfsCluster,
    defaults: &Defaults,
) -> Result<ValidatedCluster, Vec<Problem>> {
    let mut problems = Problems::default();
    // Without `..`: a new field is either looked at here, or this does not compile.
    let GfsClusterSpec {
        image,
        image_pull_secrets,
        masters,
        shadows,
        chunkservers,
        replication,
        chunk_size,
        network_policy,
        deletion_policy,
        deletion_confirmation,
    } = &cluster.spec;
    let (name, namespace) = identity(cluster, &mut problems);
    let (uid, cluster_uid) = uid(cluster, &mut problems);
    let ReplicationSpec { factor } = replication;
    let wide = ClusterWide { chunk_size, factor: *factor };
    let masters_address = names::masters_address(&name, &namespace);
    check_counts(shadows, chunkservers, *factor, &mut problems);
    check_deletion(*deletion_policy, deletion_confirmation.as_deref(), &mut problems);
    let validated = ValidatedCluster {
        image: image::validate(image.as_ref(), image_pull_secrets, defaults, &mut problems),
        master: master(masters, &wide, &mut problems),
        chunkserver: chunkserver(chunkservers, masters_address, &mut problems),
        domains: domains::validate(chunkservers, &mut problems),
        network_policy: network_policy_of(network_policy, defaults, &mut problems),
        name,
        namespace,
        uid,
        cluster_uid,
    };
    problems.unless_any(validated)
}

fn identity(cluster: &GfsCluster, problems: &mut Problems) -> (String, String) {
    let name = cluster.metadata.name.clone().unwrap_or_default();
    let begins_with_letter = name.starts_with(|c: char| c.is_ascii_lowercase());
    if name.len() > NAME_CHARACTERS_MAX || !label::is_dns_label(&name) || !begins_with_letter {
        problems.add(
            "metadata.name",
            format!(
                "`{name}` becomes part of DNS names: write at most {NAME_CHARACTERS_MAX} lower-case letters, digits and '-', \
                 beginning with a letter"
            ),
        );
    }
    if name.ends_with("-chunk") || name.contains("-chunk-") {
        problems.add(
            "metadata.name",
            "must not contain '-chunk': it could be taken for the chunkservers of another cluster",
        );
    }
    (name, cluster.metadata.namespace.clone().unwrap_or_default())
}

fn uid(cluster: &GfsCluster, problems: &mut Problems) -> (String, ClusterUid) {
    let uid = cluster.metadata.uid.clone().unwrap_or_default();
    let cluster_uid = uid.replace('-', "").parse().unwrap_or_else(|_| {
        problems.add(
            "metadata.uid",
            format!("`{uid}` is no UUID: this was not read from an API server"),
        );
        ClusterUid::default()
    });
    (uid, cluster_uid)
}

fn check_counts(
    shadows: &ShadowsSpec,
    chunkservers: &ChunkserversSpec,
    factor: i32,
    problems: &mut Problems,
) {
    let ShadowsSpec { replicas } = shadows;
    if *replicas != 0 {
        problems.add("spec.shadows.replicas", "must be 0: masters do not replicate yet");
    }
    if factor > chunkservers.replicas {
        problems.add(
            "spec.replication.factor",
            format!(
                "is {factor}, and spec.chunkservers.replicas is {}: the replicas of a chunk are on different chunkservers; \
                 lower the one or raise the other",
                chunkservers.replicas
            ),
        );
    }
}

fn check_deletion(policy: DeletionPolicy, confirmation: Option<&str>, problems: &mut Problems) {
    if policy == DeletionPolicy::Delete && !policy.gives_up(confirmation) {
        problems.add(
            "spec.deletionConfirmation",
            format!(
                "spec.deletionPolicy Delete destroys all data when the GfsCluster is deleted; to confirm it write \
                 {DELETION_CONFIRMATION} here"
            ),
        );
    }
}

fn master(
    masters: &MastersSpec,
    cluster: &ClusterWide<'_>,
    problems: &mut Problems,
) -> ValidatedServer {
    let MastersSpec { storage, resources, scheduling, config } = masters;
    ValidatedServer {
        storage: parts::storage("spec.masters.storage", storage, problems),
        resources: parts::resources("spec.masters.resources", resources, problems),
        scheduling: parts::scheduling("spec.masters.scheduling", scheduling, problems),
        config: config::master(config, cluster, problems),
    }
}

fn chunkserver(
    chunkservers: &ChunkserversSpec,
    masters_address: String,
    problems: &mut Problems,
) -> ValidatedServer {
    let ChunkserversSpec { replicas: _, domains: _, storage, resources, scheduling, config } =
        chunkservers;
    let storage = parts::storage("spec.chunkservers.storage", storage, problems);
    ValidatedServer {
        config: config::chunkserver(config, masters_address, storage.size_bytes, problems),
        storage,
        resources: parts::resources("spec.chunkservers.resources", resources, problems),
        scheduling: parts::scheduling("spec.chunkservers.scheduling", scheduling, problems),
    }
}

fn network_policy_of(
    policy: &NetworkPolicySpec,
    defaults: &Defaults,
    problems: &mut Problems,
) -> Option<ValidatedNetworkPolicy> {
    let NetworkPolicySpec { enabled, client_namespace_selector } = policy;
    if let Some(selector) = client_namespace_selector {
        parts::label_selector("spec.networkPolicy.clientNamespaceSelector", selector, problems);
    }
    enabled.then(|| ValidatedNetworkPolicy {
        client_namespace_selector: client_namespace_selector.clone(),
        operator_namespace: defaults.operator_namespace.clone(),
    })
}
