//! What is committed, and who is told.

use gfs_types::fence::SerialNumber;
use gfs_types::limits::COMMITTED_NOTICE_MS;
use gfs_types::marks::{Mark, hit};
use gfs_types::message::control::FromChunkserver;
use gfs_types::message::data::OrderKind;
use gfs_types::mutants::{Mutant, runs};
use gfs_types::time::Instant;

use super::Flight;
use crate::effect::Effect;
use crate::replica::{Replica, Role};
use crate::sequence;

impl Replica {
    /// mut-3: committed is what this replica and every member acknowledged. Readers see it before any
    /// client is told.
    pub(crate) fn commit_acknowledged(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let own = self.sequence.acknowledged();
        let Role::Primary(primary) = &mut self.role else { return };
        let others = primary.links.values().map(|link| link.acknowledged);
        let counted = if runs(Mutant::CommittedByPrimaryAlone) { 0 } else { usize::MAX };
        let all = others.take(counted).fold(own, SerialNumber::min);
        let later = primary.flight.split_off(&all.next());
        let done = std::mem::replace(&mut primary.flight, later);
        let Some(last) = done.values().next_back() else { return };
        let length = last.end;
        primary.notice = Some(now + COMMITTED_NOTICE_MS);
        for flight in done.values() {
            primary.flight_bytes -= sequence::bytes(flight.kind);
            primary.sync_in_flight &= flight.kind != OrderKind::Sync;
        }
        let ended = done.values().any(|flight| flight.kind == OrderKind::End);
        self.commit(all, length);
        self.publish(out);
        self.answer(done.into_values(), length, out);
        out.push(Effect::Drop { through: all });
        match ended {
            true => self.lease_ended(out),
            false => {
                self.order_sync(now, out);
                self.order_end(now, out);
                self.last_pass(now, out);
            }
        }
    }

    fn answer(&self, flights: impl Iterator<Item = Flight>, length: u64, out: &mut Vec<Effect>) {
        for flight in flights {
            for (waiter, outcome) in flight.waiters {
                let result = outcome.answer(self.handle, self.stored, length);
                out.push(Effect::Reply { token: waiter.token, result });
            }
        }
    }

    /// The lease ended in order: everything is on every disk, and every member is clean.
    fn lease_ended(&mut self, out: &mut Vec<Effect>) {
        let Role::Primary(primary) = std::mem::replace(&mut self.role, Role::Idle) else { return };
        hit(Mark::LeaseEnded);
        let (handle, version, length) = (self.handle, primary.version, self.committed.length);
        out.push(Effect::ToMaster(FromChunkserver::LeaseGivenUp { handle, version, length }));
    }
}
