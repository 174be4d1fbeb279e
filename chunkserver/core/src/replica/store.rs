//! What follows when something is durable.

use gfs_types::Error;
use gfs_types::fence::{ChunkVersion, SerialNumber};
use gfs_types::marks::{Mark, hit};
use gfs_types::message::control::{FromChunkserver, RaisedReplica, ReplicaState};
use gfs_types::time::Instant;

use super::state::{Condition, Event};
use super::{Pending, Replica, Role};
use crate::effect::Effect;
use crate::input::Ticket;

impl Replica {
    pub(super) fn store_done(
        &mut self,
        now: Instant,
        ticket: Ticket,
        result: Result<u32, Error>,
        out: &mut Vec<Effect>,
    ) {
        let Some(pending) = self.pending.remove(&ticket) else { return };
        match pending {
            Pending::Create { version } => self.created(now, version, result.map(drop), out),
            Pending::Raise { version, was } => self.version_stored(now, version, was, result, out),
            Pending::Sync { version, serial } => {
                self.flush_done(now, version, serial, result.map(drop), out);
            }
            Pending::End { version, serial } => {
                self.lease_end_done(now, version, serial, result.map(drop), out);
            }
            Pending::Equalised { job, copied, part } => {
                self.equalised(job, copied, part, result, out);
            }
            Pending::Authority { version } => {
                self.authority_stored(now, version, result.map(drop), out);
            }
            Pending::Corrupt => {}
            Pending::Delete { version } => self.deleted(version, result.map(drop), out),
        }
    }

    fn created(
        &mut self,
        now: Instant,
        version: ChunkVersion,
        result: Result<(), Error>,
        out: &mut Vec<Effect>,
    ) {
        if result.is_ok() {
            self.become_after(Event::Created);
            self.stored = version;
            self.readable = true;
            self.role = Role::Ready;
        } else {
            self.become_after(Event::CreateFailed);
            self.promised = ChunkVersion(0);
            out.push(Effect::Gone);
        }
        self.answer_created(now, version, result, out);
    }

    fn version_stored(
        &mut self,
        now: Instant,
        version: ChunkVersion,
        was: ReplicaState,
        result: Result<u32, Error>,
        out: &mut Vec<Effect>,
    ) {
        let digest = match result {
            Ok(digest) => digest,
            Err(error) => return self.answer_raised(now, version, Err(error), out),
        };
        if self.condition.reported().is_none() {
            return; // Deleted while the version was being stored.
        }
        self.stored = version;
        self.become_after(Event::Raised);
        if version != self.promised {
            hit(Mark::VersionOvertaken);
            let promised = self.promised;
            let text = format!("chunk {}: version {promised} was accepted since", self.handle);
            return self.answer_raised(now, version, Err(Error::stale(text)), out);
        }
        let raised = RaisedReplica { length: self.length, digest, state: was };
        self.raised = Some(raised);
        self.role = Role::Ready;
        self.answer_raised(now, version, Ok(raised), out);
    }

    /// A sync is on this disk.
    fn flush_done(
        &mut self,
        now: Instant,
        version: ChunkVersion,
        serial: SerialNumber,
        result: Result<(), Error>,
        out: &mut Vec<Effect>,
    ) {
        if let Err(error) = result {
            return self.flush_failed(version, &error.message, out);
        }
        if version == self.promised {
            self.sequence.flushed(serial);
            self.acknowledge(now, out);
        }
    }

    /// What was ordered to be on disk is not, and never will be acknowledged under this version.
    pub(crate) fn flush_failed(&mut self, version: ChunkVersion, why: &str, out: &mut Vec<Effect>) {
        match version == self.promised {
            true => self.broken(why, out),
            false => self.damaged(why, out),
        }
    }

    /// The last order of a lease is on this disk: the replica is clean.
    fn lease_end_done(
        &mut self,
        now: Instant,
        version: ChunkVersion,
        serial: SerialNumber,
        result: Result<(), Error>,
        out: &mut Vec<Effect>,
    ) {
        if let Err(error) = result {
            return self.flush_failed(version, &error.message, out);
        }
        if version != self.promised {
            return; // A raise came since, and made it unclean again on disk after this.
        }
        if self.condition == Condition::Unclean {
            self.become_after(Event::Ended);
        }
        self.sequence.flushed(serial);
        self.acknowledge(now, out);
    }

    fn deleted(&mut self, version: ChunkVersion, result: Result<(), Error>, out: &mut Vec<Effect>) {
        let handle = self.handle;
        if result.is_ok() {
            hit(Mark::ReplicaDeleted);
            self.become_after(Event::Deleted);
            self.deleted = true;
            self.stored = ChunkVersion(0);
            self.promised = ChunkVersion(0);
            self.length = 0;
            self.committed = super::Progress::default();
            self.overwritten = false;
            self.raised = None;
            out.push(Effect::Gone);
        } else {
            self.become_after(Event::DeleteFailed);
        }
        out.push(Effect::ToMaster(FromChunkserver::ReplicaDeleted { handle, version, result }));
    }
}
