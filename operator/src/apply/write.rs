//! The writes: children are applied, orphans deleted.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::Value;

use super::kinds::Kind;
use super::manifest::{Live, Manifest, Why};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::events::Reason;
use crate::labels;
use crate::owner::{Owner, Whose};
use crate::validate::Component;

/// What there is after the children were applied.
#[derive(Debug, Default)]
pub struct Applied {
    /// The children as the API server has them now.
    pub live: Live,
    /// How many were written.
    pub written: usize,
    /// A child that is being deleted, or about to be: it is applied when it is gone.
    pub awaited: Option<String>,
}

/// Applies what differs, in the order given. In a cluster that is `established`, what was missing is told of.
///
/// # Errors
/// An object of that name is someone else's, chunkservers would go, or the API server refuses one.
pub async fn apply(
    ctx: &Context,
    owner: &Owner,
    wanted: &[Manifest],
    live: Live,
    established: bool,
) -> Result<Applied> {
    let mut applied = Applied { live, ..Applied::default() };
    for manifest in wanted {
        let key = (manifest.kind, manifest.name.clone());
        let found = applied.live.get(&key);
        let Some(why) = manifest.to_write(found) else { continue };
        let (kind, name) = (manifest.kind.name(), &manifest.name);
        let unlisted = match found {
            Some(_) => None,
            // It may be there without our labels.
            None => api(ctx, owner, manifest.kind)
                .get_opt(name)
                .await
                .map_err(|source| Error::api(format!("reading {kind} {name}"), source))?,
        };
        if let Some(found) = found.or(unlisted.as_ref())
            && is_going(manifest, found, owner)?
        {
            applied.awaited = Some(format!("{kind} {name}"));
            continue;
        }
        keep_chunkservers(manifest, found.or(unlisted.as_ref()))?;
        let more = found.and_then(|found| more_pods(manifest, found));
        let written = patch(ctx, owner, manifest).await?;
        log(owner, manifest, &why);
        if let Some((reason, note)) = news(manifest, &why, more, established) {
            let part = Some(reference(owner, manifest, &written));
            ctx.events.tell_of(&owner.reference(), part, reason, &note).await;
        }
        applied.live.insert(key, written);
        applied.written += 1;
    }
    Ok(applied)
}

fn api(ctx: &Context, owner: &Owner, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(ctx.client.clone(), &owner.namespace, &kind.resource())
}

/// Whether an object of that name goes away by itself. One of someone else is an error.
fn is_going(manifest: &Manifest, found: &DynamicObject, owner: &Owner) -> Result<bool> {
    match owner.whose(found) {
        Whose::Ours => Ok(found.metadata.deletion_timestamp.is_some()),
        Whose::Predecessors => Ok(true),
        Whose::Others(of) => {
            let (kind, name) = (manifest.kind.name(), manifest.name.clone());
            Err(Error::NotOurs { kind, name, of })
        }
    }
}

/// No write makes a set of chunkservers smaller, whoever made it larger: what goes takes replicas of chunks along. The rule in the
/// definition of the resource sees manifests of one object only, and sets outlive it (`--cascade=orphan`).
fn keep_chunkservers(manifest: &Manifest, found: Option<&DynamicObject>) -> Result<()> {
    let component = manifest.body.pointer("/metadata/labels").and_then(labels::component_in);
    if manifest.kind != Kind::StatefulSet || component != Some(Component::Chunkserver.as_str()) {
        return Ok(());
    }
    let replicas = |body: &Value| body.pointer("/spec/replicas").and_then(Value::as_i64);
    let live = found.and_then(|found| replicas(&found.data));
    match live.zip(replicas(&manifest.body)) {
        Some((live, wanted)) if wanted < live => {
            Err(Error::FewerChunkservers { name: manifest.name.clone(), live, wanted })
        }
        _ => Ok(()),
    }
}

async fn patch(ctx: &Context, owner: &Owner, manifest: &Manifest) -> Result<DynamicObject> {
    let (kind, name) = (manifest.kind, &manifest.name);
    let params = PatchParams::apply(kind.field_manager()).force();
    let written = api(ctx, owner, kind).patch(name, &params, &Patch::Apply(&manifest.body)).await;
    ctx.metrics.wrote(kind.name());
    written.map_err(|source| Error::api(format!("applying {} {name}", kind.name()), source))
}

