//! The clock by which leases run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant as Monotonic};

use gfs_types::time::Instant;

/// Monotonic time since the process began. Copies agree.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    /// The machine's, from here on.
    Machine(Monotonic),
    /// Whoever made it moves it: nanoseconds.
    Moved(Arc<AtomicU64>),
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(Source::Machine(Monotonic::now()))
    }

    /// A clock that shows these nanoseconds, for a simulation.
    #[must_use]
    pub fn moved(nanos: Arc<AtomicU64>) -> Self {
        Self(Source::Moved(nanos))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        let nanos = match &self.0 {
            Source::Machine(zero) => u64::try_from(zero.elapsed().as_nanos()).unwrap_or(u64::MAX),
            Source::Moved(nanos) => nanos.load(Ordering::Relaxed),
        };
        Instant { nanos }
    }

    /// How long until then; nothing if it is past.
    #[must_use]
    pub fn until(&self, then: Instant) -> Duration {
        Duration::from_nanos(then.nanos.saturating_sub(self.now().nanos))
    }
}
