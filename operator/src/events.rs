//! What happened to a cluster and why, for whoever runs `kubectl describe` or `kubectl events`.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

/// Bytes of a note: the API server takes 1024.
const NOTE_BYTES_MAX: usize = 1000;

/// The reasons of events: one for each thing that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The master was formatted.
    Formatted,
    /// The master holds the cluster of an earlier object of this name, and it was taken over.
    Adopted,
    /// The master lost what it held.
    MasterDataLost,
    /// The master holds another cluster.
    ForeignMaster,
    /// The master is blank beside volumes of an earlier cluster.
    EarlierVolumes,
    /// Chunks are of another size than the manifest says.
    ChunkSizeDiffers,
    /// The volume of a pod goes when it ends.
    VolumeDeleted,
    /// Replicas lack, so no chunkserver may be restarted.
    ReplicasMissing,
    /// A pod was deleted because it was outdated.
    PodRestarted,
    /// A child that nothing wants any more was deleted.
    ChildDeleted,
    /// A child that was missing was made anew.
    ChildCreated,
    /// Somebody else changed a field of ours, and it was changed back.
    PutBack,
    /// A StatefulSet has more pods than before.
    ScaledUp,
    /// The cluster was deleted, and its volumes with it.
    VolumesDeleted,
    /// The cluster was deleted, and its volumes stay though its manifest gave them up.
    VolumesKept,
    /// A pass ended with an error that a person has to see.
    Error(crate::error::Category),
    /// The cluster became ready.
    BecameReady,
}

impl Reason {
    fn text(self) -> &'static str {
        match self {
            Self::Formatted => "Formatted",
            Self::Adopted => "Adopted",
            Self::MasterDataLost => "MasterDataLost",
            Self::ForeignMaster => "ForeignMaster",
            Self::EarlierVolumes => "EarlierVolumes",
            Self::ChunkSizeDiffers => "ChunkSizeDiffers",
            Self::VolumeDeleted => "VolumeDeleted",
            Self::ReplicasMissing => "ReplicasMissing",
            Self::PodRestarted => "PodRestarted",
            Self::ChildDeleted => "ChildDeleted",
            Self::ChildCreated => "ChildCreated",
            Self::PutBack => "PutBack",
            Self::ScaledUp => "ScaledUp",
            Self::VolumesDeleted => "VolumesDeleted",
            Self::VolumesKept => "VolumesKept",
            Self::Error(category) => category.reason(),
            Self::BecameReady => "BecameReady",
        }
    }

    /// What the operator was doing.
    fn action(self) -> &'static str {
        match self {
            Self::Formatted
            | Self::Adopted
            | Self::MasterDataLost
            | Self::ForeignMaster
            | Self::EarlierVolumes
            | Self::ChunkSizeDiffers => "Formatting",
            Self::VolumeDeleted | Self::ReplicasMissing | Self::PodRestarted => "Restarting",
            Self::ChildDeleted | Self::VolumesDeleted | Self::VolumesKept => "Deleting",
            Self::ChildCreated | Self::PutBack | Self::ScaledUp => "Applying",
            Self::Error(_) | Self::BecameReady => "Reconciling",
        }
    }

    fn type_(self) -> EventType {
        match self {
            Self::Formatted
            | Self::Adopted
            | Self::PodRestarted
            | Self::ChildDeleted
            | Self::ChildCreated
            | Self::PutBack
            | Self::ScaledUp
            | Self::VolumesDeleted
            | Self::BecameReady => EventType::Normal,
            Self::MasterDataLost
            | Self::ForeignMaster
            | Self::EarlierVolumes
            | Self::ChunkSizeDiffers
            | Self::VolumeDeleted
            | Self::ReplicasMissing
            | Self::VolumesKept
            | Self::Error(_) => EventType::Warning,
        }
    }
}

/// The one recorder of the process: it counts repeated events instead of making new ones.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// Events that say they are of this process.
    #[must_use]
    pub fn new(client: Client, identity: &str) -> Self {
        let reporter =
            Reporter { controller: "gfs-operator".to_owned(), instance: Some(identity.to_owned()) };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Tells of something that happened. An event that cannot be told stops nothing: the status says the same.
    pub async fn tell(&self, about: &ObjectReference, reason: Reason, note: &str) {
        self.tell_of(about, None, reason, note).await;
    }

    /// Tells of something that happened to one part of it: events of different parts are not counted as one.
    pub async fn tell_of(
        &self,
        about: &ObjectReference,
        part: Option<ObjectReference>,
        reason: Reason,
        note: &str,
    ) {
        let (namespace, cluster) = (&about.namespace, &about.name);
        tracing::info!(namespace, cluster, reason = reason.text(), note, "event");
        let event = Event {
            type_: reason.type_(),
            reason: reason.text().to_owned(),
            note: Some(cut(note, NOTE_BYTES_MAX).to_owned()),
            action: reason.action().to_owned(),
            secondary: part,
        };
        if let Err(error) = self.recorder.publish(&event, about).await {
            tracing::warn!(namespace, cluster, reason = reason.text(), %error, "event not recorded");
        }
    }
}

/// The beginning of a text, in whole characters.
#[must_use]
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    let end =
        text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= bytes_max);
    &text[..end.last().unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_cut_between_characters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "abc");
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("", 2), "");
    }
}
