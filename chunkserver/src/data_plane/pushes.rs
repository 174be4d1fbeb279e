//! Pushed data that waits for its mutation: the bytes. How much and how long is the core's to say.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gfs_chunkserver_core::buffer::PushBuffer;
use gfs_types::Error;
use gfs_types::ids::DataId;
use gfs_types::limits::FRAME_BYTES_MAX;

use super::pool::{Pool, memory};
use crate::driver::Clock;
use crate::metrics::Metrics;
use crate::store::{Part, Payload};

/// Less counts as so much: a name takes room too, however little it names.
const LEAST_BYTES: usize = 4 << 10;

#[derive(Debug)]
struct Held {
    book: PushBuffer,
    /// `None`: announced, still on its way.
    parts: BTreeMap<DataId, Option<Part>>,
}

/// The pushed data of a server.
#[derive(Debug)]
pub(super) struct Pushes {
    held: Mutex<Held>,
    clock: Clock,
    metrics: Arc<Metrics>,
    /// Where the buffers come from.
    pub pool: Arc<Pool>,
}

impl Pushes {
    pub(super) fn new(bytes_max: u64, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let held = Held { book: PushBuffer::new(bytes_max), parts: BTreeMap::new() };
        Self { held: Mutex::new(held), clock, metrics, pool: Arc::default() }
    }

    /// Takes a place for data that is about to come.
    pub(super) fn announce(&self, data: DataId, bytes: usize) -> Result<(), Error> {
        let mut held = self.lock();
        self.drop_aged(&mut held);
        held.parts.remove(&data);
        held.book.hold(self.clock.now(), data, memory(bytes).max(LEAST_BYTES) as u64)?;
        held.parts.insert(data, None);
        self.metrics.push_buffer(held.book.bytes());
        Ok(())
    }

    /// It came and verified.
    pub(super) fn arrived(&self, data: DataId, part: Part) {
        self.metrics.pushed(part.length());
        if let Some(place) = self.lock().parts.get_mut(&data) {
            *place = Some(part);
        }
    }

    /// It did not come.
    pub(super) fn failed(&self, data: DataId) {
        self.release(data, 1);
    }

    /// The data of a mutation, if all of it is here: pushed in full frames and a rest under consecutive names.
    pub(super) fn find(&self, data: DataId, length: u64) -> Option<Payload> {
        let held = self.lock();
        let mut parts = Vec::new();
        let mut left = length;
        while left > 0 || parts.is_empty() {
            let seq = data.seq.checked_add(parts.len() as u64)?;
            let part = held.parts.get(&DataId { seq, ..data })?.as_ref()?;
            if part.length() != left.min(FRAME_BYTES_MAX) {
                return None;
            }
            left -= part.length();
            parts.push(part.clone());
        }
        Some(parts.into())
    }

    /// The mutation took effect: its data is not needed here any more.
    pub(super) fn used(&self, data: DataId, length: u64) {
        self.release(data, length.div_ceil(FRAME_BYTES_MAX));
    }

    /// Drops what nobody used in time.
    pub(super) fn tidy(&self) {
        self.drop_aged(&mut self.lock());
    }

    fn release(&self, data: DataId, count: u64) {
        let mut held = self.lock();
        for index in 0..count {
            let data = DataId { seq: data.seq.wrapping_add(index), ..data };
            held.book.release(data);
            held.parts.remove(&data);
        }
        self.metrics.push_buffer(held.book.bytes());
    }

    fn drop_aged(&self, held: &mut Held) {
        for data in held.book.aged(self.clock.now()) {
            held.parts.remove(&data);
        }
        self.metrics.push_buffer(held.book.bytes());
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn pushes(bytes_max: u64) -> Pushes {
        let metrics = Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap());
        Pushes::new(bytes_max, Clock::start(), metrics)
    }

    fn push(pushes: &Pushes, seq: u64, length: u64) {
        let data = DataId { client: 1, seq };
        let bytes = usize::try_from(length).unwrap();
        pushes.announce(data, bytes).unwrap();
        assert_eq!(pushes.find(data, length), None, "announced is not there yet");
        pushes.arrived(data, Part::compute(Bytes::from(vec![1; bytes]), 0));
    }

    #[test]
    fn long_data_is_found_when_all_its_parts_are_here() {
        let pushes = pushes(64 << 20);
        let data = DataId { client: 1, seq: 5 };
        push(&pushes, 5, FRAME_BYTES_MAX);
        push(&pushes, 6, FRAME_BYTES_MAX);
        let length = 2 * FRAME_BYTES_MAX + 10;
        assert_eq!(pushes.find(data, length), None);
        push(&pushes, 7, 10);
        assert_eq!(pushes.find(data, length).unwrap().length(), length);
        assert_eq!(pushes.find(data, length + 1), None);
        assert_eq!(pushes.find(data, FRAME_BYTES_MAX).unwrap().length(), FRAME_BYTES_MAX);
        pushes.used(data, length);
        assert_eq!(pushes.lock().book.bytes(), 0);
        assert!(pushes.lock().parts.is_empty());
    }

    #[test]
    fn the_buffer_is_full_at_its_limit_and_says_when_to_come_again() {
        let pushes = pushes(2 * FRAME_BYTES_MAX);
        push(&pushes, 1, FRAME_BYTES_MAX);
        push(&pushes, 2, FRAME_BYTES_MAX);
        let error = pushes.announce(DataId { client: 1, seq: 3 }, 0).unwrap_err();
        assert_eq!(error.kind, gfs_types::ErrorKind::Busy);
        assert!(error.retry_after_ms > 0);
        pushes.failed(DataId { client: 1, seq: 2 });
        push(&pushes, 3, 1);
    }
}
