//! What does not go on without a person.

use super::compute::{Learnt, MasterView};
use super::conditions::Verdict;
use crate::error::Error;
use crate::rollout::{Held, held};
use crate::volumes::claim_of;

/// Of all that was learnt, what keeps the cluster from serving.
pub(super) fn stall(master: Option<&MasterView>, error: Option<&Error>) -> Option<Verdict> {
    let by_error = error.filter(|error| error.category().needs_a_person());
    let by_error =
        by_error.map(|error| Verdict::new(true, error.category().reason(), error.to_string()));
    master.and_then(MasterView::stall).or(by_error)
}

/// What a person has to see to although the cluster serves.
pub(super) fn beside_serving(learnt: &Learnt) -> Option<Verdict> {
    of_rollout(learnt).or_else(|| of_size(learnt))
}

/// Why pods that are to be restarted are not.
fn of_rollout(learnt: &Learnt) -> Option<Verdict> {
    let verdict = match held(learnt.pods.as_ref()?)? {
        Held::VolumeGoes(pod) => {
            let (pod, claim) = (&pod.name, claim_of(&pod.name));
            let message = format!(
                "claim {claim} was deleted, and its volume goes when pod {pod} ends: nothing is restarted. A deletion cannot be \
                 taken back: set the reclaim policy of its PersistentVolume to Retain, then delete the pod and bind that \
                 volume to a new claim of this name"
            );
            Verdict::new(true, "VolumeDeleted", message)
        }
        Held::ReplicasMissing(..) if learnt.paused => return None,
        Held::ReplicasMissing(pod, chunks) => {
            let message = format!(
                "{} of {} chunks have had fewer replicas than they should for ten minutes, and pod {pod} may hold the last one: \
                 no chunkserver is restarted. Bring the chunkserver or the volume back that is missing. If that cannot be, \
                 delete the outdated pods yourself, one after the other: kubectl delete pod {pod}",
                chunks.below_goal,
                chunks.all,
                pod = pod.name,
            );
            Verdict::new(true, "ReplicasMissing", message)
        }
    };
    Some(verdict)
}

/// A volume that was adopted keeps the size with which it was formatted.
fn of_size(learnt: &Learnt) -> Option<Verdict> {
    let (wanted, held) = learnt.chunk_bytes_wanted.zip(learnt.chunk_bytes)?;
    if wanted == held {
        return None;
    }
    let message = format!(
        "spec.chunkSize is {wanted}, and the chunks of the master's volume have {held}: that does not change. It serves with these. \
         Delete this object, which keeps the volumes unless it says otherwise, and make it again with chunkSize: {held}"
    );
    Some(Verdict::new(true, "ChunkSizeDiffers", message))
}
