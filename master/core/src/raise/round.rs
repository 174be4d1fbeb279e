//! One round of questions, of a birth or a raise, and what follows from the answers (raise-3).

use gfs_types::Error;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ProcessSession};
use gfs_types::limits::RETURN_WAIT_MS;
use gfs_types::marks::{Mark, hit};
use gfs_types::message::client::{LeaseGrant, ReplicaLocation, Response};
use gfs_types::message::control::{Command, LeaseStart, Member, RaisedReplica, ReplicaState};
use gfs_types::mutants::{Mutant, runs};
use gfs_types::region::ChunkIndex;
use gfs_types::time::Instant;

use super::{Stage, busy};
use crate::Master;
use crate::leases::{Lease, LeaseMember};
use crate::master::Step;
use crate::record::Change;
use crate::registry::ServerIndex;

/// Who was asked to store a number, and what they said.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) number: ChunkVersion,
    pub(crate) birth: bool,
    asked: Vec<Asked>,
    until: Instant,
}

#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) server: ServerIndex,
    /// The run that was asked: another one's answer does not count.
    pub(crate) session: ProcessSession,
    pub(crate) answer: Answer,
}

#[derive(Debug)]
pub(crate) enum Answer {
    Awaited,
    Stored(RaisedReplica),
    /// It refused, or its process or stream ended; it may have stored the number all the same.
    Failed(String),
}

impl Round {
    /// Answers count until then.
    pub(crate) fn new(
        until: Instant,
        number: ChunkVersion,
        birth: bool,
        asked: Vec<Asked>,
    ) -> Self {
        Self { number, birth, asked, until }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        now >= self.until || !self.asked.iter().any(|one| matches!(one.answer, Answer::Awaited))
    }

    /// Who can be a member. One that has the number but is damaged cannot: it becomes a learner.
    fn stored(&self) -> impl Iterator<Item = (ServerIndex, RaisedReplica)> + '_ {
        self.asked.iter().filter_map(|one| match one.answer {
            Answer::Stored(replica) if replica.state != ReplicaState::Corrupt => {
                Some((one.server, replica))
            }
            _ => None,
        })
    }

    /// What those who did not store it said, for a person.
    fn failures(&self, master: &Master) -> String {
        let failures = self.asked.iter().filter_map(|one| {
            let uid = master.soft.registry.get(one.server).uid;
            match &one.answer {
                Answer::Stored(replica) if replica.state == ReplicaState::Corrupt => {
                    Some(format!("{uid}: its replica is damaged"))
                }
                Answer::Stored(_) => None,
                Answer::Awaited => Some(format!("{uid}: no answer")),
                Answer::Failed(reason) => Some(format!("{uid}: {reason}")),
            }
        });
        failures.collect::<Vec<_>>().join("; ")
    }

    pub(crate) fn give(
        &mut self,
        server: ServerIndex,
        session: ProcessSession,
        answer: Result<RaisedReplica, Error>,
    ) {
        let awaited = self.asked.iter_mut().find(|one| {
            one.server == server && one.session == session && matches!(one.answer, Answer::Awaited)
        });
        if let Some(one) = awaited {
            one.answer = match answer {
                Ok(replica) => Answer::Stored(replica),
                Err(error) => Answer::Failed(error.message),
            };
        }
    }

    /// The stream of a server ended, or another run of it came: an answer of the run that was asked will not come any more.
    pub(crate) fn lose(&mut self, server: ServerIndex) {
        for one in self.asked.iter_mut().filter(|one| one.server == server) {
            if matches!(one.answer, Answer::Awaited) {
                one.answer = Answer::Failed("its connection ended".to_owned());
            }
        }
    }
}

