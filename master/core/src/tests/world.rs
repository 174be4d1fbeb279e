//! A master, a log beside it that is replayed as it grows, and chunkservers played by hand.

use gfs_types::fence::{ChunkVersion, LogPosition, MasterEpoch};
use gfs_types::ids::{
    ChunkHandle, ClusterUid, FileId, ProcessSession, RequestId, RequestSeq, ServerUid, SessionId,
};
use gfs_types::message::client::{
    Attributes, Entry, LeaseGrant, LeaseTarget, Mutation, Query, Request, Response,
};
use gfs_types::message::control::{
    Command, FromChunkserver, HeldLease, LeaseStart, RaisedReplica, Registration, ReplicaReport,
    ReplicaState, Space,
};
use gfs_types::region::{ChunkIndex, ChunkSize};
use gfs_types::time::{Instant, WallTime};
use gfs_types::{Error, ErrorKind, limits};

use crate::{Connection, Durable, Effect, Input, Link, Master, Settings, image, invariants};

pub(crate) const CLUSTER: ClusterUid = ClusterUid(0xc1);
pub(crate) const EPOCH: MasterEpoch = MasterEpoch(1);

pub(crate) struct World {
    pub(crate) master: Master,
    pub(crate) settings: Settings,
    pub(crate) now_ms: u64,
    pub(crate) wall_ms: u64,
    /// What was appended since the beginning.
    pub(crate) log: Vec<(LogPosition, MasterEpoch, Vec<u8>)>,
    /// The log, replayed as it grows.
    pub(crate) follower: Durable,
    requests: u64,
    pub(crate) session: SessionId,
    pub(crate) seq: u64,
    links: u64,
    linked: std::collections::BTreeMap<u128, (Link, u64)>,
}

impl World {
    /// Formatted, serving, with a client session.
    pub(crate) fn new() -> Self {
        Self::with(Settings { random: 77, ..Settings::default() })
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let mut world = Self::blank(settings);
        let chunk_size = ChunkSize::new(limits::CHUNK_BYTES_MIN).unwrap();
        world.step(Input::Format { cluster: CLUSTER, chunk_size });
        world.step(Input::Serve { epoch: EPOCH });
        world.session = world.open();
        world
    }

    pub(crate) fn blank(settings: Settings) -> Self {
        Self {
            master: Master::new(settings.clone(), Durable::blank()),
            settings,
            now_ms: 1_000,
            wall_ms: 1_000_000_000_000,
            log: Vec::new(),
            follower: Durable::blank(),
            requests: 0,
            session: SessionId(0),
            seq: 0,
            links: 0,
            linked: std::collections::BTreeMap::new(),
        }
    }

