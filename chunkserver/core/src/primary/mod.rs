//! The primary: it alone says which mutation comes next, and where (§3.1).
//!
//! A mutation gets its serial, and an append its offset, when it is admitted; the orders go out at once and
//! many are in flight. It is committed, and answered, when this replica and every member acknowledged it
//! and all before it (mut-3).

mod admit;
mod commit;
mod equalise;
mod lease;
mod members;
mod space;
mod teach;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use gfs_types::fence::{ChunkVersion, MasterEpoch, SerialNumber};
use gfs_types::ids::{ChunkHandle, ServerUid};
use gfs_types::limits::{LEASE_BRIEF_MS, LEASE_CLOSE_MS};
use gfs_types::message::control::Member;
use gfs_types::message::data::{DataResponse, OrderKind};
use gfs_types::mutants::{Mutant, runs};
use gfs_types::pace::ServerPace;
use gfs_types::time::Instant;
use gfs_types::{DurationMs, Error};

use crate::effect::Effect;
use crate::input::Token;
use crate::replica::carried::Carried;
use crate::replica::{LeaseStatus, Settings};
pub(crate) use admit::paused;
use members::Link;
use teach::School;

/// A lease and everything under way in it.
#[derive(Debug)]
pub(crate) struct Primary {
    pub(crate) version: ChunkVersion,
    pub(crate) epoch: MasterEpoch,
    /// When the lease ends, unless extended.
    pub(crate) until: Instant,
    pub(crate) phase: Phase,
    /// mut-6: there is no other member, and there should be. What is acknowledged now would exist once, so nothing is: this
    /// lease is there to teach, and the raise that takes the learner in is followed by one that serves.
    pub(crate) alone: bool,
    /// The last serial that was given.
    pub(crate) last: SerialNumber,
    /// Length of the chunk once everything in flight is applied, in bytes: the next append goes here.
    pub(crate) end: u64,
    /// `HOST:PORT` of this server's data plane: where others read what they lack.
    source: String,
    /// The other members.
    pub(crate) links: BTreeMap<ServerUid, Link>,
    /// Mutations that are not committed.
    pub(crate) flight: BTreeMap<SerialNumber, Flight>,
    /// Bytes of those.
    pub(crate) flight_bytes: u64,
    /// Syncs that wait for what was admitted before them.
    pub(crate) syncs: Vec<WaitingSync>,
    /// One sync at a time is in flight; those that come meanwhile share the next one.
    sync_in_flight: bool,
    /// When a client last asked for something, or something else was done.
    used: Instant,
    /// How long after that it is given up.
    idle_ms: DurationMs,
    pace: ServerPace,
    /// Who learns what the members hold.
    school: School,
    /// When members that heard of no commit are told (mut-4).
    notice: Option<Instant>,
    /// No waiter's time is out before this.
    deadline: Option<Instant>,
    /// When a member that is short of space was last asked whether it still is.
    asked_for_space: Option<Instant>,
}

/// Whether mutations are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not yet: the members are made equal first.
    Equalising {
        /// Since when.
        since: Instant,
        /// The members were asked; before that the own replica is made an authority.
        asked: bool,
    },
    /// Yes, unless a learner needs a pause.
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

/// What the master granted.
pub(crate) struct Grant {
    pub(crate) version: ChunkVersion,
    /// All of them, this one included.
    pub(crate) members: Vec<Member>,
    pub(crate) until: Instant,
    /// It ends soon when no client uses it.
    pub(crate) brief: bool,
    /// Nothing is acknowledged under it (mut-6).
    pub(crate) alone: bool,
}

/// A mutation that is not committed.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) kind: OrderKind,
    /// Length of the chunk with it, in bytes.
    pub(crate) end: u64,
    /// Each with what it is told then.
    waiters: Vec<(Waiter, Outcome)>,
}

/// What those who wait are told when it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// `Committed`.
    Done,
    /// `Appended` here.
    Appended { offset: u64 },
    /// `ChunkFull`.
    Full,
}

/// A client that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiter {
    pub(crate) token: Token,
    /// When its time is out.
    pub(crate) deadline: Instant,
}

