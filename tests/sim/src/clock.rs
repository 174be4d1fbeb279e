//! The clock of one node: it has a zero and a rate of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gfs_types::time::{Instant, WallTime};

use crate::agenda::{MS, Micros, SECOND};
use crate::net::Who;
use crate::world::{Event, World};

/// A smaller error is felt by nobody in a world of a minute and a half.
const FELT_PPM: u64 = 1_000;
/// So much faster a wild clock runs at most, and so much slower.
const TWICE_PPM: u64 = 1_000_000;
const HALF_PPM: u64 = 500_000;
/// Longer than any lease.
const JUMP_MAX: Micros = 30 * SECOND;

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

    /// From one moment to the next it shows so much more.
    fn jump(&mut self, now: Micros, by: Micros) {
        self.from = (self.at(now) + by * 1_000, now);
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

impl World {
    /// The clock of a node runs at another rate, or it jumps where clocks are wild. Says whether anybody could notice.
    pub(crate) fn change_rate(&mut self) -> bool {
        let node = self.node_to_harm();
        let most = self.swarm.rate_ppm.max(1);
        let ppm = i64::try_from(self.weather.random.below(2 * most + 1)).unwrap_or(0);
        let ppm = ppm - i64::try_from(most).unwrap_or(0);
        match (self.swarm.wild_clocks, self.weather.random.percent(30)) {
            (true, true) => self.jump(node),
            (true, false) => {
                let ppm = self.weather.random.between(0, TWICE_PPM + HALF_PPM);
                let ppm = i64::try_from(ppm).unwrap_or(0) - i64::try_from(HALF_PPM).unwrap_or(0);
                self.run_at(node, ppm)
            }
            (false, _) => self.run_at(node, ppm),
        }
    }

    fn run_at(&mut self, node: Who, ppm: i64) -> bool {
        self.note(format_args!("the clock of {node} runs at {ppm} ppm"));
        let now = self.now;
        let changed = self.clock_of(node).is_some_and(|clock| clock.run_at(now, ppm));
        changed && ppm.unsigned_abs() >= FELT_PPM
    }

    fn jump(&mut self, node: Who) -> bool {
        let by = self.weather.random.between(1, JUMP_MAX / MS) * MS;
        self.note(format_args!("the clock of {node} jumps by {by} us"));
        let now = self.now;
        if let Some(clock) = self.clock_of(node) {
            clock.jump(now, by);
        }
        // What it waits for may be due now.
        if let Who::Server(number) = node {
            let run = self.servers[number].run;
            self.agenda.enter(now, Event::ServerWork(number, run));
        }
        true
    }

    fn clock_of(&mut self, node: Who) -> Option<&mut NodeClock> {
        match node {
            Who::Master => Some(&mut self.master.clock),
            Who::Server(number) => Some(&mut self.servers[number].clock),
            Who::Client(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_clock_is_asked_to_show_it_shows_at_that_time() {
        for rate in [-500_000, -50_000, -7, 0, 13, 50_000, 500_000] {
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
