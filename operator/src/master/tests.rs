//! Masters that are a few lines, over real connections.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures::{Stream, StreamExt};
use gfs_protocol::pb;
use gfs_protocol::pb::master_server::{Master, MasterServer};
use gfs_types::fence::{Incarnation, LogPosition, MasterEpoch};
use gfs_types::ids::{ClusterUid, ServerUid};
use gfs_types::message::client::{
    ChunkserverStatus, ClientWelcome, ClusterStatus, Reply, Response,
};
use gfs_types::record::ConfigRecord;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tonic::{Request, Response as Answer, Status, Streaming};

use super::{Grpc, Line, Masters, Member, Told};

/// A master of this cluster that serves.
pub(crate) fn member(cluster: ClusterUid) -> Member {
    let primary = ServerUid(7);
    let record = ConfigRecord {
        cluster,
        incarnation: Incarnation(1),
        epoch: MasterEpoch(1),
        version: 1,
        primary,
        in_sync: vec![primary],
    };
    Member { master: primary, record, serving: true }
}

/// Blank until it is formatted.
#[derive(Clone, Default)]
struct Small {
    cluster: Arc<Mutex<Option<ClusterUid>>>,
}

type Outbound<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Master for Small {
    type ClientStream = Outbound<pb::MasterMessage>;
    type ControlStream = Outbound<pb::CommandMessage>;

    async fn client(
        &self,
        request: Request<Streaming<pb::ClientMessage>>,
    ) -> Result<Answer<Self::ClientStream>, Status> {
        let cluster = self.cluster.lock().unwrap().ok_or_else(|| Status::unavailable("blank"))?;
        let answers = request.into_inner().map(move |message| {
            let kind = match message?.kind.unwrap() {
                pb::client_message::Kind::Hello(_) => {
                    let Member { master, record, .. } = member(cluster);
                    let welcome = ClientWelcome { record, master, chunk_bytes: 64 << 20 };
                    pb::master_message::Kind::Welcome(welcome.into())
                }
                pb::client_message::Kind::Request(request) => {
                    let server = ChunkserverStatus {
                        uid: ServerUid(9),
                        address: "10.0.0.9:7500".to_owned(),
                        http_address: "10.0.0.9:7501".to_owned(),
                        topology: "default/node/prod-chunk-default-0".parse().unwrap(),
                        alive: true,
                        capacity_bytes: 1,
                        free_bytes: 1,
                        replicas: 0,
                    };
                    let status =
                        ClusterStatus { chunkservers: vec![server], ..ClusterStatus::default() };
                    let reply = Reply {
                        epoch: MasterEpoch(1),
                        log_position: LogPosition(0),
                        result: Ok(Response::Status(status)),
                    };
                    pb::master_message::Kind::Reply((request.id, reply).into())
                }
            };
            Ok(pb::MasterMessage { kind: Some(kind) })
        });
        Ok(Answer::new(Box::pin(answers)))
    }

    async fn control(
        &self,
        _: Request<Streaming<pb::ChunkserverMessage>>,
    ) -> Result<Answer<Self::ControlStream>, Status> {
        Err(Status::unimplemented("no chunkserver comes here"))
    }

    async fn status(
        &self,
        _: Request<pb::MasterStatusRequest>,
    ) -> Result<Answer<pb::MasterStatusReply>, Status> {
        let mut reply = pb::MasterStatusReply::default();
        match *self.cluster.lock().unwrap() {
            None => reply.blank = true,
            Some(cluster) => {
                let member = member(cluster);
                reply.serving = true;
                reply.master = member.master.0.to_be_bytes().to_vec().into();
                reply.record = Some(member.record.into());
            }
        }
        Ok(Answer::new(reply))
    }

    async fn format(
        &self,
        request: Request<pb::FormatRequest>,
    ) -> Result<Answer<pb::FormatReply>, Status> {
        let bytes: [u8; 16] = request.into_inner().cluster.as_ref().try_into().unwrap();
        let cluster = ClusterUid(u128::from_be_bytes(bytes));
        *self.cluster.lock().unwrap() = Some(cluster);
        Ok(Answer::new(pb::FormatReply { record: Some(member(cluster).record.into()) }))
    }
}

/// A process: at its end all of its connections are closed.
struct Process {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn serve(master: Small, address: &str) -> Process {
    // The one before lets go of the address when its runtime is gone.
    let listener = loop {
        match std::net::TcpListener::bind(address) {
            Ok(listener) => break listener,
            Err(_) => std::thread::yield_now(),
        }
    };
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        let incoming = futures::stream::unfold(listener, |listener| async move {
            let accepted = listener.accept().await.map(|(stream, _)| stream);
            Some((accepted, listener))
        });
        let server = tonic::transport::Server::builder().add_service(MasterServer::new(master));
        server.serve_with_incoming(incoming).await
    });
    Process { address, runtime: Some(runtime) }
}

async fn dial(address: SocketAddr) -> Box<dyn Line> {
    Grpc.dial(&address.to_string()).await.unwrap()
}

#[tokio::test]
async fn a_blank_master_is_formatted_and_tells_its_chunkservers() {
    let process = serve(Small::default(), "127.0.0.1:0");
    let line = dial(process.address).await;
    assert_eq!(line.status().await, Ok(Told::Blank));
    let record = line.format(ClusterUid(5)).await.unwrap();
    assert_eq!(record.cluster, ClusterUid(5));
    assert_eq!(line.status().await, Ok(Told::Formatted(member(ClusterUid(5)))));
    let glance = line.cluster().await.unwrap();
    assert_eq!(glance.chunk_bytes, 64 << 20, "told in the welcome");
    let servers = glance.status.chunkservers;
    assert_eq!(servers.len(), 1);
    assert!(servers[0].alive);
}

/// What said that it is blank is what is formatted: a process that took its place is not.
#[tokio::test]
async fn a_line_is_never_to_another_process() {
    let (first, second) = (Small::default(), Small::default());
    let process = serve(first.clone(), "127.0.0.1:0");
    let address = process.address;
    let line = dial(address).await;
    assert_eq!(line.status().await, Ok(Told::Blank));
    drop(process);
    let _second = serve(second.clone(), &address.to_string());
    let error = line.format(ClusterUid(5)).await.unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    let formatted = [&first, &second].map(|master| *master.cluster.lock().unwrap());
    assert_eq!(formatted, [None, None], "a process was formatted");
    // It can be asked over a line of its own.
    assert_eq!(dial(address).await.status().await, Ok(Told::Blank));
}

#[tokio::test]
async fn who_is_not_there_is_told_with_address_and_cause() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let Err(error) = Grpc.dial(&address).await else { panic!("nobody listens") };
    assert!(error.to_string().contains(&address), "{error}");
    assert!(error.reason.to_lowercase().contains("refused"), "{error}");
}
