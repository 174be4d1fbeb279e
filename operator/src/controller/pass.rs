//! One pass over one cluster: dereference, validate, build, apply, format, roll out, and tell.
//!
//! A pass may end anywhere, with the process or without it: the next one reads what is there and goes on from that.

use std::time::Duration;

use gfs_types::ByteSize;
use k8s_openapi::jiff::Timestamp;
use tokio::time::timeout;

use super::policy::Outlook;
use crate::apply::{self, Live, Manifest};
use crate::build::build;
use crate::context::Context;
use crate::crd::PAUSED_ANNOTATION;
use crate::dereference;
use crate::error::{Error, Result};
use crate::events::Reason;
use crate::formatting;
use crate::owner::Owner;
use crate::rollout;
use crate::status::{self, Learnt, LiveCluster, Type, find, is_true};
use crate::validate::{Problem, ValidatedCluster, validate};

/// Looks at a cluster and does what is to be done now, as far as it comes within `limit`.
///
/// # Errors
/// It did not come to its end; what it learnt is told in the status all the same.
pub async fn pass(ctx: &Context, namespace: &str, name: &str, limit: Duration) -> Result<Outlook> {
    let Some(object) = dereference::cluster(ctx, namespace, name).await? else {
        return Ok(Outlook::Done);
    };
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Outlook::Done);
    }
    let owner = Owner::of(&object);
    let mut live = match LiveCluster::new(object) {
        Ok(live) => live,
        Err(error) => {
            // Not in the status: what it says is all there is.
            let reason = Reason::Error(error.category());
            ctx.events.tell(&owner.reference(), reason, &error.to_string()).await;
            return Err(error);
        }
    };
    let mut learnt = Learnt { paused: live.says(PAUSED_ANNOTATION), ..Learnt::default() };
    let outcome = timeout(limit, converge(ctx, &mut live, &mut learnt)).await;
    let outcome = outcome.unwrap_or(Err(Error::Late(limit)));
    let told = tell(ctx, &mut live, &learnt, outcome.as_ref().err()).await;
    match (outcome, told) {
        // Behind a refusal nobody looks again before the manifest changes: not before it is told.
        (Err(Error::Spec(_)), Err(untold)) => Err(untold),
        (Err(error), _) | (Ok(()), Err(error)) => Err(error),
        (Ok(()), Ok(())) => Ok(outlook(&live)),
    }
}

/// Brings what is there nearer to what the manifest says.
async fn converge(ctx: &Context, live: &mut LiveCluster, learnt: &mut Learnt) -> Result<()> {
    let valid = learn_manifest(ctx, live, learnt)?;
    let children = dereference::children(ctx, &live.owner).await?;
    let wanted = apply::manifests(&build(&valid))?;
    let applied = if learnt.paused {
        children.live
    } else {
        let applied =
            apply::apply(ctx, &live.owner, &wanted, children.live, live.status.initialized).await?;
        learnt.awaited = applied.awaited;
        applied.live
    };
    let sets = dereference::stateful_sets(&applied, &live.owner)?;
    let pods = dereference::pods_of(&sets, children.pods);
    let volumes = dereference::volumes(ctx, &live.owner, &pods).await?;
    learnt.troubles = status::troubles(&pods);
    let (master, known) = formatting::settle(ctx, live, &valid, &pods, &volumes).await?;
    let stalled = master.is_stalled();
    learnt.master = Some(master);
    learnt.unused_claims = volumes.without(&pods);
    learnt.chunk_bytes = known.as_ref().map(|known| ByteSize(known.chunk_bytes));
    let pods = rollout::observe(
        &sets,
        &pods,
        &volumes,
        known.as_ref().map(|known| &known.status),
        Timestamp::now(),
    );
    let pods = learnt.pods.insert(pods);
    if learnt.paused || stalled {
        return Ok(());
    }
    match rollout::next(pods) {
        Some(pod) => rollout::restart(ctx, &live.owner, pod).await,
        None if pods.is_outdated() => Ok(()),
        None => delete_orphans(ctx, live, &wanted, &applied).await,
    }
}

/// Reads and checks the manifest.
fn learn_manifest(
    ctx: &Context,
    live: &LiveCluster,
    learnt: &mut Learnt,
) -> Result<ValidatedCluster> {
    let cluster = live.decode().map_err(|error| Error::Spec(vec![unreadable(&error)]))?;
    let valid = validate(&cluster, &ctx.defaults).map_err(Error::Spec)?;
    learnt.spec_is_valid = true;
    learnt.factor = cluster.spec.replication.factor;
    learnt.chunk_bytes_wanted = cluster.spec.chunk_size.parse::<ByteSize>().ok();
    learnt.image = Some(valid.image().to_owned());
    learnt.selector = Some(valid.chunkserver_selector_text());
    Ok(valid)
}

fn unreadable(error: &serde_json::Error) -> Problem {
    Problem { field: "the object".to_owned(), message: format!("cannot be read: {error}") }
}

async fn delete_orphans(
    ctx: &Context,
    live: &LiveCluster,
    wanted: &[Manifest],
    applied: &Live,
) -> Result<()> {
    for child in apply::delete_orphans(ctx, &live.owner, wanted, applied).await? {
        let note = format!("{child} was deleted because the manifest does not ask for it any more");
        ctx.events.tell(&live.owner.reference(), Reason::ChildDeleted, &note).await;
    }
    Ok(())
}

/// Writes the status, and events for what it says for the first time.
async fn tell(
    ctx: &Context,
    live: &mut LiveCluster,
    learnt: &Learnt,
    error: Option<&Error>,
) -> Result<()> {
    let before = live.status.conditions.clone();
    let status = status::compute(&live.status, live.generation(), learnt, error, Timestamp::now());
    status::write(ctx, live, status).await?;
    let after = &live.status.conditions;
    let stalled = find(after, Type::Stalled).filter(|_| is_true(after, Type::Stalled));
    let told = |reason: &str| find(&before, Type::Stalled).is_some_and(|it| it.reason == reason);
    if let Some(stalled) = stalled.filter(|stalled| !told(&stalled.reason)) {
        let reason = match stalled.reason.as_str() {
            "MasterDataLost" => Reason::MasterDataLost,
            "ForeignMaster" => Reason::ForeignMaster,
            "EarlierVolumes" => Reason::EarlierVolumes,
            "ChunkSizeDiffers" => Reason::ChunkSizeDiffers,
            "VolumeDeleted" => Reason::VolumeDeleted,
            "ReplicasMissing" => Reason::ReplicasMissing,
            _ => Reason::Error(error.map_or(crate::error::Category::Defect, Error::category)),
        };
        ctx.events.tell(&live.owner.reference(), reason, &stalled.message).await;
    }
    if is_true(after, Type::Ready) && !is_true(&before, Type::Ready) {
        let note = find(after, Type::Ready).map_or("", |ready| ready.message.as_str());
        let note = format!("the cluster became ready: {note}");
        ctx.events.tell(&live.owner.reference(), Reason::BecameReady, &note).await;
    }
    Ok(())
}

fn outlook(live: &LiveCluster) -> Outlook {
    let conditions = &live.status.conditions;
    if is_true(conditions, Type::Stalled) {
        Outlook::Stalled
    } else if is_true(conditions, Type::Reconciling) || !is_true(conditions, Type::Ready) {
        Outlook::OnTheWay
    } else {
        Outlook::Ready
    }
}
