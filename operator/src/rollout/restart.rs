//! Restarting a pod: it is deleted, and its StatefulSet makes the next one as it should be.

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Resource};

use super::PodView;
use crate::context::Context;
use crate::dereference;
use crate::error::{Error, Result, is_not_found};
use crate::events::Reason;
use crate::owner::Owner;

/// Deletes exactly the pod that was looked at, in exactly the state that was looked at. Not when its claim was deleted since: to ask
/// the master can take seconds.
///
/// # Errors
/// The API server refuses; a conflict when the pod changed in the meantime.
pub async fn restart(ctx: &Context, owner: &Owner, pod: &PodView) -> Result<()> {
    if dereference::volume(ctx, owner, &pod.name).await?.goes_with(&pod.name) {
        // The next pass tells of it.
        return Ok(());
    }
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), &owner.namespace);
    let params = DeleteParams::default().preconditions(Preconditions {
        uid: Some(pod.uid.clone()),
        resource_version: Some(pod.resource_version.clone()),
    });
    let deleted = pods.delete(&pod.name, &params).await;
    ctx.metrics.wrote("Pod");
    match deleted {
        Ok(_) => {}
        Err(error) if is_not_found(&error) => return Ok(()),
        Err(source) => return Err(Error::api(format!("deleting pod {}", pod.name), source)),
    }
    ctx.metrics.restarted();
    let state = if pod.ready { "all others were well" } else { "it did not serve" };
    let note = format!(
        "{} was deleted because what it ran was out of date ({state}); its StatefulSet makes it anew",
        pod.name
    );
    let reference = ObjectReference {
        api_version: Some(Pod::api_version(&()).into_owned()),
        kind: Some(Pod::kind(&()).into_owned()),
        namespace: Some(owner.namespace.clone()),
        name: Some(pod.name.clone()),
        uid: Some(pod.uid.clone()),
        ..ObjectReference::default()
    };
    ctx.events.tell_of(&owner.reference(), Some(reference), Reason::PodRestarted, &note).await;
    Ok(())
}