impl Master {
    /// The round is over: grant, or a new number without the silent, or nothing can be done (raise-3).
    pub(super) fn conclude(&mut self, step: &mut Step<'_>, handle: ChunkHandle) {
        let Some(work) = self.soft.works.get_mut(&handle) else { return };
        let Stage::Asked(round) = std::mem::replace(&mut work.stage, Stage::Waiting) else {
            return;
        };
        let stored: Vec<_> = round.stored().collect();
        let chunk = self.durable.chunks.get(handle);
        let too_few = round.birth && chunk.is_some_and(|chunk| stored.len() < chunk.members_min());
        if stored.is_empty() || too_few {
            return self.cannot_begin(step, handle, &round);
        }
        if stored.len() < round.asked.len() && !runs(Mutant::RaisedDespiteSilence) {
            hit(Mark::RaisedWithoutSilent);
            let silent = round.asked.iter().map(|one| (one.server, one.session));
            let silent = silent.filter(|(server, _)| stored.iter().all(|(one, _)| one != server));
            for run in silent {
                work.left_out.insert(run, step.now);
                self.soft.learners.failed(step.now, handle, run);
            }
            work.hurry = true;
            return self.advance(step, handle);
        }
        if !self.may_raise(step.now, handle, &stored) {
            return self.advance(step, handle);
        }
        let alone = chunk.is_some_and(|chunk| stored.len() < chunk.members_min());
        let count = u8::try_from(stored.len()).expect("at most 7 are asked");
        let count = if alone { 0 } else { count };
        if !round.birth {
            let raised = Change::Raised { handle, version: round.number, members: count };
            self.commit(step, None, raised);
        }
        self.grant(step, handle, round.number, &stored);
        if round.birth {
            // Behind the grant, which need not wait until it is durable: it only says what a later master may find.
            self.commit(step, None, Change::ChunkBorn { handle });
        }
    }

    /// A new number for the first M comes with the next request; a birth begins again elsewhere.
    fn cannot_begin(&mut self, step: &mut Step<'_>, handle: ChunkHandle, round: &Round) {
        let what = if round.birth { "make a replica" } else { "store a new version" };
        let message = format!(
            "chunk {handle}: too few chunkservers could {what} ({}); try again",
            round.failures(self)
        );
        if round.birth {
            hit(Mark::BirthFailed);
            self.soft.barren.insert(handle);
        }
        self.fail_waiters(step, handle, &busy(message, 200));
        self.soft.works.remove(&handle);
        self.soft.repairs.note(step.now, handle);
    }

    /// Whether all asked are enough, as they turned out to be: what made them enough may be gone since they were asked.
    fn may_raise(
        &self,
        now: Instant,
        handle: ChunkHandle,
        stored: &[(ServerIndex, RaisedReplica)],
    ) -> bool {
        let Some(chunk) = self.durable.chunks.get(handle) else { return false };
        let enough = stored.len() >= chunk.members_min() || self.learner(now, handle).is_some();
        enough && (!all_suspect(stored) || self.all_have_reported(handle, stored.len()))
    }

    fn grant(
        &mut self,
        step: &mut Step<'_>,
        handle: ChunkHandle,
        version: ChunkVersion,
        stored: &[(ServerIndex, RaisedReplica)],
    ) {
        let primary = self.choose_primary(handle, stored);
        let work = self.soft.works.get(&handle);
        let unasked = work.is_some_and(|work| work.unasked && work.waiters.is_empty());
        let registry = &self.soft.registry;
        let members: Vec<Member> = stored
            .iter()
            .map(|(server, _)| registry.get(*server))
            .map(|server| Member {
                chunkserver: server.uid,
                session: server.session,
                address: server.address.clone(),
            })
            .collect();
        let lease = Lease {
            version,
            primary,
            session: registry.get(primary).session,
            members: members
                .iter()
                .map(|member| LeaseMember {
                    uid: member.chunkserver,
                    session: Some(member.session),
                })
                .collect(),
            granted: step.now,
            expires: step.now + self.settings.lease_ms,
            ended: None,
            unasked,
            teaching: None,
        };
        let lease_ms = self.settings.lease_ms.0;
        let start = start_of(stored);
        // Whoever is to learn needs the lease for longer than it takes to end in order.
        let may_learn = self.may_learn(handle).next().is_some();
        let brief = unasked && !may_learn;
        let alone = self.is_alone(handle);
        let grant = Command::GrantLease { handle, version, members, lease_ms, start, brief, alone };
        self.send(step, primary, grant);
        let answer = self.grant_of(step.now, handle, &lease);
        self.soft.leases.put(handle, lease);
        if may_learn {
            self.soft.repairs.note(step.now, handle);
            self.soft.repairs.hasten(step.now, handle);
        } else if self.has_few_members(handle) {
            self.soft.repairs.note(step.now + RETURN_WAIT_MS, handle);
        }
        if alone && self.keeps_waiters(handle) {
            return self.advance(step, handle);
        }
        let Some(work) = self.soft.works.remove(&handle) else { return };
        for waiter in work.waiters {
            let result = match &answer {
                Some(grant) => Ok(LeaseGrant { index: waiter.index, ..grant.clone() }),
                None => {
                    Err(busy(format!("chunk {handle}: a member went a moment ago; try again"), 50))
                }
            };
            self.reply(step, waiter.to, result.map(Response::Lease));
        }
    }

