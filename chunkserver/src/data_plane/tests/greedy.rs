//! Peers that want too much, or are too slow: they pay for it, and nobody else.

use std::io::{ErrorKind as Io, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use gfs_types::ErrorKind;
use gfs_types::ids::{ProcessSession, ServerUid};
use gfs_types::limits::{CLIENT_CONNECTIONS_MAX, CLIENT_REQUESTS_MAX, INLINE_BYTES_MAX};
use gfs_types::message::control::Member;
use gfs_types::message::data::{DataRequest, DataSource, Hello};

use super::cluster::{Client, Server, bounds, data, hello, pattern};
use crate::data_plane::Bounds;

const INSPECT: DataRequest = DataRequest::Inspect;

fn append(length: usize) -> DataRequest {
    DataRequest::Append { length: length as u64, source: DataSource::Inline }
}

/// A client is nobody's process: it has no session.
fn as_client(server: &Server, me: u128) -> Hello {
    Hello { me: ServerUid(me), session: ProcessSession(0), ..hello(server) }
}

fn connect(server: &Server, me: u128) -> Client {
    let (client, answer) = Client::dial(server, &as_client(server, me));
    answer.unwrap();
    client
}

/// A server that is primary of the chunk, with itself as only member and one that nobody reaches.
fn primary(bounds: Bounds, reached: bool) -> Server {
    let server = Server::start(1, bounds);
    server.create();
    let nobody = Member {
        chunkserver: ServerUid(2),
        session: ProcessSession(1),
        address: "127.0.0.1:1".to_owned(),
    };
    server.grant_to([server.member()].into_iter().chain((!reached).then_some(nobody)).collect());
    server
}

/// Waits for the server to end the connection, reading away what it still sends.
fn ended(mut stream: &TcpStream) {
    let mut bytes = [0; 64 << 10];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == Io::WouldBlock => panic!("still open after 20 s"),
            // A reset is an end too.
            Err(_) => return,
        }
    }
}

#[test]
fn connections_past_the_limit_are_refused_by_the_hundred_and_hold_nobody_up() {
    let server = Server::start(1, Bounds { connections_max: 1, ..bounds() });
    let mut first = connect(&server, 5);
    // They say nothing, and are told all the same.
    let silent: Vec<_> = (0..300).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    let mut refused = 0;
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let error = Client::hello_reply(&mut stream).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Busy);
        refused += u32::from(error.retry_after_ms > 0);
    }
    assert_eq!(refused, 300);
    assert_eq!(first.ask(&INSPECT, &[]).result.unwrap_err().kind, ErrorKind::NotFound);
    server.stop();
}

#[test]
fn one_client_has_no_more_connections_than_its_limit() {
    let server = Server::start(1, bounds());
    let mut all: Vec<_> = (0..CLIENT_CONNECTIONS_MAX).map(|_| connect(&server, 5)).collect();
    let (_, answer) = Client::dial(&server, &as_client(&server, 5));
    let error = answer.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy);
    assert!(error.message.contains("32 connections") && error.retry_after_ms > 0, "{error}");
    connect(&server, 6);
    Client::connect(&server);
    all.pop();
    while Client::dial(&server, &as_client(&server, 5)).1.is_err() {}
    server.stop();
}

#[test]
fn one_client_has_no_more_requests_than_its_limit_and_others_are_served() {
    let server = primary(bounds(), false);
    let mut greedy: Vec<_> = (0..2).map(|_| connect(&server, 5)).collect();
    for at in 0..CLIENT_REQUESTS_MAX {
        // They wait for a member that never answers.
        greedy[at % 2].send(&append(10), &pattern(at, 10));
    }
    // Any answer on a connection says that what came before it there was taken.
    for client in &mut greedy {
        drop(client.ask(&INSPECT, &[]));
    }
    for client in &mut greedy {
        let error = client.ask(&append(10), &pattern(1, 10)).result.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Busy);
        assert!(error.message.contains("of this client") && error.retry_after_ms > 0, "{error}");
    }
    let mut other = connect(&server, 6);
    assert!(other.ask(&INSPECT, &[]).result.is_ok());
    server.stop();
}

