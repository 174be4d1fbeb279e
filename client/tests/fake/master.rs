//! A master that remembers a few files and obeys the test.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures::{Stream, StreamExt};
use gfs_protocol::pb;
use gfs_protocol::pb::master_server::{Master, MasterServer};
use gfs_types::Error;
use gfs_types::fence::{ChunkVersion, Incarnation, LogPosition, MasterEpoch};
use gfs_types::ids::{ChunkHandle, ClusterUid, FileId, ProcessSession, ServerUid, SessionId};
use gfs_types::message::client::{
    Attributes, ChunkLocation, ClientWelcome, Entry, EntryKind, FileLocations, LeaseGrant,
    LeaseTarget, Mutation, Query, ReplicaLocation, Reply, Request, Response,
};
use gfs_types::message::control::ReplicaState;
use gfs_types::record::ConfigRecord;
use gfs_types::region::ChunkIndex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Response as Answered, Status, Streaming};

use super::{CHUNK_BYTES, Process, listen};

/// What the master knows, and what the test wants of it.
pub(crate) struct Namespace {
    pub(crate) cluster: ClusterUid,
    pub(crate) chunkservers: Vec<String>,
    pub(crate) entries: BTreeMap<String, Entry>,
    /// Handles by file and index; versions by handle.
    pub(crate) chunks: BTreeMap<FileId, BTreeMap<ChunkIndex, ChunkHandle>>,
    pub(crate) versions: BTreeMap<ChunkHandle, ChunkVersion>,
    pub(crate) sessions: BTreeMap<SessionId, BTreeMap<u64, Result<Response, Error>>>,
    next: u64,
    /// How many mutations took effect.
    pub(crate) applied: usize,
    pub(crate) corrupt: Vec<ServerUid>,
    pub(crate) leases_refused: Vec<ChunkVersion>,
    /// Carry out the next so many mutations, answer nothing, and break the stream.
    pub(crate) swallow_answers: usize,
    /// Answer nothing at all.
    pub(crate) mute: bool,
    /// Answer the next so many requests with `Busy`.
    pub(crate) busy: usize,
}

