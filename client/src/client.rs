//! The client: one per process is enough; clones share everything.

use std::sync::Arc;

use futures::stream::BoxStream;
use gfs_types::message::client::{
    ClusterStatus, Entry, FileLocations, ReplicaLocation, TrashEntry,
};
use gfs_types::record::ConfigRecord;
use gfs_types::region::ChunkSize;

use crate::error::{Result, later};
use crate::file::File;
use crate::options::{CreateOptions, DeleteOptions, Options, UploadOptions};
use crate::replica::ReplicaReader;
use crate::upload::Upload;

/// A connection to one cluster. Cheap to clone; clones share connections, session and caches.
#[derive(Debug, Clone)]
pub struct Client {
    #[allow(dead_code)]
    inner: Arc<()>,
}

impl Client {
    /// Connects to the cluster of these masters, `host:port,host:port`.
    ///
    /// # Errors
    /// When the list is wrong, or none of them answers in time.
    pub async fn connect(masters: impl AsRef<str>) -> Result<Self> {
        Self::connect_with(Options::new(masters.as_ref())?).await
    }

    /// Connects as `GFS_MASTERS` (and `GFS_TOPOLOGY`) say.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn from_env() -> Result<Self> {
        Self::connect_with(Options::from_env()?).await
    }

    /// Connects with these options.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_with(options: Options) -> Result<Self> {
        options.check()?;
        later()
    }

    /// The size of every chunk of this cluster.
    #[must_use]
    pub fn chunk_size(&self) -> ChunkSize {
        ChunkSize::default()
    }

    /// Who the primary master is, as last seen.
    #[must_use]
    pub fn record(&self) -> ConfigRecord {
        unreachable!("not connected yet")
    }

    /// One file or directory. The length is what any client saw acknowledged: while the last chunk is leased, its
    /// primary is asked.
    ///
    /// # Errors
    /// `NotFound`; `Busy` when time ran out.
    pub async fn stat(&self, _path: impl AsRef<str>) -> Result<Entry> {
        later()
    }

    /// What a directory holds, in byte order of the names. Asks page by page; entries carry bare names, and lengths
    /// as far as the master knows.
    pub fn list(&self, _path: impl AsRef<str>) -> BoxStream<'static, Result<Entry>> {
        Box::pin(futures::stream::empty())
    }

    /// Makes an empty file; its directory must exist.
    ///
    /// # Errors
    /// `AlreadyExists`, `NotFound` for the directory, `Unknown`.
    pub async fn create(&self, _path: impl AsRef<str>, _options: CreateOptions) -> Result<File> {
        later()
    }

    /// Opens a file that exists, to read and to write.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a directory.
    pub async fn open(&self, _path: impl AsRef<str>) -> Result<File> {
        later()
    }

    /// Makes a directory; with `parents`, missing parents too, and one that is there is no error.
    ///
    /// # Errors
    /// `AlreadyExists`, `NotFound`, `Unknown`.
    pub async fn mkdir(&self, _path: impl AsRef<str>, _parents: bool) -> Result<()> {
        later()
    }

    /// Gives another name, atomically; with `replace`, a file at the new path goes to the trash.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, `Unknown`.
    pub async fn rename(
        &self,
        _from: impl AsRef<str>,
        _to: impl AsRef<str>,
        _replace: bool,
    ) -> Result<Entry> {
        later()
    }

    /// Hides a file or directory in the trash, or removes it at once.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a directory that is not empty; `Unknown`.
    pub async fn delete(&self, _path: impl AsRef<str>, _options: DeleteOptions) -> Result<()> {
        later()
    }

    /// Brings back what was last deleted from this path.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, `Unknown`.
    pub async fn undelete(&self, _path: impl AsRef<str>) -> Result<Entry> {
        later()
    }

    /// Everything deleted that can come back, oldest first, page by page.
    pub fn trash(&self) -> BoxStream<'static, Result<TrashEntry>> {
        Box::pin(futures::stream::empty())
    }

    /// The cluster at a glance.
    ///
    /// # Errors
    /// `Busy` when time ran out.
    pub async fn status(&self) -> Result<ClusterStatus> {
        later()
    }

    /// Returns when everything that was acknowledged of this file is on disk on every replica, and its length is
    /// logged by the master.
    ///
    /// # Errors
    /// `NotFound`; `Busy` when a replica cannot do it in time.
    pub async fn sync(&self, _path: impl AsRef<str>) -> Result<()> {
        later()
    }

    /// Where all chunks of a file are, fresh from the master.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a directory.
    pub async fn locate(&self, _path: impl AsRef<str>) -> Result<FileLocations> {
        later()
    }

    /// Raw access to one replica's server, for `fsck`.
    #[must_use]
    pub fn replica(&self, _location: &ReplicaLocation) -> ReplicaReader {
        unreachable!("not connected yet")
    }

    /// Begins to write a file that appears under `path` only when [`Upload::finish`] succeeds.
    ///
    /// # Errors
    /// `NotFound` for the directory; `AlreadyExists` when a directory has the name.
    pub async fn upload(&self, _path: impl AsRef<str>, _options: UploadOptions) -> Result<Upload> {
        later()
    }

    /// Ends the session with the master, so that it need not remember it until it times out. A client that is merely
    /// dropped leaves nothing behind but that.
    pub async fn close(self) {}
}
