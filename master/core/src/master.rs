//! The master's state, and `step()`: dispatch only.

use gfs_types::DurationMs;
use gfs_types::fence::LogPosition;
use gfs_types::limits;
use gfs_types::time::{Instant, WallTime};

use crate::{Durable, Effect, Input};

/// What the shell's configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Replicas of a chunk unless a file asks otherwise.
    pub replication: u8,
    /// How long a lease runs.
    pub lease_ms: DurationMs,
    /// Time between heartbeats of a chunkserver.
    pub heartbeat_ms: DurationMs,
    /// How long a deleted file can come back.
    pub trash_grace_ms: DurationMs,
    /// `HOST:PORT` of this master's health and metrics, for `Status`.
    pub http_address: String,
    /// A number nobody can guess, drawn at start: session ids are made from it.
    pub random: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            replication: limits::REPLICATION_DEFAULT,
            lease_ms: limits::LEASE_MS,
            heartbeat_ms: limits::HEARTBEAT_MS,
            trash_grace_ms: limits::TRASH_GRACE_MS,
            http_address: String::new(),
            random: 0,
        }
    }
}

/// The whole master, as a state machine.
#[derive(Debug)]
pub struct Master {
    settings: Settings,
    durable: Durable,
}

impl Master {
    /// A master over durable state: [`Durable::blank`], or what a checkpoint and the log behind it gave.
    #[must_use]
    pub fn new(settings: Settings, durable: Durable) -> Self {
        Self { settings, durable }
    }

    /// Takes one input; pushes what has to be done, in order.
    pub fn step(&mut self, now: Instant, wall: WallTime, input: Input, out: &mut Vec<Effect>) {
        let _ = (now, wall, input, out, &self.settings);
    }

    /// The durable state, as far as it is applied (the log may lag behind it by what is not flushed).
    #[must_use]
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// The position of the last record applied.
    #[must_use]
    pub fn position(&self) -> LogPosition {
        self.durable.position()
    }
}
