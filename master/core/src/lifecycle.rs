//! Blank, formatted, serving, stepped down.

use gfs_types::Error;
use gfs_types::fence::MasterEpoch;
use gfs_types::ids::{ClusterUid, ProcessSession};
use gfs_types::region::ChunkSize;
use gfs_types::time::Instant;

use crate::master::Step;
use crate::record::Change;
use crate::{Durable, Effect, Master};

/// What this process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// No cluster was ever formatted here: only `Status` is answered.
    Blank,
    /// The configuration record has not named it primary yet.
    Standby,
    /// It is the primary master.
    Serving {
        /// Since then: members that were there before may still be on their way back.
        since: Instant,
    },
    /// A newer epoch was seen: never again.
    SteppedDown {
        /// The newer epoch.
        epoch: MasterEpoch,
    },
}

impl Lifecycle {
    pub(crate) fn at_start(durable: &Durable) -> Self {
        if durable.is_blank() { Self::Blank } else { Self::Standby }
    }

    /// # Errors
    /// Why nothing but `Status` is answered.
    pub(crate) fn check_serving(self) -> Result<(), Error> {
        match self {
            Self::Serving { .. } => Ok(()),
            Self::Blank => Err(Error::busy(
                "this master is blank: no cluster was formatted here; format it, or give it its data directory back",
            )),
            Self::Standby => Err(Error {
                retry_after_ms: 100,
                ..Error::busy(
                    "this master does not serve yet: ask again, or ask the primary master",
                )
            }),
            Self::SteppedDown { epoch } => Err(Error::fenced(format!(
                "a primary master of epoch {epoch} took over: ask that one"
            ))),
        }
    }
}

impl Master {
    pub(crate) fn format(&mut self, step: &mut Step<'_>, cluster: ClusterUid, size: ChunkSize) {
        if self.lifecycle != Lifecycle::Blank {
            return;
        }
        let change = Change::Formatted { cluster, chunk_size: size };
        self.commit_in(step, MasterEpoch(1), None, change);
        self.lifecycle = Lifecycle::Standby;
    }

    pub(crate) fn serve(&mut self, step: &mut Step<'_>, epoch: MasterEpoch) {
        if self.lifecycle != Lifecycle::Standby {
            return;
        }
        if epoch < self.durable.epoch {
            let reason = format!("the log here was written in epoch {}", self.durable.epoch);
            return self.step_down(step, self.durable.epoch, reason);
        }
        let session = ProcessSession(self.durable.master_session.0.saturating_add(1));
        self.commit_in(step, epoch, None, Change::EpochStarted { session });
        self.lifecycle = Lifecycle::Serving { since: step.now };
        let sessions = self.durable.sessions.iter().map(|(id, _)| (id, step.now));
        self.soft.sessions = sessions.collect();
        self.soft.swept = step.now;
    }

    /// A newer epoch was seen: nothing is decided here any more.
    pub(crate) fn step_down(&mut self, step: &mut Step<'_>, epoch: MasterEpoch, reason: String) {
        self.lifecycle = Lifecycle::SteppedDown { epoch };
        self.fail_all_waiters(step);
        step.out.push(Effect::StepDown { epoch, reason });
    }

    /// Since when this process serves.
    pub(crate) fn serving_since(&self) -> Option<Instant> {
        match self.lifecycle {
            Lifecycle::Serving { since } => Some(since),
            _ => None,
        }
    }
}