    /// One step; every invariant, the order of effects and the follower are checked behind it.
    pub(crate) fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        let now = Instant::from_ms(self.now_ms);
        self.master.step(now, WallTime { ms: self.wall_ms }, input, &mut out);
        let mut last = self.follower.position();
        for effect in &out {
            if let Effect::Append { position, epoch, record } = effect {
                assert_eq!(*position, last.next(), "positions come without gaps");
                last = *position;
                self.follower.replay(*position, *epoch, record).unwrap();
                self.log.push((*position, *epoch, record.clone()));
            } else if let Some(after) = effect.after().filter(|after| after.0 > 0) {
                assert_eq!(after, last, "an effect rests on all that was applied before it");
            }
        }
        invariants::check(&self.master).unwrap();
        out
    }

    /// N5: live, replayed, and by way of a checkpoint: all the same.
    pub(crate) fn check_digests(&self) {
        assert_eq!(self.master.durable().digest(), self.follower.digest());
        assert_eq!(through_image(self.master.durable()).digest(), self.follower.digest());
    }

    /// The master's process dies and another one starts from the log.
    pub(crate) fn restart(&mut self) {
        let mut durable = Durable::blank();
        for (position, epoch, record) in &self.log {
            durable.replay(*position, *epoch, record).unwrap();
        }
        self.start_with(durable);
    }

    /// The same, from a checkpoint at `at` and the log behind it.
    pub(crate) fn restart_from_checkpoint(&mut self, at: usize) {
        let mut durable = Durable::blank();
        let (before, behind) = self.log.split_at(at.min(self.log.len()));
        for (position, epoch, record) in before {
            durable.replay(*position, *epoch, record).unwrap();
        }
        let mut durable = through_image(&durable);
        for (position, epoch, record) in behind {
            durable.replay(*position, *epoch, record).unwrap();
        }
        self.start_with(durable);
    }

    fn start_with(&mut self, durable: Durable) {
        assert_eq!(durable.digest(), self.master.durable().digest());
        self.master = Master::new(self.settings.clone(), durable);
        self.linked.clear();
        self.step(Input::Serve { epoch: EPOCH });
    }

    pub(crate) fn after_ms(&mut self, ms: u64) -> Vec<Effect> {
        self.now_ms += ms;
        self.wall_ms += ms;
        self.step(Input::Tick)
    }

    /// A request, and the number its reply will have.
    pub(crate) fn send(&mut self, message: Request) -> (u64, Vec<Effect>) {
        self.requests += 1;
        let request = self.requests;
        let out = self.step(Input::Client { connection: Connection(1), request, message });
        (request, out)
    }

    /// A request that is answered at once.
    pub(crate) fn ask(&mut self, message: Request) -> Result<Response, Error> {
        let (request, out) = self.send(message);
        reply(&out, request).expect("it is answered at once")
    }

    pub(crate) fn open(&mut self) -> SessionId {
        match self.ask(Request::OpenSession) {
            Ok(Response::Session(session)) => session,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn mutate_as(
        &mut self,
        seq: u64,
        answered_below: u64,
        mutation: Mutation,
    ) -> Result<Response, Error> {
        let id = RequestId { session: self.session, seq: RequestSeq(seq) };
        self.ask(Request::Mutate { id, answered_below: RequestSeq(answered_below), mutation })
    }

    pub(crate) fn mutate(&mut self, mutation: Mutation) -> Result<Response, Error> {
        self.seq += 1;
        self.mutate_as(self.seq, self.seq, mutation)
    }

    pub(crate) fn create(&mut self, path: &str) -> Result<Response, Error> {
        self.mutate(create(path))
    }

    pub(crate) fn file(&mut self, path: &str) -> FileId {
        match self.create(path) {
            Ok(Response::Entry(entry)) => entry.id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn mkdir(&mut self, path: &str) {
        let made = self.mutate(Mutation::Mkdir { path: path.to_owned(), parents: true });
        assert_eq!(made, Ok(Response::Done));
    }

    pub(crate) fn rename(
        &mut self,
        from: &str,
        to: &str,
        replace: bool,
    ) -> Result<Response, Error> {
        self.mutate(Mutation::Rename { from: from.to_owned(), to: to.to_owned(), replace })
    }

    pub(crate) fn delete(&mut self, path: &str, recursive: bool) -> Result<Response, Error> {
        self.mutate(Mutation::Delete { path: path.to_owned(), recursive, purge: false })
    }

    pub(crate) fn undelete(&mut self, path: &str) -> Result<Response, Error> {
        self.mutate(Mutation::Undelete { path: path.to_owned() })
    }

    pub(crate) fn query(&mut self, query: Query) -> Result<Response, Error> {
        self.ask(Request::Query(query))
    }

    pub(crate) fn stat(&mut self, path: &str) -> Result<Entry, Error> {
        match self.query(Query::Stat { path: path.to_owned() })? {
            Response::Entry(entry) => Ok(entry),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn names(&mut self, path: &str) -> Vec<String> {
        let query = Query::List { path: path.to_owned(), after: None, limit: 1000 };
        match self.query(query) {
            Ok(Response::Page { entries, more: false }) => {
                entries.into_iter().map(|entry| entry.path).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// A change that nobody decided on.
    pub(crate) fn apply(&mut self, change: crate::record::Change) {
        let record = crate::Record { wall: WallTime { ms: 5 }, request: None, change };
        let position = self.master.position().next();
        for durable in [&mut self.master.durable, &mut self.follower] {
            durable.apply(position, EPOCH, &record).unwrap();
        }
        self.log.push((position, EPOCH, record.encode()));
    }

    /// A chunkserver registers, without saying what it holds.
    pub(crate) fn register(
        &mut self,
        uid: u128,
        session: u64,
        leases: Vec<HeldLease>,
    ) -> Vec<Effect> {
        self.links += 1;
        let link = Link(self.links);
        self.linked.insert(uid, (link, session));
        let who = Registration { leases, ..registration(uid, session) };
        self.step(Input::Chunkserver { link, message: FromChunkserver::Register(who) })
    }

    /// It registers and says that it holds this and no more.
    pub(crate) fn join(&mut self, uid: u128, session: u64, holds: &[ReplicaReport]) -> Vec<Effect> {
        let mut out = self.register(uid, session, Vec::new());
        out.extend(self.page(uid, holds));
        out
    }

    pub(crate) fn page(&mut self, uid: u128, holds: &[ReplicaReport]) -> Vec<Effect> {
        let replicas = holds.to_vec();
        self.tell(uid, FromChunkserver::ReportPage { replicas, last: true })
    }

    pub(crate) fn link(&self, uid: u128) -> Link {
        self.linked[&uid].0
    }

    pub(crate) fn tell(&mut self, uid: u128, message: FromChunkserver) -> Vec<Effect> {
        let link = self.link(uid);
        self.step(Input::Chunkserver { link, message })
    }

    pub(crate) fn leave(&mut self, uid: u128) -> Vec<Effect> {
        let link = self.link(uid);
        self.step(Input::ChunkserverGone { link })
    }

    pub(crate) fn created(&mut self, uid: u128, handle: ChunkHandle) -> Vec<Effect> {
        let version = ChunkVersion(1);
        self.tell(uid, FromChunkserver::ReplicaCreated { handle, version, result: Ok(()) })
    }

    pub(crate) fn raised(&mut self, uid: u128, handle: ChunkHandle, version: u64) -> Vec<Effect> {
        self.raised_as(uid, handle, version, 10, 1)
    }

    pub(crate) fn raised_as(
        &mut self,
        uid: u128,
        handle: ChunkHandle,
        version: u64,
        length: u64,
        digest: u32,
    ) -> Vec<Effect> {
        let result = Ok(RaisedReplica { length, digest, state: ReplicaState::Clean });
        self.tell(uid, FromChunkserver::Raised { handle, version: ChunkVersion(version), result })
    }

    pub(crate) fn raised_in(
        &mut self,
        uid: u128,
        handle: ChunkHandle,
        version: u64,
        (length, digest, state): (u64, u32, ReplicaState),
    ) -> Vec<Effect> {
        let result = Ok(RaisedReplica { length, digest, state });
        self.tell(uid, FromChunkserver::Raised { handle, version: ChunkVersion(version), result })
    }

    /// A heartbeat that tells of one replica.
    pub(crate) fn changed(&mut self, uid: u128, report: ReplicaReport) -> Vec<Effect> {
        let (space, extend) = (space(), Vec::new());
        self.tell(uid, FromChunkserver::Heartbeat { seq: 9, space, changed: vec![report], extend })
    }

    pub(crate) fn heartbeat(
        &mut self,
        uid: u128,
        extend: &[(ChunkHandle, u64)],
    ) -> Vec<(ChunkHandle, ChunkVersion)> {
        let extend = extend.iter().map(|(handle, v)| (*handle, ChunkVersion(*v))).collect();
        let (space, changed) = (space(), Vec::new());
        let out = self.tell(uid, FromChunkserver::Heartbeat { seq: 9, space, changed, extend });
        let link = self.link(uid);
        out.iter()
            .find_map(|effect| match effect {
                Effect::Send { link: to, message, .. } if *to == link => match &message.command {
                    Command::HeartbeatAnswer { seq: 9, extended, .. } => Some(extended.clone()),
                    _ => None,
                },
                _ => None,
            })
            .expect("every heartbeat is answered")
    }

    pub(crate) fn ask_lease(
        &mut self,
        file: FileId,
        not_version: Option<u64>,
    ) -> (u64, Vec<Effect>) {
        let target = LeaseTarget::Index(ChunkIndex(0));
        self.send(Request::Lease { file, target, not_version: not_version.map(ChunkVersion) })
    }

    /// Three chunkservers (1, 2, 3), a file with one chunk that was born on all of them, and its lease.
    pub(crate) fn with_chunk() -> (Self, FileId, LeaseGrant) {
        let mut world = Self::new();
        for uid in 1..=3 {
            world.join(uid, 1, &[]);
        }
        let file = world.file("/f");
        let (request, _) = world.ask_lease(file, None);
        let handle = world.only_handle();
        world.created(1, handle);
        world.created(2, handle);
        let out = world.created(3, handle);
        let grant = lease(&out, request).unwrap();
        (world, file, grant)
    }

    /// Time for the master to look round.
    pub(crate) fn tick(&mut self) -> Vec<Effect> {
        self.after_ms(50)
    }

    /// Asks for a lease of this chunk of the file `/f`.
    pub(crate) fn lease_of(&mut self, index: u64) -> Request {
        let file = self.stat("/f").unwrap().id;
        Request::Lease { file, target: LeaseTarget::Index(ChunkIndex(index)), not_version: None }
    }

    pub(crate) fn started(&self, handle: ChunkHandle) -> u64 {
        self.master.durable.chunks.started(handle).unwrap().0
    }

    /// The chunkserver at this end.
    pub(crate) fn at(&self, link: Link) -> u128 {
        let its = self.linked.iter().find(|(_, (one, _))| *one == link);
        *its.expect("commands go over streams that are open").0
    }

    pub(crate) fn only_handle(&self) -> ChunkHandle {
        self.master.durable.chunks.iter().next().unwrap().0
    }
}

pub(crate) fn through_image(durable: &Durable) -> Durable {
    let mut loader = image::Loader::new();
    for section in image::sections(durable) {
        assert!(section.len() <= image::SECTION_BYTES_MAX);
        loader.section(&section).unwrap();
    }
    loader.finish().unwrap()
}

pub(crate) fn create(path: &str) -> Mutation {
    Mutation::Create { path: path.to_owned(), replication: 0, attributes: Attributes::default() }
}

pub(crate) fn space() -> Space {
    Space { capacity_bytes: 1 << 40, free_bytes: 1 << 39 }
}

pub(crate) fn registration(uid: u128, session: u64) -> Registration {
    Registration {
        cluster: Some(CLUSTER),
        chunkserver: ServerUid(uid),
        session: ProcessSession(session),
        address: format!("cs{uid}:7500"),
        http_address: format!("cs{uid}:7501"),
        topology: format!("z{uid}/h{uid}/d1").parse().unwrap(),
        space: space(),
        epoch: EPOCH,
        leases: Vec::new(),
    }
}

pub(crate) fn holds(handle: ChunkHandle, version: u64, length: u64) -> ReplicaReport {
    let (version, state) = (ChunkVersion(version), ReplicaState::Clean);
    ReplicaReport { handle, version, length, state }
}

pub(crate) fn reply(out: &[Effect], to: u64) -> Option<Result<Response, Error>> {
    out.iter().find_map(|effect| match effect {
        Effect::Reply { request, reply, after, .. } if *request == to => {
            assert_eq!(reply.log_position, *after);
            Some(reply.result.clone())
        }
        _ => None,
    })
}

pub(crate) fn lease(out: &[Effect], request: u64) -> Option<LeaseGrant> {
    match reply(out, request)? {
        Ok(Response::Lease(grant)) => Some(grant),
        other => panic!("{other:?}"),
    }
}

/// The commands sent, and over which link.
pub(crate) fn sent(out: &[Effect]) -> Vec<(Link, Command)> {
    out.iter()
        .filter_map(|effect| match effect {
            Effect::Send { link, message, .. } => Some((*link, message.command.clone())),
            _ => None,
        })
        .collect()
}

/// Who was asked to store which number, and from which.
pub(crate) fn raises(world: &World, out: &[Effect]) -> Vec<(u128, u64, u64)> {
    let asked = sent(out).into_iter().filter_map(|(link, command)| match command {
        Command::Raise { version, from, .. } => Some((world.at(link), version.0, from.0)),
        _ => None,
    });
    let mut asked: Vec<_> = asked.collect();
    asked.sort_unstable();
    asked
}

/// Leases granted: to whom, what they start with, and whether they are brief.
pub(crate) fn grants(world: &World, out: &[Effect]) -> Vec<(u128, LeaseStart, bool)> {
    let granted = sent(out).into_iter().filter_map(|(link, command)| match command {
        Command::GrantLease { start, brief, .. } => Some((world.at(link), start, brief)),
        _ => None,
    });
    granted.collect()
}

/// Which of the leases granted are of one replica that is to acknowledge nothing (mut-6), and under which version.
pub(crate) fn alone(world: &World, out: &[Effect]) -> Vec<(u128, u64)> {
    let granted = sent(out).into_iter().filter_map(|(link, command)| match command {
        Command::GrantLease { version, alone: true, .. } => Some((world.at(link), version.0)),
        _ => None,
    });
    granted.collect()
}

/// Who was told to teach whom, under which version.
pub(crate) fn lessons(world: &World, out: &[Effect]) -> Vec<(u128, u128, u64)> {
    let told = sent(out).into_iter().filter_map(|(link, command)| match command {
        Command::Teach { version, learner, .. } => {
            Some((world.at(link), learner.chunkserver.0, version.0))
        }
        _ => None,
    });
    told.collect()
}

pub(crate) fn records(out: &[Effect]) -> Vec<crate::record::Change> {
    out.iter()
        .filter_map(|effect| match effect {
            Effect::Append { record, .. } => Some(crate::Record::decode(record).unwrap().change),
            _ => None,
        })
        .collect()
}

pub(crate) fn kind<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    result.unwrap_err().kind
}
