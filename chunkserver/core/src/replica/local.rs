//! Carrying out the mutations of this replica's own copy, and what follows from each.

use gfs_types::fence::{ChunkVersion, SerialNumber};
use gfs_types::marks::{Mark, hit};
use gfs_types::message::data::{Order, OrderKind};
use gfs_types::mutants::{Mutant, runs};
use gfs_types::time::Instant;
use gfs_types::{Error, ErrorKind};

use super::state::{Condition, Event};
use super::{Pending, RETRY_MS, Replica, Role};
use crate::effect::{Effect, LocalWrite, StoreOp};

impl Replica {
    /// The write that was asked for last, not carried out yet, goes on with those behind it that came meanwhile and begin where it
    /// ends. Gives the last of them, to be named in [`Input::Applied`](crate::Input::Applied), and the bytes of all.
    /// Overwrites stay by themselves, and so does what found no space: it may fit alone. All have `bytes_max` at most, unless the
    /// first has more.
    pub fn join_writes(&mut self, bytes_max: u64) -> Option<(SerialNumber, u64)> {
        let joins = self.overwrites.is_empty() && self.no_space.is_none();
        self.sequence.join(if joins {
            self.settings.pace.joined_bytes_max.min(bytes_max)
        } else {
            0
        })
    }

    /// Begins the next mutation, if it is here and none is under way. The store answers a write with
    /// [`Input::Applied`](crate::Input::Applied), which comes back here.
    pub(crate) fn carry_out(&mut self, out: &mut Vec<Effect>) {
        while let Some(order) = self.sequence.next() {
            match order.kind {
                OrderKind::Write { offset, length, .. } => {
                    return self.begin_write(order.serial, offset, length, out);
                }
                OrderKind::Pad => return self.begin_pad(order.serial, out),
                OrderKind::Sync if runs(Mutant::SyncWithoutFlush) => {
                    self.sequence.finished(order.serial, false);
                }
                OrderKind::Sync => self.begin_flush(order, false, out),
                OrderKind::End => self.begin_flush(order, true, out),
            }
        }
    }

    fn begin_write(
        &mut self,
        serial: SerialNumber,
        offset: u64,
        length: u64,
        out: &mut Vec<Effect>,
    ) {
        let overwrite = offset < self.length;
        if overwrite {
            self.overwritten = true;
            self.overwrites.insert(serial, offset..self.length.min(offset + length));
            self.publish(out); // Hidden before it changes.
        }
        self.begin(serial, LocalWrite::Bytes { offset, length, overwrite }, out);
    }

    fn begin_pad(&mut self, serial: SerialNumber, out: &mut Vec<Effect>) {
        if runs(Mutant::PadOnlyThePrimary) && matches!(self.role, Role::Secondary(_)) {
            self.sequence.finished(serial, false);
            return;
        }
        let offset = self.length;
        let length = self.settings.chunk_size.bytes() - offset;
        self.begin(serial, LocalWrite::Zeros { offset, length }, out);
    }

    fn begin(&mut self, serial: SerialNumber, write: LocalWrite, out: &mut Vec<Effect>) {
        self.sequence.begun(serial);
        out.push(Effect::Apply { version: self.promised, serial, write });
    }

    /// mut-5: what is flushed names the committed length. Later mutations go on meanwhile.
    fn begin_flush(&mut self, order: Order, clean: bool, out: &mut Vec<Effect>) {
        self.sequence.finished(order.serial, true);
        let (version, serial) = (self.promised, order.serial);
        let pending = match clean {
            true => Pending::End { version, serial },
            false => Pending::Sync { version, serial },
        };
        let op = StoreOp::Flush { committed_length: self.committed.length, clean };
        self.store(op, pending, out);
    }

    /// The write under way is done, or failed.
    pub(super) fn applied(
        &mut self,
        now: Instant,
        version: ChunkVersion,
        serial: SerialNumber,
        result: Result<(), Error>,
        out: &mut Vec<Effect>,
    ) {
        assert_eq!(
            (version, Some(serial)),
            (self.promised, self.sequence.applying()),
            "a write is answered before anything but mutations happens"
        );
        match result {
            Ok(()) => {
                self.no_space = None;
                self.write_done(now, serial, out);
            }
            Err(error) if error.kind == ErrorKind::Busy => {
                hit(Mark::WriteFoundNoSpace);
                self.sequence.postponed();
                self.retry = Some(now + RETRY_MS);
                self.no_space = Some(error.message);
            }
            Err(error) => self.broken(&error.message, out),
        }
    }

