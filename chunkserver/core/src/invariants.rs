//! What must be true of a replica after every input, by the names of the rules.
//!
//! Checked in production too: a state that cannot be may lose what was acknowledged if it goes on.

use gfs_types::message::data::OrderKind;

use crate::primary::Phase;
use crate::replica::equalise::Part;
use crate::replica::state::Condition;
use crate::replica::{Replica, Role};

/// A rule that does not hold, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {what}")]
pub struct Violation {
    /// The rule of the chunk protocol.
    pub rule: &'static str,
    /// What was found.
    pub what: String,
}

/// Looks at one replica. Costs little: it looks at no mutation by itself.
///
/// # Errors
/// The first rule that does not hold.
pub fn check(replica: &Replica) -> Result<(), Violation> {
    let holds = |rule, good: bool, what: &dyn Fn() -> String| match good {
        true => Ok(()),
        false => Err(Violation { rule, what: what() }),
    };
    let (applied, committed) = (replica.sequence.applied(), replica.committed);
    holds("raise-2", replica.stored <= replica.promised, &|| {
        format!("stored {} above promised {}", replica.stored, replica.promised)
    })?;
    holds("mut-4", committed.length <= replica.length, &|| {
        format!("committed length {} above applied {}", committed.length, replica.length)
    })?;
    holds("mut-4", replica.published.committed_length <= replica.length, &|| {
        format!("published {} of {} bytes", replica.published.committed_length, replica.length)
    })?;
    let (readable, suspect) = (replica.readable, replica.condition == Condition::Suspect);
    holds("mut-4", !suspect || !readable, &|| "a suspect replica shows something".to_owned())?;
    match &replica.role {
        Role::Idle => Ok(()),
        Role::Pupil(pupil) => {
            holds("mut-4", !readable, &|| "shown while it is made equal".to_owned())?;
            holds("raise-4", replica.carried.is_empty(), &|| {
                "somebody waits for a mutation that another may have undone".to_owned()
            })?;
            let (version, stored) = (pupil.version, replica.stored);
            let fits = match pupil.part {
                Part::Member => version == stored && version == replica.promised,
                Part::Learner { .. } => version > stored && version > replica.promised,
            };
            holds("equal-4", fits, &|| format!("{pupil:?} with version {stored}"))
        }
        Role::Ready => holds("raise-3", replica.stored == replica.promised, &|| {
            format!("waits for orders of {}, stored {}", replica.promised, replica.stored)
        }),
        Role::Secondary(secondary) => {
            holds("equal-2", !suspect, &|| "a suspect replica takes orders".to_owned())?;
            holds("mut-4", secondary.begun || !readable, &|| {
                "shown before all members are known to be equal".to_owned()
            })?;
            holds("raise-4", replica.carried.is_empty(), &|| {
                "somebody waits for a mutation that another may have undone".to_owned()
            })?;
            holds("mut-3", committed.serial <= applied, &|| {
                format!("committed {} above applied {applied}", committed.serial)
            })
        }
        Role::Primary(primary) => {
            holds("raise-2", primary.version == replica.stored, &|| {
                format!("leads version {}, stored {}", primary.version, replica.stored)
            })?;
            holds("mut-3", committed.serial <= replica.sequence.acknowledged(), &|| {
                format!("committed {} is not acknowledged here", committed.serial)
            })?;
            let behind = primary.links.values().find(|link| link.acknowledged < committed.serial);
            holds("mut-3", behind.is_none(), &|| format!("committed without {behind:?}"))?;
            let in_flight = primary.flight.len() as u64;
            // Broken, because a member could not be made equal: mutations of the last lease wait on.
            let equalising = matches!(primary.phase, Phase::Equalising { .. });
            holds(
                "equal-1",
                !equalising || (primary.last.0 == 0 && primary.syncs.is_empty()),
                &|| "mutations before all members are equal".to_owned(),
            )?;
            holds("equal-2", equalising || !suspect, &|| "a suspect replica leads".to_owned())?;
            let serving = matches!(primary.phase, Phase::Serving | Phase::Closing { .. });
            holds("mut-3", !serving || primary.alone || replica.carried.is_empty(), &|| {
                "somebody waits for a mutation that is committed".to_owned()
            })?;
            let waits = primary.flight.values().any(|flight| flight.kind != OrderKind::End)
                || !primary.syncs.is_empty();
            holds("mut-6", !primary.alone || !waits, &|| {
                "one replica alone takes mutations".to_owned()
            })?;
            let mutations = || primary.flight.values().any(|flight| flight.kind != OrderKind::End);
            let sealed = primary.is_sealed();
            holds("equal-4", !sealed || (primary.syncs.is_empty() && !mutations()), &|| {
                format!("{in_flight} mutations after a learner was taught")
            })?;
            holds("mut-2", committed.serial.0 + in_flight == primary.last.0, &|| {
                format!("{in_flight} in flight between {} and {}", committed.serial, primary.last)
            })?;
            let chunk = replica.settings.chunk_size.bytes();
            holds("mut-2", committed.length <= primary.end && primary.end <= chunk, &|| {
                format!("the next append at {} of {chunk}", primary.end)
            })?;
            let ended = matches!(primary.phase, Phase::Closing { ended: true, .. });
            holds("mut-2", !ended || in_flight <= 1, &|| "an order beside the last one".to_owned())
        }
    }
}

pub(crate) fn assert(replica: &Replica) {
    if let Err(violation) = check(replica) {
        panic!("chunk {}: {violation}", replica.handle);
    }
}
