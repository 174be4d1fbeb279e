//! The way into the driver.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gfs_chunkserver_core::{Input, Ticket, View};
use gfs_types::Error;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;
use gfs_types::limits::{INLINE_BYTES_MAX, SHARD_REQUESTS_MAX};
use gfs_types::message::data::{DataResponse, Target};
use gfs_types::time::Instant;

use super::lane::Lane;
use super::views::Views;
use super::{Payload, PeerTicket, ReplyTo, Request, Said};

/// What comes to a shard.
pub(super) enum Work {
    Request {
        target: Target,
        request: Request,
        reply: ReplyTo,
    },
    /// Anything that owes nobody an answer.
    Input {
        handle: ChunkHandle,
        input: Input,
    },
    StoreDone {
        handle: ChunkHandle,
        ticket: Ticket,
        result: Result<u32, Error>,
    },
    PeerAnswered {
        ticket: PeerTicket,
        result: Result<DataResponse, Error>,
    },
    /// To every replica: end your lease.
    GiveUpLeases,
    Stop,
}

impl Work {
    /// The chunk of what whoever brought it may carry out: appends, orders, acknowledgements and commits, of few bytes. What they
    /// have written is judged when it comes to that.
    pub(super) fn small(&self) -> Option<ChunkHandle> {
        match self {
            Self::Request { target, request, .. } => is_small(request).then_some(target.handle),
            Self::PeerAnswered { ticket, .. } => {
                // Members that are found equal let mutations begin that waited, of any size.
                (!matches!(ticket.said, Said::Equalise(_))).then_some(ticket.handle)
            }
            Self::Input { .. } | Self::StoreDone { .. } | Self::GiveUpLeases | Self::Stop => None,
        }
    }

    /// As [`Input::is_of_mutations`] of what a core is told.
    pub(super) fn is_of_mutations(&self) -> bool {
        match self {
            Self::Request { request, .. } => matches!(
                request,
                Request::Write { .. }
                    | Request::Append { .. }
                    | Request::Sync
                    | Request::Order { .. }
            ),
            Self::PeerAnswered { ticket, result } => {
                matches!(ticket.said, Said::Order(_)) && result.is_ok()
            }
            Self::Input { .. } | Self::StoreDone { .. } | Self::GiveUpLeases | Self::Stop => false,
        }
    }
}

/// The other end of a [`DriverHandle`], for [`Driver::start`](super::Driver::start).
pub struct Inboxes(pub(super) Vec<Arc<Lane>>);

/// The way into the driver; cheap to clone.
#[derive(Clone)]
pub struct DriverHandle {
    lanes: Arc<[Arc<Lane>]>,
    views: Arc<Views>,
}

/// A handle and the queues behind it, for so many shards. The handle may be used at once: what it is given waits.
#[must_use]
pub fn channels(shards: usize) -> (DriverHandle, Inboxes) {
    let lanes: Vec<_> = (0..shards.max(1)).map(|_| Arc::<Lane>::default()).collect();
    (DriverHandle { lanes: lanes.clone().into(), views: Arc::default() }, Inboxes(lanes))
}

impl DriverHandle {
    /// Hands a request in. One that is small may be carried out before this returns, with what others brought meanwhile. With a
    /// full queue the answer is `Busy`.
    pub fn submit(&self, target: Target, request: Request, reply: ReplyTo) {
        self.put(target, request, reply);
        self.lanes[self.shard_of(target.handle)].help();
    }

    /// As [`DriverHandle::submit`], but a small request is left for [`DriverHandle::help`]: whoever brings several calls it after
    /// the last.
    pub fn put(&self, target: Target, request: Request, reply: ReplyTo) {
        let lane = &self.lanes[self.shard_of(target.handle)];
        if lane.requests().fetch_add(1, Ordering::Relaxed) >= SHARD_REQUESTS_MAX {
            lane.requests().fetch_sub(1, Ordering::Relaxed);
            let mut error = Error::busy("this chunkserver has too many requests waiting");
            error.retry_after_ms = 20;
            return answer_now(reply, error);
        }
        let small = is_small(&request);
        let work = Work::Request { target, request, reply };
        let refused = if small { lane.put(work) } else { lane.leave(work) };
        if let Some(Work::Request { reply, .. }) = refused {
            answer_now(reply, Error::busy("this chunkserver is ending"));
        }
    }

