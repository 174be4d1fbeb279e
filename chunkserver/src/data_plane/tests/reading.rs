//! What readers get.

use std::os::unix::fs::FileExt;

use gfs_protocol::checksum::{blocks, crc32c};
use gfs_types::ErrorKind;
use gfs_types::limits::{BLOCK_BYTES, FRAME_BYTES_MAX, INLINE_BYTES_MAX};
use gfs_types::message::control::ReplicaState;
use gfs_types::message::data::{DataRequest, DataResponse, DataSource};

use super::cluster::{CHUNK_BYTES, Client, Server, cluster, pattern};

const LENGTH: usize = 200_000;

fn filled() -> (Vec<Server>, Client, Vec<u8>) {
    let servers = cluster(1);
    let mut client = Client::connect(&servers[0]);
    let bytes = pattern(4, LENGTH).to_vec();
    for part in bytes.chunks(usize::try_from(INLINE_BYTES_MAX).unwrap()) {
        let length = part.len() as u64;
        let append = DataRequest::Append { length, source: DataSource::Inline };
        assert!(client.ask(&append, part).result.is_ok());
    }
    (servers, client, bytes)
}

#[test]
fn large_reads_come_in_whole_blocks_with_the_stored_checksums() {
    let (servers, mut client, bytes) = filled();
    for (offset, length, from, to) in [
        (0, FRAME_BYTES_MAX, 0, LENGTH),
        (70_000, BLOCK_BYTES, 65_536, 196_608),
        (70_000, 2 * BLOCK_BYTES, 65_536, LENGTH),
        (196_608, BLOCK_BYTES, 196_608, LENGTH),
    ] {
        let got = client.read(offset, length);
        let committed_length = LENGTH as u64;
        let expected = DataResponse::Bytes {
            offset: from as u64,
            length: (to - from) as u64,
            committed_length,
            own_checksum: false,
        };
        assert_eq!(got.result.unwrap(), expected);
        assert!(got.payload == bytes[from..to]);
        assert_eq!(got.checksums, blocks(0, &bytes[from..to]));
    }
    servers.into_iter().for_each(Server::stop);
}

#[test]
fn small_reads_bring_just_the_range_with_a_checksum_of_its_own() {
    let (servers, mut client, bytes) = filled();
    for (offset, length, to) in [(0, 1, 1), (65_530, 10, 65_540), (199_990, 100, LENGTH)] {
        let got = client.read(offset, length);
        assert!(matches!(got.result, Ok(DataResponse::Bytes { own_checksum: true, .. })));
        let range = &bytes[usize::try_from(offset).unwrap()..to];
        assert!(got.payload == range);
        assert_eq!(got.checksums, [crc32c(range)]);
    }
    for offset in [LENGTH as u64, LENGTH as u64 + 1, CHUNK_BYTES, u64::MAX - FRAME_BYTES_MAX] {
        let got = client.read(offset, 10);
        assert!(got.payload.is_empty() && got.checksums.is_empty());
        assert!(
            matches!(got.result, Ok(DataResponse::Bytes { length: 0, .. })),
            "{:?}",
            got.result
        );
    }
    servers.into_iter().for_each(Server::stop);
}

#[test]
fn what_cannot_be_read_is_said() {
    let (servers, mut client, _) = filled();
    for (offset, length) in [(0, 0), (0, FRAME_BYTES_MAX + 1), (u64::MAX, 1)] {
        assert_eq!(client.read(offset, length).result.unwrap_err().kind, ErrorKind::Invalid);
    }
    let seen = DataRequest::Read { offset: 0, length: 10, seen_length: LENGTH as u64 + 1 };
    assert_eq!(client.ask(&seen, &[]).result.unwrap_err().kind, ErrorKind::Stale);
    servers.into_iter().for_each(Server::stop);
}