/// How many pods a StatefulSet had and gets, if it gets more.
fn more_pods(manifest: &Manifest, found: &DynamicObject) -> Option<(i64, i64)> {
    let replicas = |body: &Value| body.pointer("/spec/replicas").and_then(Value::as_i64);
    let (before, after) = (replicas(&found.data)?, replicas(&manifest.body)?);
    (manifest.kind == Kind::StatefulSet && before < after).then_some((before, after))
}

/// What a person would want to know of a write, beyond that the manifest was carried out.
fn news(
    manifest: &Manifest,
    why: &Why,
    more: Option<(i64, i64)>,
    established: bool,
) -> Option<(Reason, String)> {
    let (kind, name) = (manifest.kind.name(), &manifest.name);
    match (why, more) {
        (Why::Absent, _) => established
            .then(|| (Reason::ChildCreated, format!("{kind} {name} was missing and was made"))),
        (Why::Meddled(field), _) => {
            let note =
                format!("{field} of {kind} {name} was changed by somebody else and was put back");
            Some((Reason::PutBack, note))
        }
        (Why::Changed, Some((before, after))) => {
            let note = format!("{kind} {name} has {after} pods from now on, instead of {before}");
            Some((Reason::ScaledUp, note))
        }
        (Why::Changed, None) => None,
    }
}

fn reference(owner: &Owner, manifest: &Manifest, written: &DynamicObject) -> ObjectReference {
    let resource = manifest.kind.resource();
    ObjectReference {
        api_version: Some(resource.api_version),
        kind: Some(resource.kind),
        namespace: Some(owner.namespace.clone()),
        name: Some(manifest.name.clone()),
        uid: written.uid(),
        ..ObjectReference::default()
    }
}

fn log(owner: &Owner, manifest: &Manifest, why: &Why) {
    let (cluster, kind, name) = (&owner.name, manifest.kind.name(), &manifest.name);
    let namespace = &owner.namespace;
    match why {
        Why::Absent => tracing::info!(namespace, cluster, kind, name, "created"),
        Why::Changed => tracing::info!(namespace, cluster, kind, name, "changed as built"),
        Why::Meddled(field) => {
            tracing::warn!(namespace, cluster, kind, name, field, "changed back what is ours");
        }
    }
}

/// Deletes what this cluster owns and nothing builds any more, and gives their names. Of most kinds nothing is ever deleted, for
/// which there is no right either: no manifest can stop asking for one, and with a StatefulSet would go pods that hold data.
///
/// # Errors
/// The API server refuses.
pub async fn delete_orphans(
    ctx: &Context,
    owner: &Owner,
    wanted: &[Manifest],
    live: &Live,
) -> Result<Vec<String>> {
    let mut deleted = Vec::new();
    for ((kind, name), object) in live {
        let is_wanted = wanted.iter().any(|wanted| (wanted.kind, &wanted.name) == (*kind, name));
        let owned = object.owner_references().iter().any(|reference| reference.uid == owner.uid);
        if is_wanted || !owned || object.metadata.deletion_timestamp.is_some() {
            continue;
        }
        if *kind != Kind::NetworkPolicy {
            let (namespace, cluster, kind) = (&owner.namespace, &owner.name, kind.name());
            tracing::warn!(namespace, cluster, kind, name, "what is no longer built stays");
            continue;
        }
        let params = DeleteParams::background().preconditions(Preconditions {
            uid: object.uid(),
            resource_version: object.resource_version(),
        });
        let outcome = api(ctx, owner, *kind).delete(name, &params).await;
        ctx.metrics.wrote(kind.name());
        match outcome {
            Ok(_) => deleted.push(format!("{} {name}", kind.name())),
            Err(error) if crate::error::is_not_found(&error) => {}
            Err(source) => {
                return Err(Error::api(format!("deleting {} {name}", kind.name()), source));
            }
        }
    }
    Ok(deleted)
}