    /// A reader met bytes that do not verify, or are not there: they are looked at again in order with the mutations, and
    /// only that verdict counts.
    pub fn doubt(&self, target: Target, range: std::ops::Range<u64>) {
        let (offset, length) = (range.start, range.end.saturating_sub(range.start));
        self.submit(target, Request::Verify { offset, length }, Box::new(|_| None));
    }

    /// Requests that wait where those for this chunk go.
    #[must_use]
    pub fn waiting(&self, handle: ChunkHandle) -> usize {
        self.lanes[self.shard_of(handle)].requests().load(Ordering::Relaxed)
    }

    /// Carries out what was put in, where nobody is at it.
    pub fn help(&self) {
        self.lanes.iter().for_each(|lane| lane.help());
    }

    /// What became of a message to a member: its answer, or why there is none. An answer may wait for [`DriverHandle::help`].
    pub fn peer_answered(&self, ticket: PeerTicket, result: Result<DataResponse, Error>) {
        let lane = &self.lanes[self.shard_of(ticket.handle)];
        // What failed may be told from where nobody helps.
        let failed = result.is_err();
        let work = Work::PeerAnswered { ticket, result };
        // A shard that is gone has ended with the process: nobody waits for this any more.
        let _ = if failed { lane.leave(work) } else { lane.put(work) };
    }

    /// What readers may see of a replica; `None` where there is none.
    #[must_use]
    pub fn view(&self, handle: ChunkHandle) -> Option<Arc<View>> {
        self.views.get(handle)
    }

    /// A command of the master that passed the fence.
    pub fn command(&self, handle: ChunkHandle, input: Input) {
        self.send(handle, Work::Input { handle, input });
    }

    /// A heartbeat's answer: these leases run until then.
    pub fn extended(&self, leases: Vec<(ChunkHandle, ChunkVersion)>, until: Instant) {
        for (handle, version) in leases {
            self.command(handle, Input::Extended { version, until });
        }
    }

    /// Ends every lease this server holds, in order.
    pub fn give_up_leases(&self) {
        for lane in &*self.lanes {
            let _ = lane.leave(Work::GiveUpLeases);
        }
    }

    pub(super) fn store_done(
        &self,
        handle: ChunkHandle,
        ticket: Ticket,
        result: Result<u32, Error>,
    ) {
        self.send(handle, Work::StoreDone { handle, ticket, result });
    }

    pub(super) fn stop(&self) {
        for lane in &*self.lanes {
            let _ = lane.leave(Work::Stop);
        }
    }

    pub(super) fn views(&self) -> Arc<Views> {
        self.views.clone()
    }

    pub(super) fn shard_of(&self, handle: ChunkHandle) -> usize {
        spread(handle, self.lanes.len())
    }

    /// A shard that is gone has ended with the process: nobody waits for this any more.
    fn send(&self, handle: ChunkHandle, work: Work) {
        let _ = self.lanes[self.shard_of(handle)].leave(work);
    }
}

/// A refusal from outside of a shard.
fn answer_now(reply: ReplyTo, error: Error) {
    if let Some(outlet) = reply(super::requests::refusal(error)) {
        outlet.flush();
    }
}

/// Whether it is carried out faster than handed over, by its looks.
fn is_small(request: &Request) -> bool {
    let is_short = |data: &Payload| data.length() <= INLINE_BYTES_MAX;
    match request {
        Request::Write { data, .. } | Request::Append { data, .. } => is_short(data),
        Request::Order { data, .. } => data.as_ref().is_none_or(is_short),
        Request::Sync | Request::Committed { .. } | Request::Inspect => true,
        Request::Verify { .. }
        | Request::Checksums
        | Request::Equalise { .. }
        | Request::Piece { .. }
        | Request::ReadOut { .. } => false,
    }
}

/// Spreads handles, which are often consecutive, evenly over `parts`.
pub(super) fn spread(handle: ChunkHandle, parts: usize) -> usize {
    let mixed = handle.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    usize::try_from(mixed).unwrap_or(0) % parts
}
