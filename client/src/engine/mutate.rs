//! Writes and appends: drives [`crate::op::mutate`].

use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use gfs_protocol::checksum::blocks;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{DataId, FileId};
use gfs_types::limits::{FRAME_BYTES_MAX, INLINE_BYTES_MAX};
use gfs_types::message::client::LeaseGrant;
use gfs_types::message::data::{DataRequest, DataResponse, DataSource, Hop};
use gfs_types::region::ChunkIndex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::master::NoGood;
use super::read::ended;
use super::{Engine, attempt_until, odd_answer};
use crate::data_link::{Ask, Turn};
use crate::error::{Error, Result};
use crate::op::mutate::{Event, Kind, Session, Step};
use crate::push::chain;
use crate::retry::Failure;

/// A mutation that may be repeated is repeated after this long without an answer; longer than a primary needs to
/// find out that a member failed.
const ATTEMPT: Duration = Duration::from_secs(10);

/// What to do with the bytes.
#[derive(Debug)]
pub(crate) enum MutationOf {
    /// Write at an offset of a chunk; all of it in this chunk.
    Write {
        index: ChunkIndex,
        offset: u64,
        /// Its commit is sent behind that of whoever holds the other end, and before that of who waits for ours.
        order: Option<Order>,
    },
    /// Append, raw.
    Append,
    /// Append records whose copies readers know.
    RecordAppend,
}

/// A place in a row of writes.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) before: Option<oneshot::Receiver<()>>,
    pub(crate) turn: Turn,
}

/// Where a mutation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) index: ChunkIndex,
    /// In the file, of the first byte of an append.
    pub(crate) offset: u64,
    /// Of the file up to the end of this chunk, as its primary knows it.
    pub(crate) length: u64,
}

/// The bytes in frames, with their checksums.
struct Parts {
    first: DataId,
    /// Offset in the chunk (in the record, for an append), bytes, checksums.
    parts: Vec<(u64, Bytes, Vec<u32>)>,
    length: u64,
    inline: bool,
}

impl Engine {
    /// Carries out one mutation of one chunk, until it is committed, refused, or time is over.
    pub(crate) async fn mutate(
        &self,
        file: FileId,
        of: MutationOf,
        bytes: Bytes,
        deadline: Instant,
        doing: &str,
    ) -> Result<Appended> {
        let (kind, offset, mut order) = match of {
            MutationOf::Write { index, offset, order } => (Kind::Write(index), offset, order),
            MutationOf::Append => (Kind::Append, 0, None),
            MutationOf::RecordAppend => (Kind::RecordAppend, 0, None),
        };
        let parts = self.parts(offset, bytes);
        let mut session = Session::new(kind, !parts.inline, self.seed());
        while Instant::now() < deadline {
            let event = match session.step().clone() {
                Step::Lease(wanted) => match self.lease(file, wanted, deadline).await {
                    Ok(grant) => Event::Lease(Ok(grant)),
                    Err(NoGood::Refused(error)) => Event::Lease(Err(error)),
                    Err(NoGood::TimedOut(last)) => {
                        return Err(self.timed_out(doing, &last, session.maybe_applied()));
                    }
                },
                Step::Push { grant, whole_chain } => {
                    Event::Push(self.push(&grant, whole_chain, &parts, deadline).await)
                }
                Step::Commit(grant) => {
                    let turn = my_turn(&mut order).await;
                    Event::Commit(self.commit(kind, &grant, &parts, turn, deadline).await)
                }
                Step::Pause(ms) => {
                    self.pause(ms, deadline).await;
                    Event::Rested
                }
                Step::Done(done) => {
                    let base = self.chunk_size.file_offset(done.grant.index);
                    let length = base + done.length;
                    self.remembered(|cache, now| {
                        cache.lease_used(now, file, &done.grant);
                        cache.saw_length(file, length);
                        cache.acknowledged(file, done.grant.index, done.version);
                    });
                    let index = done.grant.index;
                    return Ok(Appended { index, offset: base + done.offset, length });
                }
                Step::End(end) => return Err(ended(doing, end)),
            };
            session.on(event);
        }
        Err(self.timed_out(doing, session.last(), session.maybe_applied()))
    }

