//! Requests and replies as plain structs: what the cores understand and `gfs-protocol` puts on the wire.
//!
//! [`client`]: a client and the master. [`control`]: a chunkserver and the master. [`data`]: the data plane,
//! between clients and chunkservers and among chunkservers.

pub mod client;
pub mod control;
pub mod data;
