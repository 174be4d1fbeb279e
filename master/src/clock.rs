//! The only place of the master that reads a clock.

use std::time::{SystemTime, UNIX_EPOCH};

use gfs_types::time::{Instant, WallTime};

/// The process's clocks, as the core is handed them.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// A clock whose zero is now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }

    /// The monotonic time since the zero.
    #[must_use]
    pub fn now(&self) -> Instant {
        let nanos = self.start.elapsed().as_nanos();
        Instant { nanos: u64::try_from(nanos).unwrap_or(u64::MAX) }
    }

    /// The time of day; 0 on a machine whose clock stands before 1970.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime { ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_does_not_go_back_and_the_wall_clock_is_of_this_century() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(clock.now() >= first);
        assert!(clock.wall().ms > 1_500_000_000_000);
    }
}
