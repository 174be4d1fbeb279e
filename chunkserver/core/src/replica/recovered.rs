//! What a replica is that was found on disk when the process started.

use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;
use gfs_types::message::control::ReplicaState;
use gfs_types::mutants::{Mutant, runs};

use super::state::Condition;
use super::{Replica, Role, Settings};
use crate::effect::Effect;

/// A replica as it was found on disk when the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Its version.
    pub version: ChunkVersion,
    /// Applied length, in bytes.
    pub length: u64,
    /// Committed length as of the last flush, in bytes.
    pub committed_length: u64,
    /// Ever written other than at its end.
    pub overwritten: bool,
    /// What it is now.
    pub state: ReplicaState,
}

impl Replica {
    /// A replica that was found on disk. Shows what mut-4 allows after a restart: all of a clean one, what was
    /// synced of one that only ever grew at its end, nothing of one that was overwritten or is suspect.
    #[must_use]
    pub fn recovered(
        handle: ChunkHandle,
        settings: Settings,
        found: Recovered,
        out: &mut Vec<Effect>,
    ) -> Self {
        let mut replica = Self::absent(handle, settings);
        replica.condition = match found.state {
            ReplicaState::Clean => Condition::Clean,
            ReplicaState::Unclean => Condition::Unclean,
            ReplicaState::Suspect => Condition::Suspect,
            ReplicaState::Corrupt => Condition::Corrupt,
        };
        replica.stored = found.version;
        replica.promised = found.version;
        replica.length = found.length;
        replica.overwritten = found.overwritten;
        replica.committed.length = found.committed_length.min(found.length);
        if runs(Mutant::RestartedIsReady) {
            replica.role = Role::Ready;
        }
        replica.readable = match found.state {
            ReplicaState::Clean => true,
            ReplicaState::Unclean | ReplicaState::Corrupt => !found.overwritten,
            ReplicaState::Suspect => false,
        };
        if runs(Mutant::ShownBeforeEqual) {
            replica.committed.length = found.length;
            replica.readable = true;
        }
        replica.publish(out);
        replica
    }
}
