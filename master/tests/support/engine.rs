//! A master without threads, clock and network on a simulated disk: the core, the rule of group
//! commit, the log and the checkpoints, called in order.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gfs_durable::data_dir::Opened;
use gfs_durable::fs::Fs;
use gfs_durable::fs::sim::SimFs;
use gfs_durable::log::{Log, LogOptions};
use gfs_master::checkpoint;
use gfs_master::lifecycle::{self, NewCluster};
use gfs_master::oplog::{self, CHECKPOINT_DIR, Recovered};
use gfs_master::release::GroupCommit;
use gfs_master_core::{Connection, Effect, Input, Master, Settings};
use gfs_types::fence::{LogPosition, MasterEpoch};
use gfs_types::ids::{ClusterUid, RequestId, RequestSeq, ServerUid, SessionId};
use gfs_types::message::client::{Attributes, Mutation, Reply, Request, Response};
use gfs_types::region::ChunkSize;
use gfs_types::time::{Instant, WallTime};

pub const DIR: &str = "/master";
const CLUSTER: ClusterUid = ClusterUid(0xc1);
const CONNECTION: Connection = Connection(1);
/// Small enough that a few records fill it.
const SEGMENT_BYTES: u64 = 4096;
const RECORD_BYTES_MAX: usize = 1024;

pub fn options() -> LogOptions {
    let (segment_bytes, record_bytes_max) = (SEGMENT_BYTES, RECORD_BYTES_MAX);
    LogOptions { segment_bytes, record_bytes_max, ..LogOptions::new(CLUSTER) }
}

/// A disk with a formatted data directory.
pub fn new_cluster(seed: u64) -> SimFs {
    let fs = SimFs::new(seed);
    let disk: Arc<dyn Fs> = Arc::new(fs.clone());
    let Opened::Blank(blank) = lifecycle::open(disk.clone(), Path::new(DIR)).unwrap() else {
        panic!("an empty disk is blank");
    };
    let chunk_size = ChunkSize::default();
    let new = NewCluster { cluster: CLUSTER, master: ServerUid(0x5e), chunk_size };
    drop(lifecycle::format(&disk, blank, new, options()).unwrap());
    fs
}

pub fn checkpoints(fs: &Arc<dyn Fs>) -> Vec<LogPosition> {
    checkpoint::file::list(fs.as_ref(), &Path::new(DIR).join(CHECKPOINT_DIR)).unwrap()
}

/// What was decided, and what was told.
#[derive(Debug, Default, Clone)]
pub struct History {
    /// The digest of the state at each position.
    pub digests: BTreeMap<LogPosition, u64>,
    /// The highest position that a released reply rests on.
    pub acknowledged: LogPosition,
    /// Mutations that were answered, with their answers.
    pub replies: Vec<(Request, Reply)>,
}

#[derive(Debug)]
pub struct Engine {
    fs: Arc<dyn Fs>,
    master: Master,
    pub log: Log,
    group: GroupCommit<Effect>,
    pub history: History,
    session: SessionId,
    seq: u64,
    asked: BTreeMap<u64, Request>,
    requests: u64,
}

impl Engine {
    pub fn recover(fs: &SimFs) -> anyhow::Result<Recovered> {
        let fs: Arc<dyn Fs> = Arc::new(fs.clone());
        Ok(oplog::recover(&fs, Path::new(DIR), options(), &AtomicBool::new(false))?)
    }

    /// Recovers, serves, and opens a session.
    pub fn start(fs: &SimFs) -> anyhow::Result<Self> {
        let mut engine = Self::over(Arc::new(fs.clone()), History::default())?;
        engine.begin(Input::Serve { epoch: MasterEpoch(1) });
        engine.flush()?;
        engine.open_session()?;
        Ok(engine)
    }

    fn over(fs: Arc<dyn Fs>, mut history: History) -> anyhow::Result<Self> {
        let Recovered { log, state, .. } =
            oplog::recover(&fs, Path::new(DIR), options(), &AtomicBool::new(false))?;
        let group = GroupCommit::new(state.position());
        history.digests.insert(state.position(), state.digest());
        let settings = Settings { random: 0x1234_5678, ..Settings::default() };
        let master = Master::new(settings, state);
        let (session, seq, asked, requests) = (SessionId(0), 0, BTreeMap::new(), 0);
        Ok(Self { fs, master, log, group, history, session, seq, asked, requests })
    }

