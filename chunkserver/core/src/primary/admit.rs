//! Which mutations are taken, and where they go.

use gfs_types::DurationMs;
use gfs_types::fence::SerialNumber;
use gfs_types::limits::record_bytes_max;
use gfs_types::marks::{Mark, hit};
use gfs_types::message::data::{Order, OrderKind, Target};
use gfs_types::mutants::{Mutant, runs};
use gfs_types::time::Instant;
use gfs_types::{Error, ErrorKind};

use super::{Flight, Outcome, Phase, Waiter, WaitingSync};
use crate::effect::Effect;
use crate::input::{Mutation, Token};
use crate::replica::{Replica, Role};
use crate::sequence;

/// A client that is told `Busy` comes back after this: a few round trips to the members.
const BUSY_RETRY_MS: u32 = 10;

/// ... and where replicas are being made equal, after this: the last pass of a learner takes some 20 ms.
const PAUSED_RETRY_MS: u32 = 20;

/// Where a mutation goes.
pub(super) struct Placed {
    pub(super) kind: OrderKind,
    /// Length of the chunk with it, in bytes.
    pub(super) end: u64,
    pub(super) outcome: Outcome,
}

impl Replica {
    /// A client's mutation: refused, or given its place in the order and sent to everybody.
    pub(crate) fn mutate(
        &mut self,
        now: Instant,
        token: Token,
        target: &Target,
        mutation: Mutation,
        out: &mut Vec<Effect>,
    ) {
        let waits = self.is_equalising(target) && !runs(Mutant::MutatedWhileEqualising);
        if self.may_be_granted(target) || waits {
            return self.hold(now, token, *target, mutation, out);
        }
        let waiter = Waiter { token, deadline: now + DurationMs(u64::from(target.left_ms)) };
        let placed = self.may_mutate(now, target).and_then(|()| match mutation {
            Mutation::Write { offset, length, source } => {
                let end = self.place_write(offset, length)?;
                let kind = OrderKind::Write { offset, length, source };
                Ok(Some(Placed { kind, end, outcome: Outcome::Done }))
            }
            Mutation::Append { length, source } => self.place_append(length, source).map(Some),
            Mutation::Sync => Ok(None),
        });
        match placed {
            Ok(Some(placed)) => {
                self.used(now, waiter.deadline);
                self.give_serial(now, placed, vec![waiter], out);
            }
            Ok(None) => {
                self.used(now, waiter.deadline);
                self.wait_for_sync(now, waiter, out);
            }
            Err(error) if error.kind == ErrorKind::ChunkFull => self.tell_full(now, waiter, out),
            Err(error) => {
                out.push(Effect::Reply { token, result: Err(error) });
                self.ask_for_space(now, out);
            }
        }
    }

    /// Who hears that the chunk is full goes on behind it, and readers follow him there: by then nothing may be on its way that they would
    /// pass over.
    fn tell_full(&mut self, now: Instant, waiter: Waiter, out: &mut Vec<Effect>) {
        let (handle, most) = (self.handle, self.settings.pace.mutations_max);
        let Role::Primary(primary) = &mut self.role else { return };
        let of_data =
            |flight: &&mut Flight| matches!(flight.kind, OrderKind::Write { .. } | OrderKind::Pad);
        let result = match primary.flight.values_mut().rfind(of_data) {
            None => Err(full(handle)),
            Some(_) if runs(Mutant::FullTooEarly) => Err(full(handle)),
            Some(last) if last.waiters.len() >= most => {
                Err(busy(format!("chunk {handle}: {most} mutations wait already")))
            }
            Some(last) => {
                hit(Mark::FullWaited);
                last.waiters.push((waiter, Outcome::Full));
                return self.used(now, waiter.deadline);
            }
        };
        out.push(Effect::Reply { token: waiter.token, result });
    }

