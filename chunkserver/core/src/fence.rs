//! Which commands of a master are obeyed (rules C2 and C5): those of the highest epoch ever seen, meant for
//! this run of the process.

use gfs_types::Error;
use gfs_types::fence::MasterEpoch;
use gfs_types::ids::ProcessSession;
use gfs_types::marks::{Mark, hit};
use gfs_types::message::control::ToChunkserver;
use gfs_types::mutants::{Mutant, runs};

/// The highest epoch that was obeyed, and whose commands are meant for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MasterFence {
    session: ProcessSession,
    obeyed: MasterEpoch,
}

/// What to do with a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Obey it.
    Obey,
    /// Make this epoch durable, call [`MasterFence::persisted`], then obey.
    PersistFirst(MasterEpoch),
    /// It is meant for another run of this server: no answer.
    Drop,
    /// It comes from a master that was replaced: end its stream.
    Refuse(Error),
}

impl MasterFence {
    /// With the highest epoch that is on disk.
    #[must_use]
    pub fn new(session: ProcessSession, obeyed: MasterEpoch) -> Self {
        Self { session, obeyed }
    }

    /// The highest epoch that was obeyed.
    #[must_use]
    pub fn obeyed(&self) -> MasterEpoch {
        self.obeyed
    }

    /// What to do with a command.
    #[must_use]
    pub fn judge(&self, command: &ToChunkserver) -> Verdict {
        if command.session != self.session && !runs(Mutant::CommandOfOtherSession) {
            hit(Mark::OtherSessionDropped);
            return Verdict::Drop;
        }
        if command.epoch < self.obeyed {
            return Verdict::Refuse(Error::fenced(format!(
                "a master of epoch {} commands, epoch {} was obeyed before",
                command.epoch, self.obeyed
            )));
        }
        match command.epoch > self.obeyed {
            true => Verdict::PersistFirst(command.epoch),
            false => Verdict::Obey,
        }
    }

    /// The epoch is on disk.
    pub fn persisted(&mut self, epoch: MasterEpoch) {
        self.obeyed = self.obeyed.max(epoch);
    }
}

#[cfg(test)]
mod tests {
    use gfs_types::message::control::Command;

    use super::*;

    fn command(epoch: u64, session: u64) -> ToChunkserver {
        let command = Command::HeartbeatAnswer { seq: 1, extended: Vec::new(), lease_ms: 1 };
        ToChunkserver { epoch: MasterEpoch(epoch), session: ProcessSession(session), command }
    }

    #[test]
    fn an_epoch_is_durable_before_it_is_obeyed_and_lower_ones_are_refused() {
        let mut fence = MasterFence::new(ProcessSession(7), MasterEpoch(3));
        assert_eq!(fence.judge(&command(3, 7)), Verdict::Obey);
        assert_eq!(fence.judge(&command(4, 7)), Verdict::PersistFirst(MasterEpoch(4)));
        fence.persisted(MasterEpoch(4));
        assert_eq!(fence.judge(&command(4, 7)), Verdict::Obey);
        assert!(matches!(fence.judge(&command(3, 7)), Verdict::Refuse(_)));
    }

    #[test]
    fn a_command_for_another_session_changes_nothing() {
        let fence = MasterFence::new(ProcessSession(7), MasterEpoch(3));
        for session in [0, 6, 8] {
            assert_eq!(fence.judge(&command(9, session)), Verdict::Drop);
        }
    }
}
