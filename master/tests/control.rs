//! The stream of a chunkserver, over loopback.

#![allow(clippy::unwrap_used, reason = "a failure in a helper of a test fails the test")]

mod support;

use gfs_protocol::pb;
use gfs_types::ErrorKind;
use gfs_types::fence::MasterEpoch;
use gfs_types::ids::{ClusterUid, ProcessSession, ServerUid};
use gfs_types::message::client::{ClusterStatus, Query, Request, Response};
use gfs_types::message::control::{Command, FromChunkserver, Registration, Space, ToChunkserver};
use support::service::{CLUSTER, Server, config};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

const CHUNKSERVER: ServerUid = ServerUid(0xc5);
const SESSION: ProcessSession = ProcessSession(3);

struct Link {
    out: mpsc::Sender<pb::ChunkserverMessage>,
    commands: Streaming<pb::CommandMessage>,
}

impl Link {
    async fn open(server: &Server, first: pb::ChunkserverMessage) -> Self {
        let (out, messages) = mpsc::channel(16);
        out.send(first).await.unwrap();
        let mut grpc = server.grpc().await;
        let commands = grpc.control(ReceiverStream::new(messages)).await.unwrap().into_inner();
        Self { out, commands }
    }

    async fn next(&mut self) -> ToChunkserver {
        self.commands.message().await.unwrap().expect("a command").try_into().unwrap()
    }

    async fn say(&self, message: FromChunkserver) {
        self.out.send(message.into()).await.unwrap();
    }
}

fn register(cluster: Option<ClusterUid>) -> pb::ChunkserverMessage {
    let address = |port: u16| format!("127.0.0.1:{port}");
    FromChunkserver::Register(Registration {
        cluster,
        chunkserver: CHUNKSERVER,
        session: SESSION,
        address: address(7500),
        http_address: address(7501),
        topology: "local/cs1/d1".parse().unwrap(),
        space: Space { capacity_bytes: 1 << 40, free_bytes: 1 << 39 },
        epoch: MasterEpoch(0),
        leases: Vec::new(),
    })
    .into()
}

async fn serve(dir: &tempfile::TempDir) -> Server {
    Server::serving(config(dir.path())).await.unwrap()
}

async fn chunkservers(server: &Server) -> Vec<(ServerUid, bool)> {
    match server.client().await.ask(Request::Query(Query::Status)).await.unwrap() {
        Response::Status(ClusterStatus { chunkservers, .. }) => {
            chunkservers.iter().map(|server| (server.uid, server.alive)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_blank_chunkserver_learns_its_cluster_and_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(&dir).await;
    let mut link = Link::open(&server, register(None)).await;
    let welcome = link.next().await;
    assert_eq!((welcome.epoch, welcome.session), (MasterEpoch(1), SESSION));
    let Command::Welcome { cluster, chunk_bytes, .. } = welcome.command else {
        panic!("{welcome:?}");
    };
    assert_eq!((cluster, chunk_bytes), (CLUSTER, 1 << 20));
    link.say(FromChunkserver::ReportPage { replicas: Vec::new(), last: true }).await;
    let space = Space { capacity_bytes: 1 << 40, free_bytes: 1 << 38 };
    let (changed, extend) = (Vec::new(), Vec::new());
    link.say(FromChunkserver::Heartbeat { seq: 9, space, changed, extend }).await;
    assert!(matches!(link.next().await.command, Command::HeartbeatAnswer { seq: 9, .. }));
    assert_eq!(chunkservers(&server).await, [(CHUNKSERVER, true)]);
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_chunkserver_of_another_cluster_is_refused_with_both_uids() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(&dir).await;
    let other = ClusterUid(0xbad);
    let mut link = Link::open(&server, register(Some(other))).await;
    let refused = link.next().await;
    assert_eq!(refused.session, SESSION);
    let Command::Refused(error) = refused.command else { panic!("{refused:?}") };
    assert_eq!(error.kind, ErrorKind::Denied);
    for uid in [other, CLUSTER] {
        assert!(error.message.contains(&uid.to_string()), "{error}");
    }
    assert!(link.commands.message().await.unwrap().is_none());
    assert!(chunkservers(&server).await.is_empty());
    server.end().await.unwrap();
}

#[tokio::test]
async fn whoever_does_not_register_first_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(&dir).await;
    let page = FromChunkserver::ReportPage { replicas: Vec::new(), last: true };
    for first in [page.into(), pb::ChunkserverMessage::default()] {
        let mut link = Link::open(&server, first).await;
        let refused = link.next().await;
        let Command::Refused(error) = refused.command else { panic!("{refused:?}") };
        assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    }
    server.end().await.unwrap();
}

#[tokio::test]
async fn the_stream_ends_with_a_reason_when_the_master_ends_or_is_not_understood() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(&dir).await;
    let mut first = Link::open(&server, register(Some(CLUSTER))).await;
    assert!(matches!(first.next().await.command, Command::Welcome { .. }));
    first.out.send(pb::ChunkserverMessage::default()).await.unwrap();
    let status = first.commands.message().await.unwrap_err();
    assert!(status.message().contains("register anew"), "{status}");
    let mut second = Link::open(&server, register(Some(CLUSTER))).await;
    assert!(matches!(second.next().await.command, Command::Welcome { .. }));
    server.end().await.unwrap();
    let status = second.commands.message().await.unwrap_err();
    assert!(status.message().contains("ending"), "{status}");
}
