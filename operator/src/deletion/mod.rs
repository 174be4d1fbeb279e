//! A cluster that was deleted: its volumes go if its last manifest said so twice, and only then.
//!
//! Kubernetes takes the children away by itself. Claims have no owner, so whatever happens while nobody looks keeps them: a
//! deletion that no operator sees, or of a StatefulSet alone. Who sees the cluster go sees its last manifest with it, and
//! nothing that was said before counts.

mod claims;
mod clusters;
mod outcome;

use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::ResourceExt;
use tokio::time::timeout;

use crate::context::Context;
use crate::dereference;
use crate::error::Result;

pub use clusters::{Clusters, Deletion, LastWord, Overtaken};
pub use outcome::{Kept, Outcome};

/// A deletion takes no longer, and is not tried again: whoever comes later may be another cluster's.
const TIME: Duration = Duration::from_secs(30);

/// Carries out all of them, each by itself: none waits for another.
pub async fn carry_out_all(ctx: &Context, deletions: impl Stream<Item = Deletion>) {
    deletions.for_each_concurrent(None, |deletion| carry_out(ctx, deletion)).await;
}

/// Deletes the volumes of a cluster that was deleted, or tells why they stay.
pub async fn carry_out(ctx: &Context, deletion: Deletion) {
    let outcome = match deletion.last_word {
        LastWord::Delete => delete(ctx, &deletion).await,
        LastWord::Unheard => keep(ctx, &deletion, Kept::Unheard).await,
        LastWord::NeverFormatted => keep(ctx, &deletion, Kept::NeverFormatted).await,
    };
    outcome.tell(ctx, &deletion.owner).await;
}

/// Nothing to tell where there is no volume.
async fn keep(ctx: &Context, deletion: &Deletion, why: Kept) -> Outcome {
    let claims = timeout(TIME, claims::of(ctx, &deletion.owner)).await;
    let is_none = matches!(&claims, Ok(Ok(claims)) if claims.is_empty());
    Outcome { deleted: Vec::new(), kept: (!is_none).then_some(why) }
}

async fn delete(ctx: &Context, deletion: &Deletion) -> Outcome {
    let mut deleted = Vec::new();
    let kept = match timeout(TIME, delete_all(ctx, deletion, &mut deleted)).await {
        Ok(Ok(kept)) => kept,
        Ok(Err(error)) => Some(Kept::Refused(error.to_string())),
        Err(_) => Some(Kept::Refused(format!("the API server did not answer within {TIME:?}"))),
    };
    Outcome { deleted, kept }
}

/// Deletes the claims that are there now, unless something speaks for them. What is made from here on is not of the cluster that
/// was deleted, and whoever comes from here on does not find half of the volumes.
async fn delete_all(
    ctx: &Context,
    deletion: &Deletion,
    deleted: &mut Vec<String>,
) -> Result<Option<Kept>> {
    let owner = &deletion.owner;
    let claims = claims::of(ctx, owner).await?;
    for controller in dereference::set_controllers(ctx, owner).await? {
        match controller {
            None => return Ok(Some(Kept::Orphans)),
            Some(uid) if uid != owner.uid => return Ok(Some(Kept::Overtaken)),
            Some(_) => {}
        }
    }
    // Last, so that nothing lies between it and the deletion.
    if dereference::is_there(ctx, owner).await? || deletion.overtaken.is_so() {
        return Ok(Some(Kept::Overtaken));
    }
    for claim in claims {
        if claims::delete(ctx, owner, &claim).await? {
            deleted.push(claim.name_any());
        }
    }
    Ok(None)
}
