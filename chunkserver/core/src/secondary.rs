//! A secondary: takes orders of one primary and applies them in serial order (mut-2).

use std::collections::BTreeMap;

use gfs_types::Error;
use gfs_types::fence::SerialNumber;
use gfs_types::limits::{CHUNK_FLIGHT_BYTES_MAX, CHUNK_MUTATIONS_MAX};
use gfs_types::marks::{Mark, hit};
use gfs_types::message::data::{DataResponse, Order, OrderKind, Target};
use gfs_types::mutants::{Mutant, runs};

use crate::effect::Effect;
use crate::input::{Peer, Token};
use crate::replica::{Replica, Role};
use crate::sequence::Sequence;

/// Orders above the applied one that are kept: a primary has no more in flight, syncs and the end counted.
pub(crate) const GAP_MAX: u64 = CHUNK_MUTATIONS_MAX as u64 + 2;

/// A member that has no space for an order tries again, and says so, in milliseconds.
const NO_SPACE_RETRY_MS: u32 = 50;

/// Whom it obeys, and which answers it owes.
#[derive(Debug)]
pub(crate) struct Secondary {
    /// The one run of the one server that ordered first under this version: a version is granted once.
    primary: Peer,
    /// Orders that are not acknowledged yet; the newest request for each.
    owed: BTreeMap<SerialNumber, Token>,
    /// The last order of the lease: nothing follows it, so that clean stays clean.
    end: Option<SerialNumber>,
    /// The primary said by an order or a notice that all members are equal: what is here is committed, and may be shown.
    pub(crate) begun: bool,
}

impl Secondary {
    fn new(primary: Peer, begun: bool) -> Self {
        Self { primary, owed: BTreeMap::new(), end: None, begun }
    }

    /// It was made equal to this primary (equal-1). Other members may not be yet.
    pub(crate) fn equal_to(primary: Peer) -> Self {
        Self::new(primary, false)
    }

    /// Whether it obeys this one.
    pub(crate) fn follows(&self, primary: Peer) -> bool {
        self.primary == primary
    }

    /// Owes an answer for an order; an older request for the same order is told that the work goes on, or what it waits for.
    fn owe(
        &mut self,
        serial: SerialNumber,
        token: Token,
        no_space: Option<&String>,
        out: &mut Vec<Effect>,
    ) {
        if let Some(older) = self.owed.insert(serial, token) {
            hit(Mark::OrderCameAgain);
            let result = Err(match no_space {
                Some(why) => Error { retry_after_ms: NO_SPACE_RETRY_MS, ..Error::busy(why) },
                None => Error::busy(format!("order {serial} is being carried out")),
            });
            out.push(Effect::Reply { token: older, result });
        }
    }

    /// Answers every order up to this one.
    pub(crate) fn acknowledge(
        &mut self,
        through: SerialNumber,
        short_of_space: bool,
        out: &mut Vec<Effect>,
    ) {
        let later = self.owed.split_off(&through.next());
        for (serial, token) in std::mem::replace(&mut self.owed, later) {
            let result = Ok(DataResponse::Applied { serial, short_of_space });
            out.push(Effect::Reply { token, result });
        }
    }

    /// Obeys no more.
    pub(crate) fn stop(self, why: &str, out: &mut Vec<Effect>) {
        for token in self.owed.into_values() {
            out.push(Effect::Reply { token, result: Err(Error::stale(why)) });
        }
    }
}

impl Replica {
    /// An order: refused, answered again, kept until its turn, or carried out.
    pub(crate) fn order(
        &mut self,
        token: Token,
        target: &Target,
        from: Peer,
        order: Order,
        has_data: bool,
        out: &mut Vec<Effect>,
    ) {
        let taken = self
            .obey(target, from, order.committed, order.committed_length, out)
            .and_then(|()| self.check(&order));
        if let Err(error) = taken {
            return out.push(Effect::Reply { token, result: Err(error) });
        }
        self.refuse_held(out);
        self.commit(order.committed, order.committed_length);
        if order.serial <= self.sequence.acknowledged() {
            hit(Mark::OrderAcknowledgedAgain);
            let (serial, short_of_space) = (order.serial, self.short_of_space);
            let result = Ok(DataResponse::Applied { serial, short_of_space });
            return out.push(Effect::Reply { token, result });
        }
        let new = order.serial > self.sequence.applied() && !self.sequence.has(order.serial);
        let kept = if new { self.keep(token, order, has_data, out) } else { Ok(()) };
        if let Err(error) = kept {
            return out.push(Effect::Reply { token, result: Err(error) });
        }
        if let Role::Secondary(secondary) = &mut self.role {
            secondary.owe(order.serial, token, self.no_space.as_ref(), out);
            secondary.end =
                secondary.end.or((order.kind == OrderKind::End).then_some(order.serial));
        }
        if self.retry.is_none() {
            self.carry_out(out);
        }
    }

    /// A notice of what is committed.
    pub(crate) fn learn_committed(
        &mut self,
        token: Token,
        target: &Target,
        from: Peer,
        serial: SerialNumber,
        length: u64,
        out: &mut Vec<Effect>,
    ) {
        let result = self.obey(target, from, serial, length, out).map(|()| {
            self.commit(serial, length);
            DataResponse::Done
        });
        out.push(Effect::Reply { token, result });
    }

