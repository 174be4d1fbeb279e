//! A world before anything happens in it: drawn from a seed, or written down.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::agenda::Micros;
use crate::shrink::Cut;
use crate::swarm::{Fault, Swarm};

/// What a run begins with. The same plan gives the same trace.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where chance comes from.
    pub seed: u64,
    /// What kind of world it is.
    pub swarm: Swarm,
    /// What is left out of it.
    pub cut: Cut,
    /// The faults that come one at a time, where they are not drawn.
    pub script: Option<VecDeque<Planned>>,
}

/// A fault that comes one at a time. Whom it hits and how hard is drawn: from the seed and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// Which of its world, from 1.
    pub number: u64,
    /// When, in microseconds since the faults began.
    pub after_us: Micros,
    /// Of which kind.
    pub kind: Fault,
}

impl Plan {
    /// As it is drawn from a seed, without what is cut out.
    #[must_use]
    pub fn drawn(seed: u64, cut: &Cut) -> Self {
        let mut swarm = Swarm::draw(seed);
        swarm.leave_out(cut);
        Self { seed, swarm, cut: cut.clone(), script: None }
    }
}