impl Namespace {
    pub(crate) fn new(chunkservers: Vec<String>) -> Self {
        let mut new = Self {
            cluster: ClusterUid(0xc1),
            chunkservers,
            entries: BTreeMap::new(),
            chunks: BTreeMap::new(),
            versions: BTreeMap::new(),
            sessions: BTreeMap::new(),
            next: 100,
            applied: 0,
            corrupt: Vec::new(),
            leases_refused: Vec::new(),
            swallow_answers: 0,
            mute: false,
            busy: 0,
        };
        for path in ["/", "/.gfs", "/.gfs/tmp"] {
            let entry = new.entry(path, EntryKind::Directory);
            new.entries.insert(path.to_owned(), entry);
        }
        new
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn entry(&mut self, path: &str, kind: EntryKind) -> Entry {
        Entry {
            path: path.to_owned(),
            id: FileId(self.number()),
            kind,
            length: 0,
            length_is_final: true,
            chunks: 0,
            replication: 3,
            attributes: Attributes::default(),
        }
    }

    fn welcome(&self) -> ClientWelcome {
        let record = ConfigRecord {
            cluster: self.cluster,
            incarnation: Incarnation(1),
            epoch: MasterEpoch(1),
            version: 1,
            primary: ServerUid(0xaa),
            in_sync: vec![ServerUid(0xaa)],
        };
        ClientWelcome { record, master: ServerUid(0xaa), chunk_bytes: CHUNK_BYTES }
    }

    fn answer(&mut self, request: Request) -> Result<Response, Error> {
        if self.busy > 0 {
            self.busy -= 1;
            return Err(Error::busy("the test says so"));
        }
        match request {
            Request::OpenSession => {
                let id = SessionId(self.number());
                self.sessions.insert(id, BTreeMap::new());
                Ok(Response::Session(id))
            }
            Request::CloseSession(id) => {
                self.sessions.remove(&id);
                Ok(Response::Done)
            }
            Request::Query(query) => self.query(query),
            Request::Mutate { id, mutation, .. } => {
                let Some(results) = self.sessions.get(&id.session) else {
                    return Err(Error::stale("no such session"));
                };
                if let Some(result) = results.get(&id.seq.0) {
                    return result.clone();
                }
                let result = self.mutate(mutation);
                self.applied += usize::from(result.is_ok());
                self.sessions.get_mut(&id.session).unwrap().insert(id.seq.0, result.clone());
                result
            }
            Request::Lease { file, target, not_version } => self.lease(file, target, not_version),
            Request::ReportCorrupt { chunkserver, .. } => {
                self.corrupt.push(chunkserver);
                Ok(Response::Done)
            }
        }
    }

    fn find(&self, path: &str) -> Result<Entry, Error> {
        self.entries.get(path).cloned().ok_or_else(|| Error::not_found(format!("no `{path}`")))
    }

    fn query(&mut self, query: Query) -> Result<Response, Error> {
        match query {
            Query::Stat { path } => self.find(&path).map(Response::Entry),
            Query::Locate { file, first, count } => {
                let entry = self.entries.values().find(|entry| entry.id == file).cloned();
                let entry = entry.ok_or_else(|| Error::not_found("no such file"))?;
                let all = self.chunks.entry(file).or_default().clone();
                let end = ChunkIndex(first.0 + u64::from(count));
                let chunks = all.range(first..end).map(|(i, h)| self.location(*i, *h)).collect();
                Ok(Response::Locations(FileLocations { entry, chunks, valid_ms: 60_000 }))
            }
            Query::List { path, after, limit } => {
                let prefix = if path == "/" { path } else { format!("{path}/") };
                let names = self.entries.values().filter_map(|entry| {
                    let name = entry.path.strip_prefix(&prefix)?;
                    let below = !name.is_empty() && !name.contains('/');
                    below.then(|| Entry { path: name.to_owned(), ..entry.clone() })
                });
                let behind = |entry: &Entry| after.as_ref().is_none_or(|after| entry.path > *after);
                let mut entries: Vec<Entry> = names.filter(behind).collect();
                // Pages of two, so that a test sees more than one.
                let page = 2.min(limit as usize);
                let more = entries.len() > page;
                entries.truncate(page);
                Ok(Response::Page { entries, more })
            }
            other => Err(Error::invalid(format!("not in this play: {other:?}"))),
        }
    }

    fn mutate(&mut self, mutation: Mutation) -> Result<Response, Error> {
        match mutation {
            Mutation::Create { path, .. } => {
                if self.entries.contains_key(&path) {
                    return Err(Error::already_exists(format!("`{path}` exists")));
                }
                let entry = self.entry(&path, EntryKind::File);
                self.entries.insert(path, entry.clone());
                Ok(Response::Entry(entry))
            }
            Mutation::Rename { from, to, .. } => {
                let mut entry = self.find(&from)?;
                self.entries.remove(&from);
                entry.path.clone_from(&to);
                self.entries.insert(to, entry.clone());
                Ok(Response::Entry(entry))
            }
            Mutation::SetLength { file, length, .. } => {
                let entry = self.entries.values_mut().find(|entry| entry.id == file);
                let entry = entry.ok_or_else(|| Error::not_found("no such file"))?;
                entry.length = entry.length.max(length);
                Ok(Response::Done)
            }
            Mutation::Delete { path, .. } => {
                self.find(&path)?;
                self.entries.remove(&path);
                Ok(Response::Done)
            }
            other => Err(Error::invalid(format!("not in this play: {other:?}"))),
        }
    }

    fn lease(
        &mut self,
        file: FileId,
        target: LeaseTarget,
        not_version: Option<ChunkVersion>,
    ) -> Result<Response, Error> {
        let chunks = self.chunks.entry(file).or_default();
        let last = chunks.keys().next_back().copied().unwrap_or(ChunkIndex(0));
        let index = match target {
            LeaseTarget::Index(index) => index,
            LeaseTarget::Last => last,
        };
        self.next += 1;
        let handle = *chunks.entry(index).or_insert(ChunkHandle(self.next));
        let count = chunks.keys().next_back().map_or(0, |last| last.0 + 1);
        let entry = self.entries.values_mut().find(|entry| entry.id == file);
        let entry = entry.ok_or_else(|| Error::not_found("no such file"))?;
        entry.chunks = count;
        entry.length_is_final = false;
        let version = self.versions.entry(handle).or_insert(ChunkVersion(1));
        if not_version == Some(*version) {
            self.leases_refused.push(*version);
            *version = version.next();
        }
        let location = self.location(index, handle);
        Ok(Response::Lease(LeaseGrant {
            index,
            handle,
            version: location.version,
            epoch: MasterEpoch(1),
            primary: ServerUid(1),
            members: location.replicas,
            left_ms: 10_000,
        }))
    }

    fn location(&self, index: ChunkIndex, handle: ChunkHandle) -> ChunkLocation {
        let version = self.versions.get(&handle).copied().unwrap_or(ChunkVersion(1));
        let replica = |(uid, address): (u128, &String)| ReplicaLocation {
            chunkserver: ServerUid(uid),
            session: ProcessSession(1),
            address: address.clone(),
            topology: "a".parse().unwrap(),
            version,
            state: ReplicaState::Unclean,
        };
        let replicas: Vec<_> = (1..).zip(&self.chunkservers).map(replica).collect();
        let members = u32::try_from(replicas.len()).unwrap();
        let primary = Some(ServerUid(1));
        ChunkLocation { index, handle, version, length: 0, primary, replicas, members }
    }
}

/// A run of the master.
pub(crate) struct MasterProcess {
    pub(crate) port: u16,
    _process: Process,
}

impl MasterProcess {
    pub(crate) fn start(port: u16, namespace: Arc<Mutex<Namespace>>) -> Self {
        let listener = listen(port);
        let port = listener.local_addr().unwrap().port();
        let process = Process::start();
        process.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            tonic::transport::Server::builder()
                .add_service(MasterServer::new(Service(namespace)))
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .unwrap();
        });
        Self { port, _process: process }
    }
}

