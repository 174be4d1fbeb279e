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

/// Which faults come one at a time: drawn, or written down; and those that came.
#[derive(Debug)]
pub(crate) struct Script {
    written: Option<VecDeque<Planned>>,
    began: Micros,
    last: u64,
    pub(crate) came: Vec<Planned>,
}

impl Script {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self { written: plan.script.clone(), began: 0, last: 0, came: Vec::new() }
    }

    /// The faults begin.
    pub(crate) fn begins(&mut self, now: Micros) {
        self.began = now;
    }

    /// When the next one comes, if it comes: as it was drawn, unless it is written down.
    pub(crate) fn next_at(&self, drawn: Micros) -> Option<Micros> {
        match &self.written {
            None => Some(drawn),
            Some(written) => written.front().map(|next| self.began + next.after_us),
        }
    }

    /// The number of the next one, and its kind if that is written down.
    pub(crate) fn next(&mut self) -> (u64, Option<Fault>) {
        let written = self.written.as_mut().and_then(VecDeque::pop_front);
        self.last = written.map_or(self.last + 1, |planned| planned.number);
        (self.last, written.map(|planned| planned.kind))
    }

    /// It comes.
    pub(crate) fn came(&mut self, now: Micros, number: u64, kind: Fault) {
        self.came.push(Planned { number, after_us: now - self.began, kind });
    }
}