#[test]
fn more_bytes_than_belong_inside_a_request_are_refused_before_they_are_taken() {
    let server = primary(bounds(), true);
    let mut client = connect(&server, 5);
    let most = usize::try_from(INLINE_BYTES_MAX).unwrap();
    assert!(client.ask(&append(most), &pattern(1, most)).result.is_ok());
    let error = client.ask(&append(most + 1), &pattern(1, most + 1)).result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(client.ask(&append(most), &pattern(1, most)).result.is_ok(), "the next is found");
    server.stop();
}

#[test]
fn who_sends_half_a_frame_or_a_byte_now_and_then_is_given_up_and_others_go_on() {
    let stall = Duration::from_millis(300);
    let server = primary(Bounds { stall, ..bounds() }, true);
    let push = DataRequest::Push { data: data(1), chain: Vec::new(), offset: 0 };
    let mut halves = Vec::new();
    let mut drips = Vec::new();
    for me in 10..30 {
        for request in [&append(60_000), &push] {
            let mut client = connect(&server, me);
            let frame = client.frame(request, &pattern(1, 60_000));
            client.stream.write_all(&frame[..30_000]).unwrap();
            halves.push(client.stream);
            let client = connect(&server, me);
            drips.push(client.stream);
        }
    }
    let mut frame = connect(&server, 9).frame(&append(60_000), &pattern(1, 60_000));
    frame.truncate(50_000);
    let mut other = connect(&server, 6);
    let mut dripped = 0;
    // Each of them sends something long before it would be given up for silence.
    while !drips.is_empty() && dripped < frame.len() {
        let piece = &frame[dripped..dripped + 1];
        drips.retain_mut(|stream| stream.write_all(piece).is_ok());
        dripped += 1;
        assert!(other.ask(&append(10), &pattern(1, 10)).result.is_ok(), "others go on");
        std::thread::sleep(stall / 30);
    }
    assert!(drips.is_empty(), "{} are served for ever", drips.len());
    halves.iter().for_each(ended);
    assert!(other.ask(&append(10), &pattern(1, 10)).result.is_ok());
    server.stop();
}

#[test]
fn who_asks_and_does_not_read_is_given_up_and_others_go_on() {
    let stall = Duration::from_millis(300);
    let server = primary(Bounds { stall, ..bounds() }, true);
    let mut other = connect(&server, 6);
    let most = usize::try_from(INLINE_BYTES_MAX).unwrap();
    for _ in 0..16 {
        assert!(other.ask(&append(most), &pattern(1, most)).result.is_ok());
    }
    let deaf: Vec<_> = (10..26).map(|me| connect(&server, me)).collect();
    let read = DataRequest::Read { offset: 0, length: 1 << 20, seen_length: 0 };
    let ended: Vec<_> = deaf
        .into_iter()
        .map(|mut client| {
            let read = read.clone();
            std::thread::spawn(move || {
                // Until the server, which reads no further, ends it.
                client.stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
                loop {
                    let frame = client.frame(&read, &[]);
                    match client.stream.write_all(&frame) {
                        Ok(()) => {}
                        Err(error) => return error.kind(),
                    }
                }
            })
        })
        .collect();
    while !ended.iter().all(std::thread::JoinHandle::is_finished) {
        assert!(other.ask(&append(10), &pattern(1, 10)).result.is_ok());
        assert_eq!(other.read(0, 1 << 20).payload.len(), 1 << 20);
    }
    for thread in ended {
        assert!(matches!(thread.join().unwrap(), Io::BrokenPipe | Io::ConnectionReset));
    }
    server.stop();
}

#[test]
fn names_that_name_nothing_fill_the_buffer_too() {
    let server = Server::start(1, Bounds { pushed_bytes_max: 64 << 10, ..bounds() });
    let mut client = connect(&server, 5);
    let push = |seq| DataRequest::Push { data: data(seq), chain: Vec::new(), offset: 0 };
    for seq in 0..16 {
        assert!(client.ask(&push(seq), &[1]).result.is_ok());
    }
    assert_eq!(client.ask(&push(16), &[1]).result.unwrap_err().kind, ErrorKind::Busy);
    server.stop();
}
