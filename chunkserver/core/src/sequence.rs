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
    /// The write that was handed to the store and is not answered yet; of several that were joined the last.
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

    /// The write under way, which ends at `end`, goes on with those behind it that begin where it ends, while all together have at
    /// most so many bytes. Gives the last of them and their bytes.
    pub(crate) fn join(&mut self, bytes_max: u64) -> Option<(SerialNumber, u64)> {
        let first = self.applying?;
        let OrderKind::Write { offset, length, .. } = self.waiting.get(&first)?.kind else {
            return None;
        };
        let (mut last, mut all) = (first, length);
        while let Some(Order { kind: OrderKind::Write { offset: at, length, .. }, .. }) =
            self.waiting.get(&last.next())
            && *at == offset + all
            && all + length <= bytes_max
        {
            (last, all) = (last.next(), all + length);
        }
        self.applying = Some(last);
        Some((last, all))
    }

    /// The write under way; of several that were joined the last.
    pub(crate) fn applying(&self) -> Option<SerialNumber> {
        self.applying
    }

    /// An order that waits or is under way.
    #[cfg(test)]
    pub(crate) fn waiting(&self, serial: SerialNumber) -> Option<Order> {
        self.waiting.get(&serial).copied()
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
    fn a_write_is_joined_by_those_that_go_on_where_it_ends_and_by_no_others() {
        let write = |offset, length| OrderKind::Write {
            offset,
            length,
            source: gfs_types::message::data::DataSource::Inline,
        };
        let joined = |kinds: &[OrderKind]| {
            let mut sequence = Sequence::default();
            for (serial, kind) in (1..).zip(kinds) {
                sequence.insert(order(serial, *kind));
            }
            sequence.begun(SerialNumber(1));
            let joined = sequence.join(100);
            assert_eq!(joined.map(|(last, _)| last), sequence.applying());
            joined.map(|(last, bytes)| (last.0, bytes))
        };
        assert_eq!(joined(&[write(5, 10), write(15, 20), write(35, 1)]), Some((3, 31)));
        assert_eq!(joined(&[write(5, 10), write(16, 20)]), Some((1, 10)), "a hole between");
        assert_eq!(joined(&[write(5, 10), OrderKind::Sync, write(15, 20)]), Some((1, 10)));
        assert_eq!(joined(&[write(0, 60), write(60, 40), write(100, 1)]), Some((2, 100)));
        assert_eq!(joined(&[write(0, 60), write(60, 41)]), Some((1, 60)), "past the limit");
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
