//! The primary: it alone says which mutation comes next, and where (§3.1).
//!
//! A mutation gets its serial, and an append its offset, when it is admitted; the orders go out at once and
//! many are in flight. It is committed, and answered, when this replica and every member acknowledged it
//! and all before it (mut-3).

mod admit;
mod commit;
mod lease;
mod members;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use gfs_types::Error;
use gfs_types::fence::{ChunkVersion, MasterEpoch, SerialNumber};
use gfs_types::ids::ServerUid;
use gfs_types::limits::{LEASE_CLOSE_MS, LEASE_IDLE_MS};
use gfs_types::message::control::Member;
use gfs_types::message::data::OrderKind;
use gfs_types::time::Instant;

use crate::effect::Effect;
use crate::input::Token;
use crate::replica::LeaseStatus;
use members::Link;

/// A lease and everything under way in it.
#[derive(Debug)]
pub(crate) struct Primary {
    pub(crate) version: ChunkVersion,
    pub(crate) epoch: MasterEpoch,
    /// When the lease ends, unless extended.
    pub(crate) until: Instant,
    pub(crate) phase: Phase,
    /// The last serial that was given.
    pub(crate) last: SerialNumber,
    /// Length of the chunk once everything in flight is applied, in bytes: the next append goes here.
    pub(crate) end: u64,
    /// The other members.
    pub(crate) links: BTreeMap<ServerUid, Link>,
    /// Mutations that are not committed.
    pub(crate) flight: BTreeMap<SerialNumber, Flight>,
    /// Bytes of those.
    pub(crate) flight_bytes: u64,
    /// Syncs that wait for what was admitted before them.
    syncs: Vec<WaitingSync>,
    /// One sync at a time is in flight; those that come meanwhile share the next one.
    sync_in_flight: bool,
    /// When a client last asked for something.
    used: Instant,
    /// When members that heard of no commit are told (mut-4).
    notice: Option<Instant>,
    /// No waiter's time is out before this.
    deadline: Option<Instant>,
}

/// Whether mutations are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Yes.
    Serving,
    /// No: the lease ends in order when all in flight is committed.
    Closing {
        /// Since when.
        since: Instant,
        /// The last order is out.
        ended: bool,
    },
    /// No: a member refused for good, nothing can be committed under this version any more.
    Broken,
}

/// A mutation that is not committed.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) kind: OrderKind,
    /// Length of the chunk with it, in bytes.
    pub(crate) end: u64,
    outcome: Outcome,
    waiters: Vec<Waiter>,
}

/// What those who wait are told when it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// `Committed`.
    Done,
    /// `Appended` here.
    Appended { offset: u64 },
    /// `ChunkFull`.
    Full,
}

/// A client that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiter {
    token: Token,
    /// When its time is out.
    deadline: Instant,
}

#[derive(Debug)]
struct WaitingSync {
    waiter: Waiter,
    /// What was admitted before it.
    after: SerialNumber,
}

impl Primary {
    pub(crate) fn new(
        version: ChunkVersion,
        epoch: MasterEpoch,
        others: impl Iterator<Item = Member>,
        until: Instant,
        length: u64,
        now: Instant,
    ) -> Self {
        Self {
            version,
            epoch,
            until,
            phase: Phase::Serving,
            last: SerialNumber(0),
            end: length,
            links: others.map(|member| (member.chunkserver, Link::new(member, now))).collect(),
            flight: BTreeMap::new(),
            flight_bytes: 0,
            syncs: Vec::new(),
            sync_in_flight: false,
            used: now,
            notice: None,
            deadline: None,
        }
    }

    pub(crate) fn status(&self, me: ServerUid) -> LeaseStatus {
        let mut members: Vec<_> = self.links.keys().copied().chain([me]).collect();
        members.sort_unstable();
        let wanted = self.phase == Phase::Serving;
        LeaseStatus { version: self.version, until: self.until, members, wanted }
    }

    /// When something is due that no message will bring.
    pub(crate) fn wakeup(&self, committed: SerialNumber) -> Instant {
        let idle = self.flight.is_empty() && self.syncs.is_empty();
        let end = match self.phase {
            Phase::Serving if idle => self.until.min(self.used + LEASE_IDLE_MS),
            Phase::Serving | Phase::Broken => self.until,
            Phase::Closing { since, .. } => since + LEASE_CLOSE_MS,
        };
        let resend = self.links.values().filter_map(|link| link.due(self.last));
        let notice = self.notice.filter(|_| self.links.values().any(|link| link.told < committed));
        resend.chain(notice).chain(self.deadline).fold(end, Instant::min)
    }

    /// The lease is over without an end in order: what became of the mutations in flight is not known.
    pub(crate) fn stop(mut self, why: &str, out: &mut Vec<Effect>) {
        self.all_unknown(why, out);
    }

    /// Tells everybody who waits that the outcome is unknown.
    fn all_unknown(&mut self, why: &str, out: &mut Vec<Effect>) {
        let flights = self.flight.values_mut().flat_map(|flight| flight.waiters.drain(..));
        let syncs = self.syncs.drain(..).map(|sync| sync.waiter);
        for waiter in flights.chain(syncs) {
            let result = Err(Error::unknown(why));
            out.push(Effect::Reply { token: waiter.token, result });
        }
        self.deadline = None;
    }

    /// How many clients wait.
    fn waiting(&self) -> usize {
        self.flight.len() + self.syncs.len()
    }
}
