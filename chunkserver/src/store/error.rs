//! What can go wrong with a replica's file, and what the caller does next.

use std::io;

use gfs_durable::fs::FsError;
use gfs_types::ErrorKind;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No replica of this chunk.
    #[error("chunk {0}: this server has no replica of it")]
    NotFound(ChunkHandle),
    /// A replica of this chunk is there already.
    #[error("chunk {handle}: a replica of version {version} is here already")]
    Exists {
        /// The chunk.
        handle: ChunkHandle,
        /// The version of the one that is there.
        version: ChunkVersion,
    },
    /// A version that is not the one meant.
    #[error("chunk {handle}: the replica has version {has}, the command names {named}")]
    OtherVersion {
        /// The chunk.
        handle: ChunkHandle,
        /// What is stored.
        has: ChunkVersion,
        /// What was named.
        named: ChunkVersion,
    },
    /// A request that can never be fulfilled.
    #[error("chunk {handle}: {reason}")]
    Invalid {
        /// The chunk.
        handle: ChunkHandle,
        /// What is wrong with it.
        reason: String,
    },
    /// No room on this server.
    #[error(
        "chunkserver {server} has no space left for chunk {handle} (its reserve is kept); free space there or add a \
         chunkserver, then it goes on by itself"
    )]
    Full {
        /// Who has no room.
        server: String,
        /// The chunk.
        handle: ChunkHandle,
    },
    /// Bytes that do not match their checksums, or a head that makes no sense. The file is kept.
    #[error("chunk {handle}: {reason}; the file is kept as it is")]
    Damaged {
        /// The chunk.
        handle: ChunkHandle,
        /// What does not match.
        reason: String,
    },
    /// A file that is not this server's to use or to change: of another cluster, another chunk, a newer format.
    #[error("chunk {handle}: {reason}; the file is left alone")]
    Foreign {
        /// The chunk.
        handle: ChunkHandle,
        /// What it is.
        reason: String,
    },
    /// Bytes handed in that do not match the checksums that came with them.
    #[error(
        "the bytes before {at} do not match the checksum they came with: changed in this server's memory"
    )]
    Payload {
        /// Where in the payload.
        at: u64,
    },
    /// An earlier write failed half-way; the replica is made equal to another one, or recovered by a restart.
    #[error(
        "chunk {handle}: closed after an earlier failure ({reason}); it is repaired from another replica"
    )]
    Closed {
        /// The chunk.
        handle: ChunkHandle,
        /// The earlier failure.
        reason: String,
    },
    /// The disk failed.
    #[error("{doing}: {source}")]
    Io {
        /// With which replica, if with one.
        handle: Option<ChunkHandle>,
        /// What was being done.
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A sync failed: what was promised may be gone, and a second try would lie. The process must end.
    #[error(
        "chunk {handle}: {source}; nothing after a failed sync can be trusted, the process must end"
    )]
    Fatal {
        /// The chunk.
        handle: ChunkHandle,
        /// The system's answer.
        source: io::Error,
    },
}

/// Whether the disk cannot give bytes of a file any more.
#[must_use]
pub fn is_lost(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<FsError>());
    let raw = inner.map_or(error, |inner| &inner.source).raw_os_error();
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound)
        || raw == Some(rustix::io::Errno::IO.raw_os_error())
}

impl StoreError {
    /// Whether the process must end.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Fatal { .. })
    }

    /// Whether bytes of the replica are lost: they do not match their checksum, or the disk cannot give them any more: cut off,
    /// unreadable, the whole file gone.
    #[must_use]
    pub fn is_lost_bytes(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Io { source, .. } => is_lost(source),
            _ => false,
        }
    }

    /// A disk without space is a matter of its own.
    pub(super) fn or_full(self, server: &str) -> Self {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::Io { handle: Some(handle), source, .. }
                if matches!(source.kind(), StorageFull | QuotaExceeded) =>
            {
                Self::Full { server: server.to_owned(), handle }
            }
            other => other,
        }
    }

    /// What a caller should do next.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Exists { .. } => ErrorKind::AlreadyExists,
            Self::OtherVersion { .. } => ErrorKind::Stale,
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::Full { .. } => ErrorKind::Busy,
            Self::Damaged { .. } | Self::Payload { .. } | Self::Io { .. } | Self::Closed { .. } => {
                ErrorKind::Corrupt
            }
            Self::Foreign { .. } | Self::Fatal { .. } => ErrorKind::Internal,
        }
    }
}

impl From<StoreError> for gfs_types::Error {
    fn from(error: StoreError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fails_to_read_lost_the_bytes_and_one_without_a_descriptor_to_spare_did_not() {
        let bare = |errno: rustix::io::Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        let named = |errno| {
            let source = bare(errno);
            let (operation, path) = ("read", "/x".into());
            io::Error::new(source.kind(), FsError { operation, path, source })
        };
        for error in [&bare as &dyn Fn(_) -> io::Error, &named] {
            assert!(is_lost(&error(rustix::io::Errno::IO)));
            assert!(is_lost(&error(rustix::io::Errno::NOENT)));
            assert!(!is_lost(&error(rustix::io::Errno::MFILE)));
            assert!(!is_lost(&error(rustix::io::Errno::PIPE)));
        }
    }
}
