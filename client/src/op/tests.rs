//! Samples for the tests of sessions and caches.

use gfs_types::fence::{ChunkVersion, MasterEpoch};
use gfs_types::ids::{ChunkHandle, FileId, ProcessSession, ServerUid};
use gfs_types::message::client::{
    Attributes, ChunkLocation, Entry, EntryKind, LeaseGrant, ReplicaLocation,
};
use gfs_types::message::control::ReplicaState;
use gfs_types::region::ChunkIndex;
use gfs_types::{Error as WireError, ErrorKind};

use crate::retry::Failure;

pub(crate) fn replica(uid: u128, topology: &str) -> ReplicaLocation {
    ReplicaLocation {
        chunkserver: ServerUid(uid),
        session: ProcessSession(1),
        address: format!("127.0.0.1:{}", 7500 + uid),
        topology: topology.parse().unwrap(),
        version: ChunkVersion(1),
        state: ReplicaState::Unclean,
    }
}

pub(crate) fn grant(version: u64) -> LeaseGrant {
    LeaseGrant {
        index: ChunkIndex(0),
        handle: ChunkHandle(0xc0),
        version: ChunkVersion(version),
        epoch: MasterEpoch(1),
        primary: ServerUid(1),
        members: vec![replica(1, "a"), replica(2, "b"), replica(3, "c")],
        left_ms: 10_000,
    }
}

pub(crate) fn location(index: u64, version: u64) -> ChunkLocation {
    ChunkLocation {
        index: ChunkIndex(index),
        handle: ChunkHandle(0xc0 + index),
        version: ChunkVersion(version),
        length: 0,
        primary: Some(ServerUid(1)),
        replicas: vec![replica(1, "a"), replica(2, "b"), replica(3, "c")],
        members: 3,
    }
}

pub(crate) fn entry(chunks: u64, length: u64) -> Entry {
    Entry {
        path: "/f".to_owned(),
        id: FileId(7),
        kind: EntryKind::File,
        length,
        length_is_final: false,
        chunks,
        replication: 3,
        attributes: Attributes::default(),
    }
}

pub(crate) fn refused(kind: ErrorKind) -> Failure {
    Failure::Refused(WireError::new(kind, "as the test says"))
}

pub(crate) fn lost() -> Failure {
    Failure::Lost("connection reset".to_owned())
}

pub(crate) fn unreachable() -> Failure {
    Failure::Unreachable("connection refused".to_owned())
}
