//! The mutations of one version as they are carried out here: in serial order, one write at a time.
//!
//! Used by the primary for its own copy and by every secondary. What waits for an earlier serial is kept;
//! a sync lets later writes pass, but nothing after it is acknowledged before its flush is done, so that
//! an acknowledgement of `n` stands for everything up to `n`.

use std::collections::{BTreeMap, BTreeSet};

use gfs_types::fence::SerialNumber;
use gfs_types::message::data::{Order, OrderKind};

/// What is applied and what waits, for one version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// Everything up to here is applied.
    applied: SerialNumber,
    /// The write that was handed to the store and is not answered yet.
    applying: Option<SerialNumber>,
    /// Orders above `applied` that are here; those above a gap wait.
    waiting: BTreeMap<SerialNumber, Order>,
    /// Bytes of those.
    waiting_bytes: u64,
    /// Applied syncs whose flush is not done.
    flushing: BTreeSet<SerialNumber>,
}

impl Sequence {
    /// Everything up to here is applied.
    pub(crate) fn applied(&self) -> SerialNumber {
        self.applied
    }

    /// Everything up to here is applied, and flushed where a sync asked for it.
    pub(crate) fn acknowledged(&self) -> SerialNumber {
        match self.flushing.first() {
            Some(first) => SerialNumber(first.0 - 1),
            None => self.applied,
        }
    }

    /// Takes an order that is above `applied`. A second one with the same serial changes nothing.
    pub(crate) fn insert(&mut self, order: Order) {
        debug_assert!(order.serial > self.applied, "an applied order is not taken again");
        if self.waiting.insert(order.serial, order).is_none() {
            self.waiting_bytes += bytes(order.kind);
        }
    }

    /// Bytes of the orders that wait or are being applied.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// Whether this serial is here, waiting or being applied.
    pub(crate) fn has(&self, serial: SerialNumber) -> bool {
        self.waiting.contains_key(&serial)
    }

    /// Whether a later one is here.
    pub(crate) fn has_after(&self, serial: SerialNumber) -> bool {
        self.waiting.last_key_value().is_some_and(|(last, _)| *last > serial)
    }

    /// The next order to carry out, if it is here and no write is under way. It stays until
    /// [`Sequence::finished`].
    pub(crate) fn next(&self) -> Option<Order> {
        if self.applying.is_some() {
            return None;
        }
        self.waiting.get(&self.applied.next()).copied()
    }

    /// A write was handed to the store.
    pub(crate) fn begun(&mut self, serial: SerialNumber) {
        self.applying = Some(serial);
    }

    /// The write under way could not be done now; it stays the next one.
    pub(crate) fn postponed(&mut self) {
        self.applying = None;
    }

    /// The order is applied. `flushes`: it is acknowledged only after [`Sequence::flushed`].
    pub(crate) fn finished(&mut self, serial: SerialNumber, flushes: bool) -> Option<Order> {
        assert_eq!(serial, self.applied.next(), "mutations are applied in serial order (mut-2)");
        self.applying = None;
        self.applied = serial;
        if flushes {
            self.flushing.insert(serial);
        }
        let order = self.waiting.remove(&serial)?;
        self.waiting_bytes -= bytes(order.kind);
        Some(order)
    }

    /// The flush of this sync is done.
    pub(crate) fn flushed(&mut self, serial: SerialNumber) {
        self.flushing.remove(&serial);
    }
}

/// Bytes that must come with an order.
pub(crate) fn bytes(kind: OrderKind) -> u64 {
    match kind {
        OrderKind::Write { length, .. } => length,
        OrderKind::Pad | OrderKind::Sync | OrderKind::End => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(serial: u64, kind: OrderKind) -> Order {
        let committed = SerialNumber(0);
        Order { serial: SerialNumber(serial), kind, committed, committed_length: 0 }
    }

    #[test]
    fn orders_are_applied_in_serial_order_one_at_a_time() {
        let mut sequence = Sequence::default();
        sequence.insert(order(2, OrderKind::Pad));
        assert_eq!(sequence.next(), None, "serial 1 is missing");
        sequence.insert(order(1, OrderKind::Pad));
        assert_eq!(sequence.next().map(|next| next.serial), Some(SerialNumber(1)));
        sequence.begun(SerialNumber(1));
        assert_eq!(sequence.next(), None, "one write at a time");
        sequence.finished(SerialNumber(1), false);
        assert_eq!(sequence.next().map(|next| next.serial), Some(SerialNumber(2)));
    }

    #[test]
    fn nothing_after_a_sync_is_acknowledged_before_its_flush() {
        let mut sequence = Sequence::default();
        for serial in 1..=3 {
            sequence
                .insert(order(serial, if serial == 2 { OrderKind::Sync } else { OrderKind::Pad }));
            sequence.finished(SerialNumber(serial), serial == 2);
        }
        assert_eq!(sequence.applied(), SerialNumber(3));
        assert_eq!(sequence.acknowledged(), SerialNumber(1));
        sequence.flushed(SerialNumber(2));
        assert_eq!(sequence.acknowledged(), SerialNumber(3));
    }

    #[test]
    #[should_panic(expected = "serial order")]
    fn a_serial_that_is_not_the_next_cannot_be_applied() {
        Sequence::default().finished(SerialNumber(2), false);
    }
}
