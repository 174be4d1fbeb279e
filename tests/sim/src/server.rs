//! A chunkserver: the shell's own driver, store, data plane and talk with the master, over a disk and a clock that are simulated.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gfs_chunkserver::data_plane::{self, Bounds, Course, Direct, Identity as DataIdentity};
use gfs_chunkserver::driver::{
    self, Answer, Clock, CopyWork, DriverHandle, PeerMessage, PeerTicket, Peers, Stepped,
};
use gfs_chunkserver::master_link::{Conversation, Identity, Obeyed};
use gfs_chunkserver::metrics::Metrics;
use gfs_chunkserver::store::{Found, Store, StoreConfig};
use gfs_chunkserver_core::report::Holdings;
use gfs_chunkserver_core::{Job, Settings};
use gfs_durable::data_dir::{DataDir, Opened, Role};
use gfs_durable::fs::Fs;
use gfs_durable::fs::sim::SimFs;
use gfs_types::Error;
use gfs_types::fence::MasterEpoch;
use gfs_types::ids::{ChunkHandle, ClusterUid, ProcessSession, ServerUid};
use gfs_types::message::control::{FromChunkserver, Member, Space};
use gfs_types::pace::ServerPace;
use gfs_types::region::ChunkSize;

use crate::agenda::Micros;
use crate::clock::NodeClock;

pub(crate) const DIR: &str = "/chunkserver";

/// A machine with a chunkserver's disk, and its process while there is one.
pub(crate) struct Server {
    pub(crate) number: usize,
    pub(crate) uid: ServerUid,
    pub(crate) fs: SimFs,
    /// Which run of the kernel.
    pub(crate) boot: u128,
    pub(crate) clock: NodeClock,
    /// Which process: events of an earlier one are void.
    pub(crate) run: u32,
    pub(crate) up: Option<Process>,
    pub(crate) paused_until: Micros,
}

/// A running chunkserver.
pub(crate) struct Process {
    pub(crate) session: ProcessSession,
    pub(crate) driver: Stepped,
    pub(crate) handle: DriverHandle,
    pub(crate) direct: Direct,
    pub(crate) conversation: Conversation,
    pub(crate) store: Arc<Store>,
    pub(crate) out: Arc<Out>,
    pub(crate) copies: BTreeMap<(ChunkHandle, Job), Course>,
    pub(crate) link: Link,
    /// When it is woken next.
    pub(crate) wakes: Option<Micros>,
    pub(crate) disk_busy: bool,
    _data_dir: DataDir,
}

/// Its stream to the master.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) control: Option<u64>,
    pub(crate) registered: bool,
    pub(crate) heartbeat: Micros,
    /// When a heartbeat was answered last.
    pub(crate) answered: Micros,
}

/// What leaves a process.
#[derive(Default)]
pub(crate) struct Out(Mutex<Leaving>);

#[derive(Default)]
pub(crate) struct Leaving {
    /// Answers to calls, by their numbers.
    pub(crate) answers: Vec<(u64, Answer)>,
    pub(crate) orders: Vec<(Member, PeerTicket, PeerMessage)>,
    pub(crate) copies: Vec<CopyWork>,
    pub(crate) stopped: Vec<(ChunkHandle, Job)>,
    pub(crate) pieces: Vec<((ChunkHandle, Job), Result<(), Error>)>,
    pub(crate) to_master: VecDeque<FromChunkserver>,
}

impl Out {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Leaving> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peers for Out {
    fn send(&self, to: &Member, ticket: PeerTicket, message: PeerMessage) {
        self.lock().orders.push((to.clone(), ticket, message));
    }

    fn flush(&self) {}

    fn copy(&self, work: CopyWork) {
        self.lock().copies.push(work);
    }

    fn stop_copy(&self, handle: ChunkHandle, job: Job) {
        self.lock().stopped.push((handle, job));
    }
}

/// What is the same for every run of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cluster {
    pub(crate) uid: ClusterUid,
    pub(crate) chunk_size: ChunkSize,
    pub(crate) pace: ServerPace,
}

