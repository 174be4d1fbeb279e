//! From a manifest to a cluster that can be built, or to all that is wrong with it.

mod cluster;
mod problem;

use crate::crd::{GfsCluster, PullPolicy};

pub use cluster::{Component, ValidatedCluster, ValidatedDomain};
pub use problem::Problem;

/// What the operator itself was told, and what a manifest may leave out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// The image of a cluster that names none: the operator's own.
    pub image: String,
    /// When nodes fetch that image.
    pub image_pull_policy: PullPolicy,
    /// The namespace of the operator, from which it asks masters for their status. None when it runs outside of the cluster.
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