#[test]
fn a_rotten_block_is_refused_by_the_server_or_seen_by_the_reader() {
    let (servers, mut client, bytes) = filled();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(servers[0].file()).unwrap();
    let data_at = file.metadata().unwrap().len() - LENGTH as u64;
    file.write_all_at(&[bytes[70_000] ^ 1], data_at + 70_000).unwrap();
    let small = client.read(70_100, 10).result.unwrap_err();
    assert_eq!(small.kind, ErrorKind::Corrupt, "{small}");
    let large = client.read(0, FRAME_BYTES_MAX);
    let found = blocks(0, &large.payload);
    let bad: Vec<_> = (0..found.len()).filter(|at| found[*at] != large.checksums[*at]).collect();
    assert_eq!(bad, [1]);
    let verdict = DataRequest::Verify { offset: 65_536, length: 65_536 };
    assert_eq!(client.ask(&verdict, &[]).result.unwrap_err().kind, ErrorKind::Corrupt);
    let good = DataRequest::Verify { offset: 0, length: 65_536 };
    assert!(client.ask(&good, &[]).payload == bytes[..65_536]);
    servers.into_iter().for_each(Server::stop);
}

/// What the server says of its replica, behind all that it was told before.
fn state(client: &mut Client) -> ReplicaState {
    match client.ask(&DataRequest::Inspect, &[]).result {
        Ok(DataResponse::Replica(info)) => info.state,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bad_block_or_a_file_cut_short_gives_no_wrong_byte_and_makes_the_replica_corrupt() {
    for length in [10, BLOCK_BYTES, FRAME_BYTES_MAX] {
        for flip in [true, false] {
            let (servers, mut client, bytes) = filled();
            let path = servers[0].file();
            let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
            let whole = file.metadata().unwrap().len();
            match flip {
                true => file.write_all_at(&[bytes[199_990] ^ 1], whole - 10).unwrap(),
                false => file.set_len(whole - 10).unwrap(),
            }
            let good = client.read(0, 10);
            assert!(good.payload == bytes[..10]);
            assert_eq!(state(&mut client), ReplicaState::Unclean);
            // Where whole blocks are sent as they are, the reader sees it and asks for a verdict.
            let got = client.read(199_985, length);
            if flip && length >= BLOCK_BYTES {
                assert_ne!(got.checksums.last(), blocks(0, &got.payload).last());
                let verdict = DataRequest::Verify { offset: 199_985, length: 15 };
                assert_eq!(client.ask(&verdict, &[]).result.unwrap_err().kind, ErrorKind::Corrupt);
            } else {
                assert_eq!(got.result.unwrap_err().kind, ErrorKind::Corrupt);
            }
            assert_eq!(state(&mut client), ReplicaState::Corrupt);
            servers.into_iter().for_each(Server::stop);
        }
    }
}

#[test]
fn nothing_is_shown_before_every_member_has_it() {
    let mut servers = cluster(2);
    let mut client = Client::connect(&servers[0]);
    let append = DataRequest::Append { length: 100, source: DataSource::Inline };
    assert!(client.ask(&append, &pattern(1, 100)).result.is_ok());
    servers.pop().expect("the secondary").stop();
    client.send(&append, &pattern(2, 100));
    // In order behind the append: it is applied here when this is answered.
    let mut other = Client::connect(&servers[0]);
    while std::fs::metadata(servers[0].file()).unwrap().len() % BLOCK_BYTES != 200 {
        other.ask(&DataRequest::Inspect, &[]);
    }
    for (offset, length) in [(0, 1000), (0, FRAME_BYTES_MAX), (100, 10), (50, 60)] {
        let got = other.read(offset, length);
        let Ok(DataResponse::Bytes { offset: begins, committed_length, .. }) = got.result else {
            panic!("{:?}", got.result);
        };
        assert_eq!(committed_length, 100);
        assert!(begins + got.payload.len() as u64 <= 100);
        if length > BLOCK_BYTES {
            assert_eq!(got.checksums, blocks(0, &pattern(1, 100)));
        }
    }
    servers.into_iter().for_each(Server::stop);
}
