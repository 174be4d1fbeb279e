//! All that goes out.

use gfs_types::Error;
use gfs_types::fence::{ChunkVersion, LogPosition, MasterEpoch};
use gfs_types::ids::{ChunkHandle, ServerUid};
use gfs_types::message::client::Reply;
use gfs_types::message::control::ToChunkserver;
use gfs_types::mutants::{Mutant, runs};

use crate::{Connection, Link};

/// What the shell has to do, in the order given.
///
/// `after` names the last record that was applied when the effect was decided. The shell lets it out when that
/// position is durable: reads too, since they may show what is not durable yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Append to the operation log. Positions come without gaps.
    Append {
        /// The record's place.
        position: LogPosition,
        /// The epoch it is written in.
        epoch: MasterEpoch,
        /// Its bytes: [`crate::Record::encode`].
        record: Vec<u8>,
    },
    /// Answer a client.
    Reply {
        /// Over this stream; gone streams are skipped.
        connection: crate::Connection,
        /// The stream's own number of the request.
        request: u64,
        /// The answer.
        reply: Reply,
        /// What it rests on.
        after: LogPosition,
    },
    /// Tell a chunkserver.
    Send {
        /// Over this stream; gone streams are skipped.
        link: Link,
        /// What to tell.
        message: ToChunkserver,
        /// What it rests on.
        after: LogPosition,
    },
    /// End a chunkserver's stream, when what was sent before is out.
    CloseLink {
        /// Which one.
        link: Link,
        /// Why, for the log.
        error: Error,
        /// What it rests on.
        after: LogPosition,
    },
    /// A client and the server of a replica agree that it is corrupt, and it is news: for the log.
    Accused {
        /// The chunk.
        handle: ChunkHandle,
        /// The replica's version.
        version: ChunkVersion,
        /// Whose it is.
        chunkserver: ServerUid,
        /// What the client saw.
        evidence: String,
    },
    /// Somebody obeyed a newer epoch: this process must not serve any more. Everything is answered `Fenced` from now on.
    StepDown {
        /// The newer epoch.
        epoch: MasterEpoch,
        /// Who said so, for the log.
        reason: String,
    },
}

impl Effect {
    /// The position that must be durable before the effect may be let out; `None` for an append itself.
    #[must_use]
    pub fn after(&self) -> Option<LogPosition> {
        match self {
            Self::Append { .. } => None,
            Self::Reply { after, .. }
            | Self::Send { after, .. }
            | Self::CloseLink { after, .. } => match runs(Mutant::AnsweredBeforeDurable) {
                true => Some(LogPosition(0)),
                false => Some(*after),
            },
            Self::StepDown { .. } | Self::Accused { .. } => Some(LogPosition(0)),
        }
    }

    /// The client's stream it goes to, if any.
    #[must_use]
    pub fn connection(&self) -> Option<Connection> {
        match self {
            Self::Reply { connection, .. } => Some(*connection),
            _ => None,
        }
    }
}
