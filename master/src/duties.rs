//! What a serving master does every now and then.

use std::sync::Arc;
use std::time::Duration;

use gfs_master_core::{Input, Room};
use gfs_types::limits::DISK_LOOK_MS;
use gfs_types::message::client::{Query, Request, Response};
use tokio::time::{MissedTickBehavior, interval};

use crate::driver::Inputs;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::room::Disk;

/// The core's own pace.
const TICK: Duration = Duration::from_millis(50);
/// How old the gauges of the cluster may be.
const OBSERVE: Duration = Duration::from_secs(5);

/// Tells the core that time goes by, until the driver is gone. A tick that is late is not made up.
pub(crate) async fn tick(inputs: &Inputs) {
    let mut every = interval(TICK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if inputs.send(Input::Tick).await.is_err() {
            return;
        }
    }
}

/// Tells the core when the room on the disk is another, until the driver is gone. A look at a local file system takes a
/// microsecond and waits for nothing.
pub(crate) async fn watch_disk(inputs: &Inputs, disk: &Disk, metrics: &Metrics) {
    let mut every = interval(Duration::from_millis(DISK_LOOK_MS.0));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = Room::Enough;
    loop {
        every.tick().await;
        let Ok((free_bytes, room)) = disk.look() else { continue };
        metrics.free_bytes(free_bytes);
        if room == known {
            continue;
        }
        match (&known, &room) {
            (Room::Enough, Room::Short(found)) => {
                tracing::warn!(found, "nearly no space: nothing is added to the namespace");
            }
            (Room::Enough | Room::Short(_), Room::Nothing(found)) => {
                tracing::error!(found, "no space for the operation log: nothing is changed");
            }
            (_, Room::Enough) => tracing::info!(free_bytes, "there is space again"),
            _ => {}
        }
        known = room.clone();
        if inputs.send(Input::Room(room)).await.is_err() {
            return;
        }
    }
}

/// Keeps the gauges of the cluster fresh: asks the core as any client does, until the driver is gone.
pub(crate) async fn observe(inputs: &Inputs, outbox: &Arc<Outbox>, metrics: &Metrics) {
    let (connection, mut replies) = outbox.open_client();
    let mut every = interval(OBSERVE);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for request in 0.. {
        every.tick().await;
        let (clients, chunkservers) = outbox.open();
        // One of the clients' streams is this one.
        metrics.connections(clients.saturating_sub(1), chunkservers);
        let message = Request::Query(Query::Status);
        if inputs.send(Input::Client { connection, request, message }).await.is_err() {
            return;
        }
        let Some((_, reply)) = replies.recv().await else { return };
        if let Ok(Response::Status(status)) = reply.result {
            metrics.cluster(&status);
        }
    }
}

/// Waits until this process must not serve any more; says why.
pub(crate) async fn stepped_down(outbox: &Outbox) -> String {
    let mut told = outbox.stepped_down();
    let down = told.wait_for(Option::is_some).await.map(|down| down.clone());
    match down {
        Ok(Some(down)) => format!("epoch {}, says {}", down.epoch, down.reason),
        // The outbox lives as long as the shell that waits here.
        Ok(None) | Err(_) => std::future::pending().await,
    }
}
