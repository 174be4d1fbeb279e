//! The clock of one node: it has a zero and a rate of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gfs_types::time::{Instant, WallTime};

use crate::agenda::Micros;

/// In nanoseconds; its zero lies so far back that no rate brings it below 0.
#[derive(Debug, Clone)]
pub(crate) struct NodeClock {
    shown: Arc<AtomicU64>,
    /// What it showed when its rate was set, and when that was.
    from: (u64, Micros),
    /// Parts per million that it runs fast; slow when negative.
    rate_ppm: i64,
    wall_ms: u64,
}

/// The time of day at the begin: the year 2100. Later than any real clock that a formatted directory has seen.
const WALL_MS: u64 = 4_102_444_800_000;

impl NodeClock {
    /// A clock that shows `offset_ms` at the begin, and runs so fast.
    #[must_use]
    pub(crate) fn new(offset_ms: u64, rate_ppm: i64) -> Self {
        let nanos = offset_ms * 1_000_000;
        let shown = Arc::new(AtomicU64::new(nanos));
        Self { shown, from: (nanos, 0), rate_ppm, wall_ms: WALL_MS + offset_ms }
    }

    /// What the parts of the node read.
    #[must_use]
    pub(crate) fn shown(&self) -> Arc<AtomicU64> {
        self.shown.clone()
    }

    /// Sets it to this point in simulated time.
    pub(crate) fn move_to(&mut self, now: Micros) {
        self.shown.store(self.at(now), Ordering::Relaxed);
    }

    fn at(&self, now: Micros) -> u64 {
        let (nanos, since) = self.from;
        let passed = i128::from(now.saturating_sub(since)) * 1_000;
        let passed = passed + passed * i128::from(self.rate_ppm) / 1_000_000;
        nanos + u64::try_from(passed).unwrap_or(0)
    }

    /// What it shows.
    #[must_use]
    pub(crate) fn now(&self) -> Instant {
        Instant { nanos: self.shown.load(Ordering::Relaxed) }
    }

    /// The time of day by it.
    #[must_use]
    pub(crate) fn wall(&self) -> WallTime {
        WallTime { ms: self.wall_ms + self.shown.load(Ordering::Relaxed) / 1_000_000 }
    }

    /// From now on it runs so fast; whether that is another rate than before.
    pub(crate) fn run_at(&mut self, now: Micros, rate_ppm: i64) -> bool {
        self.from = (self.at(now), now);
        std::mem::replace(&mut self.rate_ppm, rate_ppm) != rate_ppm
    }

    /// The first point in simulated time at which it shows this.
    #[must_use]
    pub(crate) fn when(&self, then: Instant) -> Micros {
        let (nanos, since) = self.from;
        let local = i128::from(then.nanos.saturating_sub(nanos));
        let passed = local * 1_000_000 / i128::from(1_000_000 + self.rate_ppm);
        // Rounded down twice above and below: two microseconds later it is there for sure.
        since + u64::try_from(passed / 1_000).unwrap_or(0) + 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_clock_is_asked_to_show_it_shows_at_that_time() {
        for rate in [-50_000, -7, 0, 13, 50_000] {
            let mut clock = NodeClock::new(123, rate);
            clock.move_to(777_777);
            clock.run_at(777_777, -rate);
            for after in [0, 1, 999, 10_000_000, 123_456_789] {
                let then = Instant { nanos: clock.now().nanos + after * 1_000 };
                let when = clock.when(then);
                assert!(clock.at(when) >= then.nanos, "{rate} {after}");
                assert!(clock.at(when.saturating_sub(6)) <= then.nanos, "{rate} {after}: too late");
            }
        }
    }
}
