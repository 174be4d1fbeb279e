use std::io::Cursor;

use gfs_types::fence::{ChunkVersion, MasterEpoch, SerialNumber};
use gfs_types::ids::{ChunkHandle, ClusterUid, DataId, ProcessSession, ServerUid};
use gfs_types::limits::{FRAME_BYTES_MAX, FRAME_EXTRA_BYTES_MAX, REPLICATION_MAX};
use gfs_types::message::control::ReplicaState;
use gfs_types::message::data::{
    DataReply, DataRequest, DataResponse, DataSource, Equalise, Hello, Hop, Order, OrderKind,
    PROTOCOL_VERSION, ReplicaInfo, Target,
};
use proptest::prelude::*;

use super::*;
use crate::checksum;

fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        cluster: ClusterUid(1),
        me: ServerUid(2),
        peer: ServerUid(3),
        session: ProcessSession(4),
        peer_session: ProcessSession(0),
    }
}

fn target() -> Target {
    Target {
        handle: ChunkHandle(7),
        version: ChunkVersion(3),
        epoch: MasterEpoch(1),
        left_ms: 60_000,
    }
}

fn hops(n: u8) -> Vec<Hop> {
    let hop = |i| Hop { chunkserver: ServerUid(u128::from(i)), address: format!("h{i}:7500") };
    (0..n).map(hop).collect()
}

fn requests() -> Vec<DataRequest> {
    let data = DataId { client: u64::MAX, seq: 9 };
    let order = |kind| {
        DataRequest::Order(Order {
            serial: SerialNumber(5),
            kind,
            committed: SerialNumber(4),
            committed_length: 70_000,
        })
    };
    let pushed = DataSource::Pushed(data);
    vec![
        DataRequest::Push { data, chain: hops(2), offset: 65_535 },
        DataRequest::Write { offset: 10, length: 20, source: DataSource::Inline },
        DataRequest::Write { offset: 10, length: 20, source: pushed },
        DataRequest::Append { length: 20, source: DataSource::Inline },
        DataRequest::Append { length: 20, source: pushed },
        DataRequest::Sync,
        order(OrderKind::Write { offset: 10, length: 20, source: pushed }),
        order(OrderKind::Write { offset: 10, length: 20, source: DataSource::Inline }),
        order(OrderKind::Pad),
        order(OrderKind::Sync),
        order(OrderKind::End),
        DataRequest::Committed { serial: SerialNumber(8), length: 99 },
        DataRequest::Read { offset: 1, length: 2, seen_length: 3 },
        DataRequest::Verify { offset: 1, length: 2 },
        DataRequest::Inspect,
        DataRequest::Checksums,
        DataRequest::Equalise(Equalise { source: "a:1".into(), last: true }),
        DataRequest::Compare,
        DataRequest::Copy { offset: 65_536, length: 2 },
    ]
}

fn replies() -> Vec<DataReply> {
    let info = ReplicaInfo {
        version: ChunkVersion(3),
        committed_length: 5,
        primary: true,
        state: ReplicaState::Unclean,
    };
    let good = [
        DataResponse::Done,
        DataResponse::Committed { length: 4, version: ChunkVersion(7) },
        DataResponse::Appended { offset: 1, length: 2, version: ChunkVersion(8) },
        DataResponse::Applied { serial: SerialNumber(3), short_of_space: true },
        DataResponse::Equalised { copied_bytes: 8 },
        DataResponse::Bytes { offset: 3, length: 0, committed_length: 9, own_checksum: false },
        DataResponse::Replica(info),
        DataResponse::Checksums { length: 6, digest: u32::MAX },
    ];
    let bad = gfs_types::Error {
        kind: gfs_types::ErrorKind::Busy,
        message: "later".into(),
        retry_after_ms: 5,
    };
    let good = good.into_iter().map(Ok);
    good.chain([Err(bad)]).map(|result| DataReply { result }).collect()
}

fn decode(bytes: &[u8]) -> Result<Head, blocking::ReadError> {
    let mut stream = Cursor::new(bytes);
    let (_, head) = blocking::read_head(&mut stream)?.expect("the stream is not empty");
    assert_eq!(stream.position(), bytes.len() as u64, "the head was not read to its end");
    Ok(head)
}

#[test]
fn every_request_comes_out_as_it_went_in() {
    for request in requests() {
        let bytes = encode_request(42, &target(), &request, 0, &[]).unwrap();
        let Head::Request(head) = decode(&bytes).unwrap() else { panic!("{request:?}") };
        assert_eq!((head.id, head.target), (42, target()));
        assert_eq!(head.request, request);
    }
}

