//! How a record is written: version, wall time, request, kind, fields in the order of the struct.

use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{
    ChunkHandle, ClusterUid, FileId, ProcessSession, RequestId, RequestSeq, ServerUid, SessionId,
};
use gfs_types::limits::{
    FILE_CHUNKS_MAX, LOG_RECORD_BYTES_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX,
    REPLICATION_MAX,
};
use gfs_types::message::client::Attributes;
use gfs_types::region::{ChunkIndex, ChunkSize};
use gfs_types::time::WallTime;

use super::{Change, EXPIRED_MAX, PURGED_MAX, Record, RequestMark};
use crate::codec::{CodecError, Reader, Writer};

/// The version of the encoding. Frozen: another one gets another number.
const VERSION: u8 = 1;

pub(super) fn encode(record: &Record) -> Vec<u8> {
    let mut w = Writer::default();
    w.u8(VERSION);
    w.num(record.wall.ms);
    w.bool(record.request.is_some());
    if let Some(mark) = &record.request {
        w.u64(mark.id.session.0);
        w.num(mark.id.seq.0);
        w.num(mark.answered_below.0);
        w.u32(mark.fingerprint);
    }
    w.u8(kind(&record.change));
    encode_change(&mut w, &record.change);
    w.bytes
}

/// The number of each kind on disk. Frozen.
fn kind(change: &Change) -> u8 {
    match change {
        Change::Formatted { .. } => 1,
        Change::EpochStarted { .. } => 2,
        Change::SessionOpened { .. } => 3,
        Change::SessionClosed { .. } => 4,
        Change::SessionsExpired { .. } => 5,
        Change::Created { .. } => 6,
        Change::DirectoriesMade { .. } => 7,
        Change::Renamed { .. } => 8,
        Change::Deleted { .. } => 9,
        Change::Undeleted { .. } => 10,
        Change::LengthSet { .. } => 11,
        Change::ChunkAllocated { .. } => 12,
        Change::ChunkBorn { .. } => 13,
        Change::RaiseStarted { .. } => 14,
        Change::Raised { .. } => 15,
        Change::Purged { .. } => 16,
    }
}

fn encode_change(w: &mut Writer, change: &Change) {
    match change {
        Change::Formatted { cluster, chunk_size } => {
            w.u128(cluster.0);
            w.num(chunk_size.bytes());
        }
        Change::EpochStarted { session } => w.num(session.0),
        Change::SessionOpened { session } | Change::SessionClosed { session } => w.u64(session.0),
        Change::SessionsExpired { sessions } => {
            w.num(sessions.len() as u64);
            sessions.iter().for_each(|session| w.u64(session.0));
        }
        Change::Created { file, parent, name, replication, attributes } => {
            named(w, *file, *parent, name);
            w.u8(*replication);
            write_attributes(w, attributes);
        }
        Change::DirectoriesMade { parent, made } => {
            w.num(parent.0);
            w.num(made.len() as u64);
            for (id, name) in made {
                w.num(id.0);
                w.text(name);
            }
        }
        Change::Renamed { entry, parent, name, replaced } => {
            named(w, *entry, *parent, name);
            w.bool(replaced.is_some());
            if let Some((id, path)) = replaced {
                w.num(id.0);
                w.text(path);
            }
        }
        Change::Deleted { entry, path, purge } => {
            w.num(entry.0);
            w.text(path);
            w.bool(*purge);
        }
        Change::Undeleted { entry, parent, name } => named(w, *entry, *parent, name),
        Change::LengthSet { file, length, attributes } => {
            w.num(file.0);
            w.num(*length);
            w.bool(attributes.is_some());
            if let Some(attributes) = attributes {
                write_attributes(w, attributes);
            }
        }
        Change::ChunkAllocated { file, index, handle, members } => {
            w.num(file.0);
            w.num(index.0);
            w.num(handle.0);
            w.num(members.len() as u64);
            members.iter().for_each(|member| w.u128(member.0));
        }
        Change::ChunkBorn { handle } => w.num(handle.0),
        Change::RaiseStarted { handle, number } => {
            w.num(handle.0);
            w.num(number.0);
        }
        Change::Raised { handle, version, members } => {
            w.num(handle.0);
            w.num(version.0);
            w.u8(*members);
        }
        Change::Purged { entries } => {
            w.num(entries.len() as u64);
            entries.iter().for_each(|entry| w.num(entry.0));
        }
    }
}

fn named(w: &mut Writer, id: FileId, parent: FileId, name: &str) {
    w.num(id.0);
    w.num(parent.0);
    w.text(name);
}

pub(crate) fn write_attributes(w: &mut Writer, attributes: &Attributes) {
    w.num(attributes.modified.ms);
    w.bool(attributes.executable);
}