    /// mut-2: the primary checks lease and version; and no queue grows without bound.
    fn may_mutate(&self, now: Instant, target: &Target) -> Result<(), Error> {
        let handle = self.handle;
        let stale = |why: String| Err(Error::stale(format!("chunk {handle}: {why}")));
        let Role::Primary(primary) = &self.role else {
            return Err(self.not_primary());
        };
        if target.version != primary.version {
            return stale(format!(
                "the lease is on version {}, not {}",
                primary.version, target.version
            ));
        }
        if target.epoch < primary.epoch {
            return stale(format!("the lease is of epoch {}", primary.epoch));
        }
        let early = matches!(primary.phase, Phase::Equalising { .. })
            && runs(Mutant::MutatedWhileEqualising);
        if (primary.phase != Phase::Serving && !early) || now >= primary.until {
            return stale("its lease is ending; ask the master for a new one".to_owned());
        }
        if primary.alone {
            return Err(alone(handle));
        }
        if primary.is_frozen() && !runs(Mutant::LearnerMissesMutations) {
            return Err(paused(handle));
        }
        let most = self.settings.pace.mutations_max;
        if primary.waiting() >= most {
            return Err(busy(format!("chunk {handle}: {most} mutations wait already")));
        }
        Ok(())
    }

    fn place_write(&self, offset: u64, length: u64) -> Result<u64, Error> {
        let (handle, chunk) = (self.handle, self.settings.chunk_size.bytes());
        let end = offset.checked_add(length).filter(|end| length > 0 && *end <= chunk);
        let Some(end) = end else {
            return Err(Error::invalid(format!(
                "chunk {handle}: {length} bytes at {offset} do not lie in a chunk of {chunk} bytes"
            )));
        };
        self.room(length)?;
        Ok(self.end().max(end))
    }

    /// §3.3: at the end; or, where it does not fit, the chunk is padded on all members (by an order like any
    /// other, so that they stay equal) and the client goes on with the next chunk.
    fn place_append(
        &self,
        length: u64,
        source: gfs_types::message::data::DataSource,
    ) -> Result<Placed, Error> {
        let (handle, chunk) = (self.handle, self.settings.chunk_size.bytes());
        let record_max = record_bytes_max(chunk);
        if length == 0 || length > record_max {
            return Err(Error::invalid(format!(
                "chunk {handle}: a record of {length} bytes; 1 to {record_max} can be appended"
            )));
        }
        let offset = self.end();
        if offset == chunk {
            return Err(full(handle));
        }
        if offset + length > chunk {
            hit(Mark::ChunkPadded);
            return Ok(Placed { kind: OrderKind::Pad, end: chunk, outcome: Outcome::Full });
        }
        self.room(length)?;
        let kind = OrderKind::Write { offset, length, source };
        Ok(Placed { kind, end: offset + length, outcome: Outcome::Appended { offset } })
    }

    fn room(&self, length: u64) -> Result<(), Error> {
        self.check_space()?;
        let in_flight = match &self.role {
            Role::Primary(primary) => primary.flight_bytes,
            _ => 0,
        };
        if in_flight + length > self.settings.pace.flight_bytes_max {
            let handle = self.handle;
            return Err(busy(format!("chunk {handle}: {in_flight} bytes are in flight already")));
        }
        Ok(())
    }

    /// Where the next append goes.
    fn end(&self) -> u64 {
        match &self.role {
            Role::Primary(primary) if !runs(Mutant::AppendsOverlap) => primary.end,
            _ => self.length,
        }
    }

    fn used(&mut self, now: Instant, deadline: Instant) {
        if let Role::Primary(primary) = &mut self.role {
            primary.used = now;
            primary.idle_ms = self.settings.pace.lease_idle_ms;
            primary.deadline = Some(primary.deadline.map_or(deadline, |at| at.min(deadline)));
        }
    }

