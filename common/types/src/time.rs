//! Time as the cores see it: handed in with every input, never read.

use std::ops::Add;

use crate::DurationMs;

/// A point on one process's own monotonic clock. Instants of two processes do not compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant {
    /// Nanoseconds since a zero that the process chose.
    pub nanos: u64,
}

impl Instant {
    /// The instant `ms` milliseconds after the zero.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self { nanos: ms.saturating_mul(1_000_000) }
    }

    /// Time from `earlier` to this, in whole milliseconds; 0 when `earlier` is later.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> DurationMs {
        DurationMs(self.nanos.saturating_sub(earlier.nanos) / 1_000_000)
    }
}

impl Add<DurationMs> for Instant {
    type Output = Self;
    fn add(self, duration: DurationMs) -> Self {
        Self { nanos: self.nanos.saturating_add(duration.0.saturating_mul(1_000_000)) }
    }
}

/// Wall-clock time: milliseconds since 1970-01-01 UTC. For people and grace periods; never for safety.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct WallTime {
    /// Milliseconds since the epoch of Unix.
    pub ms: u64,
}
