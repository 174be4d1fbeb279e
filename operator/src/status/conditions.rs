//! Conditions, as API conventions and kstatus have them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::events::cut;

/// Bytes of a message: API conventions allow 32768, people read less.
const MESSAGE_BYTES_MAX: usize = 1024;

/// The conditions of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Everything is as the manifest says, and serves.
    Ready,
    /// Something is on the way there.
    Reconciling,
    /// It does not go on without a person.
    Stalled,
    /// The manifest can be built.
    SpecValid,
    /// A primary master serves.
    PrimaryAvailable,
    /// There are enough chunkservers for every new chunk.
    ChunkserversAvailable,
    /// Every chunk has a replica that can be read.
    ChunksAvailable,
    /// The annotation says that no child is to be written.
    Paused,
}

impl Type {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::SpecValid => "SpecValid",
            Self::PrimaryAvailable => "PrimaryAvailable",
            Self::ChunkserversAvailable => "ChunkserversAvailable",
            Self::ChunksAvailable => "ChunksAvailable",
            Self::Paused => "Paused",
        }
    }
}

/// What a condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// `None` is Unknown.
    pub(super) status: Option<bool>,
    /// One word.
    pub(super) reason: String,
    /// A sentence.
    pub(super) message: String,
}

impl Verdict {
    pub(super) fn new(status: bool, reason: &str, message: impl Into<String>) -> Self {
        let message: String = message.into();
        let message = cut(&message, MESSAGE_BYTES_MAX).to_owned();
        Self { status: Some(status), reason: reason.to_owned(), message }
    }

    pub(super) fn unknown() -> Self {
        let message = "not looked at yet".to_owned();
        Self { status: None, reason: "Unknown".to_owned(), message }
    }

    /// As a condition. The time of the transition stays while the status does: otherwise every pass would write.
    pub(super) fn onto(
        self,
        before: &[Condition],
        type_: Type,
        generation: Option<i64>,
        now: Timestamp,
    ) -> Condition {
        let status = match self.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let same = find(before, type_).filter(|condition| condition.status == status);
        // In whole seconds, as the API server keeps times.
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let since = same.map_or(Time(now), |condition| condition.last_transition_time.clone());
        Condition {
            type_: type_.name().to_owned(),
            status: status.to_owned(),
            reason: self.reason,
            message: self.message,
            observed_generation: generation,
            last_transition_time: since,
        }
    }
}

/// The condition of this type, if there is one.
#[must_use]
pub fn find(conditions: &[Condition], type_: Type) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == type_.name())
}

/// Whether the condition of this type is True.
#[must_use]
pub fn is_true(conditions: &[Condition], type_: Type) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_transition_changes_with_the_status_only() {
        let time = |second| Timestamp::from_second(second).unwrap();
        let at = |second| Time(time(second));
        let first = Verdict::new(true, "A", "a").onto(&[], Type::Ready, Some(1), time(1));
        assert_eq!((first.status.as_str(), &first.last_transition_time), ("True", &at(1)));
        let before = [first];
        let second = Verdict::new(true, "B", "b").onto(&before, Type::Ready, Some(2), time(2));
        assert_eq!((second.reason.as_str(), &second.last_transition_time), ("B", &at(1)));
        let third = Verdict::new(false, "B", "b").onto(&before, Type::Ready, Some(2), time(3));
        assert_eq!((third.status.as_str(), &third.last_transition_time), ("False", &at(3)));
        let other = Verdict::unknown().onto(&before, Type::Stalled, Some(2), time(4));
        assert_eq!((other.status.as_str(), &other.last_transition_time), ("Unknown", &at(4)));
    }

    #[test]
    fn messages_have_a_bound() {
        let verdict = Verdict::new(true, "A", "x".repeat(5_000));
        assert_eq!(verdict.message.len(), MESSAGE_BYTES_MAX);
    }
}
