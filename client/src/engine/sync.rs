//! Having chunks on disk: drives [`crate::op::sync`].

use std::time::Duration;

use futures::future::join_all;
use gfs_types::ids::FileId;
use gfs_types::message::client::{ChunkLocation, ReplicaLocation};
use gfs_types::message::data::{DataRequest, DataResponse};
use gfs_types::region::ChunkIndex;
use tokio::time::Instant;

use super::master::NoGood;
use super::read::ended;
use super::{Engine, attempt_until, odd_answer};
use crate::error::Result;
use crate::op::sync::{Event, Session, Step};
use crate::retry::Failure;

/// A flush may take long on a busy disk; only then is it asked for again.
const ATTEMPT: Duration = Duration::from_secs(20);

impl Engine {
    /// Returns when everything acknowledged of a chunk is on disk on every replica; the chunk's length if its primary
    /// told it. `known` is where it is, if the master has just said so; a lease that is remembered will do as well.
    pub(crate) async fn sync_chunk(
        &self,
        file: FileId,
        index: ChunkIndex,
        known: Option<ChunkLocation>,
        doing: &str,
    ) -> Result<Option<u64>> {
        let deadline = self.deadline();
        let mut session = Session::new(self.seed());
        if let Some(chunk) = known.or_else(|| self.leased(file, index)) {
            session.on(Event::Located(Ok(Some(chunk))));
        }
        while Instant::now() < deadline {
            let event = match session.step().clone() {
                Step::Locate => match self.locate(file, index, true, deadline).await {
                    Ok(chunk) => Event::Located(Ok(chunk)),
                    Err(NoGood::Refused(error)) => Event::Located(Err(error)),
                    Err(no) => return Err(self.no_good(doing, no)),
                },
                Step::Sync(chunk, primary) => {
                    Event::Synced(self.ask_sync(&chunk, &primary, deadline).await)
                }
                Step::Inspect(chunk) => {
                    let asked = chunk.replicas.iter();
                    let asked = asked.map(|replica| self.ask_inspect(&chunk, replica, deadline));
                    Event::Inspected(join_all(asked).await)
                }
                Step::Lease => match self.ask_lease(file, index, deadline).await {
                    Ok(()) => Event::Leased(Ok(())),
                    Err(NoGood::Refused(error)) => Event::Leased(Err(error)),
                    Err(no) => return Err(self.no_good(doing, no)),
                },
                Step::Pause(ms) => {
                    self.pause(ms, deadline).await;
                    Event::Rested
                }
                Step::Done(length) => return Ok(length),
                Step::End(end) => return Err(ended(doing, end)),
            };
            session.on(event);
        }
        Err(self.timed_out(doing, session.last(), false))
    }

    /// Where a chunk is that this client has a lease of. A primary that is none any more refuses, for some member of its
    /// version has gone on.
    fn leased(&self, file: FileId, index: ChunkIndex) -> Option<ChunkLocation> {
        let known = self.remembered(|cache, now| cache.chunk(now, file, index));
        known.flatten().filter(|chunk| chunk.primary.is_some())
    }

    async fn ask_sync(
        &self,
        chunk: &ChunkLocation,
        primary: &ReplicaLocation,
        deadline: Instant,
    ) -> std::result::Result<u64, Failure> {
        let until = attempt_until(deadline, ATTEMPT);
        let of = (chunk.handle, chunk.version);
        match self.ask_plain(primary, of, DataRequest::Sync, until).await?.response {
            DataResponse::Committed { length, .. } => Ok(length),
            other => Err(odd_answer(&other)),
        }
    }
}
