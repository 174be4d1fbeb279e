//! What became of the volumes, as it is told.

use crate::context::Context;
use crate::events::Reason;
use crate::labels;
use crate::owner::Owner;

/// Names in a note; the others are counted.
const NAMES_MAX: usize = 10;

/// What became of the volumes of a cluster that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The claims that were deleted.
    pub deleted: Vec<String>,
    /// Why others stay, if they do.
    pub kept: Option<Kept>,
}

/// Why volumes stay though they were given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Nobody saw the deletion.
    Unheard,
    /// The cluster never served.
    NeverFormatted,
    /// There is another cluster of the name, or may have been one.
    Overtaken,
    /// The StatefulSets were not to go.
    Orphans,
    /// The API server did not delete them.
    Refused(String),
}

impl Outcome {
    /// In events of the cluster that is gone: there is no other place.
    pub(super) async fn tell(&self, ctx: &Context, owner: &Owner) {
        let about = owner.reference();
        if !self.deleted.is_empty() {
            let note = format!(
                "the last manifest gave up the data, twice: {} claims were deleted: {}",
                self.deleted.len(),
                some_of(&self.deleted)
            );
            ctx.events.tell(&about, Reason::VolumesDeleted, &note).await;
        }
        if let Some(kept) = &self.kept {
            ctx.events.tell(&about, Reason::VolumesKept, &kept.note(owner)).await;
        }
    }
}

impl Kept {
    fn note(&self, owner: &Owner) -> String {
        let why = match self {
            Self::Unheard => "it was deleted while nobody looked, so its last word is not known",
            Self::NeverFormatted => {
                "it was never formatted, so what they hold may be an earlier cluster's"
            }
            // Somebody may have them: no word of how to delete them.
            Self::Overtaken => {
                return "volumes stay: there is a cluster of this name again, or was; what it says of them counts".to_owned();
            }
            Self::Orphans => {
                return "volumes stay: its StatefulSets live on (--cascade=orphan)".to_owned();
            }
            Self::Refused(error) => error,
        };
        format!(
            "volumes stay: {why}. If nothing of them is wanted: kubectl --namespace {} delete pvc --selector '{}'",
            owner.namespace,
            labels::claims_of_servers(&owner.name)
        )
    }
}

fn some_of(names: &[String]) -> String {
    let told = names[..names.len().min(NAMES_MAX)].join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => told,
        more => format!("{told} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_claims_some_are_named() {
        let names: Vec<_> = (0..=NAMES_MAX).map(|n| format!("data-c-chunk-a-{n}")).collect();
        assert_eq!(some_of(&names[..2]), "data-c-chunk-a-0, data-c-chunk-a-1");
        assert!(some_of(&names[..NAMES_MAX]).ends_with("data-c-chunk-a-9"));
        assert!(some_of(&names).ends_with("data-c-chunk-a-9 and 1 more"));
    }

    #[test]
    fn nobody_is_told_how_to_delete_what_somebody_has() {
        let owner = Owner { namespace: "n".into(), name: "c".into(), uid: "u".into() };
        let tells = |kept: Kept| kept.note(&owner).contains("kubectl --namespace n delete pvc");
        assert!(!tells(Kept::Overtaken) && !tells(Kept::Orphans));
        assert!(
            tells(Kept::Unheard)
                && tells(Kept::NeverFormatted)
                && tells(Kept::Refused("no".into()))
        );
    }
}
