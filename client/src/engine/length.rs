//! Lengths: drives [`crate::op::length`].

use std::time::Duration;

use gfs_types::ids::FileId;
use gfs_types::message::client::{ChunkLocation, Entry, LeaseTarget, ReplicaLocation, Request};
use gfs_types::message::data::{DataRequest, DataResponse, ReplicaInfo};
use gfs_types::region::ChunkIndex;
use tokio::time::Instant;

use super::master::NoGood;
use super::read::ended;
use super::{Engine, attempt_until, odd_answer};
use crate::error::Result;
use crate::op::length::{Event, Session, Step};
use crate::retry::Failure;

/// A server that is silent for this long is asked again, or left for another.
const ATTEMPT: Duration = Duration::from_secs(3);

impl Engine {
    /// The length of a file: at least all that was acknowledged to anybody before the call.
    pub(crate) async fn file_length(&self, file: FileId, doing: &str) -> Result<u64> {
        let deadline = self.deadline();
        let seen = self.known_length(file);
        // A file never gets shorter, so its last chunk is this one or one behind it.
        let (guess, _) = self.chunk_size.locate(seen.saturating_sub(1));
        let found = self.locate_page(file, guess, 2, deadline).await;
        let found = found.map_err(|no| self.no_good(doing, no))?;
        self.length_of(&found.entry, found.chunks, doing).await
    }

    /// The length of a file of which the master has just said `entry`, and where some of its chunks are.
    pub(crate) async fn length_of(
        &self,
        entry: &Entry,
        located: Vec<ChunkLocation>,
        doing: &str,
    ) -> Result<u64> {
        if let Some(length) = self.final_length(entry) {
            return Ok(length);
        }
        let last = ChunkIndex(entry.chunks - 1);
        let known = located.into_iter().find(|chunk| chunk.index == last);
        let in_chunk = self.chunk_length(entry.id, last, known, self.deadline(), doing).await?;
        let length = entry.length.max(self.chunk_size.file_offset(last) + in_chunk);
        self.remembered(|cache, _| cache.saw_length(entry.id, length));
        Ok(length)
    }

    /// The length, where the master knows it.
    pub(crate) fn final_length(&self, entry: &Entry) -> Option<u64> {
        // Never back: this client was told of so much.
        let told = || self.known_length(entry.id).max(entry.length);
        (entry.length_is_final || entry.chunks == 0).then(told)
    }

    /// The length of one chunk; `known` is where it is, if the master has just said so.
    pub(crate) async fn chunk_length(
        &self,
        file: FileId,
        index: ChunkIndex,
        known: Option<ChunkLocation>,
        deadline: Instant,
        doing: &str,
    ) -> Result<u64> {
        let mut session = Session::new(self.seed());
        if let Some(chunk) = known {
            session.on(Event::Located(Ok(Some(chunk))));
        }
        while Instant::now() < deadline {
            let event = match session.step().clone() {
                Step::Locate => match self.locate(file, index, true, deadline).await {
                    Ok(chunk) => Event::Located(Ok(chunk)),
                    Err(NoGood::Refused(error)) => Event::Located(Err(error)),
                    Err(no) => return Err(self.no_good(doing, no)),
                },
                Step::Inspect(chunk, replica) => {
                    Event::Inspected(self.ask_inspect(&chunk, &replica, deadline).await)
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

    /// What a replica is, from its server.
    pub(super) async fn ask_inspect(
        &self,
        chunk: &ChunkLocation,
        replica: &ReplicaLocation,
        deadline: Instant,
    ) -> std::result::Result<ReplicaInfo, Failure> {
        let until = attempt_until(deadline, ATTEMPT);
        let of = (chunk.handle, chunk.version);
        match self.ask_plain(replica, of, DataRequest::Inspect, until).await?.response {
            DataResponse::Replica(info) => Ok(info),
            other => Err(odd_answer(&other)),
        }
    }

    /// Returns when a chunk has a primary.
    pub(super) async fn ask_lease(
        &self,
        file: FileId,
        index: ChunkIndex,
        deadline: Instant,
    ) -> std::result::Result<(), NoGood> {
        let target = LeaseTarget::Index(index);
        let request = Request::Lease { file, target, not_version: None };
        self.ask_master(request, deadline).await.map(drop)
    }
}