    /// A clean end and a new start, with the same session.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.log.mark_durable()?;
        // A failed start ends the run, but what was acknowledged before it counts.
        let next = Self::over(self.fs.clone(), self.history.clone())?;
        let (session, seq, requests) = (self.session, self.seq, self.requests);
        *self = Self { session, seq, requests, ..next };
        self.begin(Input::Serve { epoch: MasterEpoch(1) });
        self.flush()
    }

    fn open_session(&mut self) -> anyhow::Result<()> {
        self.ask(Request::OpenSession);
        self.flush()?;
        let Some((_, Reply { result: Ok(Response::Session(session)), .. })) =
            self.history.replies.pop()
        else {
            panic!("a session is given");
        };
        self.session = session;
        Ok(())
    }

    /// Steps the core, noting the digest behind each record.
    fn begin(&mut self, input: Input) {
        let mut effects = Vec::new();
        let (now, wall) = (Instant::from_ms(1000), WallTime { ms: 1_700_000_000_000 });
        self.master.step(now, wall, input, &mut effects);
        self.group.accept(effects);
        let state = self.master.durable();
        self.history.digests.insert(state.position(), state.digest());
    }

    fn ask(&mut self, message: Request) {
        self.requests += 1;
        self.asked.insert(self.requests, message.clone());
        let (connection, request) = (CONNECTION, self.requests);
        self.begin(Input::Client { connection, request, message });
    }

    fn mutate(&mut self, mutation: Mutation) {
        self.seq += 1;
        let id = RequestId { session: self.session, seq: RequestSeq(self.seq) };
        self.ask(Request::Mutate { id, answered_below: RequestSeq(1), mutation });
    }

    /// Creates a file; gives its path.
    pub fn create(&mut self, name: &str) -> String {
        let path = format!("/{name}-{}-{}", self.session, self.seq);
        let (replication, attributes) = (0, Attributes::default());
        self.mutate(Mutation::Create { path: path.clone(), replication, attributes });
        path
    }

    pub fn rename(&mut self, from: &str) {
        let (from, to) = (from.to_owned(), format!("{from}-renamed"));
        self.mutate(Mutation::Rename { from, to, replace: false });
    }

    /// Sends the last mutation again.
    pub fn repeat_last(&mut self) {
        let (last, _) = self.history.replies.last().expect("something was answered").clone();
        let before = self.master.position();
        self.ask(last);
        assert_eq!(self.master.position(), before, "a repeated request makes no record");
    }

    /// Appends and flushes what waits, and lets out what may leave.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        if let Some(batch) = self.group.begin_flush() {
            let durable = oplog::write(&mut self.log, &batch)?;
            self.group.flushed(durable);
        }
        while let Some(effect) = self.group.release() {
            if let Effect::Reply { request, reply, after, .. } = effect {
                let asked = self.asked.remove(&request).expect("it was asked");
                assert!(reply.result.is_ok(), "{asked:?}: {reply:?}");
                self.history.acknowledged = self.history.acknowledged.max(after);
                self.history.replies.push((asked, reply));
            }
        }
        Ok(())
    }

    pub fn checkpoint(&mut self) -> anyhow::Result<()> {
        let dir = Path::new(DIR).join(CHECKPOINT_DIR);
        let durable = self.log.positions().durable;
        let made = checkpoint::make(&self.fs, &dir, &self.log.reader(), durable)?;
        Ok(self.log.remove_before(made.log_from)?)
    }

    /// The answer to a request that was answered before; it must not need a record.
    pub fn ask_again(&mut self, request: &Request) -> Reply {
        let before = self.master.position();
        self.ask(request.clone());
        assert_eq!(self.master.position(), before, "{request:?} made a record");
        self.flush().expect("nothing is written");
        self.history.replies.pop().expect("it is answered").1
    }

    /// Everything decided so far.
    pub fn state(&self) -> &gfs_master_core::Durable {
        self.master.durable()
    }

    /// What a broken master would have acknowledged already.
    pub fn pending_as_if_acknowledged(&self) -> LogPosition {
        self.group.last()
    }
}
