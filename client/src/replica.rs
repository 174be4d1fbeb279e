//! Raw access to one replica, for those who compare replicas.

use bytes::Bytes;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;
use gfs_types::message::data::ReplicaInfo;

use crate::error::{Result, later};

/// Asks one chunkserver, and no other, about its replicas. Nothing is retried elsewhere, nothing is reported.
#[derive(Debug, Clone)]
pub struct ReplicaReader {}

/// The stored checksums of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockChecksums {
    /// Bytes they cover.
    pub length: u64,
    /// CRC-32C over length and table: equal replicas have equal digests.
    pub digest: u32,
    /// CRC-32C of each 64 KiB block, the last over the bytes that are.
    pub blocks: Vec<u32>,
}

impl ReplicaReader {
    /// The replica as its server sees it.
    ///
    /// # Errors
    /// What the server said; `Busy` when it does not answer.
    pub async fn inspect(
        &self,
        _handle: ChunkHandle,
        _version: ChunkVersion,
    ) -> Result<ReplicaInfo> {
        later()
    }

    /// The checksums it stored.
    ///
    /// # Errors
    /// As [`ReplicaReader::inspect`].
    pub async fn checksums(
        &self,
        _handle: ChunkHandle,
        _version: ChunkVersion,
    ) -> Result<BlockChecksums> {
        later()
    }

    /// Bytes of it, checked here against the stored checksums; fewer at the end of the replica.
    ///
    /// # Errors
    /// `Corrupt` when they do not match; otherwise as [`ReplicaReader::inspect`].
    pub async fn read(
        &self,
        _handle: ChunkHandle,
        _version: ChunkVersion,
        _offset: u64,
        _length: u64,
    ) -> Result<Bytes> {
        later()
    }

    /// As [`ReplicaReader::read`], but checked by the server too, in order with changes: its verdict counts.
    ///
    /// # Errors
    /// As [`ReplicaReader::read`].
    pub async fn verify(
        &self,
        _handle: ChunkHandle,
        _version: ChunkVersion,
        _offset: u64,
        _length: u64,
    ) -> Result<Bytes> {
        later()
    }
}
