//! The clock by which leases run.

use std::time::{Duration, Instant as Monotonic};

use gfs_types::time::Instant;

/// Monotonic time since the process began. Copies agree.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    zero: Monotonic,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { zero: Monotonic::now() }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant { nanos: u64::try_from(self.zero.elapsed().as_nanos()).unwrap_or(u64::MAX) }
    }

    /// How long until then; nothing if it is past.
    #[must_use]
    pub fn until(&self, then: Instant) -> Duration {
        Duration::from_nanos(then.nanos.saturating_sub(self.now().nanos))
    }
}