    /// The next serial: the orders leave, and the own copy is changed meanwhile.
    pub(super) fn give_serial(
        &mut self,
        now: Instant,
        placed: Placed,
        waiters: Vec<Waiter>,
        out: &mut Vec<Effect>,
    ) {
        let committed = self.committed;
        let Role::Primary(primary) = &mut self.role else { return };
        primary.last = primary.last.next();
        primary.end = placed.end;
        let serial = primary.last;
        let bytes = sequence::bytes(placed.kind);
        primary.flight_bytes += bytes;
        if let (true, Some(waiter)) = (bytes > 0, waiters.first()) {
            out.push(Effect::Keep { token: waiter.token, serial });
        }
        let Placed { kind, end, outcome } = placed;
        let waiters = waiters.into_iter().map(|waiter| (waiter, outcome)).collect();
        primary.flight.insert(serial, Flight { kind, end, waiters });
        primary.send_to_all(self.handle, serial, committed, now, out);
        self.sequence.insert(Order {
            serial,
            kind,
            committed: committed.serial,
            committed_length: committed.length,
        });
        if self.retry.is_none() {
            self.carry_out(out);
        }
    }

    /// mut-5: a sync becomes an order once everything admitted before it is committed, so that the members
    /// know, and put on disk, the committed length that covers it.
    pub(crate) fn wait_for_sync(&mut self, now: Instant, waiter: Waiter, out: &mut Vec<Effect>) {
        if let Role::Primary(primary) = &mut self.role {
            let (after, deadline) = (primary.last, waiter.deadline);
            primary.deadline = Some(primary.deadline.map_or(deadline, |at| at.min(deadline)));
            primary.syncs.push(WaitingSync { waiter, after });
        }
        self.order_sync(now, out);
    }

    /// Orders a sync for all that can share one.
    pub(super) fn order_sync(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let committed = self.committed.serial;
        let Role::Primary(primary) = &mut self.role else { return };
        if primary.sync_in_flight || !primary.syncs.iter().any(|sync| sync.after <= committed) {
            return;
        }
        let (ready, later) = std::mem::take(&mut primary.syncs)
            .into_iter()
            .partition(|sync| sync.after <= committed);
        primary.syncs = later;
        primary.sync_in_flight = true;
        let waiters = Vec::from_iter::<Vec<WaitingSync>>(ready).into_iter().map(|sync| sync.waiter);
        if waiters.len() > 1 {
            hit(Mark::SyncShared);
        }
        let placed = Placed { kind: OrderKind::Sync, end: primary.end, outcome: Outcome::Done };
        let waiters = waiters.collect();
        self.give_serial(now, placed, waiters, out);
    }

    /// The last order of the lease, when nothing else is under way: whoever carries it out is clean, and holds
    /// exactly what all members hold.
    pub(super) fn order_end(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let Role::Primary(primary) = &mut self.role else { return };
        let Phase::Closing { since, ended: false } = primary.phase else { return };
        if !primary.flight.is_empty() || !primary.syncs.is_empty() {
            return;
        }
        primary.phase = Phase::Closing { since, ended: true };
        let placed = Placed { kind: OrderKind::End, end: primary.end, outcome: Outcome::Done };
        self.give_serial(now, placed, Vec::new(), out);
    }
}

/// Replicas are being made equal.
pub(crate) fn paused(handle: gfs_types::ids::ChunkHandle) -> Error {
    let text = format!("chunk {handle}: its replicas are being made equal; try again in a moment");
    Error { retry_after_ms: PAUSED_RETRY_MS, ..Error::busy(text) }
}

/// mut-6.
fn alone(handle: gfs_types::ids::ChunkHandle) -> Error {
    let text = format!(
        "chunk {handle}: one replica is left, and another is being made equal to it first; try again in a moment"
    );
    Error { retry_after_ms: PAUSED_RETRY_MS, ..Error::busy(text) }
}

fn busy(text: String) -> Error {
    let mut error = Error::busy(text);
    error.retry_after_ms = BUSY_RETRY_MS;
    error
}

pub(super) fn full(handle: gfs_types::ids::ChunkHandle) -> Error {
    Error::chunk_full(format!("chunk {handle} is full: append to the next chunk of the file"))
}

/// The order that a mutation in flight was sent as.
pub(super) fn order_of(
    serial: SerialNumber,
    kind: OrderKind,
    committed: crate::replica::Progress,
) -> Order {
    Order { serial, kind, committed: committed.serial, committed_length: committed.length }
}
