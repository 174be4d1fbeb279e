//! From what a pass learnt to what is told.

use gfs_types::ByteSize;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;

use super::conditions::{Type, Verdict, find};
use super::trouble::{Troubles, waited_for};
use super::{chunks, stall};
use crate::crd::{ChunkserversStatus, GfsClusterStatus, MastersStatus};
use crate::error::{Category, Error};
use crate::formatting::Step;
use crate::master::{MasterError, Member};
use crate::rollout::{Observed, Role};

/// What a pass learnt, as far as it came. What it did not learn stays told as it was.
#[derive(Debug, Default)]
pub struct Learnt {
    /// Whether the manifest can be built.
    pub spec_is_valid: bool,
    /// Whether no child is to be written.
    pub paused: bool,
    /// The image that the pods are to run.
    pub image: Option<String>,
    /// The labels of chunkserver pods.
    pub selector: Option<String>,
    /// Replicas that a chunk has.
    pub factor: i32,
    /// The master.
    pub master: Option<MasterView>,
    /// The pods, and what is to come of them.
    pub pods: Option<Observed>,
    /// The size of chunks that the manifest asks for, and the one they have.
    pub chunk_bytes_wanted: Option<ByteSize>,
    /// See there; `None` when the master could not be asked.
    pub chunk_bytes: Option<ByteSize>,
    /// Claims of this cluster's name that no pod uses.
    pub unused_claims: Vec<String>,
    /// What Kubernetes says of pods that do not come up.
    pub troubles: Troubles,
    /// What is waited for, if it is nothing of the above.
    pub awaited: Option<String>,
}

/// What was seen of the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterView {
    /// This pod of its does not run.
    NoPod(String),
    /// It does not answer.
    Silent(MasterError),
    /// It answers, and this was to be done about it.
    Answered {
        /// Its pod.
        pod: String,
        /// What was decided.
        step: Step,
        /// What it belongs to, unless it is blank.
        member: Option<Member>,
        /// Chunkservers in touch with it; `None` when it did not say.
        in_touch: Option<i32>,
    },
}

impl MasterView {
    /// Why it goes no further without a person.
    pub(super) fn stall(&self) -> Option<Verdict> {
        let Self::Answered { step, .. } = self else { return None };
        match step {
            Step::DataLost => Some(Verdict::new(
                true,
                "MasterDataLost",
                "the master's volume is blank, and this cluster was formatted before: all metadata is gone with \
                 the volume that held it. Nothing was formatted and nothing deleted. Bring the volume back, or \
                 delete this object with its volumes and begin anew",
            )),
            Step::Foreign(cluster) => Some(Verdict::new(
                true,
                "ForeignMaster",
                format!(
                    "the master's volume belongs to cluster {cluster}, not to the one in status.clusterUid: volumes \
                     were exchanged. Bring the right one back"
                ),
            )),
            Step::EarlierVolumes(claim) => Some(Verdict::new(
                true,
                "EarlierVolumes",
                format!(
                    "the master's volume is blank, and {claim} is older than this object and than the master's claim: it may hold \
                     chunks of an earlier cluster of this name. Nothing was formatted. Bring the volume of its master back, or, if \
                     nothing of it is wanted, delete this object with its volumes and begin anew"
                ),
            )),
            _ => None,
        }
    }

    /// Whether a person has to see to the master's data.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.stall().is_some()
    }

    fn primary(&self) -> Option<(&str, &Member)> {
        match self {
            Self::Answered { pod, member: Some(member), .. }
                if member.serving && !self.is_stalled() =>
            {
                Some((pod, member))
            }
            _ => None,
        }
    }

    fn verdict(&self, troubles: &Troubles) -> Verdict {
        if let Some(stall) = self.stall() {
            return Verdict { status: Some(false), ..stall };
        }
        if let Some((pod, member)) = self.primary() {
            let message = format!("{pod} serves as the primary, epoch {}", member.record.epoch);
            return Verdict::new(true, "Serving", message);
        }
        match self {
            Self::NoPod(pod) => Verdict::new(false, "NoPod", no_pod(pod, troubles)),
            Self::Silent(error) => Verdict::new(false, "Unreachable", error.to_string()),
            Self::Answered { pod, member: None, step: Step::Wait, .. } => {
                Verdict::new(false, "Starting", format!("{pod} starts"))
            }
            Self::Answered { pod, member: None, .. } => {
                Verdict::new(false, "Blank", format!("{pod} is not formatted yet"))
            }
            Self::Answered { pod, .. } => {
                Verdict::new(false, "NotServing", format!("{pod} does not serve yet"))
            }
        }
    }

    fn in_touch(&self) -> Option<i32> {
        match self {
            Self::Answered { in_touch, .. } => *in_touch,
            _ => None,
        }
    }
}