#[test]
fn every_reply_comes_out_as_it_went_in() {
    for reply in replies() {
        let bytes = encode_reply(42, Op::Read, &reply, 0, &[]).unwrap();
        let Head::Reply(head) = decode(&bytes).unwrap() else { panic!("{reply:?}") };
        assert_eq!((head.id, head.op), (42, Op::Read));
        assert_eq!(head.reply, reply);
    }
}

#[test]
fn hello_and_its_answers_come_out_as_they_went_in() {
    assert_eq!(decode(&encode_hello(&hello()).unwrap()).unwrap(), Head::Hello(hello()));
    for answer in [Ok(hello()), Err(gfs_types::Error::denied("foreign"))] {
        let bytes = encode_hello_reply(&answer).unwrap();
        assert_eq!(decode(&bytes).unwrap(), Head::HelloReply(answer));
    }
}

#[test]
fn a_frame_cut_anywhere_is_refused() {
    let bytes = encode_request(1, &target(), &requests()[0], 0, &[]).unwrap();
    for cut in 1..bytes.len() {
        assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    assert!(blocking::read_head(&mut Cursor::new(&[])).unwrap().is_none());
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let payload = vec![1; 100_000];
    let checksums = checksum::blocks(65_535, &payload);
    let bytes = encode_request(1, &target(), &requests()[0], 100_000, &checksums).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&flipped).is_err(), "bit {bit} flipped and nobody noticed");
    }
}

#[test]
fn lengths_are_held_at_the_limit_and_one_past_it() {
    let request = DataRequest::Append { length: FRAME_BYTES_MAX, source: DataSource::Inline };
    let max = u32::try_from(FRAME_BYTES_MAX).unwrap();
    assert!(encode_request(1, &target(), &request, max, &[0; 16]).is_ok());
    let error = encode_request(1, &target(), &request, max + 1, &[0; 17]).unwrap_err();
    assert!(matches!(error, FrameError::TooLong { what: "payload", .. }), "{error}");
    let error = encode_request(1, &target(), &request, max, &[0; 15]).unwrap_err();
    assert!(matches!(error, FrameError::ChecksumCount { .. }), "{error}");

    let refusal = |n: usize| Err(gfs_types::Error::denied("x".repeat(n)));
    let overhead = encode_hello_reply(&refusal(FRAME_EXTRA_BYTES_MAX - 100)).unwrap().len()
        - Header::BYTES
        - (FRAME_EXTRA_BYTES_MAX - 100);
    assert!(encode_hello_reply(&refusal(FRAME_EXTRA_BYTES_MAX - overhead)).is_ok());
    assert!(encode_hello_reply(&refusal(FRAME_EXTRA_BYTES_MAX - overhead + 1)).is_err());
}

#[test]
fn a_chain_cannot_be_longer_than_replicas_are_allowed() {
    let push = |n| DataRequest::Push { data: DataId::default(), chain: hops(n), offset: 0 };
    let bytes = |n| encode_request(1, &target(), &push(n), 0, &[]).unwrap();
    assert!(decode(&bytes(REPLICATION_MAX - 1)).is_ok());
    assert!(decode(&bytes(REPLICATION_MAX)).is_err());
}

#[test]
fn strangers_are_told_apart() {
    let mut bytes = encode_hello(&hello()).unwrap();
    bytes[..4].copy_from_slice(b"GET ");
    let error = decode(&bytes).unwrap_err().to_string();
    assert!(error.contains("not a GFS data frame"), "{error}");
    let mut bytes = encode_hello(&hello()).unwrap();
    bytes[4] = 2;
    let error = decode(&bytes).unwrap_err().to_string();
    assert!(error.contains("version 2"), "{error}");
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 128..400)) {
        let _ = decode_or_fail(&bytes);
    }

    /// Valid checksums around random contents: the decoders behind the checksums are total too.
    #[test]
    fn random_contents_never_panic(
        op in 0u8..16, reply: bool, offset: u64, extra in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let Some(op) = Op::ALL.into_iter().find(|known| *known as u8 == op) else { return Ok(()) };
        let header = Header {
            op, reply, request: 1, handle: 2, version: 3, epoch: 4, offset, payload_bytes: 0,
            checksums: 0, extra_bytes: u16::try_from(extra.len()).unwrap(), left_ms: 5,
            tail_checksum: checksum::crc32c(&extra),
        };
        let header = Header::decode(&header.encode()).unwrap();
        let _ = Head::decode(&header, &extra);
    }
}

fn decode_or_fail(bytes: &[u8]) -> Option<Head> {
    let (_, head) = blocking::read_head(&mut Cursor::new(bytes)).ok()??;
    Some(head)
}
