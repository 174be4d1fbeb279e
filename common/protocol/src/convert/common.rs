//! `common.proto`, and the member of a lease.

use gfs_types::fence::{ChunkVersion, Incarnation, MasterEpoch};
use gfs_types::ids::{ClusterUid, ProcessSession, ServerUid};
use gfs_types::message::client::ReplicaLocation;
use gfs_types::message::control::Member;
use gfs_types::record::ConfigRecord;
use gfs_types::{Error, ErrorKind};

use super::{Result, state_from_wire, topology_from_wire, uid_bytes, uid_from_bytes};
use crate::pb;

impl From<Error> for pb::Error {
    fn from(error: Error) -> Self {
        Self {
            kind: error.kind as u32,
            message: error.message,
            retry_after_ms: error.retry_after_ms,
        }
    }
}

impl TryFrom<pb::Error> for Error {
    type Error = Error;
    fn try_from(wire: pb::Error) -> Result<Self> {
        let kind = ErrorKind::from_wire(wire.kind)
            .ok_or_else(|| Self::invalid(format!("unknown kind of error {}", wire.kind)))?;
        Ok(Self { kind, message: wire.message, retry_after_ms: wire.retry_after_ms })
    }
}

impl From<ConfigRecord> for pb::ConfigRecord {
    fn from(record: ConfigRecord) -> Self {
        Self {
            cluster: uid_bytes(record.cluster.0),
            incarnation: record.incarnation.0,
            epoch: record.epoch.0,
            version: record.version,
            primary: uid_bytes(record.primary.0),
            in_sync: record.in_sync.iter().map(|uid| uid_bytes(uid.0)).collect(),
        }
    }
}

impl TryFrom<pb::ConfigRecord> for ConfigRecord {
    type Error = Error;
    fn try_from(wire: pb::ConfigRecord) -> Result<Self> {
        let in_sync = wire.in_sync.iter();
        Ok(Self {
            cluster: ClusterUid(uid_from_bytes("ConfigRecord.cluster", &wire.cluster)?),
            incarnation: Incarnation(wire.incarnation),
            epoch: MasterEpoch(wire.epoch),
            version: wire.version,
            primary: ServerUid(uid_from_bytes("ConfigRecord.primary", &wire.primary)?),
            in_sync: in_sync
                .map(|uid| uid_from_bytes("ConfigRecord.in_sync", uid).map(ServerUid))
                .collect::<Result<_>>()?,
        })
    }
}

impl From<ReplicaLocation> for pb::ReplicaLocation {
    fn from(location: ReplicaLocation) -> Self {
        Self {
            chunkserver: uid_bytes(location.chunkserver.0),
            session: location.session.0,
            address: location.address,
            topology: location.topology.to_string(),
            version: location.version.0,
            state: location.state as u32,
        }
    }
}

impl TryFrom<pb::ReplicaLocation> for ReplicaLocation {
    type Error = Error;
    fn try_from(wire: pb::ReplicaLocation) -> Result<Self> {
        let uid = uid_from_bytes("ReplicaLocation.chunkserver", &wire.chunkserver)?;
        Ok(Self {
            chunkserver: ServerUid(uid),
            session: ProcessSession(wire.session),
            address: wire.address,
            topology: topology_from_wire(&wire.topology)?,
            version: ChunkVersion(wire.version),
            state: state_from_wire(wire.state)?,
        })
    }
}

impl From<Member> for pb::Member {
    fn from(member: Member) -> Self {
        Self {
            chunkserver: uid_bytes(member.chunkserver.0),
            session: member.session.0,
            address: member.address,
        }
    }
}

impl TryFrom<pb::Member> for Member {
    type Error = Error;
    fn try_from(wire: pb::Member) -> Result<Self> {
        Ok(Self {
            chunkserver: ServerUid(uid_from_bytes("Member.chunkserver", &wire.chunkserver)?),
            session: ProcessSession(wire.session),
            address: wire.address,
        })
    }
}
