//! Raw access to one replica, for those who compare replicas.

use std::sync::Arc;

use bytes::Bytes;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;
use gfs_types::limits::FRAME_BYTES_MAX;
use gfs_types::message::client::ReplicaLocation;
use gfs_types::message::data::{DataRequest, DataResponse, ReplicaInfo};

use crate::data_link::Answer;
use crate::engine::read::trim;
use crate::engine::{Engine, defect};
use crate::error::{Error, Result};
use crate::retry::Failure;

/// Asks one chunkserver, and no other, about its replicas. Nothing is retried elsewhere, nothing is reported.
#[derive(Debug, Clone)]
pub struct ReplicaReader {
    engine: Arc<Engine>,
    location: ReplicaLocation,
}

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
    pub(crate) const fn new(engine: Arc<Engine>, location: ReplicaLocation) -> Self {
        Self { engine, location }
    }

    /// The replica as its server sees it.
    ///
    /// # Errors
    /// What the server said; `Busy` when it does not answer.
    pub async fn inspect(&self, handle: ChunkHandle, version: ChunkVersion) -> Result<ReplicaInfo> {
        let doing = self.doing("inspect", handle);
        let answer = self.ask(&doing, (handle, version), DataRequest::Inspect).await?;
        match answer.response {
            DataResponse::Replica(info) => Ok(info),
            other => defect(&doing, &other),
        }
    }

    /// The checksums it stored.
    ///
    /// # Errors
    /// As [`ReplicaReader::inspect`].
    pub async fn checksums(
        &self,
        handle: ChunkHandle,
        version: ChunkVersion,
    ) -> Result<BlockChecksums> {
        let doing = self.doing("read the checksums of", handle);
        let answer = self.ask(&doing, (handle, version), DataRequest::Checksums).await?;
        let DataResponse::Checksums { length, digest } = answer.response else {
            return defect(&doing, &answer.response);
        };
        let number = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let blocks = answer.payload.chunks_exact(4).map(number).collect();
        Ok(BlockChecksums { length, digest, blocks })
    }

    /// Bytes of it, checked here against the stored checksums; fewer at the end of the replica.
    ///
    /// # Errors
    /// `Corrupt` when they do not match; otherwise as [`ReplicaReader::inspect`].
    pub async fn read(
        &self,
        handle: ChunkHandle,
        version: ChunkVersion,
        offset: u64,
        length: u64,
    ) -> Result<Bytes> {
        let request = |offset, length| DataRequest::Read { offset, length, seen_length: 0 };
        self.bytes("read", (handle, version), offset, length, request).await
    }

    /// As [`ReplicaReader::read`], but checked by the server too, in order with changes: its verdict counts.
    ///
    /// # Errors
    /// As [`ReplicaReader::read`].
    pub async fn verify(
        &self,
        handle: ChunkHandle,
        version: ChunkVersion,
        offset: u64,
        length: u64,
    ) -> Result<Bytes> {
        let request = |offset, length| DataRequest::Verify { offset, length };
        self.bytes("verify", (handle, version), offset, length, request).await
    }

    /// Frame by frame.
    async fn bytes(
        &self,
        what: &str,
        of: (ChunkHandle, ChunkVersion),
        offset: u64,
        length: u64,
        request: impl Fn(u64, u64) -> DataRequest,
    ) -> Result<Bytes> {
        let doing = self.doing(what, of.0);
        let end = offset.saturating_add(length);
        let mut parts: Vec<Bytes> = Vec::new();
        let mut at = offset;
        while at < end {
            // Frames end at multiples of their size, so that only the first block may be a part of one.
            let most = (FRAME_BYTES_MAX - at % FRAME_BYTES_MAX).min(end - at);
            let answer = self.ask(&doing, of, request(at, most)).await?;
            let answer = trim(answer, at, most).map_err(|failure| self.error(&doing, &failure))?;
            if answer.bytes.is_empty() {
                break;
            }
            at += answer.bytes.len() as u64;
            parts.push(answer.bytes);
        }
        match parts.len() {
            1 => Ok(parts.swap_remove(0)),
            _ => Ok(parts.concat().into()),
        }
    }

    async fn ask(
        &self,
        doing: &str,
        of: (ChunkHandle, ChunkVersion),
        request: DataRequest,
    ) -> Result<Answer> {
        let deadline = self.engine.deadline();
        let answer = self.engine.ask_plain(&self.location, of, request, deadline).await;
        answer.map_err(|failure| self.error(doing, &failure))
    }

    fn error(&self, doing: &str, failure: &Failure) -> Error {
        let doing = doing.to_owned();
        let error = match failure {
            Failure::Refused(error) => error.clone(),
            Failure::Mismatch(text) => gfs_types::Error::corrupt(text),
            Failure::Unreachable(text) | Failure::Lost(text) => gfs_types::Error::busy(text),
        };
        Error::Refused { doing, error }
    }

    fn doing(&self, what: &str, handle: ChunkHandle) -> String {
        let ReplicaLocation { chunkserver, address, .. } = &self.location;
        format!("{what} chunk {handle} on chunkserver {chunkserver} at {address}")
    }
}
