//! A cluster that was deleted: its volumes go if its last manifest said so twice, and only then.
//!
//! Kubernetes takes the children away by itself. Claims have no owner, so whatever happens while nobody looks keeps them: a
//! deletion that no operator sees, a StatefulSet or a namespace's operator that somebody deletes by hand. Who sees the cluster
//! go sees its last manifest with it, and nothing that was said before counts.

mod clusters;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt};

use crate::context::Context;
use crate::controller::jitter;
use crate::dereference;
use crate::error::{Error, Result, is_not_found};
use crate::events::Reason;
use crate::owner::Owner;

pub use clusters::{Clusters, Deletion, LastWord};

/// Clusters whose volumes are deleted at the same time.
const CONCURRENCY: usize = 8;

/// Carries out all of them, each until it is done.
pub async fn carry_out_all(ctx: &Context, deletions: impl Stream<Item = Deletion>) {
    let each = deletions.for_each_concurrent(CONCURRENCY, |deletion| carry_out(ctx, deletion));
    each.await;
}

async fn carry_out(ctx: &Context, deletion: Deletion) {
    let Owner { namespace, name, uid } = &deletion.owner;
    while let Err(error) = once(ctx, &deletion).await {
        let category = error.category();
        let label = category.label();
        tracing::warn!(namespace, cluster = name, category = label, %error, "its volumes are not deleted yet");
        if category.needs_a_person() {
            let about = deletion.owner.reference();
            ctx.events.tell(&about, Reason::Error(category), &error.to_string()).await;
        }
        let pause = ctx.backoffs.pause(namespace, uid, category, jitter());
        tokio::time::sleep(pause.unwrap_or_default()).await;
    }
    ctx.backoffs.forget(namespace, uid);
}

/// Deletes the volumes of a cluster that was deleted, or tells why they stay.
///
/// # Errors
/// The API server does not answer, or does not do it; what is left of it can be done again.
pub async fn once(ctx: &Context, deletion: &Deletion) -> Result<()> {
    let owner = &deletion.owner;
    let mut deleted = Vec::new();
    let kept = match deletion.last_word {
        LastWord::Unheard => {
            Some("it was deleted while nobody looked, so its last word is not known")
        }
        LastWord::Delete => delete_claims(ctx, owner, &mut deleted).await?,
    };
    let about = owner.reference();
    if !deleted.is_empty() {
        let names = deleted.join(", ");
        let note = format!(
            "the manifest gave up its data twice, and was deleted: so were the claims {names}"
        );
        ctx.events.tell(&about, Reason::VolumesDeleted, &note).await;
    }
    if let Some(why) = kept {
        let claims = crate::labels::claims_of(&owner.name);
        let note = format!(
            "the volumes stay: {why}. To delete them: kubectl --namespace {} delete pvc --selector {claims}",
            owner.namespace
        );
        ctx.events.tell(&about, Reason::VolumesKept, &note).await;
    }
    Ok(())
}

/// Deletes the claims, one by one, until something speaks for those that are left: then it is told.
async fn delete_claims(
    ctx: &Context,
    owner: &Owner,
    deleted: &mut Vec<String>,
) -> Result<Option<&'static str>> {
    for claim in dereference::claims(ctx, owner).await? {
        if claim.metadata.deletion_timestamp.is_some() {
            continue;
        }
        // Each time: a cluster of the name that is made meanwhile has those that it finds.
        if let Some(why) = still_used(ctx, owner).await? {
            return Ok(Some(why));
        }
        delete(ctx, owner, &claim).await?;
        deleted.push(claim.name_any());
    }
    Ok(None)
}

/// Who has the volumes now that their cluster is gone, if somebody has.
async fn still_used(ctx: &Context, owner: &Owner) -> Result<Option<&'static str>> {
    if dereference::cluster(ctx, &owner.namespace, &owner.name).await?.is_some() {
        return Ok(Some("there is a cluster of this name again, which takes them up"));
    }
    let left_alone = dereference::has_orphans(ctx, owner).await?;
    Ok(left_alone.then_some("its pods were to live on (--cascade=orphan)"))
}

/// Deletes exactly the claim that was looked at. It stays as long as a pod uses it.
async fn delete(ctx: &Context, owner: &Owner, claim: &PersistentVolumeClaim) -> Result<()> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(ctx.client.clone(), &owner.namespace);
    let params = DeleteParams::default().preconditions(Preconditions {
        uid: claim.uid(),
        resource_version: claim.resource_version(),
    });
    let name = claim.name_any();
    let outcome = api.delete(&name, &params).await;
    ctx.metrics.wrote("PersistentVolumeClaim");
    match outcome {
        Err(error) if !is_not_found(&error) => {
            Err(Error::api(format!("deleting claim {name}"), error))
        }
        _ => Ok(()),
    }
}
