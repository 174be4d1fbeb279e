//! Which cluster: the name, the namespace and the uid of a `GfsCluster`.

use std::fmt;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};

use crate::crd::GfsCluster;
use crate::labels;

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

/// Whose child an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Of the cluster that asks.
    Ours,
    /// Of an earlier cluster of its name: the garbage collector is about to take it away.
    Predecessors,
    /// Of someone else, who is named.
    Others(String),
}

impl Owner {
    /// Ours is what this cluster controls, and what nobody controls but bears our labels: children of a cluster whose
    /// object was deleted with `--cascade=orphan` are taken up again.
    #[must_use]
    pub fn whose<K: Resource>(&self, object: &K) -> Whose {
        let mut references = object.owner_references().iter();
        let Some(controller) = references.find(|reference| reference.controller == Some(true))
        else {
            let ours = labels::is_of(object.labels(), &self.name);
            return if ours { Whose::Ours } else { Whose::Others("nobody".to_owned()) };
        };
        let group = controller.api_version.split('/').next();
        let is_cluster = (group, controller.kind.as_str())
            == (Some(&*GfsCluster::group(&())), &*GfsCluster::kind(&()));
        if controller.uid == self.uid {
            Whose::Ours
        } else if is_cluster && controller.name == self.name {
            Whose::Predecessors
        } else {
            let (kind, name, uid) = (&controller.kind, &controller.name, &controller.uid);
            Whose::Others(format!("{kind} {name} ({uid})"))
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
