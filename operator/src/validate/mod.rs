//! From a manifest to a cluster that can be built, or to all that is wrong with it.
//!
//! The API server keeps the same rules (`crd::rules`). They stand here too for what came past it: a cluster made under an
//! older schema, and what only the servers' own configuration knows.

mod apportion;
mod cluster;
mod component;
mod config;
mod domains;
mod image;
mod label;
mod names;
mod parts;
mod problem;
pub(crate) mod quantity;
#[cfg(test)]
mod tests;

use crate::crd::{GfsCluster, PullPolicy};

pub use cluster::{ValidatedCluster, ValidatedNetworkPolicy, ValidatedServer};
pub use component::Component;
pub use config::RenderedConfig;
pub(crate) use config::{plain_lease_and_heartbeat, plain_reserve};
pub use domains::ValidatedDomain;
pub use image::ValidatedImage;
pub use names::{DOMAIN_LABEL, GROUP_LABEL};
pub use parts::{ValidatedResources, ValidatedScheduling, ValidatedStorage};
pub use problem::Problem;

/// What the operator itself was told, and a manifest may leave out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// The image of a cluster that names none: the operator's own.
    pub image: String,
    /// When nodes fetch that image.
    pub image_pull_policy: PullPolicy,
    /// The namespace of the operator, from which it asks masters for their status. None when it runs outside of Kubernetes.
    pub operator_namespace: Option<String>,
}

/// Checks a manifest.
///
/// # Errors
/// Everything that is wrong with it, not only the first.
pub fn validate(
    cluster: &GfsCluster,
    defaults: &Defaults,
) -> Result<ValidatedCluster, Vec<Problem>> {
    cluster::validate(cluster, defaults)
}
