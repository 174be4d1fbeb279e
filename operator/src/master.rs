//! Asking a master what it is, and ordering a blank one to format itself.
//!
//! A [`Line`] is one TCP connection and never another: whoever said that it is blank is whoever is formatted, and a
//! process that took its place in the meantime is not.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;
use gfs_protocol::pb;
use gfs_protocol::pb::master_client::MasterClient;
use gfs_protocol::status::from_status;
use gfs_types::ids::{ClusterUid, ServerUid};
use gfs_types::limits::CONTROL_MESSAGE_BYTES_MAX;
use gfs_types::message::client::{ClientHello, ClusterStatus, Query, Reply, Request, Response};
use gfs_types::record::ConfigRecord;
use gfs_types::topology::Topology;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint, Uri};

/// Time for a TCP connection: a master in the same Kubernetes cluster takes it at once or not at all.
const CONNECT: Duration = Duration::from_secs(2);
/// Time for one question.
const ANSWER: Duration = Duration::from_secs(3);
/// Time for the order to format: it writes and syncs a few files.
const FORMAT: Duration = Duration::from_secs(20);

/// What a master says that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It reads its data directory.
    Starting,
    /// It belongs to no cluster.
    Blank,
    /// It belongs to one.
    Formatted(Member),
}

/// A master that belongs to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its own uid.
    pub master: ServerUid,
    /// The configuration record it follows.
    pub record: ConfigRecord,
    /// Whether it serves as the primary.
    pub serving: bool,
}

/// A cluster as its master sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Glance {
    /// Its chunkservers and chunks.
    pub status: ClusterStatus,
    /// The size of its chunks, from when it was formatted.
    pub chunk_bytes: u64,
}

/// Why a master could not be asked, or did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("master at {address}: {reason}")]
pub struct MasterError {
    /// Where it should be.
    pub address: String,
    /// What happened.
    pub reason: String,
}

/// How masters are reached.
pub trait Masters: Send + Sync {
    /// One connection to `HOST:PORT`.
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<Box<dyn Line>, MasterError>>;
}

/// One connection to one process.
pub trait Line: Send + Sync {
    /// What it is.
    fn status(&self) -> BoxFuture<'_, Result<Told, MasterError>>;
    /// Orders it to format itself. Repeated, it gives the same answer.
    fn format(&self, cluster: ClusterUid) -> BoxFuture<'_, Result<ConfigRecord, MasterError>>;
    /// The chunkservers it knows, how large chunks are, and how many lack replicas.
    fn cluster(&self) -> BoxFuture<'_, Result<Glance, MasterError>>;
}

/// Masters over gRPC.
#[derive(Debug, Clone, Copy, Default)]
pub struct Grpc;

impl Masters for Grpc {
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<Box<dyn Line>, MasterError>> {
        Box::pin(async move {
            let channel = connect_once(address).await?;
            let client = MasterClient::new(channel)
                .max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
            Ok(Box::new(GrpcLine { address: address.to_owned(), client }) as Box<dyn Line>)
        })
    }
}

/// A channel that never connects a second time, as a channel does by itself when its connection is lost.
async fn connect_once(address: &str) -> Result<Channel, MasterError> {
    let failed = |error: &dyn std::error::Error| failed(address, root_of(error));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|e| failed(&e))?;
    let stream = timeout(CONNECT, TcpStream::connect(address))
        .await
        .map_err(|_| self::failed(address, format!("no connection within {CONNECT:?}")))?
        .map_err(|error| failed(&error))?;
    let mut stream = Some(stream);
    let connector = tower::service_fn(move |_: Uri| {
        let taken = stream.take().map(TokioIo::new);
        let gone = || std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection lost");
        std::future::ready(taken.ok_or_else(gone))
    });
    let connected = timeout(CONNECT, endpoint.connect_with_connector(connector))
        .await
        .map_err(|_| self::failed(address, format!("no connection within {CONNECT:?}")))?;
    connected.map_err(|error| failed(&error))
}

struct GrpcLine {
    address: String,
    client: MasterClient<Channel>,
}

impl GrpcLine {
    fn failed(&self, reason: impl fmt::Display) -> MasterError {
        failed(&self.address, reason)
    }

