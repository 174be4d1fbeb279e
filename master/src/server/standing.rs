//! What this master is at the moment, as its streams and calls need to know it.

use std::sync::Arc;

use gfs_membership::record::ConfigRecord;
use gfs_types::Error;
use gfs_types::fence::LogPosition;
use gfs_types::ids::{ClusterUid, ServerUid};

use crate::commit::Commit;
use crate::driver::Inputs;

/// Clients of a master that is not ready try again after this time.
const RETRY_AFTER_MS: u32 = 200;

/// What this master is.
#[derive(Debug, Clone)]
pub enum Standing {
    /// It reads its checkpoint and its log.
    Starting,
    /// It belongs to no cluster.
    Blank,
    /// It belongs to a cluster.
    Member(Arc<Member>),
    /// It ends.
    Ending,
}

/// A master of a cluster.
#[derive(Debug)]
pub struct Member {
    /// Itself.
    pub master: ServerUid,
    /// Who is the primary master.
    pub record: ConfigRecord,
    /// Bytes of the cluster's chunks.
    pub chunk_bytes: u64,
    /// The way to the core.
    pub inputs: Inputs,
    /// What is durable.
    pub commit: Arc<Commit>,
}

impl Member {
    /// Whether the record names this master as the primary.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.record.primary == self.master
    }

    /// The newest durable record.
    #[must_use]
    pub fn log_position(&self) -> LogPosition {
        self.commit.durable()
    }

    /// Refuses who believes to talk to another cluster.
    ///
    /// # Errors
    /// Both uids.
    pub fn check_cluster(&self, believed: Option<ClusterUid>) -> Result<(), Error> {
        match believed {
            Some(believed) if believed != self.record.cluster => Err(Error::denied(format!(
                "this master belongs to cluster {}, you to cluster {believed}: check the address of \
                 the master",
                self.record.cluster
            ))),
            _ => Ok(()),
        }
    }
}

impl Standing {
    /// The master of a cluster that speaks here.
    ///
    /// # Errors
    /// Why none does, and what to do.
    pub fn member(&self) -> Result<Arc<Member>, Error> {
        match self {
            Self::Member(member) => Ok(member.clone()),
            Self::Starting => Err(busy("the master is reading its log: try again in a moment")),
            Self::Ending => Err(busy("the master is ending: try again when it is back")),
            Self::Blank => Err(busy(
                "the master is blank, it belongs to no cluster yet: format it, or point it to the \
                 data directory that was meant",
            )),
        }
    }
}

fn busy(message: &str) -> Error {
    Error { retry_after_ms: RETRY_AFTER_MS, ..Error::busy(message) }
}