fn no_pod(pod: &str, troubles: &Troubles) -> String {
    let set = pod.rsplit_once('-').map_or(pod, |(set, _)| set);
    troubles.get(pod).map_or_else(
        || {
            format!(
                "the master's pod {pod} does not run, or is not there yet; if that lasts, see kubectl describe statefulset {set}"
            )
        },
        |trouble| format!("the master's pod {pod} does not run: {trouble}"),
    )
}

/// The status of a cluster, given the one before.
#[must_use]
pub fn compute(
    before: &GfsClusterStatus,
    generation: Option<i64>,
    learnt: &Learnt,
    error: Option<&Error>,
    now: Timestamp,
) -> GfsClusterStatus {
    let mut status = before.clone();
    status.observed_generation = generation;
    if learnt.image.is_some() {
        status.image.clone_from(&learnt.image);
    }
    if let Some(pods) = &learnt.pods {
        status.masters = Some(masters(learnt, pods));
        status.chunkservers = Some(chunkservers(before, learnt, pods));
    }
    let verdicts = Verdicts::of(before, learnt, error);
    status.phase = Some(verdicts.phase(before.initialized).to_owned());
    status.conditions = verdicts.conditions(&before.conditions, generation, now);
    status
}

fn count(pods: &Observed, role: Role, ready: bool) -> i32 {
    let counted = pods.pods.iter().filter(|pod| pod.role == role && (pod.ready || !ready));
    i32::try_from(counted.count()).unwrap_or(i32::MAX)
}

fn masters(learnt: &Learnt, pods: &Observed) -> MastersStatus {
    let primary = learnt.master.as_ref().and_then(MasterView::primary);
    MastersStatus {
        primary: primary.map(|(pod, _)| pod.to_owned()),
        epoch: primary.and_then(|(_, member)| i64::try_from(member.record.epoch.0).ok()),
        replicas: count(pods, Role::Master, false),
        ready_replicas: count(pods, Role::Master, true),
    }
}

fn chunkservers(before: &GfsClusterStatus, learnt: &Learnt, pods: &Observed) -> ChunkserversStatus {
    let before = before.chunkservers.as_ref();
    ChunkserversStatus {
        replicas: count(pods, Role::Chunkserver, false),
        ready_replicas: count(pods, Role::Chunkserver, true),
        registered: learnt.master.as_ref().and_then(MasterView::in_touch),
        selector: learnt.selector.clone().or_else(|| before.and_then(|it| it.selector.clone())),
    }
}

struct Verdicts {
    ready: Verdict,
    reconciling: Verdict,
    stalled: Verdict,
    spec: Verdict,
    primary: Verdict,
    chunkservers: Verdict,
    chunks: Verdict,
    paused: Verdict,
}

impl Verdicts {
    fn of(before: &GfsClusterStatus, learnt: &Learnt, error: Option<&Error>) -> Self {
        let kept = |type_| kept(&before.conditions, type_);
        let master = learnt.master.as_ref();
        let primary = master.map_or_else(
            || kept(Type::PrimaryAvailable),
            |master| master.verdict(&learnt.troubles),
        );
        let pods = learnt.pods.as_ref();
        let chunkservers = pods.map_or_else(
            || kept(Type::ChunkserversAvailable),
            |pods| chunkservers_verdict(pods, learnt),
        );
        let chunks =
            pods.map_or_else(|| kept(Type::ChunksAvailable), |pods| chunks::verdict(pods, learnt));
        let stalled = stall::stall(master, error);
        let ready = match (&stalled, pods) {
            (Some(stall), _) => Verdict { status: Some(false), ..stall.clone() },
            (None, Some(pods)) => readiness(&primary, &chunkservers, &chunks, pods),
            (None, None) => kept(Type::Ready),
        };
        // It serves all the same.
        let stalled = stalled.or_else(|| stall::beside_serving(learnt));
        let reconciling = reconciling(learnt, error, &ready, stalled.is_some());
        Self {
            ready,
            reconciling,
            spec: spec_verdict(learnt, error).unwrap_or_else(|| kept(Type::SpecValid)),
            stalled: stalled
                .unwrap_or_else(|| Verdict::new(false, "GoesOn", "nothing is in the way")),
            primary,
            chunkservers,
            chunks,
            paused: paused(learnt.paused),
        }
    }

