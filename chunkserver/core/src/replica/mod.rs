//! One replica of one chunk: what it is, which version it follows, and which part it plays.
//!
//! [`Replica::step`] only says who answers for which input; the decisions stand in the modules.

pub(crate) mod carried;
mod commands;
pub(crate) mod equalise;
mod held;
mod local;
mod recovered;
mod requests;
pub mod state;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;

use gfs_types::DurationMs;
use gfs_types::fence::{ChunkVersion, MasterEpoch, SerialNumber};
use gfs_types::ids::{ChunkHandle, ProcessSession, ServerUid};
use gfs_types::message::control::{Member, RaisedReplica, ReplicaReport, ReplicaState};
use gfs_types::mutants::{Mutant, runs};
use gfs_types::pace::ServerPace;
use gfs_types::region::ChunkSize;
use gfs_types::time::Instant;

use crate::effect::{Effect, StoreOp};
use crate::input::{Copied, Input, Job, Ticket};
use crate::invariants;
use crate::primary::{Grant, Primary};
use crate::secondary::Secondary;
use crate::sequence::Sequence;
use crate::view::{self, View};
pub use recovered::Recovered;
use state::{Condition, Event};

/// What a replica must know of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Its own id.
    pub chunkserver: ServerUid,
    /// This run of it.
    pub session: ProcessSession,
    /// The cluster's chunk size.
    pub chunk_size: ChunkSize,
    /// How it works.
    pub pace: ServerPace,
}

/// A lease that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseStatus {
    /// The version it was granted for.
    pub version: ChunkVersion,
    /// When it ends, unless extended.
    pub until: Instant,
    /// All members, this server included.
    pub members: Vec<ServerUid>,
    /// Whether it should be extended.
    pub wanted: bool,
}

/// What the replica does under the version it follows. A version is followed only in the session in which
/// it was stored: after a restart the replica takes no orders until the next raise (equal-3).
#[derive(Debug)]
pub(crate) enum Role {
    /// Nothing is followed.
    Idle,
    /// The version is stored; a lease or a first order will come.
    Ready,
    /// It is made equal to a primary, or was and waits for the raise that takes it in.
    Pupil(equalise::Pupil),
    /// It obeys a primary.
    Secondary(Secondary),
    /// It decides the order.
    Primary(Box<Primary>),
}

/// What is known to be committed of the version that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    /// Every mutation up to this one.
    pub(crate) serial: SerialNumber,
    /// The length with them, in bytes.
    pub(crate) length: u64,
}

/// What a store operation under way is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pending {
    Create { version: ChunkVersion },
    Raise { version: ChunkVersion, was: ReplicaState },
    Sync { version: ChunkVersion, serial: SerialNumber },
    End { version: ChunkVersion, serial: SerialNumber },
    Equalised { job: Job, copied: Copied, part: equalise::Part },
    Authority { version: ChunkVersion },
    Corrupt,
    Delete { version: ChunkVersion },
}

impl Pending {
    /// Whether the disk will call the replica good.
    fn clears(&self) -> bool {
        matches!(self, Self::Equalised { .. } | Self::Authority { .. })
    }
}

/// One replica. Not there (`Absent`) is a state like any other.
#[derive(Debug)]
pub struct Replica {
    pub(crate) handle: ChunkHandle,
    pub(crate) settings: Settings,
    pub(crate) condition: Condition,
    /// There was one, and it was deleted: none is made again.
    pub(crate) deleted: bool,
    /// The version on disk.
    pub(crate) stored: ChunkVersion,
    /// The highest version it ever accepted: lower ones are refused from then on, on disk or not yet (raise-2).
    pub(crate) promised: ChunkVersion,
    /// Of the master that gave it the version.
    pub(crate) epoch: MasterEpoch,
    /// Applied length, in bytes.
    pub(crate) length: u64,
    pub(crate) overwritten: bool,
    pub(crate) role: Role,
    pub(crate) sequence: Sequence,
    pub(crate) committed: Progress,
    /// Overwrites that are applied, or about to be, and not known to be committed.
    pub(crate) overwrites: BTreeMap<SerialNumber, Range<u64>>,
    /// Whether anything is shown to readers (mut-4).
    pub(crate) readable: bool,
    pub(crate) published: View,
    /// When the last answer to `Create` or `Raise` was sent: leases run from then (raise-7).
    pub(crate) answered: Instant,
    /// What that answer to `Raise` was, to give it again.
    pub(crate) raised: Option<RaisedReplica>,
    /// The last version granted to this session: a version is granted once.
    pub(crate) granted: ChunkVersion,
    /// Mutations that came before the grant.
    pub(crate) held: Vec<held::Held>,
    /// Who waits for mutations of a lease that a raise ended.
    pub(crate) carried: carried::Carried,
    /// It was said that this disk is short of space: what is in flight fits, more may not.
    pub(crate) short_of_space: bool,
    /// When a local write that found no space is tried again.
    pub(crate) retry: Option<Instant>,
    /// What the last one said that found none.
    pub(crate) no_space: Option<String>,
    pub(crate) pending: BTreeMap<Ticket, Pending>,
    pub(crate) tickets: u64,
    pub(crate) jobs: u64,
}

