//! A whole master on this machine's disk and loopback, and a client that speaks gRPC to it.

use std::path::Path;

use gfs_master::Event;
use gfs_protocol::pb;
use gfs_types::Error;
use gfs_types::config::{ListenConfig, LogFormat, MasterConfig};
use gfs_types::ids::{ClusterUid, RequestId, RequestSeq, SessionId};
use gfs_types::limits;
use gfs_types::message::client::{
    Attributes, ClientHello, ClientWelcome, Mutation, Query, Reply, Request, Response,
};
use gfs_types::topology::Topology;
use gfs_types::{ByteSize, ErrorKind};
use pb::client_message::Kind as Say;
use pb::master_client::MasterClient;
use pb::master_message::Kind as Said;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

pub const CLUSTER: ClusterUid = ClusterUid(0x0c1a_57e2);

pub fn config(dir: &Path) -> MasterConfig {
    MasterConfig {
        dir: dir.to_str().unwrap().to_owned(),
        net: ListenConfig {
            listen: "127.0.0.1:0".to_owned(),
            http_listen: "127.0.0.1:0".to_owned(),
            advertise: None,
        },
        format: Some(CLUSTER),
        chunk_size: ByteSize(1 << 20),
        replication: 3,
        lease: limits::LEASE_MS,
        heartbeat: limits::HEARTBEAT_MS,
        trash_grace: limits::TRASH_GRACE_MS,
        log_segment_size: ByteSize(2 << 20),
        reserve: ByteSize(0),
        log_format: LogFormat::Text,
    }
}

pub struct Server {
    pub address: String,
    pub http_address: String,
    events: mpsc::UnboundedReceiver<Event>,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Server {
    /// Until it listens.
    pub async fn start(config: MasterConfig) -> anyhow::Result<Self> {
        let (told, mut events) = mpsc::unbounded_channel();
        let (shutdown, ended) = oneshot::channel::<()>();
        let ended = async move {
            let _ = ended.await;
        };
        let task = tokio::spawn(gfs_master::run_observed(config, ended, told));
        match events.recv().await {
            Some(Event::Listening { address, http_address }) => {
                Ok(Self { address, http_address, events, shutdown, task })
            }
            Some(other) => panic!("{other:?} before it listens"),
            None => Err(task.await?.expect_err("it listens or fails")),
        }
    }

    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Until it serves.
    pub async fn serving(config: MasterConfig) -> anyhow::Result<Self> {
        let mut server = Self::start(config).await?;
        match server.next().await {
            Some(Event::Serving) => Ok(server),
            None => Err(server.task.await?.expect_err("it serves or fails")),
            other => panic!("{other:?}"),
        }
    }

    pub async fn end(self) -> anyhow::Result<()> {
        let _ = self.shutdown.send(());
        self.task.await?
    }

    pub async fn grpc(&self) -> MasterClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        MasterClient::new(endpoint.connect().await.unwrap())
    }

    pub async fn client(&self) -> Client {
        Client::hello(self, Some(CLUSTER)).await.unwrap()
    }
}

pub struct Client {
    pub welcome: ClientWelcome,
    pub session: SessionId,
    pub out: mpsc::Sender<pb::ClientMessage>,
    pub replies: Streaming<pb::MasterMessage>,
    seq: u64,
    asked: u64,
}

impl Client {
    pub async fn hello(server: &Server, cluster: Option<ClusterUid>) -> Result<Self, Error> {
        let hello = ClientHello { cluster, topology: Topology::default() };
        let (out, replies) = open(server, Say::Hello(hello.into())).await;
        let mut client = Self::from_stream(out, replies).await?;
        let Ok(Response::Session(session)) = client.ask(Request::OpenSession).await else {
            panic!("a session is given");
        };
        client.session = session;
        Ok(client)
    }

    async fn from_stream(
        out: mpsc::Sender<pb::ClientMessage>,
        mut replies: Streaming<pb::MasterMessage>,
    ) -> Result<Self, Error> {
        let first = replies.message().await.unwrap().expect("an answer to the hello");
        match first.kind.unwrap() {
            Said::Welcome(welcome) => {
                let welcome = ClientWelcome::try_from(welcome).unwrap();
                Ok(Self { welcome, session: SessionId(0), out, replies, seq: 0, asked: 0 })
            }
            Said::Refused(error) => Err(Error::try_from(error).unwrap()),
            Said::Reply(reply) => panic!("{reply:?} before the welcome"),
        }
    }

    pub async fn send(&mut self, request: Request) -> u64 {
        self.asked += 1;
        let request = pb::ClientRequest::from((self.asked, request));
        self.out.send(pb::ClientMessage { kind: Some(Say::Request(request)) }).await.unwrap();
        self.asked
    }

    pub async fn receive(&mut self) -> (u64, Reply) {
        let message = self.replies.message().await.unwrap().expect("an answer");
        match message.kind.unwrap() {
            Said::Reply(reply) => reply.try_into().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub async fn ask(&mut self, request: Request) -> Result<Response, Error> {
        let asked = self.send(request).await;
        let (id, reply) = self.receive().await;
        assert_eq!(id, asked);
        reply.result
    }

    pub fn mutation(&mut self, mutation: Mutation) -> Request {
        self.seq += 1;
        let id = RequestId { session: self.session, seq: RequestSeq(self.seq) };
        let answered_below = RequestSeq(self.seq.saturating_sub(60).max(1));
        Request::Mutate { id, answered_below, mutation }
    }

    pub async fn mutate(&mut self, mutation: Mutation) -> Result<Response, Error> {
        let request = self.mutation(mutation);
        self.ask(request).await
    }

    pub async fn create(&mut self, path: &str) -> Result<Response, Error> {
        self.mutate(create(path)).await
    }

    pub async fn names(&mut self, path: &str) -> Vec<String> {
        let (path, after, limit) = (path.to_owned(), None, 1000);
        match self.ask(Request::Query(Query::List { path, after, limit })).await.unwrap() {
            Response::Page { entries, more: false } => {
                entries.into_iter().map(|entry| entry.path).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    pub async fn stat(&mut self, path: &str) -> Result<Response, Error> {
        self.ask(Request::Query(Query::Stat { path: path.to_owned() })).await
    }
}

pub async fn open(
    server: &Server,
    first: Say,
) -> (mpsc::Sender<pb::ClientMessage>, Streaming<pb::MasterMessage>) {
    let (out, messages) = mpsc::channel(2048);
    out.send(pb::ClientMessage { kind: Some(first) }).await.unwrap();
    let replies = server.grpc().await.client(ReceiverStream::new(messages)).await.unwrap();
    (out, replies.into_inner())
}

pub fn create(path: &str) -> Mutation {
    let (path, attributes) = (path.to_owned(), Attributes::default());
    Mutation::Create { path, replication: 0, attributes }
}

pub fn mkdir(path: &str) -> Mutation {
    Mutation::Mkdir { path: path.to_owned(), parents: false }
}

pub fn rename(from: &str, to: &str) -> Mutation {
    Mutation::Rename { from: from.to_owned(), to: to.to_owned(), replace: false }
}

pub fn delete(path: &str) -> Mutation {
    Mutation::Delete { path: path.to_owned(), recursive: false, purge: false }
}

pub fn kind(result: &Result<Response, Error>) -> Option<ErrorKind> {
    result.as_ref().err().map(|error| error.kind)
}