pub(crate) fn read_attributes(r: &mut Reader<'_>) -> Result<Attributes, CodecError> {
    Ok(Attributes { modified: WallTime { ms: r.num()? }, executable: r.bool()? })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Record, CodecError> {
    if bytes.len() > LOG_RECORD_BYTES_MAX {
        return Err(CodecError::Value { what: "its size", value: bytes.len() as u64 });
    }
    let mut r = Reader::new(bytes);
    let version = r.u8()?;
    if version != VERSION {
        return Err(CodecError::Value { what: "its format version", value: version.into() });
    }
    let wall = WallTime { ms: r.num()? };
    let request = if r.bool()? { Some(decode_mark(&mut r)?) } else { None };
    let kind = r.u8()?;
    let change = decode_change(&mut r, kind)?;
    r.end()?;
    Ok(Record { wall, request, change })
}

fn decode_mark(r: &mut Reader<'_>) -> Result<RequestMark, CodecError> {
    let id = RequestId { session: SessionId(r.u64()?), seq: RequestSeq(r.num()?) };
    Ok(RequestMark { id, answered_below: RequestSeq(r.num()?), fingerprint: r.u32()? })
}

fn decode_change(r: &mut Reader<'_>, kind: u8) -> Result<Change, CodecError> {
    Ok(match kind {
        1 => decode_formatted(r)?,
        2 => Change::EpochStarted { session: ProcessSession(r.num()?) },
        3 => Change::SessionOpened { session: SessionId(r.u64()?) },
        4 => Change::SessionClosed { session: SessionId(r.u64()?) },
        5 => {
            let sessions = many(r, "sessions", EXPIRED_MAX, |r| r.u64().map(SessionId))?;
            Change::SessionsExpired { sessions }
        }
        6 => Change::Created {
            file: id(r)?,
            parent: id(r)?,
            name: name(r)?,
            replication: r.byte_to("replication", REPLICATION_MAX)?,
            attributes: read_attributes(r)?,
        },
        7 => Change::DirectoriesMade {
            parent: id(r)?,
            made: many(r, "directories", PATH_DEPTH_MAX, |r| Ok((id(r)?, name(r)?)))?,
        },
        8 => Change::Renamed {
            entry: id(r)?,
            parent: id(r)?,
            name: name(r)?,
            replaced: optional(r, |r| Ok((id(r)?, path(r)?)))?,
        },
        9 => Change::Deleted { entry: id(r)?, path: path(r)?, purge: r.bool()? },
        10 => Change::Undeleted { entry: id(r)?, parent: id(r)?, name: name(r)? },
        11 => Change::LengthSet {
            file: id(r)?,
            length: r.num()?,
            attributes: optional(r, read_attributes)?,
        },
        12 => Change::ChunkAllocated {
            file: id(r)?,
            index: ChunkIndex(r.num_to("a chunk index", FILE_CHUNKS_MAX - 1)?),
            handle: ChunkHandle(r.num()?),
            members: many(r, "members", REPLICATION_MAX.into(), |r| r.u128().map(ServerUid))?,
        },
        13 => Change::ChunkBorn { handle: ChunkHandle(r.num()?) },
        14 => {
            Change::RaiseStarted { handle: ChunkHandle(r.num()?), number: ChunkVersion(r.num()?) }
        }
        15 => Change::Raised {
            handle: ChunkHandle(r.num()?),
            version: ChunkVersion(r.num()?),
            members: r.byte_to("members", REPLICATION_MAX)?,
        },
        16 => Change::Purged { entries: many(r, "entries", PURGED_MAX, id)? },
        other => return Err(CodecError::Value { what: "its kind", value: other.into() }),
    })
}

fn decode_formatted(r: &mut Reader<'_>) -> Result<Change, CodecError> {
    let cluster = ClusterUid(r.u128()?);
    let bytes = r.num()?;
    let chunk_size = ChunkSize::new(bytes)
        .map_err(|_| CodecError::Value { what: "the chunk size", value: bytes })?;
    Ok(Change::Formatted { cluster, chunk_size })
}

fn id(r: &mut Reader<'_>) -> Result<FileId, CodecError> {
    r.num().map(FileId)
}

fn name(r: &mut Reader<'_>) -> Result<String, CodecError> {
    r.text("the length of a name", NAME_BYTES_MAX).map(str::to_owned)
}

fn path(r: &mut Reader<'_>) -> Result<String, CodecError> {
    r.text("the length of a path", PATH_BYTES_MAX).map(str::to_owned)
}

fn optional<'a, T>(
    r: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, CodecError>,
) -> Result<Option<T>, CodecError> {
    if r.bool()? { read(r).map(Some) } else { Ok(None) }
}

fn many<'a, T>(
    r: &mut Reader<'a>,
    what: &'static str,
    max: usize,
    read: impl Fn(&mut Reader<'a>) -> Result<T, CodecError>,
) -> Result<Vec<T>, CodecError> {
    let count = r.count()?;
    if count > max {
        return Err(CodecError::Value { what, value: count as u64 });
    }
    (0..count).map(|_| read(r)).collect()
}
