//! What must be true of a replica after every input, by the names of the rules.
//!
//! Checked in production too: a state that cannot be may lose what was acknowledged if it goes on.

use crate::primary::Phase;
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
    match &replica.role {
        Role::Idle => Ok(()),
        Role::Ready => holds("raise-3", replica.stored == replica.promised, &|| {
            format!("waits for orders of {}, stored {}", replica.promised, replica.stored)
        }),
        Role::Secondary(_) => holds("mut-3", committed.serial <= applied, &|| {
            format!("committed {} above applied {applied}", committed.serial)
        }),
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
