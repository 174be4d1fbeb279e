//! Manifests for tests.

use crate::crd::{GfsCluster, PullPolicy};
use crate::validate::{Defaults, ValidatedCluster, validate};

/// What an operator in the namespace `gfs-system` was told.
pub(crate) fn defaults() -> Defaults {
    Defaults {
        image: "registry.example/gfs:0.1.0".to_owned(),
        image_pull_policy: PullPolicy::IfNotPresent,
        operator_namespace: Some("gfs-system".to_owned()),
    }
}

/// The cluster `prod` in the namespace `storage`, with this `spec` in YAML.
pub(crate) fn manifest(spec: &str) -> GfsCluster {
    let spec = if spec.is_empty() { "{}" } else { spec };
    let mut cluster = GfsCluster::new("prod", serde_yaml::from_str(spec).expect("a spec"));
    cluster.metadata.namespace = Some("storage".to_owned());
    cluster.metadata.uid = Some("0f6c1a52-53a7-4f4e-9d5e-2f1f8a8b1c3d".to_owned());
    cluster
}

/// The same, without a problem.
pub(crate) fn validated(spec: &str) -> ValidatedCluster {
    validate(&manifest(spec), &defaults()).expect("nothing is wrong with it")
}
