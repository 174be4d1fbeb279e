//! Frames of the data plane.

use std::io::Cursor;

use gfs_protocol::checksum;
use gfs_protocol::frame::{
    FrameError, Head, Header, Op, blocking, encode_hello, encode_hello_reply, encode_reply,
    encode_request,
};
use gfs_types::Error;
use gfs_types::fence::{ChunkVersion, MasterEpoch, SerialNumber};
use gfs_types::ids::{ChunkHandle, ClusterUid, DataId, ProcessSession, ServerUid};
use gfs_types::message::control::ReplicaState;
use gfs_types::message::data::{
    DataReply, DataRequest, DataResponse, DataSource, Equalise, Hello, Hop, Order, OrderKind,
    PROTOCOL_VERSION, ReplicaInfo, Target,
};

use super::{Decoder, MANY, SMALL, Verdict, seal};

pub(super) const DECODER: Decoder =
    Decoder { name: "data-frame", run, samples, memory: SMALL, mutations: MANY };

fn run(bytes: &[u8]) -> Verdict {
    let mut sealed = bytes.to_vec();
    seal_frame(&mut sealed);
    one(bytes).or(one(&sealed))
}

/// Both checksums made right, and the length of the second part made that of the bytes.
fn seal_frame(bytes: &mut [u8]) {
    let Some(tail) = bytes.len().checked_sub(Header::BYTES) else { return };
    let said = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    if said(54) + 4 * said(52) != tail {
        let extra = u16::try_from(tail).unwrap_or(u16::MAX);
        bytes[48..54].fill(0);
        bytes[54..56].copy_from_slice(&extra.to_le_bytes());
    }
    seal::over(bytes, Header::BYTES, bytes.len(), 112);
    bytes[60..64].fill(0);
    seal::over(bytes, 0, Header::BYTES, 60);
}

fn one(bytes: &[u8]) -> Verdict {
    let mut stream = Cursor::new(bytes);
    let Ok(Some((header, head))) = blocking::read_head(&mut stream) else {
        return Verdict::Refused;
    };
    assert_eq!(stream.position(), (Header::BYTES + header.tail_bytes()) as u64);
    match encode(&head) {
        Ok(again) => {
            let found = blocking::read_head(&mut Cursor::new(again)).ok().flatten();
            assert_eq!(found.map(|(_, head)| head), Some(head));
        }
        // An operation without an offset says 0 there; this frame said something else.
        Err(FrameError::ChecksumCount { offset: 0, .. }) if header.offset != 0 => {}
        // Neither does a reply say the offset of its header but that of its bytes.
        Err(FrameError::ChecksumCount { .. }) if header.reply => {}
        Err(error) => panic!("{head:?} was decoded and cannot be encoded: {error}"),
    }
    Verdict::Accepted
}

fn encode(head: &Head) -> Result<Vec<u8>, FrameError> {
    match head {
        Head::Hello(hello) => encode_hello(hello),
        Head::HelloReply(answer) => encode_hello_reply(answer),
        Head::Request(head) => encode_request(
            head.id,
            &head.target,
            &head.request,
            head.payload_bytes,
            &head.checksums,
        ),
        Head::Reply(head) => {
            encode_reply(head.id, head.op, &head.reply, head.payload_bytes, &head.checksums)
        }
    }
}

fn samples() -> Vec<Vec<u8>> {
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        cluster: ClusterUid(1 << 100),
        me: ServerUid(2),
        peer: ServerUid(3),
        session: ProcessSession(4),
        peer_session: ProcessSession(5),
    };
    let refused = Err(Error::denied("another cluster"));
    let hellos =
        [encode_hello(&hello), encode_hello_reply(&Ok(hello)), encode_hello_reply(&refused)];
    let target = Target {
        handle: ChunkHandle(0x0123_4567_89ab_cdef),
        version: ChunkVersion(3),
        epoch: MasterEpoch(1),
        left_ms: 60_000,
    };
    let bare = requests().into_iter().map(|request| encode_request(7, &target, &request, 0, &[]));
    // Two blocks of payload announced, with their checksums.
    let write = DataRequest::Write { offset: 65_530, length: 20, source: DataSource::Inline };
    let sums = checksum::blocks(65_530, &[7; 20]);
    let full = encode_request(8, &target, &write, 20, &sums);
    let replies = replies().into_iter().map(|result| {
        let payload = matches!(result, Ok(DataResponse::Bytes { .. }));
        let (bytes, sums): (u32, &[u32]) = if payload { (100, &[9]) } else { (0, &[]) };
        encode_reply(9, Op::Read, &DataReply { result }, bytes, sums)
    });
    let frames = hellos.into_iter().chain(bare).chain([full]).chain(replies);
    frames.map(|frame| frame.expect("a sample keeps the limits")).collect()
}

