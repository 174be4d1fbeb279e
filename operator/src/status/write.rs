//! Writing `status`: with the version that was read, so that nothing newer is overwritten.

use gfs_types::ids::ClusterUid;
use k8s_openapi::jiff::Timestamp;
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
    /// Its status; empty when there is none. What of it cannot be read is left out, to be told anew.
    pub status: GfsClusterStatus,
}

impl LiveCluster {
    /// An object as it was read.
    ///
    /// # Errors
    /// Its status does not say whether the cluster was formatted.
    pub fn new(object: DynamicObject) -> Result<Self> {
        let status = object.data.get("status").filter(|status| !status.is_null());
        let status = status.map(readable).transpose()?.unwrap_or_default();
        Ok(Self { owner: Owner::of(&object), object, status })
    }

    /// As a `GfsCluster`, without its status.
    ///
    /// # Errors
    /// It cannot be read as one.
    pub fn decode(&self) -> std::result::Result<GfsCluster, serde_json::Error> {
        let mut object = serde_json::to_value(&self.object)?;
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        serde_json::from_value(object)
    }

    /// Whether it is being deleted.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// Since when it is there.
    #[must_use]
    pub fn created(&self) -> Option<Timestamp> {
        self.object.metadata.creation_timestamp.as_ref().map(|created| created.0)
    }

    /// The generation of its manifest.
    #[must_use]
    pub fn generation(&self) -> Option<i64> {
        self.object.metadata.generation
    }

    /// Whether `annotation` is there and not `false`: who writes `True` or `yes` means it as well.
    #[must_use]
    pub fn says(&self, annotation: &str) -> bool {
        self.object.annotations().get(annotation).is_some_and(|value| value != "false")
    }
}

/// What can be read of a status. What keeps a blank master from being formatted must be.
fn readable(status: &Value) -> Result<GfsClusterStatus> {
    let refused = |field: &str, value: &Value| Error::Status(format!("status.{field} is {value}"));
    let initialized = match status.get("initialized") {
        // A cluster that has a uid was formatted, whatever else is missing.
        None if status.is_object() && status.get("clusterUid").is_none_or(Value::is_null) => false,
        None => return Err(Error::Status(format!("status, with initialized, is {status}"))),
        Some(value) => value.as_bool().ok_or_else(|| refused("initialized", value))?,
    };
    let is_uid = |text: &&str| text.parse::<ClusterUid>().is_ok();
    let cluster_uid = match status.get("clusterUid") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let uid = value.as_str().filter(is_uid);
            Some(uid.ok_or_else(|| refused("clusterUid", value))?.to_owned())
        }
    };
    let remembered = GfsClusterStatus { initialized, cluster_uid, ..GfsClusterStatus::default() };
    Ok(serde_json::from_value(status.clone()).unwrap_or(remembered))
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
/// As [`write()`].
pub async fn remember(ctx: &Context, live: &mut LiveCluster, cluster_uid: &str) -> Result<()> {
    let status = GfsClusterStatus {
        initialized: true,
        cluster_uid: Some(cluster_uid.to_owned()),
        ..live.status.clone()
    };
    write(ctx, live, status).await
}