    /// Whether this primary is obeyed. The first one that orders under a version binds the replica to it.
    fn obey(
        &mut self,
        target: &Target,
        from: Peer,
        committed: SerialNumber,
        committed_length: u64,
        out: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let handle = self.handle;
        let stale = |why: String| Err(Error::stale(format!("chunk {handle}: {why}")));
        if self.condition.reported().is_none() {
            return Err(self.not_here());
        }
        let its = target.version == self.promised && target.version == self.stored;
        if !its && !runs(Mutant::OtherVersionObeyed) {
            hit(Mark::OtherVersionRefused);
            return stale(format!("this replica follows version {}", self.promised));
        }
        if target.epoch < self.epoch {
            return stale(format!("version {} is of epoch {}", self.stored, self.epoch));
        }
        match &self.role {
            Role::Idle | Role::Pupil(_) => {
                hit(Mark::OrderBeforeEqual);
                stale("this replica must be made equal before it takes orders".to_owned())
            }
            Role::Primary(_) => stale("this replica is the primary itself".to_owned()),
            Role::Secondary(secondary) if secondary.primary != from => {
                let primary = secondary.primary.chunkserver;
                stale(format!("the primary of this version is chunkserver {primary}"))
            }
            Role::Secondary(secondary) if !secondary.begun => {
                self.begin_following(from, committed, committed_length, out)
            }
            Role::Secondary(_) if committed > self.sequence.acknowledged() => {
                Err(Error::internal(format!(
                    "chunk {handle}: serial {committed} is called committed, but was never acknowledged here"
                )))
            }
            Role::Secondary(_) if !self.can_be_committed(committed, committed_length) => {
                Err(Error::internal(format!(
                    "chunk {handle}: a committed length of {committed_length} cannot be: {} are known to be \
                     committed, {} are here",
                    self.committed.length, self.length
                )))
            }
            Role::Secondary(_) => Ok(()),
            Role::Ready if !self.condition.may_mutate() => {
                stale("this replica must be made equal before it takes orders".to_owned())
            }
            Role::Ready => self.begin_following(from, committed, committed_length, out),
        }
    }

    /// Whether the length may stand beside the serial: it never shrinks, and nothing is committed that is not here.
    fn can_be_committed(&self, serial: SerialNumber, length: u64) -> bool {
        serial <= self.committed.serial || (self.committed.length..=self.length).contains(&length)
    }

    /// The first order of a version, or the first notice: the primary's length at its start must be this replica's.
    fn begin_following(
        &mut self,
        from: Peer,
        committed: SerialNumber,
        committed_length: u64,
        out: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let (handle, length) = (self.handle, self.length);
        if committed != SerialNumber(0) || committed_length != length {
            return Err(Error::internal(format!(
                "chunk {handle}: the primary begins at length {committed_length}, serial {committed}; \
                 this replica has {length} bytes and must be made equal first"
            )));
        }
        self.drop_carried("another server leads since", out);
        self.equal_at_start();
        self.sequence = Sequence::default();
        self.role = Role::Secondary(Secondary::new(from, true));
        Ok(())
    }

    /// Whether an order can be one: a primary that keeps its rules sends no other.
    fn check(&self, order: &Order) -> Result<(), Error> {
        let chunk = self.settings.chunk_size.bytes();
        let fits = match order.kind {
            OrderKind::Write { offset, length, .. } => {
                length > 0 && offset.checked_add(length).is_some_and(|end| end <= chunk)
            }
            OrderKind::Pad | OrderKind::Sync => true,
            // Every mutation was committed before the end: what a clean replica holds is on all members.
            OrderKind::End => {
                order.committed.next() == order.serial && !self.sequence.has_after(order.serial)
            }
        };
        if let Role::Secondary(Secondary { end: Some(end), .. }) = self.role
            && order.serial > end
        {
            let text = format!("chunk {}: its lease ended with order {end}", self.handle);
            return Err(Error::stale(text));
        }
        if fits && order.serial > order.committed && order.committed_length <= chunk {
            return Ok(());
        }
        Err(Error::invalid(format!("chunk {}: no such order can be: {order:?}", self.handle)))
    }

    /// Keeps an order, and its bytes, until its turn.
    fn keep(
        &mut self,
        token: Token,
        order: Order,
        has_data: bool,
        out: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let (handle, serial) = (self.handle, order.serial);
        let bytes = crate::sequence::bytes(order.kind);
        let far = serial.0 - self.sequence.applied().0 > GAP_MAX;
        if far || self.sequence.waiting_bytes() + bytes > CHUNK_FLIGHT_BYTES_MAX {
            return Err(Error::busy(format!(
                "chunk {handle}: order {serial} is too far ahead of {}",
                self.sequence.applied()
            )));
        }
        if bytes > 0 {
            if !has_data {
                hit(Mark::DataAskedFor);
                let text = format!("chunk {handle}: the bytes of order {serial} are not here");
                return Err(Error::need_data(text));
            }
            out.push(Effect::Keep { token, serial });
        }
        if serial > self.sequence.applied().next() && !self.sequence.has(SerialNumber(serial.0 - 1))
        {
            hit(Mark::OrderWaited);
        }
        self.sequence.insert(order);
        Ok(())
    }
}