impl Server {
    /// A formatted machine that is off.
    pub(crate) fn format(
        number: usize,
        seed: u64,
        clock: NodeClock,
        cluster: Cluster,
    ) -> anyhow::Result<Self> {
        let uid = ServerUid(0xc0 + number as u128);
        let fs = SimFs::new(seed);
        let disk: Arc<dyn Fs> = Arc::new(fs.clone());
        let Opened::Blank(blank) = DataDir::open(disk, Path::new(DIR), Role::Chunkserver)? else {
            anyhow::bail!("an empty disk is blank");
        };
        drop(blank.format(cluster.uid, uid, |dir| {
            Obeyed::create(&fs, dir, MasterEpoch(0), cluster.chunk_size)
        })?);
        let (run, boot, up, paused_until) = (0, 1, None, 0);
        Ok(Self { number, uid, fs, boot, clock, run, up, paused_until })
    }

    pub(crate) fn address(number: usize) -> String {
        format!("server-{number}:1")
    }

    /// Starts the process as `gfs_chunkserver::run` does.
    pub(crate) fn start(&mut self, cluster: Cluster) -> anyhow::Result<()> {
        self.run += 1;
        let fs: Arc<dyn Fs> = Arc::new(self.fs.clone());
        let Opened::Formatted(mut data_dir) =
            DataDir::open(fs.clone(), Path::new(DIR), Role::Chunkserver)?
        else {
            anyhow::bail!("the stamp of a data directory is gone");
        };
        let session = data_dir.next_session()?;
        let obeyed = Obeyed::open(&*fs, Path::new(DIR), session)?;
        let (store, found) = Store::open(fs, self.store_config(cluster))?;
        let (store, out) = (Arc::new(store), Arc::new(Out::default()));
        let metrics = Arc::new(Metrics::new(&prometheus::Registry::new())?);
        let clock = Clock::moved(self.clock.shown());
        let holdings = Arc::new(Mutex::new(Holdings::default()));
        let (handle, inboxes) = driver::channels(1);
        let to_master = out.clone();
        let parts = driver::Parts {
            settings: Settings {
                chunkserver: self.uid,
                session,
                chunk_size: obeyed.chunk_size(),
                pace: cluster.pace,
            },
            store: store.clone(),
            found,
            peers: out.clone(),
            outbox: Box::new(move |message| to_master.lock().to_master.push_back(message)),
            holdings: holdings.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        let driver = Stepped::new(handle.clone(), inboxes, parts);
        let identity = DataIdentity { cluster: cluster.uid, me: self.uid, session };
        let direct = Direct::new(data_plane::Parts {
            identity,
            bounds: Bounds::default(),
            store: store.clone(),
            driver: handle.clone(),
            clock,
            metrics,
        });
        let identity = self.identity(cluster, session)?;
        let conversation = Conversation::new(identity, obeyed, handle.clone(), holdings);
        let (copies, link) = (BTreeMap::new(), Link::default());
        self.up = Some(Process {
            session,
            driver,
            handle,
            direct,
            conversation,
            store,
            out,
            copies,
            link,
            wakes: None,
            disk_busy: false,
            _data_dir: data_dir,
        });
        Ok(())
    }

    /// Its replicas as the next process would find them.
    pub(crate) fn replicas(&self, cluster: Cluster) -> anyhow::Result<Vec<Found>> {
        Ok(self.opened(cluster)?.1)
    }

    /// A copy of its store, as the next process would open it.
    pub(crate) fn opened(&self, cluster: Cluster) -> anyhow::Result<(Store, Vec<Found>)> {
        let copy: Arc<dyn Fs> = Arc::new(self.fs.kill());
        Ok(Store::open(copy, self.store_config(cluster))?)
    }

    fn store_config(&self, cluster: Cluster) -> StoreConfig {
        StoreConfig {
            dir: PathBuf::from(DIR),
            cluster: cluster.uid,
            chunk_size: cluster.chunk_size,
            server: format!("server-{}", self.number),
            boot: self.boot,
            reserve_bytes: 0,
            preallocate: false,
            open_threads: 1,
        }
    }

    fn identity(&self, cluster: Cluster, session: ProcessSession) -> anyhow::Result<Identity> {
        let number = self.number;
        Ok(Identity {
            cluster: Some(cluster.uid),
            chunkserver: self.uid,
            session,
            address: Self::address(number),
            http_address: format!("server-{number}:2"),
            topology: format!("zone-{}/host-{number}", number % 2)
                .parse()
                .map_err(|error| anyhow::anyhow!("{error:?}"))?,
        })
    }
}

impl Process {
    /// Room on its disk.
    pub(crate) fn space(&self) -> Space {
        self.store.space().unwrap_or_default()
    }
}
