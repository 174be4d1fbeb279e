//! The words everyone shares: ids, fences, regions, limits, messages, errors, configuration.
//!
//! This crate does no I/O and knows nothing of gRPC, of frames or of files: `gfs-protocol` puts these
//! types on the wire, `gfs-durable` puts bytes on disk.

pub mod config;
pub mod error;
pub mod fence;
pub mod ids;
pub mod limits;
pub mod marks;
pub mod message;
pub mod mutants;
pub mod pace;
pub mod path;
pub mod record;
pub mod region;
mod text;
pub mod time;
pub mod topology;
mod units;

pub use error::{Error, ErrorKind};
pub use units::{ByteSize, DurationMs};
