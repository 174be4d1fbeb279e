//! Which cluster: the name, the namespace and the uid of a `GfsCluster`.

use std::fmt;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};

use crate::crd::GfsCluster;

/// A `GfsCluster`, and which one of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Where it is.
    pub namespace: String,
    /// What it is called.
    pub name: String,
    /// Which one of that name.
    pub uid: String,
}

impl Owner {
    /// Of an object that the API server gave.
    #[must_use]
    pub fn of<K: Resource>(object: &K) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
        }
    }

    /// As events name it.
    #[must_use]
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(GfsCluster::api_version(&()).into_owned()),
            kind: Some(GfsCluster::kind(&()).into_owned()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid: Some(self.uid.clone()),
            ..ObjectReference::default()
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
