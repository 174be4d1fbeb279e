//! Header and second part together: the message, less its payload.

use gfs_types::fence::{ChunkVersion, MasterEpoch};
use gfs_types::ids::ChunkHandle;
use gfs_types::message::data::{DataReply, DataRequest, DataResponse, Hello, OrderKind, Target};

use super::{FrameError, Header, Op, extra};
use crate::checksum::crc32c;

/// A frame without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// First on a connection.
    Hello(Hello),
    /// The answer to a hello: who listens, or why it refuses.
    HelloReply(Result<Hello, gfs_types::Error>),
    /// Something is asked.
    Request(RequestHead),
    /// Something is answered.
    Reply(ReplyHead),
}

/// A request without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// Unique among the asker's requests in flight on the connection.
    pub id: u64,
    /// Chunk, version, epoch, time.
    pub target: Target,
    /// What is asked.
    pub request: DataRequest,
    /// Bytes that follow.
    pub payload_bytes: u32,
    /// CRC-32C of each block of the chunk that they touch.
    pub checksums: Vec<u32>,
}

/// A reply without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyHead {
    /// Of the request it answers.
    pub id: u64,
    /// What was asked.
    pub op: Op,
    /// What came of it.
    pub reply: DataReply,
    /// Bytes that follow.
    pub payload_bytes: u32,
    /// CRC-32C of each block of the chunk that they touch, or one over all of them.
    pub checksums: Vec<u32>,
}

impl Head {
    /// Puts the second part to its header.
    ///
    /// # Errors
    /// What is wrong with the bytes; after that the connection cannot go on.
    pub fn decode(header: &Header, tail: &[u8]) -> Result<Self, FrameError> {
        if tail.len() != header.tail_bytes() {
            return Err(FrameError::Cut { got: tail.len(), want: header.tail_bytes() });
        }
        if crc32c(tail) != header.tail_checksum {
            return Err(FrameError::Checksum { part: "head" });
        }
        let (extra, checksums) = tail.split_at(usize::from(header.extra_bytes));
        let checksums = checksums
            .chunks_exact(4)
            .map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]))
            .collect();
        match (header.op, header.reply) {
            (Op::Hello, false) => Ok(Self::Hello(extra::decode_hello(extra)?)),
            (Op::Hello, true) => Ok(Self::HelloReply(extra::decode_hello_reply(extra)?)),
            (op, false) => Ok(Self::Request(RequestHead {
                id: header.request,
                target: target_of(header),
                request: extra::decode_request(op, header.offset, extra)?,
                payload_bytes: header.payload_bytes,
                checksums,
            })),
            (op, true) => Ok(Self::Reply(ReplyHead {
                id: header.request,
                op,
                reply: extra::decode_reply(op, extra)?,
                payload_bytes: header.payload_bytes,
                checksums,
            })),
        }
    }
}

/// Head of a request; `payload_bytes` of payload follow it.
///
/// # Errors
/// When a length breaks its limit.
pub fn encode_request(
    id: u64,
    target: &Target,
    request: &DataRequest,
    payload_bytes: u32,
    checksums: &[u32],
) -> Result<Vec<u8>, FrameError> {
    let (op, offset, extra) = extra::encode_request(request);
    let header = Header {
        op,
        reply: false,
        request: id,
        handle: target.handle.0,
        version: target.version.0,
        epoch: target.epoch.0,
        offset,
        payload_bytes,
        left_ms: target.left_ms,
        ..blank(op)
    };
    assemble(header, &extra, checksums)
}

/// Head of a reply to a request with this id and operation; `payload_bytes` of payload follow it.
///
/// # Errors
/// When a length breaks its limit.
pub fn encode_reply(
    id: u64,
    op: Op,
    reply: &DataReply,
    payload_bytes: u32,
    checksums: &[u32],
) -> Result<Vec<u8>, FrameError> {
    let offset = match &reply.result {
        Ok(DataResponse::Bytes { offset, .. }) => *offset,
        _ => 0,
    };
    let header = Header { reply: true, request: id, offset, payload_bytes, ..blank(op) };
    assemble(header, &extra::encode_reply(reply), checksums)
}

