//! The data plane (§3.2): bytes between clients and chunkservers and among chunkservers, over raw TCP frames.
//!
//! One blocking thread a connection, because the work on it is `recv`, checksum, `send`, and those block. A slow peer
//! holds up its own connection and nothing else. This module moves bytes, checks them and keeps pushed data; what is
//! done with them is decided by the driver. Plain reads never reach the driver: they are answered from the published
//! view of the replica.
//!
//! | Module | Question |
//! |---|---|
//! | `accept` | who may connect, and how many? |
//! | `guests` | how much may one peer have at once? |
//! | `handshake` | do both ends speak of the same cluster, server and run? |
//! | `connection` | what is asked, and where does it go? |
//! | `intake` | what does a request ask of the driver? |
//! | `direct` | what of all this works without sockets? |
//! | `receive` | are the bytes that came the bytes that were sent? |
//! | `pushes` | which data waits for its mutation? |
//! | `forward` | where does pushed data go next? |
//! | `seldom` | how often is a thing logged that anybody can provoke? |
//! | `replies` | how do answers get back, in whatever order? |
//! | `read` | which bytes may a reader have? |
//! | `peers` | how do a primary's orders get to its secondaries? |
//! | `copy` | which bytes of a primary does a replica here lack? |

mod accept;
mod connection;
mod copy;
mod direct;
mod forward;
mod guests;
mod handshake;
mod intake;
mod peers;
mod pool;
mod pushes;
mod read;
mod receive;
mod replies;
mod seldom;
mod socket;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use gfs_types::ids::{ClusterUid, ProcessSession, ServerUid};
use gfs_types::limits::{CONNECTIONS_MAX, FRAME_MS, HANDSHAKE_MS, PUSHED_BYTES_MAX};

pub use accept::DataPlane;
pub use copy::course::{Course, Next};
pub use direct::{Ask, Direct, Told};
pub use peers::PeerLinks;

use crate::driver::{Clock, DriverHandle};
use crate::metrics::Metrics;
use crate::store::Store;

/// Who this server is to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its cluster.
    pub cluster: ClusterUid,
    /// Itself.
    pub me: ServerUid,
    /// This run of it.
    pub session: ProcessSession,
}

/// Bounds of the data plane. The defaults are those of [`gfs_types::limits`].
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at once.
    pub connections_max: usize,
    /// Bytes of pushed data that may wait for their mutations.
    pub pushed_bytes_max: u64,
    /// Time for a new connection to say who it is.
    pub handshake: Duration,
    /// A peer that needs longer to send or take a frame is given up.
    pub stall: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            pushed_bytes_max: PUSHED_BYTES_MAX,
            handshake: Duration::from_millis(HANDSHAKE_MS.0),
            stall: Duration::from_millis(FRAME_MS.0),
        }
    }
}

/// What the data plane works with.
pub struct Parts {
    /// Who this is.
    pub identity: Identity,
    /// Its bounds.
    pub bounds: Bounds,
    /// Where reads come from.
    pub store: Arc<Store>,
    /// Where everything else goes.
    pub driver: DriverHandle,
    /// The clock that pushed data ages by.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}
