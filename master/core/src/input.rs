//! All that comes in.

use gfs_types::fence::{LogPosition, MasterEpoch};
use gfs_types::ids::ClusterUid;
use gfs_types::message::client::Request;
use gfs_types::message::control::FromChunkserver;
use gfs_types::region::ChunkSize;

use crate::room::Room;

/// One stream of one client, numbered by the shell; a number is never used for another stream of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection(pub u64);

/// One stream of one chunkserver, numbered by the shell; a number is never used for another stream of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link(pub u64);

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A blank master becomes the first of this cluster. Changes nothing on one that is formatted for it already.
    Format {
        /// The cluster.
        cluster: ClusterUid,
        /// Bytes of its chunks, for ever.
        chunk_size: ChunkSize,
    },
    /// The configuration record names this process the primary master, with this epoch: serve.
    /// Once after a start, when the log is replayed; before it every request is answered `Busy`.
    Serve {
        /// Not lower than any epoch in the log.
        epoch: MasterEpoch,
    },
    /// A client asks.
    Client {
        /// Over this stream.
        connection: Connection,
        /// The stream's own number of the request; the reply names it.
        request: u64,
        /// What it asks.
        message: Request,
    },
    /// The stream ended; nobody waits for its replies any more.
    ClientGone {
        /// Which one.
        connection: Connection,
    },
    /// A chunkserver tells something.
    Chunkserver {
        /// Over this stream.
        link: Link,
        /// What it tells.
        message: FromChunkserver,
    },
    /// The stream ended: of the chunkserver's process nothing is known but that.
    ChunkserverGone {
        /// Which one.
        link: Link,
    },
    /// Time went by: about every 50 ms. Leases, silent chunkservers, raises, sessions, the trash.
    Tick,
    /// The room on the master's own disk is another now.
    Room(Room),
    /// A checkpoint that holds everything up to this position is durable.
    CheckpointDone(LogPosition),
}
