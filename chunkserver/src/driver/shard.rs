//! The replicas of one shard: takes what came, steps the cores, carries their effects out, then looks at what a batch of that
//! changed. Who calls it is decided by the [`lane`](super::lane).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use gfs_chunkserver_core::deleted::Deleted;
use gfs_chunkserver_core::report::Holdings;
use gfs_chunkserver_core::{
    Condition, Input, LocalWrite, MemberAnswer, Recovered, Replica, Settings, Token,
};
use gfs_types::fence::{ChunkVersion, SerialNumber};
use gfs_types::ids::ChunkHandle;
use gfs_types::message::data::Target;
use gfs_types::time::Instant;

use super::flusher::Job;
use super::handle::Work;
use super::requests::{self, Way};
use super::views::Views;
use super::{Answer, Clock, Outbox, Outlet, Payload, PeerTicket, Peers, ReplyTo, Request};
use crate::metrics::Metrics;
use crate::store::Store;

/// What all shards share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) store: Arc<Store>,
    pub(super) peers: Arc<dyn Peers>,
    pub(super) outbox: Outbox,
    pub(super) holdings: Arc<Mutex<Holdings>>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) views: Arc<Views>,
}

/// A replica with what the shell keeps for it.
pub(super) struct Slot {
    pub(super) core: Replica,
    /// Bytes of mutations that are not applied, or not committed, by serial.
    pub(super) data: BTreeMap<SerialNumber, Payload>,
    /// Its last write found no space: it is tried many times a second, and said once.
    pub(super) full: bool,
    /// What it was told last of the disk.
    pub(super) short_of_space: bool,
    /// What it asked for last to be written: others may still join it.
    pub(super) unwritten: Option<Unwritten>,
    /// When it asked to be woken.
    timer: Option<Instant>,
}

/// A write that a core asked for.
pub(super) struct Unwritten {
    pub(super) version: ChunkVersion,
    pub(super) serial: SerialNumber,
    pub(super) write: LocalWrite,
}

/// The replicas of one shard.
pub(super) struct Shard {
    pub(super) shared: Arc<Shared>,
    pub(super) jobs: Sender<Job>,
    pub(super) slots: BTreeMap<ChunkHandle, Slot>,
    deleted: Deleted,
    /// Answers that are owed.
    pub(super) owed: BTreeMap<Token, ReplyTo>,
    /// Where answers of the batch leave.
    outlets: Vec<Arc<dyn Outlet>>,
    /// Bytes of requests that are neither kept under a serial nor answered.
    pub(super) staged: BTreeMap<Token, Payload>,
    tokens: u64,
    timers: BTreeSet<(Instant, ChunkHandle)>,
    /// Replicas that the batch touched.
    touched: BTreeSet<ChunkHandle>,
    /// Who is at work only helps, and may have so many bytes written yet. `None`: the shard's own thread.
    pub(super) helper_bytes: Option<u64>,
    /// Whoever helped left a write.
    pub(super) left: bool,
}

impl Slot {
    pub(super) fn new(core: Replica) -> Self {
        Self {
            core,
            data: BTreeMap::new(),
            full: false,
            short_of_space: false,
            unwritten: None,
            timer: None,
        }
    }
}

impl Shard {
    pub(super) fn new(
        shared: Arc<Shared>,
        jobs: Sender<Job>,
        found: Vec<(ChunkHandle, Recovered)>,
    ) -> Self {
        let mut shard = Self {
            shared,
            jobs,
            slots: BTreeMap::new(),
            deleted: Deleted::default(),
            owed: BTreeMap::new(),
            outlets: Vec::new(),
            staged: BTreeMap::new(),
            tokens: 0,
            timers: BTreeSet::new(),
            touched: BTreeSet::new(),
            helper_bytes: None,
            left: false,
        };
        for (handle, found) in found {
            let mut out = Vec::new();
            let core = Replica::recovered(handle, shard.shared.settings, found, &mut out);
            shard.slots.insert(handle, Slot::new(core));
            shard.carry_out(handle, out.into());
            shard.touched.insert(handle);
        }
        shard.settle();
        shard
    }

