//! A whole master over loopback: what clients see of it, before and after a restart.

#![allow(clippy::unwrap_used, reason = "a failure in a helper of a test fails the test")]

mod support;

use std::path::Path;

use gfs_master::Event;
use gfs_protocol::pb;
use gfs_types::ByteSize;
use gfs_types::ErrorKind;
use gfs_types::ids::ClusterUid;
use gfs_types::limits::CONNECTION_REQUESTS_MAX;
use gfs_types::message::client::{ClusterStatus, Query, Request, Response};
use pb::client_message::Kind as Say;
use pb::master_message::Kind as Said;
use support::service::{
    CLUSTER, Client, Server, config, create, delete, kind, mkdir, open, rename,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

async fn serve(dir: &Path) -> Server {
    Server::serving(config(dir)).await.unwrap()
}

async fn http(address: &str, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn files_are_made_renamed_listed_and_deleted_and_a_restart_keeps_all() {
    let dir = temporary();
    let server = serve(dir.path()).await;
    let mut client = server.client().await;
    assert_eq!(client.welcome.chunk_bytes, 1 << 20);
    client.mutate(mkdir("/d")).await.unwrap();
    for name in ["/d/a", "/d/b", "/d/c"] {
        client.create(name).await.unwrap();
    }
    client.mutate(rename("/d/a", "/d/z")).await.unwrap();
    client.mutate(delete("/d/b")).await.unwrap();
    assert_eq!(client.names("/d").await, ["c", "z"]);
    assert_eq!(kind(&client.stat("/d/a").await), Some(ErrorKind::NotFound));
    assert_eq!(kind(&client.create("/d/c").await), Some(ErrorKind::AlreadyExists));
    assert_eq!(kind(&client.create("/no/parent").await), Some(ErrorKind::NotFound));
    let before = client.stat("/d/z").await.unwrap();
    server.end().await.unwrap();

    let server = serve(dir.path()).await;
    let mut client = server.client().await;
    assert_eq!(client.names("/d").await, ["c", "z"]);
    assert_eq!(client.stat("/d/z").await.unwrap(), before);
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_repeated_mutation_takes_effect_once_across_a_restart_too() {
    let dir = temporary();
    let server = serve(dir.path()).await;
    let mut client = server.client().await;
    let request = client.mutation(create("/once"));
    let first = client.ask(request.clone()).await.unwrap();
    assert_eq!(client.ask(request.clone()).await.unwrap(), first);
    client.mutate(rename("/once", "/moved")).await.unwrap();
    server.end().await.unwrap();

    let server = serve(dir.path()).await;
    let mut client = server.client().await;
    assert_eq!(client.ask(request).await.unwrap(), first, "the answer is remembered");
    assert_eq!(client.names("/").await.iter().filter(|name| *name == "once").count(), 0);
    server.end().await.unwrap();
}

#[tokio::test]
async fn many_requests_are_in_flight_and_each_reply_names_its_request() {
    let dir = temporary();
    let server = serve(dir.path()).await;
    let mut client = server.client().await;
    // One past the limit: the last waits at the door and is answered all the same.
    let count = CONNECTION_REQUESTS_MAX as u64 + 1;
    let mut open = std::collections::BTreeSet::new();
    for _ in 0..count {
        open.insert(client.send(Request::Query(Query::Stat { path: "/".to_owned() })).await);
    }
    for _ in 0..count {
        let (id, reply) = client.receive().await;
        assert!(open.remove(&id), "{id} was not asked, or answered before");
        assert!(reply.result.is_ok());
    }
    server.end().await.unwrap();
}

#[tokio::test]
async fn checkpoints_cut_the_log_and_a_damaged_one_is_made_up_for() {
    let dir = temporary();
    let server = serve(dir.path()).await;
    let mut client = server.client().await;
    let name = "n".repeat(240);
    let log = dir.path().join("log");
    let checkpoints = dir.path().join("checkpoints");
    let list = |dir: &Path| {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name| !name.to_str().unwrap().ends_with(".tmp"));
        names.sort();
        names
    };
    let first_segment = list(&log)[0].clone();
    let mut made = 0;
    // Until the log lost its first segment: that takes two checkpoints.
    while list(&log)[0] == first_segment {
        for number in made..made + 50 {
            let request = client.mutation(create(&format!("/{name}-{number}")));
            client.send(request).await;
        }
        for _ in 0..50 {
            assert!(client.receive().await.1.result.is_ok());
        }
        made += 50;
    }
    server.end().await.unwrap();
    let newest = checkpoints.join(list(&checkpoints).last().unwrap());
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&newest, bytes).unwrap();

    let server = serve(dir.path()).await;
    let mut client = server.client().await;
    for number in [0, made / 2, made - 1] {
        client.stat(&format!("/{name}-{number}")).await.unwrap();
    }
    let Response::Status(ClusterStatus { files, .. }) =
        client.ask(Request::Query(Query::Status)).await.unwrap()
    else {
        panic!("a status")
    };
    assert_eq!(files, made);
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_foreign_cluster_is_refused_with_both_uids() {
    let dir = temporary();
    let server = serve(dir.path()).await;
    let other = ClusterUid(0xbad);
    let error = Client::hello(&server, Some(other)).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Denied);
    for uid in [other, CLUSTER] {
        assert!(error.message.contains(&uid.to_string()), "{error}");
    }
    Client::hello(&server, None).await.unwrap();
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_bad_field_is_named_and_the_stream_goes_on() {
    let dir = temporary();
    let server = serve(dir.path()).await;
    let mut client = server.client().await;
    let nothing = pb::ClientRequest { id: 99, kind: None };
    client.out.send(pb::ClientMessage { kind: Some(Say::Request(nothing)) }).await.unwrap();
    let (id, reply) = client.receive().await;
    let error = reply.result.unwrap_err();
    assert_eq!((id, error.kind), (99, ErrorKind::Invalid));
    assert!(error.message.contains("ClientRequest"), "{error}");
    client.stat("/").await.unwrap();
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_stream_without_a_hello_and_one_with_two_are_ended_with_a_reason() {
    let dir = temporary();
    let server = serve(dir.path()).await;
    let (_out, mut replies) = open(&server, Say::Request(pb::ClientRequest::default())).await;
    let first = replies.message().await.unwrap().unwrap().kind.unwrap();
    assert!(matches!(first, Said::Refused(error) if error.message.contains("hello")));
    let mut client = server.client().await;
    let again = Say::Hello(pb::ClientHello::default());
    client.out.send(pb::ClientMessage { kind: Some(again) }).await.unwrap();
    let last = client.replies.message().await.unwrap().unwrap().kind.unwrap();
    assert!(matches!(last, Said::Refused(error) if error.message.contains("only requests")));
    assert!(client.replies.message().await.unwrap().is_none());
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_blank_master_answers_status_and_format_only() {
    let dir = temporary();
    let blank = || {
        let mut config = config(dir.path());
        config.format = None;
        config
    };
    let mut server = Server::start(blank()).await.unwrap();
    assert_eq!(server.next().await, Some(Event::Blank));
    assert!(http(&server.http_address, "/readyz").await.contains("blank"));
    let mut grpc = server.grpc().await;
    let status = grpc.status(pb::MasterStatusRequest {}).await.unwrap().into_inner();
    assert!(status.blank && !status.serving);
    let error = Client::hello(&server, None).await.err().unwrap();
    assert!(error.kind == ErrorKind::Busy && error.message.contains("blank"), "{error}");
    let wrong = pb::FormatRequest { cluster: vec![1, 2, 3].into() };
    assert_eq!(grpc.format(wrong).await.unwrap_err().code(), tonic::Code::InvalidArgument);

    let format = |cluster: ClusterUid| pb::FormatRequest {
        cluster: cluster.0.to_be_bytes().to_vec().into(),
    };
    let record = grpc.format(format(CLUSTER)).await.unwrap().into_inner().record.unwrap();
    assert_eq!(server.next().await, Some(Event::Serving));
    let again = grpc.format(format(CLUSTER)).await.unwrap().into_inner().record.unwrap();
    assert_eq!(again, record);
    let other = grpc.format(format(ClusterUid(0xbad))).await.unwrap_err();
    assert_eq!(other.code(), tonic::Code::AlreadyExists);
    server.client().await.create("/a").await.unwrap();
    assert!(http(&server.http_address, "/readyz").await.starts_with("HTTP/1.1 200"));
    server.end().await.unwrap();

    let server = Server::serving(blank()).await.unwrap();
    assert_eq!(
        server.client().await.names("/").await.iter().filter(|name| *name == "a").count(),
        1
    );
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_blank_master_ends_when_told_and_stays_blank() {
    let dir = temporary();
    for _ in 0..2 {
        let mut blank = config(dir.path());
        blank.format = None;
        let mut server = Server::start(blank).await.unwrap();
        assert_eq!(server.next().await, Some(Event::Blank));
        server.end().await.unwrap();
    }
}

#[tokio::test]
async fn a_data_directory_in_use_is_refused() {
    let dir = temporary();
    let server = serve(dir.path()).await;
    let address = std::fs::read_to_string(dir.path().join("address")).unwrap();
    assert_eq!(address, format!("data {}\nhttp {}\n", server.address, server.http_address));
    let error = format!("{:#}", Server::serving(config(dir.path())).await.err().unwrap());
    assert!(error.contains("in use") && error.contains(dir.path().to_str().unwrap()), "{error}");
    let still = std::fs::read_to_string(dir.path().join("address")).unwrap();
    assert_eq!(still, address, "the one that runs keeps its address");
    server.end().await.unwrap();
    assert!(!dir.path().join("address").exists());
}

#[tokio::test]
async fn a_data_directory_of_another_cluster_is_refused_with_both_uids() {
    let dir = temporary();
    serve(dir.path()).await.end().await.unwrap();
    let other = ClusterUid(0xbad);
    let mut foreign = config(dir.path());
    foreign.format = Some(other);
    let error = format!("{:#}", Server::serving(foreign).await.err().unwrap());
    for uid in [other, CLUSTER] {
        assert!(error.contains(&uid.to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_directory_with_files_of_somebody_else_is_not_formatted() {
    let dir = temporary();
    std::fs::write(dir.path().join("thesis.tex"), "mine").unwrap();
    let error = format!("{:#}", Server::serving(config(dir.path())).await.err().unwrap());
    assert!(error.contains("thesis.tex"), "{error}");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let (one, two) = (temporary(), temporary());
    let server = serve(one.path()).await;
    let mut second = config(two.path());
    second.net.listen = server.address.clone();
    let error = format!("{:#}", Server::serving(second).await.err().unwrap());
    assert!(error.contains(&server.address) && error.contains("in use"), "{error}");
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_configuration_that_cannot_work_names_its_key() {
    let dir = temporary();
    let mut small = config(dir.path());
    small.log_segment_size = ByteSize(512);
    let error = format!("{:#}", Server::serving(small).await.err().unwrap());
    assert!(error.contains("log_segment_size"), "{error}");
    assert!(!dir.path().join("LOCK").exists(), "nothing was touched");
}

#[tokio::test]
async fn open_streams_end_with_a_reason_when_the_master_ends() {
    let dir = temporary();
    let server = serve(dir.path()).await;
    let mut client = server.client().await;
    server.end().await.unwrap();
    let last = client.replies.message().await.unwrap().unwrap().kind.unwrap();
    assert!(matches!(last, Said::Refused(error) if error.message.contains("ending")));
}

#[tokio::test]
async fn metrics_count_what_was_done() {
    let dir = temporary();
    let server = serve(dir.path()).await;
    let mut client = server.client().await;
    client.create("/a").await.unwrap();
    client.create("/a").await.unwrap_err();
    let text = http(&server.http_address, "/metrics").await;
    for line in [
        "gfs_master_operations_total{operation=\"create\",outcome=\"ok\"} 1",
        "gfs_master_operations_total{operation=\"create\",outcome=\"AlreadyExists\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert!(text.contains("process_cpu_seconds_total"));
    server.end().await.unwrap();
}
