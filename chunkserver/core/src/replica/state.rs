//! What a replica is, and what makes it something else: one table, the same in docs/formats/replica-states.md.

use gfs_types::message::control::ReplicaState;

/// What a replica is on this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// This server has none.
    Absent,
    /// Being made on disk: never reported.
    Creating,
    /// Ended its last lease in order, everything flushed.
    Clean,
    /// May have changed since its last clean end.
    Unclean,
    /// Its machine restarted while it was unclean: acknowledged, unsynced bytes may be gone.
    Suspect,
    /// A block does not match its checksum, or its disk failed.
    Corrupt,
    /// Being removed from disk: never reported.
    Deleting,
}

/// What changes a [`Condition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// The master wants a replica here.
    Create,
    /// The empty replica is on disk.
    Created,
    /// It could not be made.
    CreateFailed,
    /// A higher version is on disk, and with it that changes may come.
    Raised,
    /// The lease ended in order and everything is on disk.
    Ended,
    /// The process started again on the same run of the machine.
    ProcessRestart,
    /// The machine started again.
    MachineRestart,
    /// A block of another replica is about to be put here.
    Repairing,
    /// Every block was made equal to the authority's.
    Equalised,
    /// A block does not match its checksum, or the disk failed.
    Damaged,
    /// The master wants the replica gone.
    Delete,
    /// It could not be removed.
    DeleteFailed,
    /// It is gone from the disk.
    Deleted,
}

use Condition::{Absent, Clean, Corrupt, Creating, Deleting, Suspect, Unclean};

/// Every transition there is: from, event, to. What is not here does not happen.
pub const TRANSITIONS: &[(Condition, Event, Condition)] = &[
    (Absent, Event::Create, Creating),
    (Creating, Event::Created, Unclean),
    (Creating, Event::CreateFailed, Absent),
    (Clean, Event::Raised, Unclean),
    (Clean, Event::ProcessRestart, Clean),
    (Clean, Event::MachineRestart, Clean),
    (Clean, Event::Repairing, Suspect),
    (Clean, Event::Equalised, Unclean),
    (Clean, Event::Damaged, Corrupt),
    (Clean, Event::Delete, Deleting),
    (Unclean, Event::Raised, Unclean),
    (Unclean, Event::Ended, Clean),
    (Unclean, Event::ProcessRestart, Unclean),
    (Unclean, Event::MachineRestart, Suspect),
    (Unclean, Event::Repairing, Suspect),
    (Unclean, Event::Equalised, Unclean),
    (Unclean, Event::Damaged, Corrupt),
    (Unclean, Event::Delete, Deleting),
    (Suspect, Event::Raised, Suspect),
    (Suspect, Event::ProcessRestart, Suspect),
    (Suspect, Event::MachineRestart, Suspect),
    (Suspect, Event::Equalised, Unclean),
    (Suspect, Event::Damaged, Corrupt),
    (Suspect, Event::Delete, Deleting),
    (Corrupt, Event::Raised, Corrupt),
    (Corrupt, Event::ProcessRestart, Corrupt),
    (Corrupt, Event::MachineRestart, Corrupt),
    (Corrupt, Event::Equalised, Unclean),
    (Corrupt, Event::Damaged, Corrupt),
    (Corrupt, Event::Delete, Deleting),
    (Deleting, Event::DeleteFailed, Corrupt),
    (Deleting, Event::Deleted, Absent),
];

impl Condition {
    /// What it becomes; `None` when the table has no such transition.
    #[must_use]
    pub fn after(self, event: Event) -> Option<Self> {
        let row = TRANSITIONS.iter().find(|(from, by, _)| *from == self && *by == event);
        row.map(|(_, _, to)| *to)
    }

    /// As the master is told; `None` while there is nothing to tell.
    #[must_use]
    pub fn reported(self) -> Option<ReplicaState> {
        match self {
            Absent | Creating | Deleting => None,
            Clean => Some(ReplicaState::Clean),
            Unclean => Some(ReplicaState::Unclean),
            Suspect => Some(ReplicaState::Suspect),
            Corrupt => Some(ReplicaState::Corrupt),
        }
    }

    /// Whether it may take part in mutations: a suspect or corrupt replica must be made equal first.
    #[must_use]
    pub fn may_mutate(self) -> bool {
        matches!(self, Clean | Unclean)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PAGE: &str = include_str!("../../../../docs/formats/replica-states.md");

    #[test]
    fn the_page_and_the_code_have_the_same_table() {
        let code: BTreeSet<String> = TRANSITIONS
            .iter()
            .map(|(from, event, to)| format!("{from:?} {event:?} {to:?}"))
            .collect();
        assert_eq!(code.len(), TRANSITIONS.len(), "a row stands twice");
        let cell = |text: &str| text.trim().trim_matches('`').to_owned();
        let page: BTreeSet<String> = PAGE
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.split('|').skip(1).take(3).map(cell).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(page, code);
    }

    #[test]
    fn a_state_and_an_event_lead_to_one_state() {
        let pairs: BTreeSet<_> = TRANSITIONS.iter().map(|(from, event, _)| (from, event)).collect();
        assert_eq!(pairs.len(), TRANSITIONS.len());
    }

    #[test]
    fn only_an_end_in_order_makes_clean_and_only_equalising_ends_suspicion() {
        for (from, event, to) in TRANSITIONS {
            if *to == Clean && *from != Clean {
                assert_eq!(*event, Event::Ended);
            }
            if matches!(from, Suspect | Corrupt) && to.may_mutate() {
                assert_eq!(*event, Event::Equalised);
            }
        }
    }
}
