//! Data down a chain, mutations over all members.

use gfs_types::ErrorKind;
use gfs_types::limits::FRAME_BYTES_MAX;
use gfs_types::message::data::{DataRequest, DataResponse, DataSource, Hop};

use super::cluster::{Client, Server, VERSION, bounds, cluster, data, pattern};
use crate::data_plane::Bounds;

/// Bytes of a full frame.
const FRAME: usize = 1 << 20;
const _: () = assert!(FRAME as u64 == FRAME_BYTES_MAX);

fn push(seq: u64, chain: &[&Server]) -> DataRequest {
    let chain = chain.iter().map(|server| server.hop()).collect();
    DataRequest::Push { data: data(seq), chain, offset: 0 }
}

fn append(length: usize, source: DataSource) -> DataRequest {
    DataRequest::Append { length: length as u64, source }
}

fn check_everywhere(servers: &[Server], expected: &[u8]) {
    for server in servers {
        let read = Client::connect(server).read_committed(expected.len() as u64);
        assert!(read == expected, "replica on {}", server.identity.me);
    }
}

#[test]
fn data_goes_down_the_chain_and_is_appended_on_every_replica() {
    let servers = cluster(3);
    let mut client = Client::connect(&servers[0]);
    let mut expected = Vec::new();
    for (seq, length) in [(1, FRAME), (2, 100_000), (3, 70_000)] {
        let payload = pattern(length, length);
        let pushed = client.ask(&push(seq, &[&servers[1], &servers[2]]), &payload);
        assert_eq!(pushed.result.unwrap(), DataResponse::Done);
        let offset = expected.len() as u64;
        expected.extend_from_slice(&payload);
        let appended = client.ask(&append(length, DataSource::Pushed(data(seq))), &[]).result;
        let length = expected.len() as u64;
        assert_eq!(appended.unwrap(), DataResponse::Appended { offset, length, version: VERSION });
    }
    check_everywhere(&servers, &expected);
    servers.into_iter().for_each(Server::stop);
}

#[test]
fn pushes_and_mutations_are_pipelined_on_one_connection() {
    let servers = cluster(2);
    let mut client = Client::connect(&servers[0]);
    let mut owed = std::collections::BTreeSet::new();
    for seq in 0..20 {
        owed.insert(client.send(&push(seq, &[&servers[1]]), &pattern(9, 100_000)));
        owed.insert(client.send(&append(100, DataSource::Inline), &pattern(7, 100)));
    }
    while !owed.is_empty() {
        let got = client.receive();
        assert!(got.result.is_ok(), "{:?}", got.result);
        assert!(owed.remove(&got.id), "an answer to {}", got.id);
    }
    check_everywhere(&servers, &pattern(7, 100).repeat(20));
    servers.into_iter().for_each(Server::stop);
}

#[test]
fn a_next_server_that_is_gone_does_not_fail_the_push_and_gets_the_data_from_the_primary() {
    let servers = cluster(2);
    let mut client = Client::connect(&servers[0]);
    let gone = Hop { chunkserver: servers[1].identity.me, address: "127.0.0.1:1".to_owned() };
    let length = 3 * FRAME + 5;
    let payload = pattern(3, length);
    for (index, part) in payload.chunks(FRAME).enumerate() {
        let data = data(10 + index as u64);
        let request = DataRequest::Push { data, chain: vec![gone.clone()], offset: 0 };
        assert_eq!(client.ask(&request, part).result.unwrap(), DataResponse::Done);
    }
    let appended = client.ask(&append(length, DataSource::Pushed(data(10))), &[]).result;
    assert!(appended.is_ok(), "{appended:?}");
    check_everywhere(&servers, &payload);
    servers.into_iter().for_each(Server::stop);
}

#[test]
fn a_full_push_buffer_is_busy_and_free_again_when_the_data_was_used() {
    let server = Server::start(1, Bounds { pushed_bytes_max: 2 * FRAME_BYTES_MAX, ..bounds() });
    server.create();
    server.grant(&[&server]);
    let mut client = Client::connect(&server);
    let payload = pattern(1, FRAME);
    for seq in [1, 2] {
        assert!(client.ask(&push(seq, &[]), &payload).result.is_ok());
    }
    let error = client.ask(&push(3, &[]), &payload).result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy);
    assert!(error.retry_after_ms > 0);
    let used = append(payload.len(), DataSource::Pushed(data(1)));
    assert!(client.ask(&used, &[]).result.is_ok());
    assert!(client.ask(&push(3, &[]), &payload).result.is_ok());
    let again = client.ask(&used, &[]).result.unwrap_err();
    assert_eq!(again.kind, ErrorKind::NeedData, "{again}");
    server.stop();
}

#[test]
fn an_overwrite_reaches_every_replica() {
    let servers = cluster(3);
    let mut client = Client::connect(&servers[0]);
    let mut expected = pattern(1, 60_000).to_vec();
    assert!(client.ask(&append(60_000, DataSource::Inline), &expected).result.is_ok());
    let change = pattern(2, 9_000);
    let write = DataRequest::Write { offset: 58_000, length: 9_000, source: DataSource::Inline };
    assert!(client.ask(&write, &change).result.is_ok());
    expected.resize(67_000, 0);
    expected[58_000..].copy_from_slice(&change);
    assert!(client.ask(&DataRequest::Sync, &[]).result.is_ok());
    check_everywhere(&servers, &expected);
    servers.into_iter().for_each(Server::stop);
}
