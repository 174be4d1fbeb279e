//! What the master answers to a client.

use gfs_types::Error;
use gfs_types::fence::{ChunkVersion, LogPosition, MasterEpoch};
use gfs_types::ids::{ChunkHandle, FileId, ServerUid, SessionId};
use gfs_types::message::client::{
    ChunkLocation, ChunkserverStatus, ClusterStatus, Entry, EntryKind, FileLocations, LeaseGrant,
    Reply, Response, TrashEntry,
};
use gfs_types::region::ChunkIndex;
use gfs_types::time::WallTime;

use super::super::{
    Result, all, all_wire, required, topology_from_wire, uid_bytes, uid_from_bytes,
    uid_from_bytes_or_none,
};
use crate::pb;
use pb::client_reply::Result as WireResult;

const KIND_FILE: u32 = 1;
const KIND_DIRECTORY: u32 = 2;

impl From<(u64, Reply)> for pb::ClientReply {
    fn from((id, reply): (u64, Reply)) -> Self {
        let result = match reply.result {
            Err(error) => WireResult::Error(error.into()),
            Ok(response) => response.into(),
        };
        Self { id, epoch: reply.epoch.0, log_position: reply.log_position.0, result: Some(result) }
    }
}

impl TryFrom<pb::ClientReply> for (u64, Reply) {
    type Error = Error;
    fn try_from(wire: pb::ClientReply) -> Result<Self> {
        let result = match required("ClientReply.result", wire.result)? {
            WireResult::Error(error) => Err(error.try_into()?),
            good => Ok(good.try_into()?),
        };
        let reply = Reply {
            epoch: MasterEpoch(wire.epoch),
            log_position: LogPosition(wire.log_position),
            result,
        };
        Ok((wire.id, reply))
    }
}

impl From<Response> for WireResult {
    fn from(response: Response) -> Self {
        match response {
            Response::Session(session) => Self::Session(session.0),
            Response::Done => Self::Done(pb::Done {}),
            Response::Entry(entry) => Self::Entry(entry.into()),
            Response::Page { entries, more } => {
                Self::Page(pb::Page { entries: all_wire(entries), more })
            }
            Response::Locations(locations) => Self::Locations(locations.into()),
            Response::Lease(grant) => Self::Lease(grant.into()),
            Response::Status(status) => Self::Status(status.into()),
            Response::Trash { entries, more } => {
                Self::Trash(pb::TrashPage { entries: all_wire(entries), more })
            }
        }
    }
}

impl TryFrom<WireResult> for Response {
    type Error = Error;
    fn try_from(wire: WireResult) -> Result<Self> {
        Ok(match wire {
            WireResult::Error(error) => return Err(error.try_into()?),
            WireResult::Session(session) => Self::Session(SessionId(session)),
            WireResult::Done(_) => Self::Done,
            WireResult::Entry(entry) => Self::Entry(entry.try_into()?),
            WireResult::Page(page) => Self::Page { entries: all(page.entries)?, more: page.more },
            WireResult::Locations(locations) => Self::Locations(locations.try_into()?),
            WireResult::Lease(grant) => Self::Lease(grant.try_into()?),
            WireResult::Status(status) => Self::Status(status.try_into()?),
            WireResult::Trash(page) => Self::Trash { entries: all(page.entries)?, more: page.more },
        })
    }
}

fn kind_to_wire(kind: EntryKind) -> u32 {
    match kind {
        EntryKind::File => KIND_FILE,
        EntryKind::Directory => KIND_DIRECTORY,
    }
}

fn kind_from_wire(number: u32) -> Result<EntryKind> {
    match number {
        KIND_FILE => Ok(EntryKind::File),
        KIND_DIRECTORY => Ok(EntryKind::Directory),
        other => Err(Error::invalid(format!("unknown kind of entry {other}"))),
    }
}

impl From<Entry> for pb::Entry {
    fn from(entry: Entry) -> Self {
        Self {
            path: entry.path,
            id: entry.id.0,
            kind: kind_to_wire(entry.kind),
            length: entry.length,
            length_is_final: entry.length_is_final,
            chunks: entry.chunks,
            replication: u32::from(entry.replication),
            attributes: Some(entry.attributes.into()),
        }
    }
}

impl TryFrom<pb::Entry> for Entry {
    type Error = Error;
    fn try_from(wire: pb::Entry) -> Result<Self> {
        Ok(Self {
            path: wire.path,
            id: FileId(wire.id),
            kind: kind_from_wire(wire.kind)?,
            length: wire.length,
            length_is_final: wire.length_is_final,
            chunks: wire.chunks,
            replication: u8::try_from(wire.replication)
                .map_err(|_| Error::invalid(format!("replication {}", wire.replication)))?,
            attributes: wire.attributes.unwrap_or_default().into(),
        })
    }
}

impl From<TrashEntry> for pb::TrashEntry {
    fn from(entry: TrashEntry) -> Self {
        Self {
            id: entry.id.0,
            path: entry.path,
            kind: kind_to_wire(entry.kind),
            deleted_ms: entry.deleted.ms,
        }
    }
}

