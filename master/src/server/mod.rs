//! The master's gRPC service: clients' streams, chunkservers' streams, and the calls that even a
//! blank master answers.

mod client_stream;
mod control_stream;
mod in_flight;
mod incoming;
mod standing;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use gfs_membership::record::ConfigRecord;
use gfs_protocol::{pb, status};
use gfs_types::Error;
use gfs_types::ids::ClusterUid;
use gfs_types::limits::{CONNECTIONS_MAX, CONTROL_MESSAGE_BYTES_MAX};
use pb::master_server::{Master, MasterServer};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::{Request, Response, Status, Streaming};

use crate::metrics::Metrics;
use crate::outbox::Outbox;

pub use standing::{Member, Standing};

/// Streams of one HTTP/2 connection. Unset it would be without a limit.
const STREAMS_MAX: u32 = 200;
/// Bytes in flight on one stream: a page of a large report needs no second window.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes in flight on one connection.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Bytes of one HTTP/2 frame: many small replies share one.
const FRAME_BYTES: u32 = 64 << 10;
/// Bytes of the headers of one call.
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// Streams that a peer opened and reset before anybody looked.
const RESET_STREAMS_MAX: usize = 100;
/// A silent peer is asked whether it lives so often, and given so long to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(20));

/// Somebody wants a blank master formatted.
#[derive(Debug)]
pub struct FormatOrder {
    /// For this cluster.
    pub cluster: ClusterUid,
    /// Told when it is done.
    pub done: oneshot::Sender<Result<ConfigRecord, Error>>,
}

/// The service. What it may do depends on what the master is at the moment.
#[derive(Debug)]
pub struct Service {
    standing: watch::Receiver<Standing>,
    outbox: Arc<Outbox>,
    metrics: Arc<Metrics>,
    format: mpsc::Sender<FormatOrder>,
}

impl Service {
    /// A service that follows `standing`, and hands orders to format to `format`.
    #[must_use]
    pub fn new(
        standing: watch::Receiver<Standing>,
        outbox: Arc<Outbox>,
        metrics: Arc<Metrics>,
        format: mpsc::Sender<FormatOrder>,
    ) -> Self {
        Self { standing, outbox, metrics, format }
    }

    fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    async fn order_format(&self, cluster: ClusterUid) -> Result<ConfigRecord, Error> {
        if let Standing::Member(member) = self.standing() {
            return already(&member, cluster);
        }
        let (done, told) = oneshot::channel();
        let refused = || Error::busy("the master is starting or ending: ask for its status");
        if !matches!(self.standing(), Standing::Blank) {
            return Err(refused());
        }
        self.format.try_send(FormatOrder { cluster, done }).map_err(|_| refused())?;
        told.await.map_err(|_| refused())?
    }
}

/// A repeated order is answered as the first one; another cluster's is refused.
fn already(member: &Member, cluster: ClusterUid) -> Result<ConfigRecord, Error> {
    if member.record.cluster == cluster {
        return Ok(member.record.clone());
    }
    let own = member.record.cluster;
    Err(Error::already_exists(format!(
        "this master belongs to cluster {own} and is not formatted for {cluster}"
    )))
}

/// Serves until `shutdown` is ready and every stream has ended.
///
/// # Errors
/// The server failed.
pub async fn serve(
    listener: TcpListener,
    service: Service,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let service = MasterServer::new(service)
        .max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
    tonic::transport::Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_max_pending_accept_reset_streams(Some(RESET_STREAMS_MAX))
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .serve_with_incoming_shutdown(
            service,
            incoming::incoming(listener, CONNECTIONS_MAX),
            shutdown,
        )
        .await
}

type Outbound<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Master for Service {
    type ClientStream = Outbound<pb::MasterMessage>;
    type ControlStream = Outbound<pb::CommandMessage>;

    async fn client(
        &self,
        request: Request<Streaming<pb::ClientMessage>>,
    ) -> Result<Response<Self::ClientStream>, Status> {
        let shared = client_stream::Shared {
            standing: self.standing.clone(),
            outbox: self.outbox.clone(),
            metrics: self.metrics.clone(),
        };
        Ok(Response::new(Box::pin(client_stream::open(shared, request.into_inner()))))
    }

    async fn control(
        &self,
        request: Request<Streaming<pb::ChunkserverMessage>>,
    ) -> Result<Response<Self::ControlStream>, Status> {
        let (standing, outbox) = (self.standing.clone(), self.outbox.clone());
        Ok(Response::new(Box::pin(control_stream::open(standing, outbox, request.into_inner()))))
    }

    async fn status(
        &self,
        _request: Request<pb::MasterStatusRequest>,
    ) -> Result<Response<pb::MasterStatusReply>, Status> {
        let mut reply = pb::MasterStatusReply::default();
        match self.standing() {
            Standing::Member(member) => {
                reply.serving = member.is_primary();
                reply.master = member.master.0.to_be_bytes().to_vec().into();
                reply.record = Some(member.record.clone().into());
                reply.log_position = member.log_position().0;
            }
            Standing::Blank => reply.blank = true,
            Standing::Starting | Standing::Ending => {}
        }
        Ok(Response::new(reply))
    }

    async fn format(
        &self,
        request: Request<pb::FormatRequest>,
    ) -> Result<Response<pb::FormatReply>, Status> {
        let cluster: [u8; 16] = request.into_inner().cluster.as_ref().try_into().map_err(|_| {
            status::to_status(&Error::invalid("FormatRequest.cluster must have 16 bytes"))
        })?;
        let cluster = ClusterUid(u128::from_be_bytes(cluster));
        let record = self.order_format(cluster).await.map_err(|error| status::to_status(&error))?;
        Ok(Response::new(pb::FormatReply { record: Some(record.into()) }))
    }
}
