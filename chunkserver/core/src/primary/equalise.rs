//! The members are made equal to the primary before the first mutation of its lease (equal-1).

use gfs_types::limits::{EQUALISE_MS, MEMBER_SILENT_MS, ORDER_RESEND_MS};
use gfs_types::marks::{Mark, hit};
use gfs_types::message::control::LeaseStart;
use gfs_types::message::data::{DataResponse, Equalise, Target};
use gfs_types::mutants::{Mutant, runs};
use gfs_types::time::Instant;
use gfs_types::{Error, ErrorKind};

use super::{Phase, Primary};
use crate::effect::{Effect, Message, MessageBody, StoreOp};
use crate::input::{Peer, ReadOut, Token};
use crate::replica::state::Condition;
use crate::replica::{Pending, Replica, Role};

/// Names the one pass of every member. Nothing changes here before all are equal, so one is enough for all of them.
pub(super) const MEMBERS_PASS: u64 = 1;

impl Primary {
    /// Whether others may be reading this replica to become equal to it.
    pub(crate) fn is_copied(&self) -> bool {
        matches!(self.phase, Phase::Equalising { .. }) || self.teaches()
    }

    /// Asks members for which an answer is overdue.
    fn ask_members(&mut self, target: Target, now: Instant, all: bool, out: &mut Vec<Effect>) {
        let equalise = Equalise { source: self.source.clone(), last: true };
        let ask = |at: Option<Instant>| all || at.is_some_and(|at| at <= now);
        for link in self.links.values_mut().filter(|link| ask(link.equal_due())) {
            link.sent = now;
            let body = MessageBody::Equalise { pass: MEMBERS_PASS, equalise: equalise.clone() };
            out.push(Effect::Send(Message { to: link.member.clone(), target, body }));
        }
    }
}

impl Replica {
    /// What a lease begins with.
    pub(crate) fn start(&mut self, now: Instant, start: LeaseStart, out: &mut Vec<Effect>) {
        match start {
            LeaseStart::Equal => self.begin_serving(now, out),
            LeaseStart::Unequal if runs(Mutant::NoEqualising) => self.begin_serving(now, out),
            // Its bytes are the ones that count from now on: that is on disk before anybody gets them (equal-2).
            LeaseStart::AllSuspect if self.condition == Condition::Suspect => {
                let (version, length) = (self.stored, self.length);
                self.store(StoreOp::Equalised { length }, Pending::Authority { version }, out);
            }
            LeaseStart::Unequal | LeaseStart::AllSuspect => self.equalise_members(now, out),
        }
    }

    /// The suspicion of an authority is over, on disk.
    pub(crate) fn authority_stored(
        &mut self,
        now: Instant,
        version: gfs_types::fence::ChunkVersion,
        result: Result<(), Error>,
        out: &mut Vec<Effect>,
    ) {
        if let Err(error) = result {
            return self.flush_failed(version, &error.message, out);
        }
        if self.condition.reported().is_none() {
            return;
        }
        hit(Mark::SuspectBecameAuthority);
        self.no_longer_suspect();
        if matches!(&self.role, Role::Primary(primary) if primary.version == version) {
            self.equalise_members(now, out);
        }
    }

    fn equalise_members(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let handle = self.handle;
        let Role::Primary(primary) = &mut self.role else { return };
        primary.phase = Phase::Equalising { since: now, asked: true };
        for link in primary.links.values_mut() {
            link.heard = now;
        }
        primary.ask_members(primary.target(handle), now, true, out);
        self.serve_if_equal(now, out);
    }

    fn serve_if_equal(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let (handle, length) = (self.handle, self.length);
        let Role::Primary(primary) = &mut self.role else { return };
        let asked = matches!(primary.phase, Phase::Equalising { asked: true, .. });
        if !asked || !primary.links.values().all(|link| link.equal) {
            return;
        }
        // Now they may show what they have, and need not wait for an order to know it.
        let target = primary.target(handle);
        let to = primary.links.values().map(|link| link.member.clone()).collect::<Vec<_>>();
        self.begin_serving(now, out);
        for to in to {
            let serial = gfs_types::fence::SerialNumber(0);
            let body = MessageBody::Committed { serial, length };
            out.push(Effect::Send(Message { to, target, body }));
        }
    }