    fn parts(&self, offset: u64, bytes: Bytes) -> Parts {
        let length = bytes.len() as u64;
        let inline = length <= INLINE_BYTES_MAX;
        let frame = usize::try_from(FRAME_BYTES_MAX).unwrap_or(usize::MAX);
        let mut rest = bytes;
        let mut parts = Vec::new();
        let mut at = offset;
        loop {
            let part = rest.split_to(frame.min(rest.len()));
            let checksums = blocks(at, &part);
            let next = at + part.len() as u64;
            parts.push((at, part, checksums));
            at = next;
            if rest.is_empty() {
                break;
            }
        }
        let first = self.data_ids(if inline { 0 } else { parts.len() as u64 });
        Parts { first, parts, length, inline }
    }

    /// Data ahead of its mutation: to the first of the chain, which passes it on.
    async fn push(
        &self,
        grant: &LeaseGrant,
        whole_chain: bool,
        parts: &Parts,
        deadline: Instant,
    ) -> std::result::Result<(), Failure> {
        let mut members = chain(&self.options.topology, grant);
        if !whole_chain {
            members.retain(|member| member.chunkserver == grant.primary);
        }
        let Some((first, rest)) = members.split_first() else {
            let text = "the lease names no member to push to".to_owned();
            return Err(Failure::Unreachable(text));
        };
        let hop = |member: &&gfs_types::message::client::ReplicaLocation| Hop {
            chunkserver: member.chunkserver,
            address: member.address.clone(),
        };
        let hops: Vec<Hop> = rest.iter().map(hop).collect();
        let until = attempt_until(deadline, ATTEMPT);
        let target = self.target(grant.handle, grant.version, grant.epoch);
        let pushes =
            parts.parts.iter().zip(parts.first.seq..).map(|((offset, bytes, sums), seq)| {
                let data = DataId { seq, ..parts.first };
                let request = DataRequest::Push { data, chain: hops.clone(), offset: *offset };
                let (payload, checksums) = (bytes.clone(), sums.clone());
                self.data.ask(first, Ask { target, request, payload, checksums }, until, None)
            });
        try_join_all(pushes).await.map(drop)
    }

    async fn commit(
        &self,
        kind: Kind,
        grant: &LeaseGrant,
        parts: &Parts,
        turn: Option<Turn>,
        deadline: Instant,
    ) -> std::result::Result<(u64, u64, ChunkVersion), Failure> {
        let primary = grant.members.iter().find(|member| member.chunkserver == grant.primary);
        let Some(primary) = primary else {
            let text = "the lease does not say where its primary is".to_owned();
            return Err(Failure::Unreachable(text));
        };
        let length = parts.length;
        let (source, payload, checksums) = match parts.parts.first() {
            Some((_, bytes, sums)) if parts.inline => {
                (DataSource::Inline, bytes.clone(), sums.clone())
            }
            _ => (DataSource::Pushed(parts.first), Bytes::new(), Vec::new()),
        };
        let offset = parts.parts.first().map_or(0, |(offset, ..)| *offset);
        let (request, until) = match kind {
            Kind::Write(_) => {
                (DataRequest::Write { offset, length, source }, attempt_until(deadline, ATTEMPT))
            }
            Kind::RecordAppend => {
                (DataRequest::Append { length, source }, attempt_until(deadline, ATTEMPT))
            }
            Kind::Append => (DataRequest::Append { length, source }, deadline),
        };
        let target = self.target(grant.handle, grant.version, grant.epoch);
        let ask = Ask { target, request, payload, checksums };
        match self.data.ask(primary, ask, until, turn).await?.response {
            DataResponse::Committed { length, version } => Ok((offset, length, version)),
            DataResponse::Appended { offset, length, version } => Ok((offset, length, version)),
            other => Err(odd_answer(&other)),
        }
    }
}

/// Waits for the one before, once; gone counts as done.
async fn my_turn(order: &mut Option<Order>) -> Option<Turn> {
    let Order { before, turn } = order.take()?;
    if let Some(before) = before {
        let _ = before.await;
    }
    Some(turn)
}

impl Engine {
    /// A record that no chunk may hold is refused before anything is sent.
    pub(crate) fn check_record(&self, bytes: u64, doing: &str) -> Result<()> {
        let most = gfs_types::limits::record_bytes_max(self.chunk_size.bytes());
        if bytes <= most {
            return Ok(());
        }
        let reason =
            format!("{bytes} bytes are too many for one record: at most {most} are allowed");
        Err(Error::Unfit { doing: doing.to_owned(), reason })
    }
}
