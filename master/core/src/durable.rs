//! Durable metadata; `apply` is its only writer.

use gfs_types::fence::{LogPosition, MasterEpoch};
use gfs_types::ids::{ChunkHandle, ClusterUid, ProcessSession};
use gfs_types::mutants::{Mutant, runs};
use gfs_types::region::ChunkSize;

use crate::chunks::Chunks;
use crate::namespace::{Trash, Tree};
use crate::record::{Record, RecordError};
use crate::sessions::Sessions;

/// Everything the operation log says: namespace, chunks, sessions, epoch.
///
/// It changes only by [`Self::apply`], in live traffic, in replay and (later) on shadows alike.
#[derive(Debug, Clone, Default)]
pub struct Durable {
    pub(crate) position: LogPosition,
    pub(crate) epoch: MasterEpoch,
    pub(crate) master_session: ProcessSession,
    pub(crate) format: Option<(ClusterUid, ChunkSize)>,
    pub(crate) tree: Tree,
    pub(crate) trash: Trash,
    pub(crate) chunks: Chunks,
    pub(crate) sessions: Sessions,
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

    /// The last run of a primary master that the log knows; grows with every [`crate::Input::Serve`].
    #[must_use]
    pub fn master_session(&self) -> ProcessSession {
        self.master_session
    }

    /// Whether the birth of a chunk has ended: before that nobody was told of it.
    #[must_use]
    pub fn is_born(&self, handle: ChunkHandle) -> bool {
        self.chunks.get(handle).is_some() && self.chunks.unborn(handle).is_none()
    }

    /// Files, directories, chunks, sessions, and things in the trash: for metrics.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            files: self.tree.files(),
            directories: self.tree.directories(),
            chunks: self.chunks.len() as u64,
            sessions: self.sessions.len() as u64,
            trash: self.trash.len() as u64,
        }
    }

    /// Applies one record of live traffic or of the log: the only way durable state changes.
    ///
    /// # Errors
    /// When it cannot follow. The state may then be changed in part: it must be thrown away.
    pub fn apply(
        &mut self,
        position: LogPosition,
        epoch: MasterEpoch,
        record: &Record,
    ) -> Result<(), ApplyError> {
        self.check_place(position, epoch, record)
            .and_then(|()| self.apply_change(position, record))
            .map_err(|reason| ApplyError { position, reason })?;
        self.position = position;
        self.epoch = epoch;
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
        self.apply(position, epoch, &record)?;
        if runs(Mutant::ResultsForgotten) {
            self.sessions.forget_results();
        }
        Ok(())
    }

    /// A checksum over the whole state: equal states have equal ones, however they came to be (N5).
    #[must_use]
    pub fn digest(&self) -> u64 {
        crate::image::digest(self)
    }
}

/// How many of what; see [`Durable::counts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Files, the trash counted.
    pub files: u64,
    /// Directories likewise.
    pub directories: u64,
    /// Chunks.
    pub chunks: u64,
    /// Client sessions.
    pub sessions: u64,
    /// What was deleted and is still there.
    pub trash: u64,
}
