//! The claims of a cluster that was deleted.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt};

use crate::context::Context;
use crate::dereference;
use crate::error::{Error, Result, is_conflict, is_not_found};
use crate::owner::Owner;
use crate::volumes;

/// The claims that its StatefulSets made, and that nobody deleted yet. The master's is the first to go: chunkservers' alone are never
/// taken for a whole cluster.
pub(super) async fn of(ctx: &Context, owner: &Owner) -> Result<Vec<PersistentVolumeClaim>> {
    let mut claims = dereference::claims(ctx, owner).await?;
    claims.retain(|claim| {
        volumes::is_of(claim, &owner.name) && claim.metadata.deletion_timestamp.is_none()
    });
    claims.sort_by_key(|claim| (!volumes::is_masters(claim), claim.name_any()));
    Ok(claims)
}

/// Deletes exactly the claim that was looked at, if it is still there. It stays as long as a pod uses it.
pub(super) async fn delete(
    ctx: &Context,
    owner: &Owner,
    claim: &PersistentVolumeClaim,
) -> Result<bool> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(ctx.client.clone(), &owner.namespace);
    // Whatever changed in it: it is the same volume.
    let this_one = Preconditions { uid: claim.uid(), resource_version: None };
    let name = claim.name_any();
    let outcome = api.delete(&name, &DeleteParams::default().preconditions(this_one)).await;
    ctx.metrics.wrote("PersistentVolumeClaim");
    match outcome {
        Ok(_) => Ok(true),
        // There is none, or another one of its name.
        Err(error) if is_not_found(&error) || is_conflict(&error) => Ok(false),
        Err(error) => Err(Error::api(format!("deleting claim {name}"), error)),
    }
}
