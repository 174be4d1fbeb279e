//! Reading what is there. Always from the API server and never from a cache: what is decided on it may delete pods, and
//! a cache does not know yet what the last pass did.

use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DynamicObject, ListParams};
use kube::{Api, ResourceExt};

use crate::apply::{Kind, Live};
use crate::context::Context;
use crate::crd::GfsCluster;
use crate::error::{Error, Result};
use crate::labels;
use crate::owner::{Owner, Whose};
use crate::volumes::{Volumes, claim_of};

/// What belongs to a cluster.
#[derive(Debug, Default)]
pub struct Children {
    /// What is applied.
    pub live: Live,
    /// What StatefulSets made, ours and others of their names.
    pub pods: Vec<Pod>,
}

/// The object as the API server has it: it may not be readable as a `GfsCluster`. `None` when there is none.
///
/// # Errors
/// The API server does not answer.
pub async fn cluster(ctx: &Context, namespace: &str, name: &str) -> Result<Option<DynamicObject>> {
    let resource = kube::api::ApiResource::erase::<GfsCluster>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(ctx.client.clone(), namespace, &resource);
    let found = api.get_opt(name).await;
    found.map_err(|source| Error::api(format!("reading GfsCluster {name}"), source))
}

/// Whether there is a cluster of this name, whichever it is.
///
/// # Errors
/// The API server does not answer.
pub async fn is_there(ctx: &Context, owner: &Owner) -> Result<bool> {
    Ok(cluster(ctx, &owner.namespace, &owner.name).await?.is_some())
}

/// Children and pods of a cluster.
///
/// # Errors
/// The API server does not answer.
pub async fn children(ctx: &Context, owner: &Owner) -> Result<Children> {
    let params = ListParams::default().labels(&labels::children_of(&owner.name));
    let lists = Kind::ALL.map(|kind| list(ctx, owner, kind, &params));
    let (lists, pods) = futures::try_join!(try_join_all(lists), pods(ctx, owner, &params))?;
    Ok(Children { live: lists.into_iter().flatten().collect(), pods })
}

async fn list(ctx: &Context, owner: &Owner, kind: Kind, params: &ListParams) -> Result<Live> {
    let resource = kind.resource();
    let api: Api<DynamicObject> =
        Api::namespaced_with(ctx.client.clone(), &owner.namespace, &resource);
    let list = api.list(params).await;
    let list = list.map_err(|source| Error::api(format!("listing {}", resource.plural), source))?;
    Ok(list
        .items
        .into_iter()
        .map(|mut object| {
            object.metadata.managed_fields = None;
            ((kind, object.name_any()), object)
        })
        .collect())
}

async fn pods(ctx: &Context, owner: &Owner, params: &ListParams) -> Result<Vec<Pod>> {
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), &owner.namespace);
    let list = api.list(params).await;
    Ok(list.map_err(|source| Error::api("listing pods", source))?.items)
}

/// The claims with the labels of a cluster's, retained ones included. A claim that a person made without labels is not among them.
///
/// # Errors
/// The API server does not answer.
pub async fn claims(ctx: &Context, owner: &Owner) -> Result<Vec<PersistentVolumeClaim>> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(ctx.client.clone(), &owner.namespace);
    let params = ListParams::default().labels(&labels::claims_of(&owner.name));
    let list = api.list(&params).await;
    Ok(list.map_err(|source| Error::api("listing claims", source))?.items)
}

/// Who controls each StatefulSet with the cluster's labels, by uid: nobody where the cluster was deleted without its children.
///
/// # Errors
/// The API server does not answer.
pub async fn set_controllers(ctx: &Context, owner: &Owner) -> Result<Vec<Option<String>>> {
    let params = ListParams::default().labels(&labels::children_of(&owner.name));
    let sets = list(ctx, owner, Kind::StatefulSet, &params).await?;
    let controller = |set: &DynamicObject| {
        let mut references = set.owner_references().iter();
        references.find(|it| it.controller == Some(true)).map(|it| it.uid.clone())
    };
    Ok(sets.values().map(controller).collect())
}

/// The claims of a cluster, and those of these pods.
///
/// # Errors
/// The API server does not answer.
pub async fn volumes(ctx: &Context, owner: &Owner, pods: &[Pod]) -> Result<Volumes> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(ctx.client.clone(), &owner.namespace);
    let mut claims = claims(ctx, owner).await?;
    let known = Volumes::of(claims.clone());
    for pod in pods.iter().map(ResourceExt::name_any).filter(|pod| !known.has(pod)) {
        // One that a person made may have no labels.
        claims.extend(claim(&api, &pod).await?);
    }
    Ok(Volumes::of(claims))
}

/// The claim of one pod.
///
/// # Errors
/// The API server does not answer.
pub async fn volume(ctx: &Context, owner: &Owner, pod: &str) -> Result<Volumes> {
    let api = Api::namespaced(ctx.client.clone(), &owner.namespace);
    Ok(Volumes::of(claim(&api, pod).await?.into_iter().collect()))
}

async fn claim(
    api: &Api<PersistentVolumeClaim>,
    pod: &str,
) -> Result<Option<PersistentVolumeClaim>> {
    let name = claim_of(pod);
    let found = api.get_opt(&name).await;
    found.map_err(|source| Error::api(format!("reading claim {name}"), source))
}

/// The StatefulSets of this very cluster among the children, as the API server gave them.
///
/// # Errors
/// One of them is none: a defect.
pub fn stateful_sets(live: &Live, owner: &Owner) -> Result<Vec<StatefulSet>> {
    let sets = live.iter().filter(|((kind, _), object)| {
        *kind == Kind::StatefulSet && owner.whose(*object) == Whose::Ours
    });
    let sets = sets.map(|(_, object)| serde_json::from_value(serde_json::to_value(object)?));
    Ok(sets.collect::<std::result::Result<_, _>>()?)
}

/// The pods that these sets made. A pod of an earlier set of the same name serves a cluster that is going away.
#[must_use]
pub fn pods_of(sets: &[StatefulSet], mut pods: Vec<Pod>) -> Vec<Pod> {
    let uids: Vec<_> = sets.iter().filter_map(ResourceExt::uid).collect();
    pods.retain(|pod| {
        let mut references = pod.owner_references().iter();
        references.any(|it| it.controller == Some(true) && uids.contains(&it.uid))
    });
    pods
}
