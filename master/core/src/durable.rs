//! Durable metadata, and `apply`, its only writer.

use gfs_types::fence::{LogPosition, MasterEpoch};
use gfs_types::ids::{ClusterUid, ProcessSession};
use gfs_types::region::ChunkSize;

use crate::record::{Record, RecordError};

/// Everything the operation log says: namespace, chunks, sessions, epoch.
#[derive(Debug, Clone, Default)]
pub struct Durable {
    position: LogPosition,
    epoch: MasterEpoch,
    master_session: ProcessSession,
    format: Option<(ClusterUid, ChunkSize)>,
}

/// A record that cannot follow on this state: the log and the state do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("log record {position} does not fit what is before it: {reason}")]
pub struct ApplyError {
    /// The record's place.
    pub position: LogPosition,
    /// What does not fit.
    pub reason: String,
}

/// Why a record of the log could not be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Its bytes are no record.
    #[error("log record {position}: {error}")]
    Record {
        /// Its place.
        position: LogPosition,
        /// What is wrong with them.
        error: RecordError,
    },
    /// It cannot follow.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl Durable {
    /// Nothing: no cluster yet.
    #[must_use]
    pub fn blank() -> Self {
        Self::default()
    }

    /// Whether no cluster was ever formatted here.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.format.is_none()
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterUid> {
        self.format.map(|(cluster, _)| cluster)
    }

    /// Bytes of its chunks; the default while blank.
    #[must_use]
    pub fn chunk_size(&self) -> ChunkSize {
        self.format.map(|(_, size)| size).unwrap_or_default()
    }

    /// The last record applied.
    #[must_use]
    pub fn position(&self) -> LogPosition {
        self.position
    }

    /// The epoch of the last record applied.
    #[must_use]
    pub fn epoch(&self) -> MasterEpoch {
        self.epoch
    }

    /// The last run of a primary master that the log knows; grows with every `Serve`.
    #[must_use]
    pub fn master_session(&self) -> ProcessSession {
        self.master_session
    }

    /// Applies one record of live traffic or of the log: the only way durable state changes.
    ///
    /// # Errors
    /// When it cannot follow; the state is then unchanged or must be thrown away.
    pub fn apply(
        &mut self,
        position: LogPosition,
        epoch: MasterEpoch,
        record: &Record,
    ) -> Result<(), ApplyError> {
        let _ = (position, epoch, record);
        Ok(())
    }

    /// Decodes and applies one record of the log.
    ///
    /// # Errors
    /// When its bytes are no record, or it cannot follow: never start a master on what is left.
    pub fn replay(
        &mut self,
        position: LogPosition,
        epoch: MasterEpoch,
        bytes: &[u8],
    ) -> Result<(), ReplayError> {
        let record =
            Record::decode(bytes).map_err(|error| ReplayError::Record { position, error })?;
        Ok(self.apply(position, epoch, &record)?)
    }

    /// A number that two states have in common if and (but for chance) only if they are equal, however they came to be.
    #[must_use]
    pub fn digest(&self) -> u64 {
        0
    }
}
