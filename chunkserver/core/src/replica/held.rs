//! Mutations that came before the grant: the master answers the client and the primary on different streams, and the
//! client may be the faster one.

use gfs_types::Error;
use gfs_types::limits::GRANT_WAIT_MS;
use gfs_types::marks::{Mark, hit};
use gfs_types::message::data::Target;
use gfs_types::time::Instant;

use super::{Replica, Role};
use crate::effect::Effect;
use crate::input::{Mutation, Token};
use crate::primary::{Phase, paused};

/// A mutation that waits for the grant, its bytes with the shell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    token: Token,
    target: Target,
    mutation: Mutation,
    since: Instant,
}

impl Replica {
    /// Whether a grant of this version may be on its way: the replica has it and follows nobody yet.
    pub(crate) fn may_be_granted(&self, target: &Target) -> bool {
        matches!(self.role, Role::Ready)
            && self.condition.may_mutate()
            && target.version == self.stored
            && target.version == self.promised
    }

    /// Whether this replica leads, and will take mutations when its members are equal.
    pub(crate) fn is_equalising(&self, target: &Target) -> bool {
        let equalising = matches!(&self.role, Role::Primary(primary)
            if matches!(primary.phase, Phase::Equalising { .. }));
        equalising && target.version == self.stored && target.epoch >= self.epoch
    }

    /// Keeps a mutation for a moment. Bounded as mutations in flight are.
    pub(crate) fn hold(
        &mut self,
        since: Instant,
        token: Token,
        target: Target,
        mutation: Mutation,
        out: &mut Vec<Effect>,
    ) {
        let pace = self.settings.pace;
        let bytes: u64 = self.held.iter().map(|held| held.mutation.bytes()).sum();
        let full = bytes.saturating_add(mutation.bytes()) > pace.flight_bytes_max;
        if full || self.held.len() >= pace.mutations_max {
            let text = format!("chunk {}: too much waits for its lease", self.handle);
            return out.push(Effect::Reply { token, result: Err(Error::busy(text)) });
        }
        hit(Mark::MutationHeld);
        self.held.push(Held { token, target, mutation, since });
    }

    /// The grant came: what was held is next, in the order in which it came.
    pub(crate) fn take_held(&mut self, now: Instant, out: &mut Vec<Effect>) {
        for held in std::mem::take(&mut self.held) {
            self.mutate(now, held.token, &held.target, held.mutation, out);
        }
    }

    /// Somebody else leads, or nobody does; or this replica, but not yet.
    pub(crate) fn refuse_held(&mut self, out: &mut Vec<Effect>) {
        let waits = matches!(&self.role, Role::Primary(_));
        for held in std::mem::take(&mut self.held) {
            let result = Err(if waits { paused(self.handle) } else { self.not_primary() });
            out.push(Effect::Reply { token: held.token, result });
        }
    }

    /// Refuses them all when the first has waited long enough.
    pub(super) fn expire_held(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.held_until().is_some_and(|until| until <= now) {
            self.refuse_held(out);
        }
    }

    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held.first().map(|held| held.since + GRANT_WAIT_MS)
    }
}
