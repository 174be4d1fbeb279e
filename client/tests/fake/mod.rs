//! A cluster that only pretends: a master and three chunkservers in memory, over real sockets. It shows how the
//! client's links and sessions behave when peers misbehave on purpose; it stands in for nothing else.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub(crate) mod chunkserver;
pub(crate) mod master;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use gfs_client::{Client, Options};

use chunkserver::{ChunkserverProcess, Store};
use master::{MasterProcess, Namespace};

pub(crate) const CHUNK_BYTES: u64 = 256 << 10;

/// All of it.
pub(crate) struct Cluster {
    pub(crate) namespace: Arc<Mutex<Namespace>>,
    pub(crate) store: Arc<Mutex<Store>>,
    pub(crate) chunkservers: Vec<ChunkserverProcess>,
    pub(crate) master: Option<MasterProcess>,
    port: u16,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let store: Arc<Mutex<Store>> = Arc::default();
        let chunkservers: Vec<_> =
            (1..=3).map(|uid| ChunkserverProcess::start(uid, Arc::clone(&store))).collect();
        let addresses = chunkservers.iter().map(|cs| cs.address.clone()).collect();
        let namespace = Arc::new(Mutex::new(Namespace::new(addresses)));
        let master = MasterProcess::start(0, Arc::clone(&namespace));
        let port = master.port;
        Self { namespace, store, chunkservers, master: Some(master), port }
    }

    pub(crate) fn kill_master(&mut self) {
        self.master = None;
    }

    pub(crate) fn start_master(&mut self) {
        self.master = Some(MasterProcess::start(self.port, Arc::clone(&self.namespace)));
    }

    pub(crate) fn options(&self) -> Options {
        let mut options = Options::new(&format!("127.0.0.1:{}", self.port)).unwrap();
        options.timeout = Duration::from_secs(20);
        options
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect_with(self.options()).await.unwrap()
    }

    pub(crate) fn names(&self) -> MutexGuard<'_, Namespace> {
        self.namespace.lock().unwrap()
    }

    pub(crate) fn bytes(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }
}

/// A runtime of its own in a thread: dropping it is as sudden as SIGKILL, all its sockets close.
pub(crate) struct Process(Option<tokio::runtime::Runtime>);

impl Process {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self(Some(runtime))
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.as_ref().unwrap().spawn(task);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Not from within the test's runtime, which forbids blocking.
            std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(5)))
                .join()
                .unwrap();
        }
    }
}

/// A listener bound now, so that nobody connects too early.
pub(crate) fn listen(port: u16) -> std::net::TcpListener {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    // The port of a killed process is free at once only to those who say that they reuse it.
    let listener = std::net::TcpListener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}
