//! The operation-specific part of a frame, to and from the messages of `gfs-types`.

use gfs_types::fence::{ChunkVersion, SerialNumber};
use gfs_types::ids::{ClusterUid, DataId, ProcessSession, ServerUid};
use gfs_types::message::data::{
    DataReply, DataRequest, DataResponse, DataSource, Equalise, Hello, Hop, Order, OrderKind,
    ReplicaInfo,
};
use prost::Message;

use super::head::{offset_of, op_of};
use super::{FrameError, Op};
use crate::convert::{Result as Checked, missing, state_from_wire, uid_bytes, uid_from_bytes};
use crate::pb;

const KIND_WRITE: u32 = 1;
const KIND_PAD: u32 = 2;
const KIND_SYNC: u32 = 3;
const KIND_END: u32 = 4;

pub(super) fn encode_hello(hello: &Hello) -> Vec<u8> {
    hello_to_wire(hello).encode_to_vec()
}

/// A refusal and an acceptance differ in their first byte.
pub(super) fn encode_hello_reply(answer: &Result<Hello, gfs_types::Error>) -> Vec<u8> {
    match answer {
        Ok(hello) => [&[1], encode_hello(hello).as_slice()].concat(),
        Err(error) => [&[0], pb::Error::from(error.clone()).encode_to_vec().as_slice()].concat(),
    }
}

pub(super) fn decode_hello(extra: &[u8]) -> Result<Hello, FrameError> {
    parse::<pb::DataHello>(Op::Hello, extra)?.try_into().map_err(|error| refuse(Op::Hello, &error))
}

pub(super) fn decode_hello_reply(
    extra: &[u8],
) -> Result<Result<Hello, gfs_types::Error>, FrameError> {
    match extra.split_first() {
        Some((1, rest)) => decode_hello(rest).map(Ok),
        Some((0, rest)) => parse::<pb::Error>(Op::Hello, rest)?
            .try_into()
            .map(Err)
            .map_err(|error| refuse(Op::Hello, &error)),
        _ => Err(FrameError::Extra { op: Op::Hello, reason: "neither accepts nor refuses".into() }),
    }
}

/// Operation, offset for the header, and the rest.
pub(super) fn encode_request(request: &DataRequest) -> (Op, u64, Vec<u8>) {
    let extra = match request {
        DataRequest::Push { data, chain, .. } => pb::PushExtra {
            data: Some(name_to_wire(*data)),
            chain: chain
                .iter()
                .map(|hop| pb::Hop {
                    chunkserver: uid_bytes(hop.chunkserver.0),
                    address: hop.address.clone(),
                })
                .collect(),
        }
        .encode_to_vec(),
        DataRequest::Write { length, source, .. } | DataRequest::Append { length, source } => {
            pb::MutationExtra { length: *length, pushed: pushed_to_wire(*source) }.encode_to_vec()
        }
        DataRequest::Order(order) => order_to_wire(order).encode_to_vec(),
        DataRequest::Committed { serial, length } => {
            pb::CommittedExtra { serial: serial.0, length: *length }.encode_to_vec()
        }
        DataRequest::Read { length, seen_length, .. } => {
            pb::ReadExtra { length: *length, seen_length: *seen_length }.encode_to_vec()
        }
        DataRequest::Verify { length, .. } | DataRequest::Copy { length, .. } => {
            pb::ReadExtra { length: *length, seen_length: 0 }.encode_to_vec()
        }
        DataRequest::Sync
        | DataRequest::Inspect
        | DataRequest::Checksums
        | DataRequest::Compare => Vec::new(),
        DataRequest::Equalise(Equalise { source, last }) => {
            pb::EqualiseExtra { source: source.clone(), last: *last }.encode_to_vec()
        }
    };
    (op_of(request), offset_of(request), extra)
}

pub(super) fn decode_request(op: Op, offset: u64, extra: &[u8]) -> Result<DataRequest, FrameError> {
    request_from_wire(op, offset, extra)?.map_err(|error| refuse(op, &error))
}

