//! Who may connect.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use gfs_types::ErrorKind;
use gfs_types::ids::{ClusterUid, ProcessSession, ServerUid};
use gfs_types::message::data::{DataRequest, Hello};

use super::cluster::{Client, Server, bounds, hello};
use crate::data_plane::Bounds;

#[test]
fn who_means_another_cluster_server_or_session_is_told_so() {
    let server = Server::start(1, bounds());
    let good = hello(&server);
    let cases: [(Hello, ErrorKind, &str); 4] = [
        (Hello { protocol: 99, ..good.clone() }, ErrorKind::Denied, "99"),
        (Hello { cluster: ClusterUid(0xbad), ..good.clone() }, ErrorKind::Denied, "0bad"),
        (
            Hello { peer: ServerUid(2), ..good.clone() },
            ErrorKind::Stale,
            "not 00000000000000000000000000000002",
        ),
        (Hello { peer_session: ProcessSession(8), ..good.clone() }, ErrorKind::Stale, "session 9"),
    ];
    for (hello, kind, words) in cases {
        let (_, answer) = Client::dial(&server, &hello);
        let error = answer.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(words), "{error}");
    }
    let (_, answer) = Client::dial(&server, &Hello { peer_session: ProcessSession(9), ..good });
    assert_eq!(answer.unwrap().me, server.identity.me);
    server.stop();
}

#[test]
fn silence_and_strangers_are_refused_within_the_time_of_a_handshake() {
    let short = Bounds { handshake: Duration::from_millis(50), ..bounds() };
    let server = Server::start(1, short);
    let mut silent = TcpStream::connect(&server.address).unwrap();
    assert_eq!(Client::hello_reply(&mut silent).unwrap_err().kind, ErrorKind::Invalid);
    let mut stranger = TcpStream::connect(&server.address).unwrap();
    stranger.write_all(&[b'G'; 200]).unwrap();
    assert!(
        Client::hello_reply(&mut stranger).unwrap_err().message.contains("not a GFS data frame")
    );
    server.stop();
}

#[test]
fn one_connection_too_many_is_busy_until_another_ends() {
    let server = Server::start(1, Bounds { connections_max: 2, ..bounds() });
    let mut first = Client::connect(&server);
    let second = Client::connect(&server);
    let (_, answer) = Client::dial(&server, &hello(&server));
    let error = answer.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy);
    assert!(error.message.contains("2 connections") && error.retry_after_ms > 0, "{error}");
    assert_eq!(first.ask(&DataRequest::Inspect, &[]).result.unwrap_err().kind, ErrorKind::NotFound);
    drop(second);
    while Client::dial(&server, &hello(&server)).1.is_err() {}
    server.stop();
}