    /// The one before, if it is a member, since it may have mutations in flight; else chunks take turns. Never a suspect, unless all
    /// are: then the longest (equal-2).
    fn choose_primary(
        &self,
        handle: ChunkHandle,
        stored: &[(ServerIndex, RaisedReplica)],
    ) -> ServerIndex {
        let fit = |(_, replica): &&(ServerIndex, RaisedReplica)| {
            replica.state != ReplicaState::Suspect || runs(Mutant::SuspectLeads)
        };
        let mut fit: Vec<ServerIndex> =
            stored.iter().filter(fit).map(|(server, _)| *server).collect();
        if fit.is_empty() {
            let longest = stored.iter().map(|(_, replica)| replica.length).max();
            let longest = stored.iter().filter(|(_, replica)| Some(replica.length) == longest);
            fit = longest.map(|(server, _)| *server).collect();
        }
        let before = self.soft.leases.last_of(handle).map(|lease| lease.primary);
        match before.filter(|before| fit.contains(before)) {
            Some(before) => before,
            None => fit[usize::try_from(handle.0 % fit.len() as u64).unwrap_or(0)],
        }
    }

    /// What a client is told of a lease; `None` while a member is not here, or is here as another run.
    pub(crate) fn grant_of(
        &self,
        now: Instant,
        handle: ChunkHandle,
        lease: &Lease,
    ) -> Option<LeaseGrant> {
        let members = lease.members.iter().map(|member| {
            let index = self.soft.registry.by_uid(member.uid)?;
            let server = self.soft.registry.get(index);
            if server.link.is_none() || member.session.is_some_and(|its| its != server.session) {
                return None;
            }
            let replica = self.soft.registry.replica_on(index, handle);
            let state = replica.map_or(ReplicaState::Unclean, |replica| replica.state);
            Some(self.location(index, lease.version, state))
        });
        Some(LeaseGrant {
            index: ChunkIndex(0),
            handle,
            version: lease.version,
            epoch: self.epoch(),
            primary: self.soft.registry.get(lease.primary).uid,
            members: members.collect::<Option<_>>()?,
            left_ms: lease.expires.ms_since(now).0,
        })
    }

    pub(crate) fn location(
        &self,
        index: ServerIndex,
        version: ChunkVersion,
        state: ReplicaState,
    ) -> ReplicaLocation {
        let server = self.soft.registry.get(index);
        ReplicaLocation {
            chunkserver: server.uid,
            session: server.session,
            address: server.address.clone(),
            topology: server.topology.clone(),
            version,
            state,
        }
    }
}

/// What must be done before the first mutation (equal-1, equal-2).
fn start_of(stored: &[(ServerIndex, RaisedReplica)]) -> LeaseStart {
    if all_suspect(stored) {
        hit(Mark::AllSuspect);
        return LeaseStart::AllSuspect;
    }
    let content = |replica: &RaisedReplica| (replica.length, replica.digest);
    let first = stored.first().map(|(_, replica)| content(replica));
    let as_the_first = |replica: &RaisedReplica| {
        Some(content(replica)) == first && replica.state != ReplicaState::Suspect
    };
    match stored.iter().all(|(_, replica)| as_the_first(replica)) {
        true => LeaseStart::Equal,
        false => LeaseStart::Unequal,
    }
}

fn all_suspect(stored: &[(ServerIndex, RaisedReplica)]) -> bool {
    stored.iter().all(|(_, replica)| replica.state == ReplicaState::Suspect)
}