    /// One word for people; nothing depends on it.
    fn phase(&self, initialized: bool) -> &'static str {
        let is = |verdict: &Verdict| verdict.status == Some(true);
        if is(&self.stalled) {
            "Stalled"
        } else if is(&self.paused) {
            "Paused"
        } else if !initialized {
            "Installing"
        } else if !is(&self.ready) {
            "Degraded"
        } else if is(&self.reconciling) {
            "Updating"
        } else {
            "Healthy"
        }
    }

    fn conditions(
        self,
        before: &[Condition],
        generation: Option<i64>,
        now: Timestamp,
    ) -> Vec<Condition> {
        [
            (Type::Ready, self.ready),
            (Type::Reconciling, self.reconciling),
            (Type::Stalled, self.stalled),
            (Type::SpecValid, self.spec),
            (Type::PrimaryAvailable, self.primary),
            (Type::ChunkserversAvailable, self.chunkservers),
            (Type::ChunksAvailable, self.chunks),
            (Type::Paused, self.paused),
        ]
        .map(|(type_, verdict)| verdict.onto(before, type_, generation, now))
        .into()
    }
}

/// What was told before, for what this pass did not come to look at.
fn kept(before: &[Condition], type_: Type) -> Verdict {
    let Some(condition) = find(before, type_) else { return Verdict::unknown() };
    let status = match condition.status.as_str() {
        "True" => Some(true),
        "False" => Some(false),
        _ => None,
    };
    let (reason, message) = (condition.reason.clone(), condition.message.clone());
    Verdict { status, reason, message }
}

fn spec_verdict(learnt: &Learnt, error: Option<&Error>) -> Option<Verdict> {
    match error {
        Some(error @ Error::Spec(_)) => {
            Some(Verdict::new(false, Category::Spec.reason(), error.to_string()))
        }
        _ if learnt.spec_is_valid => {
            Some(Verdict::new(true, "Accepted", "the manifest can be built"))
        }
        _ => None,
    }
}

fn chunkservers_verdict(pods: &Observed, learnt: &Learnt) -> Verdict {
    let (ready, wanted) = (count(pods, Role::Chunkserver, true), pods.chunkservers_wanted);
    let (factor, role) = (learnt.factor, Some(Role::Chunkserver));
    let waited_for = waited_for(pods, role, &learnt.troubles);
    let message = format!(
        "{ready} of {wanted} chunkservers are ready; a chunk has {factor} replicas{waited_for}"
    );
    if ready < factor {
        Verdict::new(false, "TooFew", message)
    } else if usize::try_from(ready).is_ok_and(|ready| ready < wanted) {
        Verdict::new(true, "SomeAway", message)
    } else {
        Verdict::new(true, "AllReady", message)
    }
}

fn readiness(
    primary: &Verdict,
    chunkservers: &Verdict,
    chunks: &Verdict,
    pods: &Observed,
) -> Verdict {
    if primary.status != Some(true) {
        return Verdict { status: Some(false), ..primary.clone() };
    }
    let ready = usize::try_from(count(pods, Role::Chunkserver, true)).unwrap_or(0);
    if ready < pods.chunkservers_wanted {
        return Verdict { status: Some(false), ..chunkservers.clone() };
    }
    if chunks.status == Some(false) {
        return chunks.clone();
    }
    let message = format!("{}; {}", primary.message, chunkservers.message);
    Verdict::new(true, "Serving", message)
}

fn reconciling(learnt: &Learnt, error: Option<&Error>, ready: &Verdict, stalled: bool) -> Verdict {
    if stalled {
        return Verdict::new(false, "Stalled", "a person has to see to it first");
    }
    if learnt.paused {
        return Verdict::new(false, "Paused", "nothing is written while it is paused");
    }
    if let Some(error) = error {
        return Verdict::new(true, error.category().reason(), error.to_string());
    }
    if let Some(awaited) = &learnt.awaited {
        return Verdict::new(true, "Waiting", format!("waiting for the end of {awaited}"));
    }
    let outdated = |pods: &&Observed| pods.pods.iter().any(|pod| pod.outdated);
    if let Some(pods) = learnt.pods.as_ref().filter(outdated) {
        let lack = pods.chunks.is_some_and(|chunks| chunks.below_goal > 0);
        let how = match lack {
            false => "pods are restarted one after the other",
            true => "the next chunkserver is restarted when all chunks have their replicas again",
        };
        let waited_for = waited_for(pods, None, &learnt.troubles);
        return Verdict::new(true, "RollingOut", format!("{how}{waited_for}"));
    }
    if ready.status != Some(true) {
        return Verdict { status: Some(true), ..ready.clone() };
    }
    if learnt.pods.as_ref().is_some_and(|pods| !pods.settled) {
        return Verdict::new(true, "Settling", "a StatefulSet's newest state was not taken up yet");
    }
    Verdict::new(false, "Done", "everything is as the manifest says")
}

fn paused(paused: bool) -> Verdict {
    if paused {
        Verdict::new(
            true,
            "Annotation",
            "the annotation gfs.rs/paused is there and not false: no child is written",
        )
    } else {
        Verdict::new(false, "NotPaused", "children are written as the manifest says")
    }
}
