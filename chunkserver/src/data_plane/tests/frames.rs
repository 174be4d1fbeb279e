//! Frames that are cut or changed never harm the server and never change a chunk.

use std::io::{Read, Write};
use std::net::Shutdown;

use gfs_types::ErrorKind;
use gfs_types::limits::INLINE_BYTES_MAX;
use gfs_types::message::data::{DataRequest, DataResponse, DataSource};

use super::cluster::{Client, cluster, data, pattern};

const LENGTH: usize = 3000;

fn append() -> DataRequest {
    DataRequest::Append { length: LENGTH as u64, source: DataSource::Inline }
}

/// The committed length.
fn length(client: &mut Client) -> u64 {
    match client.ask(&DataRequest::Inspect, &[]).result {
        Ok(DataResponse::Replica(info)) => info.committed_length,
        other => panic!("{other:?}"),
    }
}

/// Sends bytes and the end of the stream, and waits for the server to end it too.
fn send_and_end(mut client: Client, bytes: &[u8]) {
    // The server may have closed already.
    let _ = client.stream.write_all(bytes);
    let _ = client.stream.shutdown(Shutdown::Write);
    let _ = client.stream.read_to_end(&mut Vec::new());
}

#[test]
fn a_frame_that_is_cut_anywhere_changes_nothing() {
    let servers = cluster(1);
    let payload = pattern(1, LENGTH);
    let whole = Client::connect(&servers[0]).frame(&append(), &payload);
    let head = whole.len() - LENGTH;
    let cuts = (0..head).chain([head, head + 1, head + 1500, whole.len() - 1]);
    for cut in cuts {
        send_and_end(Client::connect(&servers[0]), &whole[..cut]);
    }
    let mut client = Client::connect(&servers[0]);
    assert_eq!(length(&mut client), 0);
    assert!(client.ask(&append(), &payload).result.is_ok());
    assert_eq!(length(&mut client), LENGTH as u64);
    servers.into_iter().for_each(super::cluster::Server::stop);
}

#[test]
fn a_flipped_bit_anywhere_changes_nothing() {
    let servers = cluster(1);
    let payload = pattern(1, LENGTH);
    let whole = Client::connect(&servers[0]).frame(&append(), &payload);
    let head = whole.len() - LENGTH;
    for at in (0..head).chain([head, head + 1500, whole.len() - 1]) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        send_and_end(Client::connect(&servers[0]), &flipped);
    }
    assert_eq!(length(&mut Client::connect(&servers[0])), 0);
    servers.into_iter().for_each(super::cluster::Server::stop);
}

#[test]
fn bytes_that_changed_on_the_way_are_refused_by_name_and_the_connection_goes_on() {
    let servers = cluster(1);
    let mut client = Client::connect(&servers[0]);
    let payload = pattern(1, 200_000);
    let push = DataRequest::Push { data: data(1), chain: Vec::new(), offset: 0 };
    let append = DataRequest::Append { length: 65_000, source: DataSource::Inline };
    for (request, length, block) in [(push, 200_000, "block 1"), (append, 65_000, "block 0")] {
        let mut frame = client.frame(&request, &payload[..length]);
        let at = frame.len() - length / 2;
        frame[at] ^= 1;
        client.stream.write_all(&frame).unwrap();
        let error = client.receive().result.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Corrupt);
        let (me, sender) = (servers[0].identity.me.to_string(), "c11e");
        assert!(error.message.contains(&me) && error.message.contains(sender), "{error}");
        assert!(error.message.contains(block), "{error}");
    }
    assert_eq!(length(&mut client), 0);
    let pushed = DataRequest::Append { length: 200_000, source: DataSource::Pushed(data(1)) };
    assert_eq!(client.ask(&pushed, &[]).result.unwrap_err().kind, ErrorKind::NeedData);
    servers.into_iter().for_each(super::cluster::Server::stop);
}

#[test]
fn what_travels_inside_a_request_has_a_limit() {
    let servers = cluster(1);
    let mut client = Client::connect(&servers[0]);
    let most = usize::try_from(INLINE_BYTES_MAX).unwrap();
    let mut append = |bytes: usize| {
        let request = DataRequest::Append { length: bytes as u64, source: DataSource::Inline };
        client.ask(&request, &pattern(1, bytes)).result
    };
    assert!(append(most).is_ok());
    assert_eq!(append(most + 1).unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(length(&mut client), INLINE_BYTES_MAX);
    servers.into_iter().for_each(super::cluster::Server::stop);
}

#[test]
fn a_length_that_is_not_that_of_the_payload_is_refused() {
    let servers = cluster(1);
    let mut client = Client::connect(&servers[0]);
    let payload = pattern(1, 100);
    for length in [0, 99, 101, u64::MAX] {
        let request = DataRequest::Append { length, source: DataSource::Inline };
        assert_eq!(client.ask(&request, &payload).result.unwrap_err().kind, ErrorKind::Invalid);
        let request = DataRequest::Append { length, source: DataSource::Pushed(data(5)) };
        assert_eq!(client.ask(&request, &[]).result.unwrap_err().kind, ErrorKind::NeedData);
    }
    assert_eq!(length(&mut client), 0);
    servers.into_iter().for_each(super::cluster::Server::stop);
}
