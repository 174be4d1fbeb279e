//! The other members: what they were sent, what they acknowledged, and what is done about silence.

use std::collections::BTreeSet;

use gfs_types::fence::SerialNumber;
use gfs_types::ids::{ChunkHandle, ServerUid};
use gfs_types::limits::MEMBER_SILENT_MS;
use gfs_types::marks::{Mark, hit};
use gfs_types::message::control::Member;
use gfs_types::message::data::{DataResponse, DataSource, OrderKind, Target};
use gfs_types::time::Instant;
use gfs_types::{Error, ErrorKind};

use super::admit::order_of;
use super::equalise::again;
use super::{Phase, Primary};
use crate::effect::{Effect, Message, MessageBody};
use crate::input::{MemberAnswer, Peer, Said};
use crate::replica::{Progress, Replica, Role};

/// One other member.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(super) member: Member,
    /// It was made equal at the start of the lease.
    pub(super) equal: bool,
    /// Its disk is short of space: what is in flight fits, more may not.
    pub(crate) short_of_space: bool,
    /// It applied everything up to here.
    pub(crate) acknowledged: SerialNumber,
    /// The committed serial that it was told last.
    pub(crate) told: SerialNumber,
    /// Orders up to here were sent to it. It falls back to what is acknowledged when an answer is overdue: from
    /// there the member catches up, a few orders at a time.
    sent_through: SerialNumber,
    /// When it last gave a sign of life, or was last asked to after having nothing to do.
    pub(super) heard: Instant,
    /// When orders were last sent to it.
    pub(super) sent: Instant,
    /// Orders that were sent with the bytes it said it lacked, since an answer was last overdue.
    fed: BTreeSet<SerialNumber>,
    /// When the master was told last that it is silent.
    pub(super) reported: Option<Instant>,
    /// What it said last that keeps it from acknowledging.
    pub(super) busy: Option<Error>,
    /// It refused for good, and why.
    pub(crate) refused: Option<String>,
}

impl Link {
    pub(crate) fn new(member: Member, now: Instant) -> Self {
        Self {
            member,
            equal: false,
            short_of_space: false,
            acknowledged: SerialNumber(0),
            told: SerialNumber(0),
            sent_through: SerialNumber(0),
            heard: now,
            sent: now,
            fed: BTreeSet::new(),
            reported: None,
            busy: None,
            refused: None,
        }
    }

    /// When its oldest order should be sent again.
    pub(crate) fn due(&self, last: SerialNumber) -> Option<Instant> {
        (self.acknowledged < last && self.refused.is_none()).then(|| again(self.sent, self.heard))
    }

    /// What it waits for: it is busy and said when it makes sense to ask again. Without that an order is just being carried out.
    pub(super) fn waits_for(&self) -> Option<&Error> {
        self.busy.as_ref().filter(|busy| busy.retry_after_ms > 0)
    }

    /// When it should be asked again to become equal.
    pub(super) fn equal_due(&self) -> Option<Instant> {
        (!self.equal && self.refused.is_none()).then(|| again(self.sent, self.heard))
    }

    /// Which run of which server it is.
    pub(super) fn run(&self) -> Peer {
        Peer { chunkserver: self.member.chunkserver, session: self.member.session }
    }

    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.reported = None;
    }

    /// Whether the master is to be told that it is silent. Now and then again: the master that was told may have died.
    pub(super) fn is_lost(&mut self, now: Instant) -> bool {
        let since = self.reported.map_or(self.heard, |at| at.max(self.heard));
        let lost = now.ms_since(since) >= MEMBER_SILENT_MS;
        if lost {
            self.reported = Some(now);
        }
        lost
    }
}

impl Primary {
    /// Sends a new order to every member that keeps up; the others get it when they have caught up.
    pub(super) fn send_to_all(
        &mut self,
        handle: ChunkHandle,
        serial: SerialNumber,
        committed: Progress,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let mut keeping_up = Vec::new();
        for (uid, link) in &mut self.links {
            if link.refused.is_some() || link.sent_through.next() != serial {
                continue;
            }
            // Nothing was outstanding: silence counts from now.
            if link.acknowledged.next() == serial {
                link.heard = now;
            }
            link.sent_through = serial;
            keeping_up.push(*uid);
        }
        for uid in keeping_up {
            self.send(handle, uid, serial, false, committed, now, out);
        }
    }

    /// Sends one order; its bytes go along if they came inline, or if the member lacks them.
    #[expect(clippy::too_many_arguments, reason = "the parts of one message")]
    fn send(
        &mut self,
        handle: ChunkHandle,
        to: ServerUid,
        serial: SerialNumber,
        lacks_data: bool,
        committed: Progress,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let target = self.target(handle);
        let Some(kind) = self.flight.get(&serial).map(|flight| flight.kind) else { return };
        let Some(link) = self.links.get_mut(&to) else { return };
        link.sent = now;
        link.told = committed.serial;
        let order = order_of(serial, kind, committed);
        let inline = matches!(kind, OrderKind::Write { source: DataSource::Inline, .. });
        let body = MessageBody::Order { order, with_data: inline || lacks_data };
        out.push(Effect::Send(Message { to: link.member.clone(), target, body }));
    }

    pub(super) fn target(&self, handle: ChunkHandle) -> Target {
        let left_ms = u32::try_from(MEMBER_SILENT_MS.0).unwrap_or(u32::MAX);
        Target { handle, version: self.version, epoch: self.epoch, left_ms }
    }

