//! The client: one per process is enough; clones share everything.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use gfs_types::ids::ServerUid;
use gfs_types::message::client::{
    ClusterStatus, Entry, EntryKind, FileLocations, Mutation, Query, ReplicaLocation, Request,
    Response, TrashEntry,
};
use gfs_types::path::GfsPath;
use gfs_types::record::ConfigRecord;
use gfs_types::region::ChunkSize;
use tokio::time::Instant;

use crate::data_link::DataLinks;
use crate::engine::{Doing, Engine, defect};
use crate::error::{Error, Result};
use crate::file::File;
use crate::master_link::{Asked, MasterLink, NoAnswer};
use crate::network::Network;
use crate::options::{CreateOptions, DeleteOptions, Options, UploadOptions};
use crate::replica::ReplicaReader;
use crate::upload::Upload;
use crate::{listing, random, sync};

/// A connection to one cluster. Cheap to clone; clones share connections, session and caches.
#[derive(Debug, Clone)]
pub struct Client {
    engine: Arc<Engine>,
    record: ConfigRecord,
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
        Self::begin(options, None, random::numbers()?).await
    }

    /// Connects through what stands for sockets in a simulation. `random` is who this client is and where its pauses begin:
    /// 256 bits that no other client has.
    ///
    /// # Errors
    /// As [`Client::connect`].
    #[doc(hidden)]
    pub async fn connect_over(
        options: Options,
        network: Arc<dyn Network>,
        random: [u64; 4],
    ) -> Result<Self> {
        Self::begin(options, Some(network), random).await
    }

    async fn begin(
        options: Options,
        network: Option<Arc<dyn Network>>,
        [master_seed, data_client, me_high, me_low]: [u64; 4],
    ) -> Result<Self> {
        options.check()?;
        let (masters, topology) = (options.masters.clone(), options.topology.clone());
        let master = MasterLink::start(masters, topology, network.clone(), master_seed);
        let deadline = Instant::now() + options.timeout;
        // Whatever the answer is, it comes behind the master's welcome.
        let root = Query::Stat { path: "/".to_owned() };
        let answer = master.call(&Asked::new(Request::Query(root)), deadline).await;
        let welcome = master.welcome().ok_or_else(|| not_connected(&options, answer.err()))?;
        let chunk_size = ChunkSize::new(welcome.chunk_bytes).map_err(|error| Error::Defect {
            doing: "connect".to_owned(),
            reason: error.to_string(),
        })?;
        let me = ServerUid(u128::from(me_high) << 64 | u128::from(me_low));
        let data = DataLinks::new(me, welcome.record.cluster, network);
        let engine = Arc::new(Engine::new(options, master, data, chunk_size, data_client));
        Ok(Self { engine, record: welcome.record })
    }

    /// The size of every chunk of this cluster.
    #[must_use]
    pub fn chunk_size(&self) -> ChunkSize {
        self.engine.chunk_size
    }

    /// Who the primary master is, as last seen.
    #[must_use]
    pub fn record(&self) -> ConfigRecord {
        self.engine.master.welcome().map_or_else(|| self.record.clone(), |welcome| welcome.record)
    }

    /// One file or directory. The length is what any client saw acknowledged: while the last chunk is leased, its
    /// primary is asked.
    ///
    /// # Errors
    /// `NotFound`; `Busy` when time ran out.
    pub async fn stat(&self, path: impl AsRef<str>) -> Result<Entry> {
        let path = GfsPath::parse(path.as_ref())?;
        let doing = fmt::from_fn(|f| write!(f, "stat `{path}`"));
        let mut entry = self.entry(&path, &doing).await?;
        entry.length = match self.engine.final_length(&entry) {
            Some(length) => length,
            // On the heap: few files need it, and every caller would carry it around.
            None => Box::pin(self.engine.length_of(&entry, Vec::new(), &doing.to_string())).await?,
        };
        Ok(entry)
    }

    /// What a directory holds, in byte order of the names. Asks page by page; entries carry bare names, and lengths
    /// as far as the master knows.
    pub fn list(&self, path: impl AsRef<str>) -> BoxStream<'static, Result<Entry>> {
        match GfsPath::parse(path.as_ref()) {
            Ok(path) => listing::directory(Arc::clone(&self.engine), path),
            Err(error) => Box::pin(futures::stream::iter([Err(error.into())])),
        }
    }

    /// Makes an empty file; its directory must exist.
    ///
    /// # Errors
    /// `AlreadyExists`, `NotFound` for the directory, `Unknown`.
    pub async fn create(&self, path: impl AsRef<str>, options: CreateOptions) -> Result<File> {
        let path = GfsPath::parse(path.as_ref())?;
        let doing = fmt::from_fn(|f| write!(f, "create `{path}`"));
        let CreateOptions { replication, attributes } = options;
        let mutation = Mutation::Create { path: path.to_string(), replication, attributes };
        Ok(self.file(entry_of(&doing, self.engine.change(&doing, mutation).await?)?))
    }

    /// Opens a file that exists, to read and to write.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a directory.
    pub async fn open(&self, path: impl AsRef<str>) -> Result<File> {
        let path = GfsPath::parse(path.as_ref())?;
        let doing = fmt::from_fn(|f| write!(f, "open `{path}`"));
        let entry = self.entry(&path, &doing).await?;
        if entry.kind == EntryKind::Directory {
            return Err(Error::Unfit {
                doing: doing.to_string(),
                reason: "it is a directory; list it instead".to_owned(),
            });
        }
        Ok(self.file(entry))
    }

    /// Makes a directory; with `parents`, missing parents too, and one that is there is no error.
    ///
    /// # Errors
    /// `AlreadyExists`, `NotFound`, `Unknown`.
    pub async fn mkdir(&self, path: impl AsRef<str>, parents: bool) -> Result<()> {
        let path = GfsPath::parse(path.as_ref())?;
        let doing = fmt::from_fn(|f| write!(f, "make the directory `{path}`"));
        self.engine.change(&doing, Mutation::Mkdir { path: path.to_string(), parents }).await?;
        Ok(())
    }

    /// Gives another name, atomically; with `replace`, a file at the new path goes to the trash.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, `Unknown`.
    pub async fn rename(
        &self,
        from: impl AsRef<str>,
        to: impl AsRef<str>,
        replace: bool,
    ) -> Result<Entry> {
        let (from, to) = (GfsPath::parse(from.as_ref())?, GfsPath::parse(to.as_ref())?);
        let doing = fmt::from_fn(|f| write!(f, "rename `{from}` to `{to}`"));
        let mutation = Mutation::Rename { from: from.to_string(), to: to.to_string(), replace };
        entry_of(&doing, self.engine.change(&doing, mutation).await?)
    }

    /// Hides a file or directory in the trash, or removes it at once.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a directory that is not empty; `Unknown`.
    pub async fn delete(&self, path: impl AsRef<str>, options: DeleteOptions) -> Result<()> {
        let path = GfsPath::parse(path.as_ref())?;
        let doing = fmt::from_fn(|f| write!(f, "delete `{path}`"));
        let DeleteOptions { recursive, purge } = options;
        let mutation = Mutation::Delete { path: path.to_string(), recursive, purge };
        self.engine.change(&doing, mutation).await?;
        Ok(())
    }

    /// Brings back what was last deleted from this path.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, `Unknown`.
    pub async fn undelete(&self, path: impl AsRef<str>) -> Result<Entry> {
        let path = GfsPath::parse(path.as_ref())?;
        let doing = fmt::from_fn(|f| write!(f, "undelete `{path}`"));
        let mutation = Mutation::Undelete { path: path.to_string() };
        entry_of(&doing, self.engine.change(&doing, mutation).await?)
    }

    /// Everything deleted that can come back, oldest first, page by page.
    pub fn trash(&self) -> BoxStream<'static, Result<TrashEntry>> {
        listing::trash(Arc::clone(&self.engine))
    }

    /// The cluster at a glance.
    ///
    /// # Errors
    /// `Busy` when time ran out.
    pub async fn status(&self) -> Result<ClusterStatus> {
        let (doing, deadline) = ("ask for the cluster's status", self.engine.deadline());
        match self.engine.question(&doing, Request::Query(Query::Status), deadline).await? {
            Response::Status(status) => Ok(status),
            other => defect(&doing, &other),
        }
    }

    /// Returns when everything that was acknowledged of this file is on disk on every replica, and its length is
    /// logged by the master.
    ///
    /// # Errors
    /// `NotFound`; `Busy` when a replica cannot do it in time.
    pub async fn sync(&self, path: impl AsRef<str>) -> Result<()> {
        let path = GfsPath::parse(path.as_ref())?;
        let doing = format!("sync `{path}`");
        let file = self.entry(&path, &doing).await?;
        if file.kind == EntryKind::Directory {
            return Err(Error::Unfit { doing, reason: "it is a directory".to_owned() });
        }
        sync::whole_file(&self.engine, file.id, &doing).await
    }

    /// Where all chunks of a file are, fresh from the master.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a directory.
    pub async fn locate(&self, path: impl AsRef<str>) -> Result<FileLocations> {
        let path = GfsPath::parse(path.as_ref())?;
        let doing = format!("locate `{path}`");
        let file = self.entry(&path, &doing).await?;
        if file.kind == EntryKind::Directory {
            return Err(Error::Unfit { doing, reason: "it is a directory".to_owned() });
        }
        let mut all = sync::locate_all(&self.engine, file.id, &doing).await?;
        all.entry.path = file.path;
        Ok(all)
    }

    /// Raw access to one replica's server, for `fsck`.
    #[must_use]
    pub fn replica(&self, location: &ReplicaLocation) -> ReplicaReader {
        ReplicaReader::new(Arc::clone(&self.engine), location.clone())
    }

    /// Begins to write a file that appears under `path` only when [`Upload::finish`] succeeds.
    ///
    /// # Errors
    /// `NotFound` for the directory; `AlreadyExists` when a directory has the name.
    pub async fn upload(&self, path: impl AsRef<str>, options: UploadOptions) -> Result<Upload> {
        let path = GfsPath::parse(path.as_ref())?;
        Upload::begin(self.clone(), path, options).await
    }

    /// Ends the session with the master, so that it need not remember it until it times out. A client that is merely
    /// dropped leaves nothing behind but that.
    pub async fn close(self) {
        if let Some(session) = self.engine.sessions.take() {
            let deadline = Instant::now() + CLOSE;
            // Lost, the session times out by itself.
            let close = Asked::new(Request::CloseSession(session));
            let _ = self.engine.master.call(&close, deadline).await;
        }
    }

    pub(crate) async fn entry(&self, path: &GfsPath, doing: Doing<'_>) -> Result<Entry> {
        let query = Request::Query(Query::Stat { path: path.as_str().to_owned() });
        let answer = self.engine.question(doing, query, self.engine.deadline()).await?;
        entry_of(doing, answer)
    }

    fn file(&self, entry: Entry) -> File {
        File::new(Arc::clone(&self.engine), entry)
    }
}

/// How long the end of a session is waited for.
const CLOSE: Duration = Duration::from_secs(1);

fn entry_of(doing: Doing<'_>, answer: Response) -> Result<Entry> {
    match answer {
        Response::Entry(entry) => Ok(entry),
        other => defect(doing, &other),
    }
}

fn not_connected(options: &Options, no: Option<NoAnswer>) -> Error {
    let doing = format!("connect to {}", options.masters.join(","));
    match no {
        Some(NoAnswer::Foreign { reason, .. }) => Error::Unfit { doing, reason },
        Some(NoAnswer::TimedOut { last, .. }) => {
            Error::TimedOut { doing, timeout: options.timeout, last, outcome_unknown: false }
        }
        None => Error::Defect { doing, reason: "an answer without a welcome".to_owned() },
    }
}