    /// All members are equal: mutations are taken. Those of the last lease first, which are on all of them now (mut-3); not where
    /// all of them are this one (mut-6): who waits for those goes on waiting, across the next raise too.
    fn begin_serving(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.equal_at_start();
        let Role::Primary(primary) = &mut self.role else { return };
        primary.phase = Phase::Serving;
        primary.used = now;
        let alone = primary.alone;
        self.publish(out); // Before anybody is told.
        if !alone {
            self.answer_carried(now, out);
        }
        self.take_held(now, out);
        self.teach_next(now, out);
    }

    /// The answer to `Equalise`: of a member, or of the learner.
    pub(super) fn pass_answered(
        &mut self,
        now: Instant,
        pass: u64,
        who: Peer,
        result: Result<DataResponse, Error>,
        out: &mut Vec<Effect>,
    ) {
        let Role::Primary(primary) = &mut self.role else { return };
        if primary.learns(who) {
            return self.learner_answered(now, pass, result, out);
        }
        let Some(link) = primary.links.get_mut(&who.chunkserver) else { return };
        let equalising = matches!(primary.phase, Phase::Equalising { .. });
        if link.run() != who || !equalising || pass != MEMBERS_PASS {
            return;
        }
        match result.map_err(|error| (error.kind, error.message)) {
            Ok(_) => {
                link.hear(now);
                link.equal = true;
                self.serve_if_equal(now, out);
            }
            Err((ErrorKind::Busy | ErrorKind::NeedData, _)) => link.hear(now),
            Err((ErrorKind::Unknown, _)) => {}
            Err((_, why)) => self.member_refused(who.chunkserver, why, out),
        }
    }

    /// Asks again where an answer is overdue; a member that stays silent, or is never done, is named to the master.
    pub(super) fn press_equalising(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let handle = self.handle;
        let Role::Primary(primary) = &mut self.role else { return };
        let Phase::Equalising { since, asked: true } = primary.phase else { return };
        let late = now.ms_since(since) >= EQUALISE_MS;
        let mut failed = Vec::new();
        let overdue = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        for link in primary.links.values_mut().filter(|link| overdue(link.equal_due())) {
            let told = link.reported.is_some_and(|at| now.ms_since(at) < MEMBER_SILENT_MS);
            let silent_ms = now.ms_since(link.heard);
            if late && !told {
                link.reported = Some(now);
                failed.push((link.run(), format!("not equal after {EQUALISE_MS}")));
            } else if link.is_lost(now) {
                failed.push((link.run(), format!("no answer for {silent_ms}")));
            }
        }
        primary.ask_members(primary.target(handle), now, false, out);
        let version = primary.version;
        for (member, why) in failed {
            self.tell_failed(version, member, &why, out);
        }
    }

    /// Whoever is being made equal reads what is applied here.
    pub(crate) fn read_out(
        &mut self,
        token: Token,
        target: &Target,
        from: Peer,
        what: ReadOut,
        out: &mut Vec<Effect>,
    ) {
        let stale = self.not_primary();
        let result = match &mut self.role {
            Role::Primary(primary) if primary.version == target.version => {
                let member = primary.links.get(&from.chunkserver).map(super::Link::run);
                primary.compared(from, what);
                if member == Some(from) || primary.learns(from) { Ok(()) } else { Err(stale) }
            }
            _ => Err(stale),
        };
        out.push(match result {
            Ok(()) => Effect::ReadOut { token, what },
            Err(error) => Effect::Reply { token, result: Err(error) },
        });
    }
}

/// When a request that got no answer is sent again.
pub(super) fn again(sent: Instant, heard: Instant) -> Instant {
    sent.max(heard) + ORDER_RESEND_MS
}
