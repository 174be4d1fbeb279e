//! The client library of GFS: what runs inside the programs that use the file system.
//!
//! ```no_run
//! # async fn example() -> gfs_client::Result<()> {
//! let client = gfs_client::Client::from_env().await?; // GFS_MASTERS=host:port,…
//! let mut upload = client.upload("/greeting", Default::default()).await?;
//! upload.write("hello").await?;
//! upload.finish().await?;
//! let file = client.open("/greeting").await?;
//! assert_eq!(file.read_at(0, 5).await?, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! It asks the master where things are and talks to chunkservers for the bytes (§2.4 of the GFS paper). It keeps no
//! file data (§2.3), only locations and leases. Every byte that is handed out was checked against the checksum that
//! was stored with it.
//!
//! It knows nothing of how a server decides or stores anything: only of the messages in `gfs-types` and their shape
//! on the wire in `gfs-protocol`.
//!
//! # Errors and time
//! Every call ends within [`Options::timeout`] (an operation over many chunks: that time without any progress).
//! [`Error::kind`] says what to do next; `Unknown` means that the change may or may not have happened.
//!
//! # Cancelling
//! Dropping a future gives up waiting, no more. Reads and questions leave nothing behind; a change that was
//! already sent may still happen. Calls say so where there is more to know.

mod client;
mod data_link;
mod engine;
mod error;
mod file;
mod listing;
mod locations;
mod master_link;
#[doc(hidden)]
pub mod network;
mod op;
mod options;
mod push;
mod random;
mod reader;
pub mod record;
mod records;
mod replica;
mod retry;
mod sync;
mod upload;
mod writer;

pub use client::Client;
pub use error::{Error, Result};
pub use file::File;
pub use gfs_types::ErrorKind;
pub use gfs_types::fence::ChunkVersion;
pub use gfs_types::ids::{ChunkHandle, FileId};
pub use gfs_types::message::client::{
    Attributes, ChunkLocation, ChunkserverStatus, ClusterStatus, Entry, EntryKind, FileLocations,
    ReplicaLocation, TrashEntry,
};
pub use gfs_types::message::data::ReplicaInfo;
pub use gfs_types::record::ConfigRecord;
pub use gfs_types::region::ChunkSize;
pub use options::{
    CreateOptions, DeleteOptions, MASTERS_VARIABLE, Options, TOPOLOGY_VARIABLE, UploadOptions,
};
pub use reader::Reader;
pub use records::{RecordReader, RecordWriter, Submitted};
pub use replica::{BlockChecksums, ReplicaReader};
pub use upload::Upload;
pub use writer::Writer;

/// A lock that is held for a few instructions. A panic of another holder left nothing half done: each of them changes
/// one thing.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
