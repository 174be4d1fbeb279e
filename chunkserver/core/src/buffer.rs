//! Pushed data that waits for its mutation: how much may be held, and for how long. The bytes themselves are
//! with the shell.
//!
//! The first half is for whoever comes. The third quarter is divided equally among the clients that hold something, so
//! that one of them cannot shut the others out. The last is for the client whose data has waited longest: records of
//! many frames that are all here in part would otherwise wait for one another.

use std::collections::{BTreeMap, BTreeSet};

use gfs_types::ids::DataId;
use gfs_types::limits::{FRAME_BYTES_MAX, PUSHED_AGE_MS};
use gfs_types::time::Instant;
use gfs_types::{DurationMs, Error};

/// Which data is held.
#[derive(Debug, Clone)]
pub struct PushBuffer {
    bytes_max: u64,
    bytes: u64,
    held: BTreeMap<DataId, (Instant, u64)>,
    by_age: BTreeSet<(Instant, DataId)>,
    by_client: BTreeMap<u64, u64>,
}

impl PushBuffer {
    /// A buffer for so many bytes.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            held: BTreeMap::new(),
            by_age: BTreeSet::new(),
            by_client: BTreeMap::new(),
        }
    }

    /// Takes a place for data. The same name takes the place of what it named before, and its age.
    ///
    /// # Errors
    /// `Busy` when there is no room: the data is not held.
    pub fn hold(&mut self, now: Instant, data: DataId, bytes: u64) -> Result<(), Error> {
        let at = self.held.get(&data).map_or(now, |(at, _)| *at);
        // Asked before it is let go: who replaces the oldest data still has it.
        let is_oldest = self.by_age.first().is_none_or(|(_, first)| first.client == data.client);
        self.release(data);
        if self.bytes + bytes > self.room(data.client, bytes, is_oldest) {
            let mut error =
                Error::busy(format!("{} bytes of pushed data wait already", self.bytes));
            error.retry_after_ms = 50;
            return Err(error);
        }
        self.bytes += bytes;
        self.held.insert(data, (at, bytes));
        self.by_age.insert((at, data));
        *self.by_client.entry(data.client).or_default() += bytes;
        Ok(())
    }

    /// How full the buffer may be with so many bytes more of this client.
    fn room(&self, client: u64, bytes: u64, is_oldest: bool) -> u64 {
        let mine = self.by_client.get(&client).copied().unwrap_or(0);
        let clients = self.by_client.len() as u64 + u64::from(mine == 0);
        let part = (self.bytes_max / 4 / clients).max(FRAME_BYTES_MAX);
        match () {
            () if is_oldest => self.bytes_max,
            () if mine + bytes <= part => self.bytes_max / 4 * 3,
            () => self.bytes_max / 2,
        }
    }

    /// The data was used, or is not wanted any more. Whether it was held.
    pub fn release(&mut self, data: DataId) -> bool {
        let Some((at, bytes)) = self.held.remove(&data) else { return false };
        self.bytes -= bytes;
        if let Some(mine) = self.by_client.get_mut(&data.client) {
            *mine -= bytes;
            if *mine == 0 {
                self.by_client.remove(&data.client);
            }
        }
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

    /// Frames that a client gets in, one after the other.
    fn fill(buffer: &mut PushBuffer, client: u64, at_most: u64) -> u64 {
        let now = Instant::from_ms(client);
        let hold =
            |seq: &u64| buffer.hold(now, DataId { client, seq: *seq }, FRAME_BYTES_MAX).is_ok();
        (0..at_most).take_while(hold).count() as u64
    }

    #[test]
    fn a_client_that_pushes_without_end_leaves_the_others_their_part() {
        let mut buffer = PushBuffer::new(256 * FRAME_BYTES_MAX);
        assert_eq!(fill(&mut buffer, 1, 10), 10, "the oldest data is that of the first");
        assert_eq!(fill(&mut buffer, 2, 1_000), 118, "all that is left of the first half");
        assert_eq!(fill(&mut buffer, 3, 1_000), 64 / 3, "its part");
        assert_eq!(fill(&mut buffer, 4, 1_000), 64 / 4, "its part");
        for client in 5.. {
            if fill(&mut buffer, client, 1) == 0 {
                break;
            }
        }
        assert_eq!(buffer.bytes(), 192 * FRAME_BYTES_MAX, "one frame each, then the rest is kept");
        assert_eq!(fill(&mut buffer, 2, 1), 0, "not even what it had before");
    }

    #[test]
    fn records_of_many_frames_do_not_wait_for_one_another() {
        let mut buffer = PushBuffer::new(64 * FRAME_BYTES_MAX);
        let mut unfinished: BTreeSet<u64> = (1..=40).collect();
        for client in 1..=40 {
            fill(&mut buffer, client, 1);
        }
        while let Some(client) =
            unfinished.iter().copied().find(|&client| fill(&mut buffer, client, 16) == 16)
        {
            unfinished.remove(&client);
            (0..16).for_each(|seq| assert!(buffer.release(DataId { client, seq })));
        }
        assert_eq!(unfinished, BTreeSet::new());
        assert_eq!((buffer.bytes(), buffer.by_client.len()), (0, 0));
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