    /// When the first timer is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(super) fn clock(&self) -> Clock {
        self.shared.clock.clone()
    }

    /// From here on nothing is done that others should not wait for.
    pub(super) fn begin_help(&mut self, bytes: u64) {
        self.helper_bytes = Some(bytes);
    }

    /// Whether something was left for the shard's own thread, and the bytes that may be written yet.
    pub(super) fn end_help(&mut self) -> (bool, u64) {
        (self.left, self.helper_bytes.take().unwrap_or(0))
    }

    /// Whether whoever helps may take this. What was to be written before it is written then.
    pub(super) fn may_help(&mut self, work: &Work) -> bool {
        let Some(handle) = work.small().filter(|_| !self.left) else { return false };
        if !work.is_of_mutations() {
            self.write_out(handle);
        }
        !self.left
    }

    pub(super) fn take(&mut self, work: Work) {
        match work {
            Work::Request { target, request, reply } => self.request(target, request, reply),
            Work::Input { handle, input } => self.step(handle, input),
            Work::StoreDone { handle, ticket, result } => {
                self.step(handle, Input::StoreDone { ticket, result });
            }
            Work::PeerAnswered { ticket, result } => {
                let PeerTicket { member, version, said, .. } = ticket;
                let answer = MemberAnswer { member, version, said, result };
                self.step(ticket.handle, Input::MemberAnswered(answer));
            }
            Work::GiveUpLeases => {
                let all: Vec<_> = self.slots.keys().copied().collect();
                for handle in all {
                    self.step(handle, Input::Shutdown);
                }
            }
            Work::Stop => {}
        }
    }

    fn request(&mut self, target: Target, request: Request, reply: ReplyTo) {
        self.tokens += 1;
        let token = Token(self.tokens);
        match requests::way(token, target, request) {
            Way::Core { input, data } => {
                self.owed.insert(token, reply);
                self.staged.extend(data.map(|data| (token, data)));
                self.step(target.handle, input);
            }
            Way::Verify { offset, length } => {
                self.write_out(target.handle);
                let store = &self.shared.store;
                let (answer, bad) =
                    requests::verify(store, &self.shared.views, &target, offset, length);
                self.looked(target.handle, answer, bad, reply);
            }
            Way::Checksums => {
                self.write_out(target.handle);
                let (answer, bad) = requests::table(&self.shared.store, target.handle);
                self.looked(target.handle, answer, bad, reply);
            }
        }
    }

    /// Answers who had the disk looked at; if it gave something bad, the replica is to be repaired.
    fn looked(&mut self, handle: ChunkHandle, answer: Answer, bad: bool, reply: ReplyTo) {
        self.answer(reply, answer);
        if bad {
            self.bad_block(handle);
            self.step(handle, Input::BlockMismatch);
        }
    }

    /// Puts an answer in; it leaves at the end of the batch.
    pub(super) fn answer(&mut self, reply: ReplyTo, answer: Answer) {
        if let Some(outlet) = reply(answer)
            && !self.outlets.last().is_some_and(|last| Arc::ptr_eq(last, &outlet))
        {
            self.outlets.push(outlet);
        }
    }

    /// Said once: readers come to a damaged replica again until it is repaired.
    pub(super) fn bad_block(&self, handle: ChunkHandle) {
        self.shared.metrics.bad_blocks();
        let known = self.slots.get(&handle).map(|slot| slot.core.condition());
        if known != Some(Condition::Corrupt) {
            tracing::error!(chunk = %handle, "a block does not match its checksum, or cannot be read; the replica is to be repaired");
        }
    }

    /// Steps one core and carries out what follows. Writes wait for the end of the batch, or for the next input that is none of
    /// mutations: what comes meanwhile may join them.
    fn step(&mut self, handle: ChunkHandle, input: Input) {
        if !input.is_of_mutations() {
            self.write_out(handle);
        }
        let now = self.shared.clock.now();
        let settings = self.shared.settings;
        let deleted = &self.deleted;
        let slot = self.slots.entry(handle).or_insert_with(|| {
            Slot::new(match deleted.has(handle) {
                true => Replica::deleted_before(handle, settings),
                false => Replica::absent(handle, settings),
            })
        });
        let mut out = Vec::new();
        let short = self.shared.store.is_short_of_space();
        if std::mem::replace(&mut slot.short_of_space, short) != short {
            slot.core.step(now, Input::Space { short }, &mut out);
        }
        slot.core.step(now, input, &mut out);
        self.carry_out(handle, out.into());
        self.touched.insert(handle);
    }

    fn wake_due(&mut self) {
        let now = self.shared.clock.now();
        while let Some((at, handle)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.timers.remove(&(at, handle));
            if let Some(slot) = self.slots.get_mut(&handle) {
                slot.timer = None;
            }
            self.step(handle, Input::Tick);
        }
    }

    /// Once a batch: orders leave, then what they order is written here, then answers leave; timers, and what the master should
    /// know.
    pub(super) fn settle(&mut self) {
        if self.helper_bytes.is_none() {
            self.left = false;
            self.wake_due();
        }
        if self.touched.is_empty() && self.outlets.is_empty() {
            return;
        }
        self.shared.peers.flush();
        let touched: Vec<_> = self.touched.iter().copied().collect();
        touched.into_iter().for_each(|handle| self.write_out(handle));
        self.shared.peers.flush();
        self.outlets.drain(..).for_each(|outlet| outlet.flush());
        let holdings = self.shared.holdings.clone();
        let mut holdings = holdings.lock().unwrap_or_else(PoisonError::into_inner);
        for handle in std::mem::take(&mut self.touched) {
            let Some(slot) = self.slots.get_mut(&handle) else { continue };
            if slot.unwritten.is_some() {
                // It was left: the shard's own thread goes on with it.
                self.touched.insert(handle);
            }
            holdings.update(handle, slot.core.report());
            holdings.update_lease(handle, slot.core.lease());
            let due = slot.core.wakeup();
            if slot.timer != due {
                if let Some(before) = slot.timer {
                    self.timers.remove(&(before, handle));
                }
                slot.timer = due;
                self.timers.extend(due.map(|at| (at, handle)));
            }
            if slot.core.is_forgettable() {
                if slot.core.was_deleted() {
                    self.deleted.add(handle);
                }
                self.slots.remove(&handle);
            }
        }
    }
}
