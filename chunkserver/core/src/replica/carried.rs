//! Mutations that a primary had applied when a raise came (raise-4, mut-3). If it leads again, and nobody else made it equal
//! in between, they are on every new member as soon as those are equal to it: then they are answered, and not ordered again.

use gfs_types::Error;
use gfs_types::limits::CARRIED_MS;
use gfs_types::marks::{Mark, hit};
use gfs_types::time::Instant;

use super::{Replica, Role};
use crate::effect::Effect;
use crate::primary::{Outcome, Waiter};

/// Who waits across a raise.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// For mutations that are applied here, in their order.
    pub(crate) mutations: Vec<(Waiter, Outcome)>,
    /// For a sync: it is one of the next lease.
    pub(crate) syncs: Vec<Waiter>,
    /// So long, whatever time they have, where no lease follows: the master may be out of reach, and have raised the others without
    /// this replica.
    until: Instant,
}

impl Carried {
    pub(crate) fn is_empty(&self) -> bool {
        self.mutations.is_empty() && self.syncs.is_empty()
    }

    fn waiters(&self) -> impl Iterator<Item = &Waiter> {
        self.mutations.iter().map(|(waiter, _)| waiter).chain(&self.syncs)
    }
}

impl Replica {
    /// A raise comes: those who wait for what is applied here go on waiting, the others are told that nobody knows.
    pub(super) fn carry_over(&mut self, now: Instant, why: &str, out: &mut Vec<Effect>) {
        let applied = self.sequence.applied();
        // Raise upon raise, none with a lease behind it, is no longer a wait.
        if self.carried.is_empty() {
            self.carried.until = now + CARRIED_MS;
        }
        if let Role::Primary(primary) = &mut self.role {
            let mut carried = primary.take_applied(applied);
            self.carried.mutations.append(&mut carried.mutations);
            self.carried.syncs.append(&mut carried.syncs);
        }
        self.stop_role(why, out);
    }

    /// A lease came, and what it does first takes its time: to make the members equal, or to teach one (mut-6).
    pub(super) fn carry_on(&mut self, now: Instant) {
        self.carried.until = now + CARRIED_MS;
    }

    /// All members are equal to this replica: what was carried is on all of them.
    pub(crate) fn answer_carried(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let carried = std::mem::take(&mut self.carried);
        for (waiter, outcome) in carried.mutations {
            hit(Mark::CarriedAnswered);
            let result = outcome.answer(self.handle, self.stored, self.committed.length);
            out.push(Effect::Reply { token: waiter.token, result });
        }
        for waiter in carried.syncs {
            self.wait_for_sync(now, waiter, out);
        }
    }

    /// Somebody else decides what became of them.
    pub(crate) fn drop_carried(&mut self, why: &str, out: &mut Vec<Effect>) {
        for waiter in std::mem::take(&mut self.carried).waiters() {
            hit(Mark::CarriedDropped);
            out.push(Effect::Reply { token: waiter.token, result: Err(Error::unknown(why)) });
        }
    }

    pub(super) fn expire_carried(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let carried = &mut self.carried;
        let until = carried.until;
        let late = |waiter: &Waiter| waiter.deadline.min(until) <= now;
        let mutations = carried.mutations.extract_if(.., |(waiter, _)| late(waiter));
        let mut expired: Vec<_> = mutations.map(|(waiter, _)| waiter).collect();
        expired.extend(carried.syncs.extract_if(.., |waiter| late(waiter)));
        for waiter in expired {
            let error = Error::unknown(format!(
                "chunk {}: no lease made every member equal in time, so nobody knows whether it is done",
                self.handle
            ));
            out.push(Effect::Reply { token: waiter.token, result: Err(error) });
        }
    }

    pub(super) fn carried_until(&self) -> Option<Instant> {
        self.carried.waiters().map(|waiter| waiter.deadline.min(self.carried.until)).min()
    }
}