    /// Within `limit`, and with the error of this line.
    async fn within<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, tonic::Status>>,
    ) -> Result<T, MasterError> {
        let late = |_| self.failed(format!("no answer within {limit:?}"));
        let answer = timeout(limit, call).await.map_err(late)?;
        answer.map_err(|status| self.failed(from_status(&status)))
    }

    async fn ask(&self) -> Result<Told, MasterError> {
        let mut client = self.client.clone();
        let call = async move { client.status(pb::MasterStatusRequest {}).await };
        let reply = self.within(ANSWER, call).await?.into_inner();
        told(reply).map_err(|reason| self.failed(reason))
    }

    async fn order_format(&self, cluster: ClusterUid) -> Result<ConfigRecord, MasterError> {
        let mut client = self.client.clone();
        let request = pb::FormatRequest { cluster: cluster.0.to_be_bytes().to_vec().into() };
        let call = async move { client.format(request).await };
        let reply = self.within(FORMAT, call).await?.into_inner();
        let record = reply.record.ok_or_else(|| self.failed("formatted, and told no record"))?;
        record.try_into().map_err(|error: gfs_types::Error| self.failed(error))
    }

    /// A stream for one question: hello, question, and the answers to both.
    async fn ask_cluster(&self) -> Result<Glance, MasterError> {
        let hello = ClientHello { cluster: None, topology: Topology::default() };
        let question: pb::ClientRequest = (1, Request::Query(Query::Status)).into();
        let messages = [
            pb::client_message::Kind::Hello(hello.into()),
            pb::client_message::Kind::Request(question),
        ];
        let messages = messages.map(|kind| pb::ClientMessage { kind: Some(kind) });
        // The stream stays open until the answer is here.
        let outbound =
            futures::StreamExt::chain(futures::stream::iter(messages), futures::stream::pending());
        let mut client = self.client.clone();
        let call = async move {
            let mut inbound = client.client(outbound).await?.into_inner();
            let mut chunk_bytes = 0;
            loop {
                let message = inbound.message().await?;
                match message.and_then(|message| message.kind) {
                    Some(pb::master_message::Kind::Welcome(welcome)) => {
                        chunk_bytes = welcome.chunk_bytes;
                    }
                    other => return Ok((chunk_bytes, other)),
                }
            }
        };
        let (chunk_bytes, answer) = self.within(ANSWER, call).await?;
        match answer {
            Some(pb::master_message::Kind::Reply(reply)) => {
                let status = cluster(reply).map_err(|error| self.failed(error))?;
                Ok(Glance { status, chunk_bytes })
            }
            Some(pb::master_message::Kind::Refused(error)) => Err(self.failed(error.message)),
            _ => Err(self.failed("closed without an answer")),
        }
    }
}

impl Line for GrpcLine {
    fn status(&self) -> BoxFuture<'_, Result<Told, MasterError>> {
        Box::pin(self.ask())
    }

    fn format(&self, cluster: ClusterUid) -> BoxFuture<'_, Result<ConfigRecord, MasterError>> {
        Box::pin(self.order_format(cluster))
    }

    fn cluster(&self) -> BoxFuture<'_, Result<Glance, MasterError>> {
        Box::pin(self.ask_cluster())
    }
}

fn told(reply: pb::MasterStatusReply) -> Result<Told, String> {
    let Some(record) = reply.record else {
        return Ok(if reply.blank { Told::Blank } else { Told::Starting });
    };
    let master: [u8; 16] =
        reply.master.as_ref().try_into().map_err(|_| "told no uid of its own".to_owned())?;
    let record = record.try_into().map_err(|error: gfs_types::Error| error.to_string())?;
    let master = ServerUid(u128::from_be_bytes(master));
    Ok(Told::Formatted(Member { master, record, serving: reply.serving }))
}

fn cluster(reply: pb::ClientReply) -> Result<ClusterStatus, gfs_types::Error> {
    let (_, reply): (u64, Reply) = reply.try_into()?;
    match reply.result? {
        Response::Status(status) => Ok(status),
        other => {
            Err(gfs_types::Error::internal(format!("asked for its status, it told {other:?}")))
        }
    }
}

fn failed(address: &str, reason: impl fmt::Display) -> MasterError {
    MasterError { address: address.to_owned(), reason: reason.to_string() }
}

/// The innermost cause says most: "Connection refused" rather than "transport error".
fn root_of(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
pub(crate) mod tests;
