//! Writing `status`: with the version that was read, so that nothing newer is overwritten.

use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::context::Context;
use crate::crd::{GfsCluster, GfsClusterStatus};
use crate::error::{Error, Result};
use crate::owner::Owner;

/// The manager of `status` in `managedFields`.
const FIELD_MANAGER: &str = "gfs-operator/status";

/// A `GfsCluster` as the API server has it, readable or not.
#[derive(Debug, Clone)]
pub struct LiveCluster {
    /// Who it is.
    pub owner: Owner,
    /// All of it.
    object: DynamicObject,
    /// Its status; empty when there is none that can be read.
    pub status: GfsClusterStatus,
}

impl LiveCluster {
    /// An object as it was read.
    #[must_use]
    pub fn new(object: DynamicObject) -> Self {
        let status = object.data.get("status").cloned().unwrap_or(Value::Null);
        let status = serde_json::from_value(status).unwrap_or_default();
        Self { owner: Owner::of(&object), object, status }
    }

    /// As a `GfsCluster`.
    ///
    /// # Errors
    /// It cannot be read as one.
    pub fn decode(&self) -> std::result::Result<GfsCluster, serde_json::Error> {
        serde_json::from_value(serde_json::to_value(&self.object)?)
    }

    /// Whether it is being deleted.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// The generation of its manifest.
    #[must_use]
    pub fn generation(&self) -> Option<i64> {
        self.object.metadata.generation
    }

    /// Whether `annotation` is `true`.
    #[must_use]
    pub fn says(&self, annotation: &str) -> bool {
        self.object.annotations().get(annotation).is_some_and(|value| value == "true")
    }
}

/// Writes `status` if it differs from what is there.
///
/// # Errors
/// The API server does not take it; a conflict when someone wrote the object in the meantime.
pub async fn write(ctx: &Context, live: &mut LiveCluster, status: GfsClusterStatus) -> Result<()> {
    if status == live.status {
        return Ok(());
    }
    let resource = ApiResource::erase::<GfsCluster>(&());
    let owner = &live.owner;
    let api: Api<DynamicObject> =
        Api::namespaced_with(ctx.client.clone(), &owner.namespace, &resource);
    let mut object = live.object.clone();
    object.data["status"] = json!(status);
    let params =
        PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let written = api.replace_status(&owner.name, &params, &object).await;
    ctx.metrics.wrote("GfsCluster");
    let doing = || format!("writing the status of GfsCluster {}", owner.name);
    live.object = written.map_err(|source| Error::api(doing(), source))?;
    live.status = status;
    Ok(())
}

/// Writes down, at once, that the cluster is formatted: from here on a blank master is lost data.
///
/// # Errors
/// As [`write`].
pub async fn remember(ctx: &Context, live: &mut LiveCluster, cluster_uid: &str) -> Result<()> {
    let status = GfsClusterStatus {
        initialized: true,
        cluster_uid: Some(cluster_uid.to_owned()),
        ..live.status.clone()
    };
    write(ctx, live, status).await
}