fn request_from_wire(
    op: Op,
    offset: u64,
    extra: &[u8],
) -> Result<Checked<DataRequest>, FrameError> {
    Ok(match op {
        Op::Push => push_from_wire(parse(op, extra)?, offset),
        Op::Write => {
            let wire: pb::MutationExtra = parse(op, extra)?;
            Ok(DataRequest::Write { offset, length: wire.length, source: source(wire.pushed) })
        }
        Op::Append => {
            let wire: pb::MutationExtra = parse(op, extra)?;
            Ok(DataRequest::Append { length: wire.length, source: source(wire.pushed) })
        }
        Op::Order => order_from_wire(&parse(op, extra)?, offset).map(DataRequest::Order),
        Op::Committed => {
            let wire: pb::CommittedExtra = parse(op, extra)?;
            Ok(DataRequest::Committed { serial: SerialNumber(wire.serial), length: wire.length })
        }
        Op::Read => {
            let wire: pb::ReadExtra = parse(op, extra)?;
            Ok(DataRequest::Read { offset, length: wire.length, seen_length: wire.seen_length })
        }
        Op::Verify => {
            let wire: pb::ReadExtra = parse(op, extra)?;
            Ok(DataRequest::Verify { offset, length: wire.length })
        }
        Op::Sync => Ok(DataRequest::Sync),
        Op::Inspect => Ok(DataRequest::Inspect),
        Op::Checksums => Ok(DataRequest::Checksums),
        Op::Equalise => {
            let wire: pb::EqualiseExtra = parse(op, extra)?;
            Ok(DataRequest::Equalise(Equalise { source: wire.source, last: wire.last }))
        }
        Op::Compare => Ok(DataRequest::Compare),
        Op::Copy => {
            let wire: pb::ReadExtra = parse(op, extra)?;
            Ok(DataRequest::Copy { offset, length: wire.length })
        }
        Op::Hello => Err(gfs_types::Error::invalid("a hello is not a request")),
    })
}

pub(super) fn encode_reply(reply: &DataReply) -> Vec<u8> {
    use pb::reply_extra::Result as Wire;
    let result = match &reply.result {
        Err(error) => Wire::Error(error.clone().into()),
        Ok(DataResponse::Done) => Wire::Done(pb::DataDone {}),
        Ok(DataResponse::Committed { length, version }) => {
            Wire::Committed(pb::DataCommitted { length: *length, version: version.0 })
        }
        Ok(DataResponse::Appended { offset, length, version }) => {
            let (offset, length, version) = (*offset, *length, version.0);
            Wire::Appended(pb::DataAppended { offset, length, version })
        }
        Ok(DataResponse::Applied { serial, short_of_space }) => {
            Wire::Applied(pb::DataApplied { serial: serial.0, short_of_space: *short_of_space })
        }
        Ok(DataResponse::Equalised { copied_bytes }) => {
            Wire::Equalised(pb::DataEqualised { copied_bytes: *copied_bytes })
        }
        Ok(DataResponse::Bytes { offset, length, committed_length, own_checksum }) => {
            Wire::Bytes(pb::DataBytes {
                offset: *offset,
                length: *length,
                committed_length: *committed_length,
                own_checksum: *own_checksum,
            })
        }
        Ok(DataResponse::Replica(info)) => Wire::Replica(pb::DataReplica {
            version: info.version.0,
            committed_length: info.committed_length,
            primary: info.primary,
            state: info.state as u32,
        }),
        Ok(DataResponse::Checksums { length, digest }) => {
            Wire::Checksums(pb::DataChecksums { length: *length, digest: *digest })
        }
    };
    pb::ReplyExtra { result: Some(result) }.encode_to_vec()
}

pub(super) fn decode_reply(op: Op, extra: &[u8]) -> Result<DataReply, FrameError> {
    let wire: pb::ReplyExtra = parse(op, extra)?;
    reply_from_wire(wire).map_err(|error| refuse(op, &error))
}

fn reply_from_wire(wire: pb::ReplyExtra) -> Checked<DataReply> {
    use pb::reply_extra::Result as Wire;
    let result = match wire.result.ok_or_else(|| missing("ReplyExtra.result"))? {
        Wire::Error(error) => Err(error.try_into()?),
        Wire::Done(_) => Ok(DataResponse::Done),
        Wire::Committed(c) => {
            Ok(DataResponse::Committed { length: c.length, version: ChunkVersion(c.version) })
        }
        Wire::Appended(a) => {
            let (offset, length, version) = (a.offset, a.length, ChunkVersion(a.version));
            Ok(DataResponse::Appended { offset, length, version })
        }
        Wire::Applied(a) => Ok(DataResponse::Applied {
            serial: SerialNumber(a.serial),
            short_of_space: a.short_of_space,
        }),
        Wire::Equalised(e) => Ok(DataResponse::Equalised { copied_bytes: e.copied_bytes }),
        Wire::Bytes(b) => Ok(DataResponse::Bytes {
            offset: b.offset,
            length: b.length,
            committed_length: b.committed_length,
            own_checksum: b.own_checksum,
        }),
        Wire::Replica(r) => Ok(DataResponse::Replica(ReplicaInfo {
            version: ChunkVersion(r.version),
            committed_length: r.committed_length,
            primary: r.primary,
            state: state_from_wire(r.state)?,
        })),
        Wire::Checksums(c) => Ok(DataResponse::Checksums { length: c.length, digest: c.digest }),
    };
    Ok(DataReply { result })
}