struct Service(Arc<Mutex<Namespace>>);

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Master for Service {
    type ClientStream = Out<pb::MasterMessage>;
    type ControlStream = Out<pb::CommandMessage>;

    async fn client(
        &self,
        requests: tonic::Request<Streaming<pb::ClientMessage>>,
    ) -> Result<Answered<Self::ClientStream>, Status> {
        let (out, messages) = mpsc::unbounded_channel();
        tokio::spawn(serve(Arc::clone(&self.0), requests.into_inner(), out));
        Ok(Answered::new(Box::pin(UnboundedReceiverStream::new(messages))))
    }

    async fn control(
        &self,
        _: tonic::Request<Streaming<pb::ChunkserverMessage>>,
    ) -> Result<Answered<Self::ControlStream>, Status> {
        Err(Status::unimplemented("not in this play"))
    }

    async fn status(
        &self,
        _: tonic::Request<pb::MasterStatusRequest>,
    ) -> Result<Answered<pb::MasterStatusReply>, Status> {
        Err(Status::unimplemented("not in this play"))
    }

    async fn format(
        &self,
        _: tonic::Request<pb::FormatRequest>,
    ) -> Result<Answered<pb::FormatReply>, Status> {
        Err(Status::unimplemented("not in this play"))
    }
}

async fn serve(
    namespace: Arc<Mutex<Namespace>>,
    mut requests: Streaming<pb::ClientMessage>,
    out: mpsc::UnboundedSender<Result<pb::MasterMessage, Status>>,
) {
    use pb::client_message::Kind;
    let send = |kind| drop(out.send(Ok(pb::MasterMessage { kind: Some(kind) })));
    while let Some(Ok(message)) = requests.next().await {
        match message.kind.unwrap() {
            Kind::Hello(_) => {
                let welcome = namespace.lock().unwrap().welcome();
                send(pb::master_message::Kind::Welcome(welcome.into()));
            }
            Kind::Request(request) => {
                let (id, request): (u64, Request) = request.try_into().unwrap();
                let mut namespace = namespace.lock().unwrap();
                if namespace.mute {
                    continue;
                }
                let mutates = matches!(request, Request::Mutate { .. });
                let result = namespace.answer(request);
                if mutates && namespace.swallow_answers > 0 {
                    namespace.swallow_answers -= 1;
                    return;
                }
                let reply = Reply { epoch: MasterEpoch(1), log_position: LogPosition(1), result };
                send(pb::master_message::Kind::Reply((id, reply).into()));
            }
        }
    }
}
