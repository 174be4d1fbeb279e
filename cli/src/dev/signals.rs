//! The signals that end `gfs dev`.

use rustix::process::Signal;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use crate::failure::{Context, Result};

/// SIGINT and SIGTERM, both meaning: end in order.
pub(super) struct Signals {
    interrupt: SignalStream,
    terminate: SignalStream,
}

impl Signals {
    pub(super) fn install() -> Result<Self> {
        let failed = || "cannot listen for signals";
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).during(failed)?,
            terminate: signal(SignalKind::terminate()).during(failed)?,
        })
    }

    /// The next one. Cancel safe.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
        }
    }
}