/// The whole first frame of a connection.
///
/// # Errors
/// Never in practice; the type is that of its siblings.
pub fn encode_hello(hello: &Hello) -> Result<Vec<u8>, FrameError> {
    assemble(blank(Op::Hello), &extra::encode_hello(hello), &[])
}

/// The whole answer to it.
///
/// # Errors
/// When the message of a refusal breaks its limit.
pub fn encode_hello_reply(answer: &Result<Hello, gfs_types::Error>) -> Result<Vec<u8>, FrameError> {
    let header = Header { reply: true, ..blank(Op::Hello) };
    assemble(header, &extra::encode_hello_reply(answer), &[])
}

impl RequestHead {
    /// The operation in the header.
    #[must_use]
    pub fn op(&self) -> Op {
        op_of(&self.request)
    }
}

/// The operation in the header of such a request.
#[must_use]
pub fn op_of(request: &DataRequest) -> Op {
    match request {
        DataRequest::Push { .. } => Op::Push,
        DataRequest::Write { .. } => Op::Write,
        DataRequest::Append { .. } => Op::Append,
        DataRequest::Sync => Op::Sync,
        DataRequest::Order(_) => Op::Order,
        DataRequest::Committed { .. } => Op::Committed,
        DataRequest::Read { .. } => Op::Read,
        DataRequest::Verify { .. } => Op::Verify,
        DataRequest::Inspect => Op::Inspect,
        DataRequest::Checksums => Op::Checksums,
        DataRequest::Equalise(_) => Op::Equalise,
        DataRequest::Compare => Op::Compare,
        DataRequest::Copy { .. } => Op::Copy,
    }
}

/// Where in the chunk the payload or range of a request begins; 0 where it has none.
#[must_use]
pub fn offset_of(request: &DataRequest) -> u64 {
    match request {
        DataRequest::Push { offset, .. }
        | DataRequest::Write { offset, .. }
        | DataRequest::Read { offset, .. }
        | DataRequest::Verify { offset, .. }
        | DataRequest::Copy { offset, .. } => *offset,
        DataRequest::Order(order) => match order.kind {
            OrderKind::Write { offset, .. } => offset,
            OrderKind::Pad | OrderKind::Sync | OrderKind::End => 0,
        },
        _ => 0,
    }
}

fn target_of(header: &Header) -> Target {
    Target {
        handle: ChunkHandle(header.handle),
        version: ChunkVersion(header.version),
        epoch: MasterEpoch(header.epoch),
        left_ms: header.left_ms,
    }
}

fn blank(op: Op) -> Header {
    Header {
        op,
        reply: false,
        request: 0,
        handle: 0,
        version: 0,
        epoch: 0,
        offset: 0,
        payload_bytes: 0,
        checksums: 0,
        extra_bytes: 0,
        left_ms: 0,
        tail_checksum: 0,
    }
}

fn assemble(mut header: Header, extra: &[u8], checksums: &[u32]) -> Result<Vec<u8>, FrameError> {
    let too_long =
        |what, value: usize, max: u64| FrameError::TooLong { what, value: value as u64, max };
    header.extra_bytes = u16::try_from(extra.len())
        .map_err(|_| too_long("operation-specific part", extra.len(), u64::from(u16::MAX)))?;
    header.checksums = u16::try_from(checksums.len())
        .map_err(|_| too_long("number of checksums", checksums.len(), u64::from(u16::MAX)))?;
    let mut bytes = vec![0; Header::BYTES];
    bytes.extend_from_slice(extra);
    bytes.extend(checksums.iter().flat_map(|checksum| checksum.to_le_bytes()));
    header.tail_checksum = crc32c(&bytes[Header::BYTES..]);
    header.check_limits()?;
    bytes[..Header::BYTES].copy_from_slice(&header.encode());
    Ok(bytes)
}
