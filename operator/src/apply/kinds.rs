//! The kinds of children, in the order in which they are applied.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ApiResource;

/// A kind of children. Their order is that of their application: pods come last, when all that they need is there, so
/// that none starts twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Who pods are.
    ServiceAccount,
    /// Names of pods.
    Service,
    /// Configuration.
    ConfigMap,
    /// What drains leave standing.
    PodDisruptionBudget,
    /// Who may connect.
    NetworkPolicy,
    /// Pods and their volumes.
    StatefulSet,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 6] = [
        Self::ServiceAccount,
        Self::Service,
        Self::ConfigMap,
        Self::PodDisruptionBudget,
        Self::NetworkPolicy,
        Self::StatefulSet,
    ];

    /// Where the API server keeps them.
    #[must_use]
    pub fn resource(self) -> ApiResource {
        match self {
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Self::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        }
    }

    /// Its name, as in a manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::Service => "Service",
            Self::ConfigMap => "ConfigMap",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::StatefulSet => "StatefulSet",
        }
    }

    /// The field manager that owns what is applied of this kind. Fixed for ever: under another name the fields of the
    /// old one would never go.
    #[must_use]
    pub fn field_manager(self) -> &'static str {
        match self {
            Self::ServiceAccount => "gfs-operator/identity",
            Self::Service | Self::NetworkPolicy => "gfs-operator/network",
            Self::ConfigMap => "gfs-operator/config",
            Self::PodDisruptionBudget => "gfs-operator/disruption",
            Self::StatefulSet => "gfs-operator/workload",
        }
    }

    /// Lists of objects to which others may add entries of their own, that are not ours to take away. In every other
    /// list the whole list is ours.
    pub(super) fn shared_lists(self) -> &'static [&'static str] {
        match self {
            Self::StatefulSet => &[
                "ownerReferences",
                "containers",
                "initContainers",
                "env",
                "ports",
                "topologySpreadConstraints",
                "volumes",
                "volumeMounts",
            ],
            Self::Service => &["ownerReferences", "ports"],
            _ => &["ownerReferences"],
        }
    }

    /// Fields of `spec` in which a word more is another meaning: who is chosen, who is let in. The API server keeps each
    /// as one value, so that a write of ours takes away what was added.
    pub(super) fn exact_fields(self) -> &'static [&'static str] {
        match self {
            Self::NetworkPolicy => &["ingress", "podSelector", "policyTypes"],
            Self::PodDisruptionBudget | Self::Service => &["selector"],
            Self::ServiceAccount | Self::ConfigMap | Self::StatefulSet => &[],
        }
    }
}