    /// Sends what a member that fell behind was not sent yet, or not since: a bounded number ahead of what
    /// it acknowledged.
    fn catch_up(
        &mut self,
        handle: ChunkHandle,
        to: ServerUid,
        committed: Progress,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let Some(link) = self.links.get_mut(&to) else { return };
        if link.refused.is_some() || link.sent_through >= self.last {
            return;
        }
        link.sent_through = link.sent_through.max(link.acknowledged);
        let from = link.sent_through.next();
        let through =
            SerialNumber(link.acknowledged.0 + self.pace.orders_resent_max as u64).min(self.last);
        if from > through {
            return;
        }
        link.sent_through = through;
        let serials: Vec<_> =
            self.flight.range(from..=through).map(|(serial, _)| *serial).collect();
        for serial in serials {
            self.send(handle, to, serial, false, committed, now, out);
        }
    }

    /// Tells members that no order told in the meantime what is committed (mut-4).
    pub(super) fn notify(
        &mut self,
        handle: ChunkHandle,
        now: Instant,
        committed: Progress,
        out: &mut Vec<Effect>,
    ) {
        if self.notice.is_none_or(|at| at > now) {
            return;
        }
        self.notice = None;
        let target = self.target(handle);
        let behind = |link: &&mut Link| link.told < committed.serial && link.refused.is_none();
        for link in self.links.values_mut().filter(behind) {
            link.told = committed.serial;
            let body =
                MessageBody::Committed { serial: committed.serial, length: committed.length };
            out.push(Effect::Send(Message { to: link.member.clone(), target, body }));
        }
    }
}

impl Replica {
    /// A member acknowledged, lacks the bytes, is busy, cannot be reached, or refused for good.
    pub(crate) fn member_answered(
        &mut self,
        now: Instant,
        answer: MemberAnswer,
        out: &mut Vec<Effect>,
    ) {
        let (handle, committed) = (self.handle, self.committed);
        let Role::Primary(primary) = &mut self.role else { return };
        if answer.version != primary.version {
            return;
        }
        if let Said::Equalise(pass) = answer.said {
            return self.pass_answered(now, pass, answer.member, answer.result, out);
        }
        let last = primary.last;
        let (uid, session) = (answer.member.chunkserver, answer.member.session);
        let Some(link) = primary.links.get_mut(&uid) else { return };
        if link.member.session != session {
            return;
        }
        let serial = match answer.said {
            Said::Order(serial) | Said::Committed(serial) => serial,
            Said::Equalise(_) => return,
        };
        if let Err(error) = &answer.result
            && error.kind == ErrorKind::Busy
        {
            link.busy = Some(error.clone());
        }
        match answer.result.map_err(|error| (error.kind, error.message)) {
            // A lost notice does no harm: the next order tells, and so does the end of the lease.
            Ok(_) if matches!(answer.said, Said::Committed(_)) => link.hear(now),
            Ok(response) => {
                link.hear(now);
                if let DataResponse::Applied { short_of_space, .. } = response {
                    link.short_of_space = short_of_space;
                }
                link.busy = None;
                link.acknowledged = link.acknowledged.max(serial.min(last));
                primary.catch_up(handle, uid, committed, now, out);
                self.commit_acknowledged(now, out);
            }
            Err((ErrorKind::NeedData, _)) => {
                link.hear(now);
                // It lacks what it was given: it has no room now, and gets it when its answer is overdue.
                if serial > link.acknowledged && link.fed.insert(serial) {
                    primary.send(handle, uid, serial, true, committed, now, out);
                }
            }
            Err((ErrorKind::Busy, _)) => link.hear(now),
            // The connection was lost: the orders go out again when the next answer is overdue.
            Err((ErrorKind::Unknown, _)) => {}
            Err((_, why)) => self.member_refused(uid, why, out),
        }
    }

    /// A member will never acknowledge: nothing more can be committed under this version. The master is asked
    /// for a raise without it (raise-4); until that comes no mutation is taken, and those in flight wait for it.
    pub(super) fn member_refused(&mut self, member: ServerUid, why: String, out: &mut Vec<Effect>) {
        let handle = self.handle;
        let Role::Primary(primary) = &mut self.role else { return };
        let version = primary.version;
        hit(Mark::MemberRefused);
        primary.phase = Phase::Broken;
        primary.dismiss(handle, "a member of the lease failed", out);
        let link = primary.links.get_mut(&member);
        let Some(link) = link else { return };
        let run = link.run();
        if link.refused.replace(why.clone()).is_none() {
            self.tell_failed(version, run, &why, out);
        }
    }

    /// Orders again where an answer is overdue; a member that stays silent is named to the master.
    pub(super) fn press_members(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let (handle, committed) = (self.handle, self.committed);
        let Role::Primary(primary) = &mut self.role else { return };
        let (version, last) = (primary.version, primary.last);
        let overdue = |link: &&mut Link| link.due(last).is_some_and(|at| at <= now);
        let mut again = Vec::new();
        let mut failed = Vec::new();
        for link in primary.links.values_mut().filter(overdue) {
            link.sent_through = link.acknowledged;
            link.fed.clear();
            again.push(link.member.chunkserver);
            if link.is_lost(now) {
                failed.push((link.run(), now.ms_since(link.heard)));
            }
        }
        for member in again {
            hit(Mark::MemberCaughtUp);
            primary.catch_up(handle, member, committed, now, out);
        }
        for (member, silent_ms) in failed {
            hit(Mark::MemberSilent);
            self.tell_failed(version, member, &format!("no answer for {silent_ms}"), out);
        }
    }
}
