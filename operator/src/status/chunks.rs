//! Whether the chunks of a cluster can be read.

use super::compute::Learnt;
use super::conditions::Verdict;
use crate::rollout::{Chunks, Observed};

/// Counts only where something lacks: how many chunks there are changes with every write.
pub(super) fn verdict(pods: &Observed, learnt: &Learnt) -> Verdict {
    let Some(chunks) = pods.chunks else {
        return Verdict { message: "the master did not say".to_owned(), ..Verdict::unknown() };
    };
    if chunks.missing > 0 {
        let Chunks { all, missing, .. } = chunks;
        let message = format!(
            "{missing} of {all} chunks have no replica that can be read{}",
            unused(&learnt.unused_claims)
        );
        return Verdict::new(false, "ChunksMissing", message);
    }
    if chunks.below_goal > 0 {
        let message = format!("{} chunks have fewer replicas than they should", chunks.below_goal);
        return Verdict::new(true, "ReplicasMissing", message);
    }
    Verdict::new(true, "AllThere", "every chunk has its replicas")
}

/// Where the replicas may be.
fn unused(claims: &[String]) -> String {
    match claims {
        [] => String::new(),
        [first, rest @ ..] => format!(
            "; no pod uses claim {first}{}, which may hold some: were there other domains?",
            if rest.is_empty() { String::new() } else { format!(" and {} others", rest.len()) }
        ),
    }
}
