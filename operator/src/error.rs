//! Why a pass over a cluster did not come to its end.

use crate::validate::Problem;

/// What a pass gives.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a pass did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest cannot be built. Nothing changes until someone changes it.
    #[error("the manifest is refused: {}", join(.0))]
    Spec(Vec<Problem>),
    /// The status does not say whether the cluster was formatted: a blank master may be new, or may have lost everything.
    #[error(
        "{0}, which cannot be read, so nothing is known of the formatting and nothing is done: put right what the \
         status says (kubectl edit --subresource=status)"
    )]
    Status(String),
    /// A child cannot be made: its name is taken.
    #[error(
        "{kind} {name} exists and is not of this cluster (its owner is {of}): delete or rename it, or rename the cluster"
    )]
    NotOurs {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Who controls it.
        of: String,
    },
    /// A StatefulSet of chunkservers has more pods than are asked for.
    #[error(
        "StatefulSet {name} has {live} replicas and the manifest asks for {wanted}: a chunkserver that goes takes its replicas of \
         chunks along, and there is no drain yet. It stays as it is. Ask for as many as there are, or, if those above hold \
         nothing, make it smaller yourself: kubectl scale statefulset {name} --replicas {wanted}"
    )]
    FewerChunkservers {
        /// The set.
        name: String,
        /// What it has.
        live: i64,
        /// What is asked for.
        wanted: i64,
    },
    /// The API server did not do it.
    #[error("{doing}: {}", told(.source))]
    Api {
        /// What was tried.
        doing: String,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// A pass takes no longer than this.
    #[error("no end within {0:?}: the API server or the master is slow")]
    Late(std::time::Duration),
    /// What was built is no JSON: a defect.
    #[error("what was built cannot be written: {0}")]
    Defect(#[from] serde_json::Error),
}

/// The kinds of errors: a label of metrics, the reason of conditions and events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// The manifest cannot be built.
    Spec,
    /// The status cannot be read.
    Status,
    /// A name is taken.
    NotOurs,
    /// Chunkservers would go.
    Fewer,
    /// The object changed in the meantime: the next pass sees it.
    Conflict,
    /// The API server will not have it, now or later.
    Refused,
    /// The API server was not reached, or is busy.
    Api,
    /// Too slow.
    Late,
    /// A defect of this program.
    Defect,
}

impl Category {
    /// As the label of metrics has it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Status => "status",
            Self::NotOurs => "not_ours",
            Self::Fewer => "fewer",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Api => "api",
            Self::Late => "late",
            Self::Defect => "defect",
        }
    }

    /// As the reason of a condition.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Spec => "SpecRefused",
            Self::Status => "StatusUnreadable",
            Self::NotOurs => "NameTaken",
            Self::Fewer => "FewerChunkservers",
            Self::Conflict => "Conflict",
            Self::Refused => "RefusedByApiServer",
            Self::Api => "ApiServerUnavailable",
            Self::Late => "Slow",
            Self::Defect => "Defect",
        }
    }

    /// Whether only a person can end it.
    #[must_use]
    pub fn needs_a_person(self) -> bool {
        match self {
            Self::Spec
            | Self::Status
            | Self::NotOurs
            | Self::Fewer
            | Self::Refused
            | Self::Defect => true,
            Self::Conflict | Self::Api | Self::Late => false,
        }
    }
}

impl Error {
    pub(crate) fn api(doing: impl Into<String>, source: kube::Error) -> Self {
        Self::Api { doing: doing.into(), source: Box::new(source) }
    }

    /// What kind of error it is.
    #[must_use]
    pub fn category(&self) -> Category {
        match self {
            Self::Spec(_) => Category::Spec,
            Self::Status(_) => Category::Status,
            Self::NotOurs { .. } => Category::NotOurs,
            Self::FewerChunkservers { .. } => Category::Fewer,
            Self::Late(_) => Category::Late,
            Self::Defect(_) => Category::Defect,
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) if status.is_conflict() => Category::Conflict,
                kube::Error::Api(status) if status.is_invalid() || status.is_forbidden() => {
                    Category::Refused
                }
                kube::Error::Api(status) if status.code == 400 => Category::Refused,
                _ => Category::Api,
            },
        }
    }
}

/// Whether there is no such object, or no such kind of objects: that is told without a reason.
#[must_use]
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Whether it is another object than the request was for, or another version of it.
#[must_use]
pub fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

fn join(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What the API server said, without its status in front of it.
fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