fn requests() -> Vec<DataRequest> {
    let data = DataId { client: u64::MAX, seq: 9 };
    let hop = |n: u8| Hop { chunkserver: ServerUid(n.into()), address: format!("h{n}:7500") };
    let order = |kind| {
        let (serial, committed) = (SerialNumber(5), SerialNumber(4));
        DataRequest::Order(Order { serial, kind, committed, committed_length: 70_000 })
    };
    let pushed = DataSource::Pushed(data);
    vec![
        DataRequest::Push { data, chain: vec![hop(1), hop(2)], offset: 65_535 },
        DataRequest::Write { offset: 10, length: 20, source: pushed },
        DataRequest::Append { length: 20, source: DataSource::Inline },
        DataRequest::Sync,
        order(OrderKind::Write { offset: 10, length: 20, source: pushed }),
        order(OrderKind::Pad),
        DataRequest::Committed { serial: SerialNumber(8), length: 99 },
        DataRequest::Read { offset: 1, length: 2, seen_length: 3 },
        DataRequest::Verify { offset: 1, length: 2 },
        DataRequest::Inspect,
        DataRequest::Checksums,
        DataRequest::Equalise(Equalise { source: "h1:7500".into(), last: true }),
        DataRequest::Compare,
        DataRequest::Copy { offset: 65_536, length: 100 },
    ]
}

fn replies() -> Vec<Result<DataResponse, Error>> {
    let info = ReplicaInfo {
        version: ChunkVersion(3),
        committed_length: 5,
        primary: true,
        state: ReplicaState::Unclean,
    };
    vec![
        Ok(DataResponse::Done),
        Ok(DataResponse::Committed { length: 4, version: ChunkVersion(7) }),
        Ok(DataResponse::Appended { offset: 1, length: 2, version: ChunkVersion(8) }),
        Ok(DataResponse::Applied { serial: SerialNumber(3), short_of_space: true }),
        Ok(DataResponse::Equalised { copied_bytes: 8 }),
        Ok(DataResponse::Bytes {
            offset: 65_536,
            length: 100,
            committed_length: 70_000,
            own_checksum: false,
        }),
        Ok(DataResponse::Replica(info)),
        Ok(DataResponse::Checksums { length: 6, digest: u32::MAX }),
        Err(Error { retry_after_ms: 5, ..Error::busy("later") }),
    ]
}

#[cfg(test)]
mod tests {
    use gfs_types::limits::{FRAME_BYTES_MAX, FRAME_EXTRA_BYTES_MAX};

    use super::*;

    /// A whole header that announces these lengths, and nothing behind it.
    fn claims(payload_bytes: u32, checksums: u16, extra_bytes: u16) -> [u8; Header::BYTES] {
        Header {
            op: Op::Write,
            reply: false,
            request: 1,
            handle: 1,
            version: 1,
            epoch: 1,
            offset: 0,
            payload_bytes,
            checksums,
            extra_bytes,
            left_ms: 1,
            tail_checksum: 0,
        }
        .encode()
    }

    #[test]
    fn what_a_frame_claims_is_checked_before_anything_is_made_for_it() {
        let tail = |bytes: &[u8; Header::BYTES]| Header::decode(bytes).map(|h| h.tail_bytes());
        assert!(tail(&claims(u32::MAX, u16::MAX, u16::MAX)).is_err());
        assert!(tail(&claims(0, u16::MAX, 0)).is_err());
        assert!(tail(&claims(0, 0, u16::MAX)).is_err());
        let payload = u32::try_from(FRAME_BYTES_MAX).unwrap();
        let extra = u16::try_from(FRAME_EXTRA_BYTES_MAX).unwrap();
        assert_eq!(tail(&claims(payload, 16, extra)), Ok(FRAME_EXTRA_BYTES_MAX + 64));
        assert!(tail(&claims(payload + 1, 17, extra)).is_err());
        assert!(tail(&claims(payload, 16, extra + 1)).is_err());
    }
}
