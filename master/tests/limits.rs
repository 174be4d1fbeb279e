//! The limits of the master's gRPC service: at each, and one past it.

#![allow(clippy::unwrap_used, reason = "a failure in a helper of a test fails the test")]

mod support;

use std::time::Duration;

use gfs_protocol::pb;
use gfs_types::ErrorKind;
use gfs_types::limits::CONTROL_MESSAGE_BYTES_MAX;
use pb::client_message::Kind as Say;
use pb::master_message::Kind as Said;
use support::service::{Server, config, kind};
use tokio_stream::wrappers::ReceiverStream;

/// Streams of one connection.
const STREAMS_MAX: usize = 200;
/// Bytes of the headers of one call.
const HEADER_BYTES_MAX: usize = 16 << 10;

async fn serve(dir: &tempfile::TempDir) -> Server {
    Server::serving(config(dir.path())).await.unwrap()
}

#[tokio::test]
async fn one_stream_too_many_on_a_connection_waits_until_another_ends() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(&dir).await;
    let connection = server.grpc().await;
    let open = || {
        let mut connection = connection.clone();
        let (out, messages) = tokio::sync::mpsc::channel::<pb::ClientMessage>(1);
        async move { (out, connection.client(ReceiverStream::new(messages)).await.unwrap()) }
    };
    let mut streams = Vec::new();
    for _ in 0..STREAMS_MAX {
        streams.push(open().await);
    }
    let mut next = Box::pin(open());
    let early = tokio::time::timeout(Duration::from_millis(200), next.as_mut()).await;
    assert!(early.is_err(), "one more than {STREAMS_MAX}");
    streams.pop();
    next.await;
    drop(streams);
    server.client().await.create("/after").await.unwrap();
    server.end().await.unwrap();
}

#[tokio::test]
async fn headers_have_a_limit_and_the_connection_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(&dir).await;
    let connection = server.grpc().await;
    let status = |bytes: usize| {
        let mut request = tonic::Request::new(pb::MasterStatusRequest {});
        request.metadata_mut().insert("x-long", "h".repeat(bytes).parse().unwrap());
        let mut connection = connection.clone();
        async move { connection.status(request).await }
    };
    // The call has a few headers of its own.
    assert!(status(HEADER_BYTES_MAX - 1024).await.unwrap().into_inner().serving);
    assert!(status(HEADER_BYTES_MAX).await.is_err());
    assert!(status(10).await.unwrap().into_inner().serving);
    server.end().await.unwrap();
}

/// A request that is a message of so many bytes on the wire: around the path are three tags with a length of four bytes
/// each, and the number of the request.
fn message(bytes: usize) -> pb::ClientMessage {
    let path = "p".repeat(bytes - 3 * 5 - 2);
    let kind = Some(pb::client_request::Kind::Stat(pb::StatQuery { path }));
    pb::ClientMessage { kind: Some(Say::Request(pb::ClientRequest { id: 1, kind })) }
}

#[tokio::test]
async fn a_message_of_the_greatest_length_is_read_and_a_longer_one_ends_its_stream_only() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(&dir).await;
    let mut client = server.client().await;
    client.out.send(message(CONTROL_MESSAGE_BYTES_MAX)).await.unwrap();
    let (_, reply) = client.receive().await;
    assert_eq!(reply.result.unwrap_err().kind, ErrorKind::Invalid, "no such path can be");
    client.create("/still-there").await.unwrap();
    client.out.send(message(CONTROL_MESSAGE_BYTES_MAX + 1)).await.unwrap();
    let ended = client.replies.message().await;
    assert!(!matches!(&ended, Ok(Some(pb::MasterMessage { kind: Some(Said::Reply(_)) }))));
    let mut other = server.client().await;
    assert_eq!(kind(&other.create("/still-there").await), Some(ErrorKind::AlreadyExists));
    server.end().await.unwrap();
}