impl TryFrom<pb::TrashEntry> for TrashEntry {
    type Error = Error;
    fn try_from(wire: pb::TrashEntry) -> Result<Self> {
        Ok(Self {
            id: FileId(wire.id),
            path: wire.path,
            kind: kind_from_wire(wire.kind)?,
            deleted: WallTime { ms: wire.deleted_ms },
        })
    }
}

impl From<FileLocations> for pb::FileLocations {
    fn from(locations: FileLocations) -> Self {
        Self {
            entry: Some(locations.entry.into()),
            chunks: all_wire(locations.chunks),
            valid_ms: locations.valid_ms,
        }
    }
}

impl TryFrom<pb::FileLocations> for FileLocations {
    type Error = Error;
    fn try_from(wire: pb::FileLocations) -> Result<Self> {
        Ok(Self {
            entry: required("FileLocations.entry", wire.entry)?.try_into()?,
            chunks: all(wire.chunks)?,
            valid_ms: wire.valid_ms,
        })
    }
}

impl From<ChunkLocation> for pb::ChunkLocation {
    fn from(location: ChunkLocation) -> Self {
        Self {
            index: location.index.0,
            handle: location.handle.0,
            version: location.version.0,
            length: location.length,
            primary: location.primary.map(|uid| uid_bytes(uid.0)).unwrap_or_default(),
            replicas: all_wire(location.replicas),
            members: location.members,
        }
    }
}

impl TryFrom<pb::ChunkLocation> for ChunkLocation {
    type Error = Error;
    fn try_from(wire: pb::ChunkLocation) -> Result<Self> {
        let primary = uid_from_bytes_or_none("ChunkLocation.primary", &wire.primary)?;
        Ok(Self {
            index: ChunkIndex(wire.index),
            handle: ChunkHandle(wire.handle),
            version: ChunkVersion(wire.version),
            length: wire.length,
            primary: primary.map(ServerUid),
            replicas: all(wire.replicas)?,
            members: wire.members,
        })
    }
}

impl From<LeaseGrant> for pb::LeaseGrant {
    fn from(grant: LeaseGrant) -> Self {
        Self {
            index: grant.index.0,
            handle: grant.handle.0,
            version: grant.version.0,
            epoch: grant.epoch.0,
            primary: uid_bytes(grant.primary.0),
            members: all_wire(grant.members),
            left_ms: grant.left_ms,
        }
    }
}

impl TryFrom<pb::LeaseGrant> for LeaseGrant {
    type Error = Error;
    fn try_from(wire: pb::LeaseGrant) -> Result<Self> {
        Ok(Self {
            index: ChunkIndex(wire.index),
            handle: ChunkHandle(wire.handle),
            version: ChunkVersion(wire.version),
            epoch: MasterEpoch(wire.epoch),
            primary: ServerUid(uid_from_bytes("LeaseGrant.primary", &wire.primary)?),
            members: all(wire.members)?,
            left_ms: wire.left_ms,
        })
    }
}

impl From<ClusterStatus> for pb::ClusterStatus {
    fn from(status: ClusterStatus) -> Self {
        Self {
            files: status.files,
            directories: status.directories,
            chunks: status.chunks,
            chunks_below_goal: status.chunks_below_goal,
            chunks_missing: status.chunks_missing,
            chunks_uncounted: status.chunks_uncounted,
            log_position: status.log_position.0,
            checkpoint_position: status.checkpoint_position.0,
            master_http_address: status.master_http_address,
            chunkservers: all_wire(status.chunkservers),
        }
    }
}

impl TryFrom<pb::ClusterStatus> for ClusterStatus {
    type Error = Error;
    fn try_from(wire: pb::ClusterStatus) -> Result<Self> {
        Ok(Self {
            files: wire.files,
            directories: wire.directories,
            chunks: wire.chunks,
            chunks_below_goal: wire.chunks_below_goal,
            chunks_missing: wire.chunks_missing,
            chunks_uncounted: wire.chunks_uncounted,
            log_position: LogPosition(wire.log_position),
            checkpoint_position: LogPosition(wire.checkpoint_position),
            master_http_address: wire.master_http_address,
            chunkservers: all(wire.chunkservers)?,
        })
    }
}

impl From<ChunkserverStatus> for pb::ChunkserverStatus {
    fn from(status: ChunkserverStatus) -> Self {
        Self {
            uid: uid_bytes(status.uid.0),
            address: status.address,
            http_address: status.http_address,
            topology: status.topology.to_string(),
            alive: status.alive,
            capacity_bytes: status.capacity_bytes,
            free_bytes: status.free_bytes,
            replicas: status.replicas,
        }
    }
}

impl TryFrom<pb::ChunkserverStatus> for ChunkserverStatus {
    type Error = Error;
    fn try_from(wire: pb::ChunkserverStatus) -> Result<Self> {
        Ok(Self {
            uid: ServerUid(uid_from_bytes("ChunkserverStatus.uid", &wire.uid)?),
            address: wire.address,
            http_address: wire.http_address,
            topology: topology_from_wire(&wire.topology)?,
            alive: wire.alive,
            capacity_bytes: wire.capacity_bytes,
            free_bytes: wire.free_bytes,
            replicas: wire.replicas,
        })
    }
}
