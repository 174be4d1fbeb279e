//! The lease: how it is kept, and how it ends.

use gfs_types::fence::ChunkVersion;
use gfs_types::limits::LEASE_CLOSE_MS;
use gfs_types::marks::{Mark, hit};
use gfs_types::time::Instant;

use super::{Phase, Primary};
use crate::effect::Effect;
use crate::replica::{Replica, Role};

impl Replica {
    /// The master extended the lease, counted from when the heartbeat that asked was sent (raise-7).
    pub(crate) fn extend(&mut self, version: ChunkVersion, until: Instant) {
        if let Role::Primary(primary) = &mut self.role
            && primary.version == version
            && primary.is_wanted()
        {
            primary.until = primary.until.max(until);
        }
    }

    /// The master wants the lease back.
    pub(crate) fn revoke(&mut self, now: Instant, version: ChunkVersion, out: &mut Vec<Effect>) {
        match &self.role {
            Role::Primary(primary) if primary.version == version => self.close(now, out),
            _ => self.give_up_at_once(version, out),
        }
    }

    /// The process is about to end.
    pub(crate) fn shutdown(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if matches!(self.role, Role::Primary(_)) {
            self.close(now, out);
        }
    }

    /// Takes no more mutations; the lease ends in order when those in flight are committed. Where that cannot
    /// be any more, it ends now.
    pub(super) fn close(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let handle = self.handle;
        let Role::Primary(primary) = &mut self.role else { return };
        match primary.phase {
            Phase::Equalising { .. } => {
                self.abandon("the lease ended before its members were equal", out);
            }
            Phase::Serving => {
                primary.dismiss(handle, "the lease is ending", out);
                primary.phase = Phase::Closing { since: now, ended: false };
                self.order_end(now, out);
            }
            Phase::Closing { .. } => {}
            Phase::Broken => self.abandon("a member of the lease had failed", out),
        }
    }

    /// Ends the lease without order: the replica stays unclean, the next lease finds out what became of the
    /// mutations in flight.
    fn abandon(&mut self, why: &str, out: &mut Vec<Effect>) {
        let Role::Primary(primary) = &self.role else { return };
        let version = primary.version;
        hit(Mark::LeaseAbandoned);
        self.stop_following(why, out);
        self.give_up_at_once(version, out);
    }

    /// Time went by for the primary.
    pub(crate) fn primary_tick(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let (handle, committed) = (self.handle, self.committed);
        let Role::Primary(primary) = &mut self.role else { return };
        primary.expire_waiters(now, self.no_space.as_ref(), out);
        primary.notify(handle, now, committed, out);
        self.press_members(now, out);
        self.press_equalising(now, out);
        self.press_learner(now, out);
        self.end_in_time(now, out);
    }

    /// The lease ends by this server's own clock, and earlier when nobody uses it. Mutations in flight may
    /// still be committed after its end: versions keep that safe, not the clock.
    fn end_in_time(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let Role::Primary(primary) = &self.role else { return };
        let unused = primary.is_idle() && now >= primary.used + primary.idle_ms;
        match primary.phase {
            Phase::Serving if unused || now >= primary.until => self.close(now, out),
            Phase::Equalising { .. } | Phase::Broken if now >= primary.until => {
                self.close(now, out);
            }
            Phase::Closing { since, .. } if now >= since + LEASE_CLOSE_MS => {
                self.abandon("a member did not answer at the end of the lease", out);
            }
            Phase::Equalising { .. } | Phase::Serving | Phase::Broken | Phase::Closing { .. } => {}
        }
    }
}

impl Primary {
    /// Those whose time is out are told that the outcome is unknown, and what is waited for; the mutation itself goes on.
    fn expire_waiters(&mut self, now: Instant, no_space: Option<&String>, out: &mut Vec<Effect>) {
        if self.deadline.is_none_or(|at| at > now) {
            return;
        }
        let mut late = Vec::new();
        for flight in self.flight.values_mut() {
            let its = flight.waiters.extract_if(.., |(waiter, _)| waiter.deadline <= now);
            late.extend(its.map(|(waiter, _)| waiter));
        }
        late.extend(
            self.syncs.extract_if(.., |sync| sync.waiter.deadline <= now).map(|sync| sync.waiter),
        );
        let behind = self.links.values().filter(|link| link.acknowledged < self.last);
        let busy = behind.filter_map(|link| link.busy.as_ref()).map(|error| &error.message);
        let busy = no_space.into_iter().chain(busy).next();
        let why = match busy {
            Some(busy) => format!("not every replica acknowledged in time: {busy}"),
            None => "not every replica acknowledged in time".to_owned(),
        };
        for waiter in late {
            let error = gfs_types::Error::unknown(why.clone());
            out.push(Effect::Reply { token: waiter.token, result: Err(error) });
        }
        let waiters = self.flight.values().flat_map(|flight| &flight.waiters);
        let waiters = waiters.map(|(waiter, _)| waiter);
        let waiters = waiters.chain(self.syncs.iter().map(|sync| &sync.waiter));
        self.deadline = waiters.map(|waiter| waiter.deadline).min();
    }
}
