//! Questions to the master, and changes of the namespace.

use gfs_types::Error as WireError;
use gfs_types::ids::FileId;
use gfs_types::message::client::{
    ChunkLocation, FileLocations, LeaseGrant, LeaseTarget, Mutation, Query, Request, Response,
};
use gfs_types::region::ChunkIndex;
use tokio::time::Instant;

use super::Engine;
use crate::error::{Error, Result};
use crate::master_link::{Asked, MutationError, NoAnswer};
use crate::op::mutate::Wanted;
use crate::retry::{Attempt, Backoff, Failure, Next, next};

/// Chunks asked for at once: one question for 4 GiB of the usual chunks.
const LOCATE_AHEAD: u32 = 64;

/// What is asked for, in the words of an error; put together only if there is one.
pub(crate) type Doing<'a> = &'a (dyn std::fmt::Display + Sync);

/// Why the master gave no good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoGood {
    /// It refused for good.
    Refused(WireError),
    /// Time ran out; the last thing that went wrong.
    TimedOut(String),
}

impl Engine {
    /// Asks until there is an answer that waiting will not change.
    pub(crate) async fn ask_master(
        &self,
        request: Request,
        deadline: Instant,
    ) -> std::result::Result<Response, NoGood> {
        let (asked, mut backoff) = (Asked::new(request), Backoff::new(self.seed()));
        loop {
            let answer = self.master.call(&asked, deadline).await.map_err(|no| match no {
                NoAnswer::TimedOut { last, .. } => NoGood::TimedOut(last),
                NoAnswer::Foreign { reason, .. } => NoGood::Refused(WireError::denied(reason)),
            })?;
            let error = match answer.reply.result {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            if next(Attempt::Master, &Failure::Refused(error.clone())) != Next::Wait {
                return Err(NoGood::Refused(error));
            }
            self.pause(backoff.pause_ms(error.retry_after_ms), deadline).await;
            if Instant::now() >= deadline {
                return Err(NoGood::TimedOut(error.message));
            }
        }
    }

    /// As [`Engine::ask_master`], for callers who pass the error on.
    pub(crate) async fn question(
        &self,
        doing: Doing<'_>,
        request: Request,
        deadline: Instant,
    ) -> Result<Response> {
        self.ask_master(request, deadline).await.map_err(|no| self.no_good(&doing.to_string(), no))
    }

    pub(crate) fn no_good(&self, doing: &str, no: NoGood) -> Error {
        match no {
            NoGood::Refused(error) => Error::Refused { doing: doing.to_owned(), error },
            NoGood::TimedOut(last) => self.timed_out(doing, &last, false),
        }
    }

    /// Changes the namespace, once.
    pub(crate) async fn change(&self, doing: Doing<'_>, mutation: Mutation) -> Result<Response> {
        let (deadline, seed) = (self.deadline(), self.seed());
        self.sessions.mutate(&self.master, &mutation, deadline, seed).await.map_err(|error| {
            let doing = doing.to_string();
            match error {
                MutationError::Refused(error) => Error::Refused { doing, error },
                MutationError::Unknown(last) => Error::Unknown { doing, last },
                MutationError::TimedOut { sent, last } => self.timed_out(&doing, &last, sent),
            }
        })
    }

    /// Chunks of a file from the master itself; they are remembered.
    pub(crate) async fn locate_page(
        &self,
        file: FileId,
        first: ChunkIndex,
        count: u32,
        deadline: Instant,
    ) -> std::result::Result<FileLocations, NoGood> {
        let query = Query::Locate { file, first, count };
        match self.ask_master(Request::Query(query), deadline).await? {
            Response::Locations(found) => {
                self.remembered(|cache, now| cache.learn(now, first, u64::from(count), &found));
                Ok(found)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Where a chunk is; `None` for a hole.
    pub(crate) async fn locate(
        &self,
        file: FileId,
        index: ChunkIndex,
        fresh: bool,
        deadline: Instant,
    ) -> std::result::Result<Option<ChunkLocation>, NoGood> {
        if fresh {
            self.remembered(|cache, _| cache.forget_chunk(file, index));
        } else if let Some(Some(known)) =
            self.remembered(|cache, now| cache.chunk(now, file, index))
        {
            return Ok(Some(known));
        }
        // A hole that is remembered may be filled by now, and no server would say so.
        let found = self.locate_page(file, index, LOCATE_AHEAD, deadline).await?;
        let found = found.chunks.into_iter().find(|chunk| chunk.index == index);
        Ok(found.map(|chunk| self.remembered(|cache, _| cache.fenced(file, chunk))))
    }

    /// Who takes mutations: as remembered, or from the master.
    pub(crate) async fn lease(
        &self,
        file: FileId,
        wanted: Wanted,
        deadline: Instant,
    ) -> std::result::Result<LeaseGrant, NoGood> {
        let Wanted { target, refused, not_version } = wanted;
        let known = self.remembered(|cache, now| {
            if let Some((index, version)) = refused {
                cache.refused(file, index, version);
            }
            match target {
                LeaseTarget::Index(index) => cache.lease(now, file, index),
                LeaseTarget::Last => cache.last_lease(now, file),
            }
        });
        if let Some(grant) = known {
            return Ok(grant);
        }
        match self.ask_master(Request::Lease { file, target, not_version }, deadline).await? {
            Response::Lease(grant) => {
                self.remembered(|cache, now| cache.granted(now, file, &grant));
                Ok(grant)
            }
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(answer: &impl std::fmt::Debug) -> NoGood {
    NoGood::Refused(WireError::internal(format!(
        "the master gave the unexpected answer {answer:?}"
    )))
}