impl Outcome {
    /// The answer when it is committed under this version, and the chunk has this length.
    pub(crate) fn answer(
        self,
        handle: ChunkHandle,
        version: ChunkVersion,
        length: u64,
    ) -> Result<DataResponse, Error> {
        match self {
            Self::Done => Ok(DataResponse::Committed { length, version }),
            Self::Appended { offset } => Ok(DataResponse::Appended { offset, length, version }),
            Self::Full => Err(admit::full(handle)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct WaitingSync {
    waiter: Waiter,
    /// What was admitted before it.
    after: SerialNumber,
}

impl Primary {
    pub(crate) fn new(
        grant: Grant,
        epoch: MasterEpoch,
        settings: Settings,
        length: u64,
        now: Instant,
    ) -> Self {
        let Settings { chunkserver: me, pace, .. } = settings;
        let Grant { version, members, until, brief, alone } = grant;
        let (mine, others): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|member| member.chunkserver == me);
        let link = |member: Member| (member.chunkserver, Link::new(member, now));
        Self {
            version,
            epoch,
            until,
            phase: Phase::Equalising { since: now, asked: false },
            alone: alone && !runs(Mutant::OneAcknowledges),
            last: SerialNumber(0),
            end: length,
            source: mine.into_iter().next().map(|member| member.address).unwrap_or_default(),
            links: others.into_iter().map(link).collect(),
            flight: BTreeMap::new(),
            flight_bytes: 0,
            syncs: Vec::new(),
            sync_in_flight: false,
            used: now,
            idle_ms: if brief { LEASE_BRIEF_MS } else { pace.lease_idle_ms },
            pace,
            school: School::default(),
            notice: None,
            deadline: None,
            asked_for_space: None,
        }
    }

    pub(crate) fn status(&self, me: ServerUid) -> LeaseStatus {
        let mut members: Vec<_> = self.links.keys().copied().chain([me]).collect();
        members.sort_unstable();
        let wanted = self.is_wanted();
        LeaseStatus { version: self.version, until: self.until, members, wanted }
    }

    /// When something is due that no message will bring.
    pub(crate) fn wakeup(&self, committed: SerialNumber) -> Instant {
        let end = match self.phase {
            Phase::Serving if self.is_idle() => self.until.min(self.used + self.idle_ms),
            Phase::Equalising { .. } | Phase::Serving | Phase::Broken => self.until,
            Phase::Closing { since, .. } => since + LEASE_CLOSE_MS,
        };
        let equalising = matches!(self.phase, Phase::Equalising { asked: true, .. });
        let resend = self.links.values().filter_map(|link| match equalising {
            true => link.equal_due(),
            false => link.due(self.last),
        });
        let notice = self.notice.filter(|_| self.links.values().any(|link| link.told < committed));
        let other = notice.into_iter().chain(self.deadline).chain(self.teach_wakeup());
        resend.chain(other).fold(end, Instant::min)
    }

    /// The lease is over without an end in order: what became of the mutations in flight is not known.
    pub(crate) fn stop(mut self, handle: ChunkHandle, why: &str, out: &mut Vec<Effect>) {
        self.dismiss(handle, why, out);
        self.all_unknown(why, out);
    }

    /// Takes out who waits for what is applied here, and for syncs, which bring nothing that could be missing.
    pub(crate) fn take_applied(&mut self, applied: SerialNumber) -> Carried {
        let mut carried = Carried::default();
        for (serial, flight) in &mut self.flight {
            match flight.kind {
                OrderKind::Sync => {
                    carried.syncs.extend(flight.waiters.drain(..).map(|(waiter, _)| waiter));
                }
                _ if *serial > applied => {}
                _ => carried.mutations.append(&mut flight.waiters),
            }
        }
        carried.syncs.extend(self.syncs.drain(..).map(|sync| sync.waiter));
        carried
    }

    /// Whether nobody uses the lease, and nobody learns.
    fn is_idle(&self) -> bool {
        self.flight.is_empty() && self.syncs.is_empty() && self.school_is_empty()
    }

    /// Whether it should be extended: not when nothing can be done with it any more.
    pub(crate) fn is_wanted(&self) -> bool {
        let open = matches!(self.phase, Phase::Equalising { .. } | Phase::Serving);
        open && !self.is_sealed()
    }

    /// Tells everybody who waits that the outcome is unknown.
    fn all_unknown(&mut self, why: &str, out: &mut Vec<Effect>) {
        let flights = self.flight.values_mut().flat_map(|flight| flight.waiters.drain(..));
        let flights = flights.map(|(waiter, _)| waiter);
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