fn hello_to_wire(hello: &Hello) -> pb::DataHello {
    pb::DataHello {
        protocol: hello.protocol,
        cluster: uid_bytes(hello.cluster.0),
        me: uid_bytes(hello.me.0),
        peer: uid_bytes(hello.peer.0),
        session: hello.session.0,
        peer_session: hello.peer_session.0,
    }
}

impl TryFrom<pb::DataHello> for Hello {
    type Error = gfs_types::Error;
    fn try_from(wire: pb::DataHello) -> Checked<Self> {
        Ok(Self {
            protocol: wire.protocol,
            cluster: ClusterUid(uid_from_bytes("DataHello.cluster", &wire.cluster)?),
            me: ServerUid(uid_from_bytes("DataHello.me", &wire.me)?),
            peer: ServerUid(uid_from_bytes("DataHello.peer", &wire.peer)?),
            session: ProcessSession(wire.session),
            peer_session: ProcessSession(wire.peer_session),
        })
    }
}

fn push_from_wire(wire: pb::PushExtra, offset: u64) -> Checked<DataRequest> {
    let hop = |hop: pb::Hop| -> Checked<Hop> {
        let chunkserver = uid_from_bytes("Hop.chunkserver", &hop.chunkserver)?;
        Ok(Hop { chunkserver: ServerUid(chunkserver), address: hop.address })
    };
    if wire.chain.len() >= usize::from(gfs_types::limits::REPLICATION_MAX) {
        return Err(gfs_types::Error::invalid(format!(
            "a chain of {} more hops",
            wire.chain.len()
        )));
    }
    Ok(DataRequest::Push {
        data: name(wire.data.ok_or_else(|| missing("PushExtra.data"))?),
        chain: wire.chain.into_iter().map(hop).collect::<Checked<_>>()?,
        offset,
    })
}

fn order_to_wire(order: &Order) -> pb::OrderExtra {
    let (kind, length, pushed) = match order.kind {
        OrderKind::Write { length, source, .. } => (KIND_WRITE, length, pushed_to_wire(source)),
        OrderKind::Pad => (KIND_PAD, 0, None),
        OrderKind::Sync => (KIND_SYNC, 0, None),
        OrderKind::End => (KIND_END, 0, None),
    };
    pb::OrderExtra {
        serial: order.serial.0,
        committed: order.committed.0,
        committed_length: order.committed_length,
        kind,
        length,
        pushed,
    }
}

fn order_from_wire(wire: &pb::OrderExtra, offset: u64) -> Checked<Order> {
    let kind = match wire.kind {
        KIND_WRITE => OrderKind::Write { offset, length: wire.length, source: source(wire.pushed) },
        KIND_PAD => OrderKind::Pad,
        KIND_SYNC => OrderKind::Sync,
        KIND_END => OrderKind::End,
        other => return Err(gfs_types::Error::invalid(format!("unknown kind of order {other}"))),
    };
    Ok(Order {
        serial: SerialNumber(wire.serial),
        kind,
        committed: SerialNumber(wire.committed),
        committed_length: wire.committed_length,
    })
}

fn name_to_wire(data: DataId) -> pb::DataName {
    pb::DataName { client: data.client, seq: data.seq }
}

fn name(wire: pb::DataName) -> DataId {
    DataId { client: wire.client, seq: wire.seq }
}

fn pushed_to_wire(source: DataSource) -> Option<pb::DataName> {
    match source {
        DataSource::Inline => None,
        DataSource::Pushed(data) => Some(name_to_wire(data)),
    }
}

fn source(pushed: Option<pb::DataName>) -> DataSource {
    pushed.map_or(DataSource::Inline, |wire| DataSource::Pushed(name(wire)))
}

fn parse<M: Message + Default>(op: Op, extra: &[u8]) -> Result<M, FrameError> {
    M::decode(extra).map_err(|error| FrameError::Extra { op, reason: error.to_string() })
}

fn refuse(op: Op, error: &gfs_types::Error) -> FrameError {
    FrameError::Extra { op, reason: error.to_string() }
}