/// A local write that found no space is tried again after this time.
pub(crate) const RETRY_MS: DurationMs = DurationMs(50);

impl Replica {
    /// A chunk of which this server has no replica.
    #[must_use]
    pub fn absent(handle: ChunkHandle, settings: Settings) -> Self {
        Self {
            handle,
            settings,
            condition: Condition::Absent,
            deleted: false,
            stored: ChunkVersion(0),
            promised: ChunkVersion(0),
            epoch: MasterEpoch(0),
            length: 0,
            overwritten: false,
            role: Role::Idle,
            sequence: Sequence::default(),
            committed: Progress::default(),
            overwrites: BTreeMap::new(),
            readable: false,
            published: View::default(),
            answered: Instant::default(),
            raised: None,
            granted: ChunkVersion(0),
            held: Vec::new(),
            carried: carried::Carried::default(),
            short_of_space: false,
            retry: None,
            no_space: None,
            pending: BTreeMap::new(),
            tickets: 0,
            jobs: 0,
        }
    }

    /// A chunk whose replica this run deleted.
    #[must_use]
    pub fn deleted_before(handle: ChunkHandle, settings: Settings) -> Self {
        Self { deleted: true, ..Self::absent(handle, settings) }
    }

    /// Takes one input. Effects are to be carried out in order.
    ///
    /// # Panics
    /// When an invariant is broken: going on could lose what was acknowledged.
    pub fn step(&mut self, now: Instant, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Create { version, epoch, chunk_size } => {
                self.create(now, version, epoch, chunk_size, out);
            }
            Input::Raise { version, from, epoch } => self.raise(now, version, from, epoch, out),
            Input::Grant { version, members, lease_ms, start, brief, alone } => {
                let begins = if runs(Mutant::LeaseFromReceipt) { now } else { self.answered };
                let until = begins + lease_ms;
                self.grant(now, Grant { version, members, until, brief, alone }, start, out);
            }
            Input::Teach { version, learner } => self.teach(now, version, learner, out),
            Input::Equalise { token, target, from, equalise } => {
                self.equalise(token, &target, from, equalise, out);
            }
            Input::ReadOut { token, target, from, what } => {
                self.read_out(token, &target, from, what, out);
            }
            Input::Piece { token, job, offset, length } => {
                self.piece(token, job, offset, length, out);
            }
            Input::Copied { job, result } => self.copied(job, result, out),
            Input::Revoke { version } => self.revoke(now, version, out),
            Input::Delete { version } => self.delete(version, out),
            Input::Extended { version, until } => self.extend(version, until),
            Input::Mutate { token, target, mutation } => {
                self.mutate(now, token, &target, mutation, out);
            }
            Input::Inspect { token, target } => self.inspect(now, token, &target, out),
            Input::Order { token, target, from, order, has_data } => {
                self.order(token, &target, from, order, has_data, out);
            }
            Input::Committed { token, target, from, serial, length } => {
                self.learn_committed(token, &target, from, serial, length, out);
            }
            Input::MemberAnswered(answer) => self.member_answered(now, answer, out),
            Input::Applied { version, serial, result, short_of_space } => {
                self.short_of_space = short_of_space;
                self.applied(now, version, serial, result, out);
            }
            Input::Space { short } => self.short_of_space = short,
            Input::StoreDone { ticket, result } => self.store_done(now, ticket, result, out),
            Input::BlockMismatch => self.block_mismatch(out),
            Input::Tick => self.tick(now, out),
            Input::Shutdown => self.shutdown(now, out),
        }
        self.publish(out);
        invariants::assert(self);
    }

    /// When [`Input::Tick`] is due; `None` while nothing waits for time to pass.
    #[must_use]
    pub fn wakeup(&self) -> Option<Instant> {
        let role = match &self.role {
            Role::Primary(primary) => Some(primary.wakeup(self.committed.serial)),
            Role::Idle | Role::Ready | Role::Pupil(_) | Role::Secondary(_) => None,
        };
        let waiting = self.held_until().into_iter().chain(self.carried_until());
        role.into_iter().chain(self.retry).chain(waiting).min()
    }

    /// What the master should know of it; `None` while there is nothing.
    #[must_use]
    pub fn report(&self) -> Option<ReplicaReport> {
        let state = self.condition.reported()?;
        let (handle, version, length) = (self.handle, self.stored, self.committed.length);
        Some(ReplicaReport { handle, version, length, state })
    }

    /// The lease it holds, if any.
    #[must_use]
    pub fn lease(&self) -> Option<LeaseStatus> {
        match &self.role {
            Role::Primary(primary) => Some(primary.status(self.settings.chunkserver)),
            Role::Idle | Role::Ready | Role::Pupil(_) | Role::Secondary(_) => None,
        }
    }

    /// Whether mutations that need more room should wait: its own disk, or that of a member, is short of space.
    #[must_use]
    pub fn is_short_of_space(&self) -> bool {
        let member = match &self.role {
            Role::Primary(primary) => primary.links.values().any(|link| link.short_of_space),
            _ => false,
        };
        self.short_of_space || member
    }

    /// What it is.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// What readers see now.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.published
    }

    /// Whether nothing is left to do for it: no replica, nothing under way.
    #[must_use]
    pub fn is_forgettable(&self) -> bool {
        self.condition == Condition::Absent && self.pending.is_empty()
    }

    /// Whether it was told to delete its replica: to be remembered when it is forgotten.
    #[must_use]
    pub fn was_deleted(&self) -> bool {
        self.deleted
    }

    /// Moves along the table of [`state`]. What the table does not have is no transition.
    pub(crate) fn become_after(&mut self, event: Event) {
        let after = self.condition.after(event);
        self.condition = after.unwrap_or_else(|| {
            panic!("chunk {}: a replica that is {:?} met {event:?}", self.handle, self.condition)
        });
    }

    /// Asks the store for something durable.
    pub(crate) fn store(&mut self, op: StoreOp, pending: Pending, out: &mut Vec<Effect>) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.pending.insert(ticket, pending);
        out.push(Effect::Store { ticket, op });
    }

    /// Publishes what readers may see, if it changed. Comes before the write it must hide and before the
    /// reply that lets a client expect it.
    pub(crate) fn publish(&mut self, out: &mut Vec<Effect>) {
        let visible = self.condition.reported().is_some();
        let view = View {
            version: self.stored,
            epoch: self.epoch,
            readable: self.readable && visible,
            committed_length: match runs(Mutant::UncommittedIsShown) {
                true => self.length,
                false => self.committed.length,
            },
            hidden: view::hidden(self.overwrites.values(), self.committed.length),
        };
        if view != self.published {
            self.published = view.clone();
            out.push(Effect::Publish(view));
        }
    }

    /// All members were found equal under the version that is followed, and a lease runs: what is here is
    /// what is committed (mut-4).
    pub(crate) fn equal_at_start(&mut self) {
        self.committed = Progress { serial: SerialNumber(0), length: self.length };
        self.overwrites.clear();
        self.readable = true;
    }

    /// So much is committed. Never goes back.
    pub(crate) fn commit(&mut self, serial: SerialNumber, length: u64) {
        if serial > self.committed.serial {
            self.committed = Progress { serial, length };
            self.overwrites = self.overwrites.split_off(&serial.next());
        }
    }

    /// Itself as the master names members.
    pub(crate) fn is_me(&self, member: &Member) -> bool {
        member.chunkserver == self.settings.chunkserver && member.session == self.settings.session
    }
}
