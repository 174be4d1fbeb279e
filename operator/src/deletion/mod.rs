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
use tokio::time::Instant;

use crate::context::Context;
use crate::controller::jitter;
use crate::dereference;
use crate::error::Result;
use claims::Claims;

pub use clusters::{Clusters, Deletion, LastWord, Overtaken};
pub use outcome::{Kept, Outcome};

/// What the API server has not deleted by then stays: a deletion that waits for longer would meet what came behind it.
const GIVES_UP: Duration = Duration::from_secs(120);

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
    let claims = Claims::of(ctx, &deletion.owner).await;
    let is_any = !claims.is_ok_and(|claims| claims.is_empty());
    Outcome { deleted: Vec::new(), kept: is_any.then_some(why) }
}

/// Tries until it is done, or something speaks against it.
async fn delete(ctx: &Context, deletion: &Deletion) -> Outcome {
    let owner = &deletion.owner;
    let deadline = Instant::now() + GIVES_UP;
    let (mut claims, mut deleted) = (None, Vec::new());
    let kept = loop {
        let error = match attempt(ctx, deletion, &mut claims, &mut deleted).await {
            Ok(kept) => break kept,
            Err(error) => error,
        };
        let category = error.category();
        let (namespace, name, uid) = (&owner.namespace, &owner.name, &owner.uid);
        tracing::warn!(namespace, cluster = name, %error, "its volumes are not deleted yet");
        let pause = ctx.backoffs.pause(namespace, uid, category, jitter()).unwrap_or(GIVES_UP);
        if Instant::now() + pause >= deadline {
            break Some(Kept::Refused(error.to_string()));
        }
        tokio::time::sleep(pause).await;
    };
    ctx.backoffs.forget(&owner.namespace, &owner.uid);
    Outcome { deleted, kept }
}

/// Deletes what is left of the claims that were there at first: what was made since is not of the cluster that was deleted.
async fn attempt(
    ctx: &Context,
    deletion: &Deletion,
    claims: &mut Option<Claims>,
    deleted: &mut Vec<String>,
) -> Result<Option<Kept>> {
    let owner = &deletion.owner;
    // Not before each claim: a cluster of the name that is made in this moment must not find half of them.
    if deletion.overtaken.is_so() || dereference::is_there(ctx, owner).await? {
        return Ok(Some(Kept::Overtaken));
    }
    if dereference::has_orphans(ctx, owner).await? {
        return Ok(Some(Kept::Orphans));
    }
    let claims = match claims {
        Some(claims) => claims,
        None => claims.insert(Claims::of(ctx, owner).await?),
    };
    while let Some(claim) = claims.next() {
        claims::delete(ctx, owner, claim).await?;
        deleted.push(claim.name_any());
        claims.is_done();
    }
    Ok(None)
}