    fn write_done(&mut self, now: Instant, serial: SerialNumber, out: &mut Vec<Effect>) {
        while self.sequence.applied() < serial {
            let order = self.sequence.finished(self.sequence.applied().next(), false);
            self.length = match order.map(|order| order.kind) {
                Some(OrderKind::Write { offset, length, .. }) => self.length.max(offset + length),
                Some(OrderKind::Pad) => self.settings.chunk_size.bytes(),
                _ => self.length,
            };
        }
        // A primary keeps the bytes until every member has them.
        if matches!(self.role, Role::Secondary(_)) {
            out.push(Effect::Drop { through: serial });
        }
        self.acknowledge(now, out);
        if self.retry.is_none() {
            self.carry_out(out);
        }
    }

    /// More may be acknowledged than before.
    pub(super) fn acknowledge(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let through = self.sequence.acknowledged();
        match &mut self.role {
            Role::Idle | Role::Ready | Role::Pupil(_) => {}
            Role::Secondary(secondary) => secondary.acknowledge(through, self.short_of_space, out),
            Role::Primary(_) => self.commit_acknowledged(now, out),
        }
    }

    /// Time went by.
    pub(super) fn tick(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.expire_held(now, out);
        self.expire_carried(now, out);
        if matches!(self.role, Role::Primary(_)) {
            self.primary_tick(now, out);
        }
        // Last: a write that is begun must not be followed by the end of what it belongs to.
        if self.retry.is_some_and(|at| at <= now) {
            self.retry = None;
            self.carry_out(out);
        }
    }

    /// Bad bytes were found. The replica goes on with what it does: the master is told and decides.
    pub(super) fn damaged(&mut self, why: &str, out: &mut Vec<Effect>) {
        self.drop_carried(why, out);
        if let Role::Pupil(pupil) = &mut self.role {
            pupil.doubt(out);
        }
        // A copy that is being made durable would call it good again.
        let cleared = self.pending.values().any(Pending::clears);
        let known = self.condition == Condition::Corrupt && !cleared;
        if self.condition.reported().is_some() && !known {
            self.become_after(Event::Damaged);
            self.store(StoreOp::MarkCorrupt, Pending::Corrupt, out);
        }
    }

    /// A mutation cannot be carried out here: the replica takes part in nothing more until it is repaired.
    pub(super) fn broken(&mut self, why: &str, out: &mut Vec<Effect>) {
        self.damaged(why, out);
        if let Role::Primary(primary) = &self.role {
            let version = primary.version;
            let me = crate::input::Peer {
                chunkserver: self.settings.chunkserver,
                session: self.settings.session,
            };
            self.tell_failed(version, me, why, out);
            self.give_up_at_once(version, out);
        }
        self.stop_following(why, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Input, Token};
    use crate::testing::bench::{Bench, PRIMARY, bytes, order, target};

    fn written(out: &[Effect]) -> Option<SerialNumber> {
        out.iter().rev().find_map(|effect| match effect {
            Effect::Apply { serial, .. } => Some(*serial),
            _ => None,
        })
    }

    #[test]
    fn what_found_no_space_when_joined_is_tried_alone_until_it_went_through() {
        let mut replica = Bench::newborn(2).replica;
        let (now, mut out) = (Instant::from_ms(2_000), Vec::new());
        for serial in 1..=3 {
            let order = order(serial, bytes((serial - 1) * 10, 10), 0, 0);
            let (token, has_data) = (Token(serial), true);
            let input = Input::Order { token, target: target(1), from: PRIMARY, order, has_data };
            replica.step(now, input, &mut out);
        }
        let all = Some((SerialNumber(3), 30));
        assert_eq!(replica.join_writes(u64::MAX), all);
        let applied = |serial, result| Input::Applied {
            version: ChunkVersion(1),
            serial: SerialNumber(serial),
            result,
            short_of_space: false,
        };
        replica.step(now, applied(3, Err(Error::busy("no space"))), &mut out);
        out.clear();
        replica.step(now + RETRY_MS, Input::Tick, &mut out);
        assert_eq!(written(&out), Some(SerialNumber(1)));
        assert_eq!(replica.join_writes(u64::MAX), Some((SerialNumber(1), 10)), "alone");
        replica.step(now + RETRY_MS, applied(1, Ok(())), &mut out);
        assert_eq!(written(&out), Some(SerialNumber(2)));
        assert_eq!(
            replica.join_writes(u64::MAX),
            Some((SerialNumber(3), 20)),
            "there is room again"
        );
    }
}
