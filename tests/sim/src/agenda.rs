//! What is going to happen, by (time, sequence).

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A point in simulated time, in microseconds since the begin.
pub type Micros = u64;

/// Microseconds of a millisecond.
pub const MS: Micros = 1_000;
/// Microseconds of a second.
pub const SECOND: Micros = 1_000_000;

/// All that is to come.
#[derive(Debug)]
pub(crate) struct Agenda<E> {
    heap: BinaryHeap<Entry<E>>,
    sequence: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: Micros,
    sequence: u64,
    event: E,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0 }
    }
}

impl<E> Agenda<E> {
    /// Enters an event. Of two at the same time the one that was entered first comes first.
    pub(crate) fn enter(&mut self, at: Micros, event: E) {
        self.sequence += 1;
        self.heap.push(Entry { at, sequence: self.sequence, event });
    }

    /// When the next one is.
    #[must_use]
    pub(crate) fn next_at(&self) -> Option<Micros> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// The next one, if it is not later than this.
    pub(crate) fn take_until(&mut self, until: Micros) -> Option<(Micros, E)> {
        if self.next_at()? > until {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    /// The heap gives the greatest: that is the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_in_which_they_were_entered() {
        let mut agenda = Agenda::default();
        for (at, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b'), (9, 'e')] {
            agenda.enter(at, event);
        }
        let came: String = std::iter::from_fn(|| agenda.take_until(5)).map(|(_, e)| e).collect();
        assert_eq!(came, "abcd");
        assert_eq!(agenda.next_at(), Some(9));
    }
}
