//! The stream to the master: registers, reports what is here, sends heartbeats, and brings commands to the driver.
//!
//! Runs on a thread of its own, so that nothing the disk or the data plane does can delay a heartbeat. Tries for
//! ever: while no master answers, leases go on until they end, and reads are served.

mod addresses;
mod conversation;
mod obeyed;
mod stream;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gfs_chunkserver_core::report::Holdings;
use gfs_telemetry::Health;
use gfs_types::ids::{ClusterUid, ProcessSession, ServerUid};
use gfs_types::message::control::FromChunkserver;
use gfs_types::topology::Topology;
use tokio::sync::{mpsc, watch};

pub use conversation::{Conversation, Ended};
pub use obeyed::{Obeyed, ObeyedError};
pub use stream::{Introduction, introduce};

use crate::driver::{Clock, DriverHandle, Outbox};
use crate::metrics::Metrics;
use crate::store::Store;

/// Messages to the master that wait for the stream.
const OUTBOX_MAX: usize = 16 << 10;
/// Between two rounds over all masters: first and longest. A master that is back has no use before the chunkservers are:
/// the longest must leave most of the 2 s in which appends go on again.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(400));

/// Who this server is, as it registers.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The cluster; `None` while blank.
    pub cluster: Option<ClusterUid>,
    /// Itself.
    pub chunkserver: ServerUid,
    /// This run of it.
    pub session: ProcessSession,
    /// `HOST:PORT` of its data plane, as others reach it.
    pub address: String,
    /// `HOST:PORT` of its health and metrics.
    pub http_address: String,
    /// Where it stands.
    pub topology: Topology,
}

/// All that the link needs.
pub struct Parts {
    /// `HOST:PORT` of the masters.
    pub masters: Vec<String>,
    /// Who this is.
    pub identity: Identity,
    /// The epoch fence, and its place on disk.
    pub obeyed: Obeyed,
    /// Where commands go.
    pub driver: DriverHandle,
    /// What is reported.
    pub holdings: Arc<Mutex<Holdings>>,
    /// For the space of the disk.
    pub store: Arc<Store>,
    /// The clock by which leases run.
    pub clock: Clock,
    /// Ready while registered.
    pub health: Health,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// What the thread has of it.
struct Linked {
    masters: Vec<String>,
    conversation: Conversation,
    store: Arc<Store>,
    clock: Clock,
    health: Health,
    metrics: Arc<Metrics>,
}

impl Parts {
    fn link(self) -> Linked {
        let Self { masters, identity, obeyed, driver, holdings, store, clock, health, metrics } =
            self;
        let conversation = Conversation::new(identity, obeyed, driver, holdings);
        Linked { masters, conversation, store, clock, health, metrics }
    }
}

/// The way out for the driver's messages, and the queue behind it.
#[must_use]
pub fn outbox() -> (Outbox, mpsc::Receiver<FromChunkserver>) {
    let (sender, receiver) = mpsc::channel(OUTBOX_MAX);
    let outbox = move |message| {
        if sender.try_send(message).is_err() {
            tracing::warn!("a message to the master is dropped: {OUTBOX_MAX} wait already");
        }
    };
    (Box::new(outbox), receiver)
}

/// The running link.
pub struct MasterLink {
    end: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

impl MasterLink {
    /// Starts it.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be had.
    pub fn start(parts: Parts, outbox: mpsc::Receiver<FromChunkserver>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = watch::channel(false);
        let thread =
            std::thread::Builder::new().name("master-link".to_owned()).spawn(move || {
                runtime.block_on(run(parts.link(), outbox, ended));
                // A name server that is silent holds a thread for minutes.
                runtime.shutdown_background();
            })?;
        Ok(Self { end, thread })
    }

    /// Sends what waits, ends the stream, and returns when that is done or takes too long.
    pub fn stop(self) {
        // The thread is gone only when it panicked.
        let _ = self.end.send(true);
        if self.thread.join().is_err() {
            tracing::error!("the link to the master panicked");
        }
    }
}

async fn run(
    mut parts: Linked,
    mut outbox: mpsc::Receiver<FromChunkserver>,
    mut ended: watch::Receiver<bool>,
) {
    let mut wait = BACK_OFF.0;
    while !*ended.borrow() {
        let mut served = false;
        let masters = tokio::select! {
            masters = addresses::resolve(&parts.masters) => masters,
            _ = ended.wait_for(|ended| *ended) => return,
        };
        for master in masters {
            if *ended.borrow() {
                return;
            }
            let outcome = stream::serve(&mut parts, &master, &mut outbox, &mut ended).await;
            parts.metrics.registered(false);
            parts.health.not_ready("not registered with a master");
            match outcome {
                Ok(()) => return,
                Err(broken) => {
                    tracing::info!(%master, reason = %broken.why, registered = broken.registered,
                        "the stream to the master ended");
                    served |= broken.registered;
                }
            }
        }
        wait = if served { BACK_OFF.0 } else { (wait * 2).min(BACK_OFF.1) };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = ended.changed() => {}
        }
    }
}
