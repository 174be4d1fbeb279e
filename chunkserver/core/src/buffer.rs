//! Pushed data that waits for its mutation: how much may be held, and for how long. The bytes themselves are
//! with the shell.

use std::collections::{BTreeMap, BTreeSet};

use gfs_types::ids::DataId;
use gfs_types::limits::PUSHED_AGE_MS;
use gfs_types::time::Instant;
use gfs_types::{DurationMs, Error};

/// Which data is held.
#[derive(Debug, Clone)]
pub struct PushBuffer {
    bytes_max: u64,
    bytes: u64,
    held: BTreeMap<DataId, (Instant, u64)>,
    by_age: BTreeSet<(Instant, DataId)>,
}

impl PushBuffer {
    /// A buffer for so many bytes.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes: 0, held: BTreeMap::new(), by_age: BTreeSet::new() }
    }

    /// Takes a place for data. The same name takes the place of what it named before.
    ///
    /// # Errors
    /// `Busy` when there is no room: the data is not held.
    pub fn hold(&mut self, now: Instant, data: DataId, bytes: u64) -> Result<(), Error> {
        self.release(data);
        if self.bytes + bytes > self.bytes_max {
            let mut error =
                Error::busy(format!("{} bytes of pushed data wait already", self.bytes));
            error.retry_after_ms = 50;
            return Err(error);
        }
        self.bytes += bytes;
        self.held.insert(data, (now, bytes));
        self.by_age.insert((now, data));
        Ok(())
    }

    /// The data was used, or is not wanted any more. Whether it was held.
    pub fn release(&mut self, data: DataId) -> bool {
        let Some((at, bytes)) = self.held.remove(&data) else { return false };
        self.bytes -= bytes;
        self.by_age.remove(&(at, data))
    }

    /// Data that nobody used in time; it is not held any more.
    pub fn aged(&mut self, now: Instant) -> Vec<DataId> {
        let mut aged = Vec::new();
        while let Some((at, data)) = self.by_age.first().copied() {
            if at + PUSHED_AGE_MS > now {
                break;
            }
            self.release(data);
            aged.push(data);
        }
        aged
    }

    /// When [`PushBuffer::aged`] has something to say.
    #[must_use]
    pub fn wakeup(&self) -> Option<Instant> {
        self.by_age.first().map(|(at, _)| *at + PUSHED_AGE_MS)
    }

    /// Bytes that are held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How long the oldest was held.
    #[must_use]
    pub fn oldest_age(&self, now: Instant) -> DurationMs {
        self.by_age.first().map_or(DurationMs(0), |(at, _)| now.ms_since(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seq: u64) -> DataId {
        DataId { client: 1, seq }
    }

    #[test]
    fn the_limit_is_allowed_and_one_byte_more_is_not() {
        let mut buffer = PushBuffer::new(100);
        let now = Instant::from_ms(1);
        assert_eq!(buffer.hold(now, id(1), 100), Ok(()));
        assert!(buffer.hold(now, id(2), 1).is_err());
        assert_eq!(buffer.hold(now, id(1), 99), Ok(()), "the same name replaces what it named");
        assert_eq!(buffer.hold(now, id(2), 1), Ok(()));
        assert_eq!(buffer.bytes(), 100);
        assert!(buffer.release(id(1)) && !buffer.release(id(1)));
        assert_eq!(buffer.bytes(), 1);
    }

    #[test]
    fn what_nobody_used_ages_out_oldest_first() {
        let mut buffer = PushBuffer::new(100);
        buffer.hold(Instant::from_ms(20), id(1), 10).unwrap();
        buffer.hold(Instant::from_ms(10), id(2), 10).unwrap();
        let due = buffer.wakeup().unwrap();
        assert_eq!(due, Instant::from_ms(10) + PUSHED_AGE_MS);
        assert_eq!(buffer.aged(Instant::from_ms(9) + PUSHED_AGE_MS), []);
        assert_eq!(buffer.aged(due), [id(2)]);
        assert_eq!(buffer.aged(due + DurationMs(10)), [id(1)]);
        assert_eq!((buffer.bytes(), buffer.wakeup()), (0, None));
    }
}
