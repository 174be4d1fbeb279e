//! What chunkservers tell: registration, reports, heartbeats, answers to commands.

use gfs_types::Error;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ProcessSession, ServerUid};
use gfs_types::limits::REPORT_PAGE_MAX;
use gfs_types::marks::{Mark, hit};
use gfs_types::message::control::{
    Command, FromChunkserver, HeldLease, RaisedReplica, Registration, ReplicaReport, ReplicaState,
    Space, ToChunkserver,
};
use gfs_types::mutants::{Mutant, runs};
use gfs_types::time::Instant;

use crate::chunks::NO_VERSION;
use crate::leases::{CALM_MS, Lease, LeaseMember};
use crate::master::Step;
use crate::raise::{Stage, Work};
use crate::registry::ServerIndex;
use crate::{Effect, Link, Master};

impl Master {
    pub(crate) fn chunkserver(
        &mut self,
        step: &mut Step<'_>,
        link: Link,
        message: FromChunkserver,
    ) {
        if let FromChunkserver::Register(who) = message {
            return self.register(step, link, &who);
        }
        if self.serving_since().is_none() {
            return;
        }
        let Some(server) = self.soft.registry.by_link(link) else {
            let error = Error::invalid("a stream of a chunkserver begins with its registration");
            return self.close(step, link, error);
        };
        self.soft.registry.get_mut(server).heard = step.now;
        match message {
            FromChunkserver::Register(_) => {}
            FromChunkserver::ReportPage { replicas, last } => {
                self.report_page(step, link, server, &replicas, last);
            }
            FromChunkserver::Heartbeat { seq, space, changed, extend } => {
                self.heartbeat(step, server, seq, space, &changed, &extend);
            }
            FromChunkserver::ReplicaCreated { handle, version, result } => {
                let state = ReplicaState::Clean;
                let empty = RaisedReplica { length: 0, digest: 0, state };
                self.answered(step, server, handle, version, true, result.map(|()| empty));
            }
            FromChunkserver::Raised { handle, version, result } => {
                self.answered(step, server, handle, version, false, result);
            }
            FromChunkserver::ReplicaDeleted { handle, result, .. } => {
                if result.is_ok() {
                    self.soft.registry.forget(server, handle);
                }
            }
            FromChunkserver::LeaseGivenUp { handle, version, length } => {
                self.lease_given_up(step, server, handle, version, length);
            }
            FromChunkserver::LearnerTaught { handle, version, learner, session, result } => {
                let run = (learner, session);
                self.learner_taught(step, server, (handle, version), run, &result);
            }
            FromChunkserver::MemberFailed { handle, version, member, session, reason: _ } => {
                self.member_failed(step, server, (handle, version), (member, session));
            }
        }
    }

    fn close(&self, step: &mut Step<'_>, link: Link, error: Error) {
        step.out.push(Effect::CloseLink { link, error, after: self.durable.position() });
    }

    fn register(&mut self, step: &mut Step<'_>, link: Link, who: &Registration) {
        let registered =
            self.admit(step, who).and_then(|()| self.soft.registry.register(step.now, link, who));
        let registered = match registered {
            Ok(registered) => registered,
            Err(error) => {
                let command = Command::Refused(error.clone());
                let message = ToChunkserver { epoch: self.epoch(), session: who.session, command };
                step.out.push(Effect::Send { link, message, after: self.durable.position() });
                return self.close(step, link, error);
            }
        };
        if let Some(old) = registered.old_link {
            self.close(step, old, Error::stale("the chunkserver opened another stream"));
        }
        let server = registered.index;
        let mut ended = self.soft.leases.end_older(server, who.session);
        ended.extend(self.soft.leases.end_unnamed(step.now, server, who.session, &who.leases));
        self.soft.leases.learn_session(who.chunkserver, who.session);
        self.soft.leases.named(server, &who.leases);
        self.lost_answers(server);
        for handle in &ended {
            self.soft.repairs.note(step.now, *handle);
        }
        let (Some(cluster), heartbeat_ms) = (self.durable.cluster(), self.settings.heartbeat_ms.0)
        else {
            return;
        };
        let welcome = Command::Welcome {
            cluster,
            master_session: self.durable.master_session,
            chunk_bytes: self.durable.chunk_size().bytes(),
            heartbeat_ms,
        };
        self.send(step, server, welcome);
        for lease in &who.leases {
            self.adopt(step, server, lease);
            self.order_lesson(step, server, lease.handle);
        }
        for handle in ended {
            self.advance(step, handle);
        }
        self.advance_all(step);
    }

    /// Whether this chunkserver belongs here, and this master still serves.
    fn admit(&mut self, step: &mut Step<'_>, who: &Registration) -> Result<(), Error> {
        if let Some(cluster) = self.durable.cluster()
            && who.cluster.is_some_and(|its| its != cluster)
        {
            return Err(Error::invalid(format!(
                "chunkserver {} belongs to cluster {}, this master to {cluster}: point it to its own masters, \
                 or give it an empty directory",
                who.chunkserver,
                who.cluster.unwrap_or_default()
            )));
        }
        if who.epoch > self.durable.epoch && self.serving_since().is_some() {
            let reason = format!("chunkserver {} obeys epoch {}", who.chunkserver, who.epoch);
            self.step_down(step, who.epoch, reason);
        }
        self.lifecycle.check_serving()
    }

    /// raise-7: a lease that the chunkserver holds goes on under this process.
    fn adopt(&mut self, step: &mut Step<'_>, primary: ServerIndex, held: &HeldLease) {
        let Some(chunk) = self.durable.chunks.get(held.handle) else { return };
        let known = self.soft.leases.last_of(held.handle);
        if chunk.version != held.version || known.is_some_and(|lease| lease.version >= held.version)
        {
            return;
        }
        let left = gfs_types::DurationMs(held.left_ms.min(self.settings.lease_ms.0));
        let lease = Lease {
            version: held.version,
            primary,
            session: self.soft.registry.get(primary).session,
            members: held.members.iter().map(|uid| self.lease_member(*uid)).collect(),
            granted: step.now,
            expires: step.now + left,
            ended: None,
            unasked: false,
            teaching: None,
        };
        hit(Mark::LeaseAdopted);
        self.soft.leases.put(held.handle, lease);
        if self.begun_before(held.handle) {
            hit(Mark::RaiseFoundBegun);
            self.soft.repairs.note(step.now, held.handle);
        }
    }

    /// The holder of a lease does not say which runs it was granted with: the ones that are known here, as far as can be told.
    fn lease_member(&self, uid: ServerUid) -> LeaseMember {
        let index = self.soft.registry.by_uid(uid);
        LeaseMember { uid, session: index.map(|index| self.soft.registry.get(index).session) }
    }

    pub(crate) fn chunkserver_gone(&mut self, step: &mut Step<'_>, link: Link) {
        let Some(server) = self.soft.registry.unlink(step.now, link) else { return };
        self.lost_answers(server);
        if self.serving_since().is_some() {
            self.advance_all(step);
        }
    }

    /// Answers that were awaited from an earlier stream of a server do not come.
    fn lost_answers(&mut self, server: ServerIndex) {
        for work in self.soft.works.values_mut() {
            if let Stage::Asked(round) = &mut work.stage {
                round.lose(server);
            }
        }
    }

    fn report_page(
        &mut self,
        step: &mut Step<'_>,
        link: Link,
        server: ServerIndex,
        replicas: &[ReplicaReport],
        last: bool,
    ) {
        if replicas.len() > REPORT_PAGE_MAX {
            let error =
                format!("{} replicas in one page are above {REPORT_PAGE_MAX}", replicas.len());
            return self.close(step, link, Error::invalid(error));
        }
        self.replicas_reported(step, server, replicas, true);
        if last {
            self.soft.registry.told_all(server);
            self.note_lost(step.now);
            self.member_returned(step, server);
            self.advance_all(step);
        }
    }

    fn replicas_reported(
        &mut self,
        step: &mut Step<'_>,
        server: ServerIndex,
        replicas: &[ReplicaReport],
        came: bool,
    ) {
        for report in replicas {
            self.soft.registry.report(server, report);
            if came {
                self.soft.leases.reported(report.handle, server);
            }
            if self.durable.chunks.was_freed(report.handle) {
                let (handle, version) = (report.handle, report.version);
                self.send(step, server, Command::DeleteReplica { handle, version });
            }
            self.note_report(step.now, report, came);
            if report.state == ReplicaState::Corrupt {
                self.member_corrupt(step.now, server, report.handle);
            }
            self.advance(step, report.handle);
        }
    }

    /// A damaged member cannot go on: a raise without it, then it learns.
    fn member_corrupt(&mut self, now: Instant, server: ServerIndex, handle: ChunkHandle) {
        let (uid, session) = self.run_of(server);
        let Some(lease) = self.soft.leases.live(now, handle) else { return };
        if !lease.has_member(uid) {
            return;
        }
        let version = lease.version;
        self.spend(handle, version).left_out.insert((server, session), now);
    }

    /// equal-3: leases run that have an earlier run of this server among their members. It told what it holds: a raise of all takes
    /// it in again, if its replica is current.
    fn member_returned(&mut self, step: &mut Step<'_>, server: ServerIndex) {
        let (uid, session) = self.run_of(server);
        for (handle, version) in self.soft.leases.with_other_run(step.now, uid, session) {
            let current = self.current(handle).any(|replica| replica.server == server);
            let work = self.spend(handle, version);
            if !current {
                work.left_out.insert((server, session), step.now);
            }
            self.advance(step, handle);
        }
    }

    fn run_of(&self, server: ServerIndex) -> (ServerUid, ProcessSession) {
        let server = self.soft.registry.get(server);
        (server.uid, server.session)
    }

    fn heartbeat(
        &mut self,
        step: &mut Step<'_>,
        server: ServerIndex,
        seq: u64,
        space: Space,
        changed: &[ReplicaReport],
        extend: &[(ChunkHandle, ChunkVersion)],
    ) {
        self.soft.registry.get_mut(server).space = space;
        self.replicas_reported(step, server, changed, false);
        let lease_ms = self.settings.lease_ms;
        let run = (server, self.soft.registry.get(server).session);
        let mut extended = Vec::new();
        for (handle, version) in extend {
            let changing = self.soft.works.get(handle).is_some_and(|work| {
                matches!(work.stage, Stage::Asked(_)) || work.spent == Some(*version)
            });
            let until = step.now + lease_ms;
            if !changing && self.soft.leases.extend(step.now, *handle, *version, run, until) {
                extended.push((*handle, *version));
            }
        }
        let answer = Command::HeartbeatAnswer { seq, extended, lease_ms: lease_ms.0 };
        self.send(step, server, answer);
    }

    /// The end of a `CreateReplica` or `Raise`.
    fn answered(
        &mut self,
        step: &mut Step<'_>,
        server: ServerIndex,
        handle: ChunkHandle,
        version: ChunkVersion,
        birth: bool,
        result: Result<RaisedReplica, Error>,
    ) {
        if let Ok(replica) = &result {
            // What is applied may not be committed: it says nothing of the length.
            let known = self.soft.registry.replica_on(server, handle);
            let length = known.map_or(0, |known| known.length);
            // The answer tells what it was before. It may come behind a report of what it is: when the stream broke meanwhile.
            let reported = known.filter(|known| known.version == version);
            let state = reported.map_or(replica.state, |known| known.state);
            self.soft.registry.report(server, &ReplicaReport { handle, version, length, state });
            self.soft.leases.superseded(step.now, handle, version, server);
            if self.durable.chunks.was_freed(handle) {
                return self.send(step, server, Command::DeleteReplica { handle, version });
            }
            if version == NO_VERSION {
                self.soft.repairs.note(step.now, handle);
                self.soft.repairs.hasten(step.now, handle);
            }
        }
        let session = self.soft.registry.get(server).session;
        if let Some(Work { stage: Stage::Asked(round), .. }) = self.soft.works.get_mut(&handle)
            && (round.number == version || runs(Mutant::OlderNumberRaised))
            && round.birth == birth
        {
            round.give(server, session, result);
        }
        self.advance(step, handle);
    }

    fn lease_given_up(
        &mut self,
        step: &mut Step<'_>,
        server: ServerIndex,
        handle: ChunkHandle,
        version: ChunkVersion,
        length: u64,
    ) {
        self.soft.leases.give_up(step.now, handle, version, server);
        self.soft.repairs.note(step.now + CALM_MS, handle);
        let known = self.soft.registry.replica_on(server, handle);
        if let Some(known) = known.filter(|known| known.version == version) {
            let length = length.max(known.length);
            let report = ReplicaReport { handle, version, length, state: known.state };
            self.soft.registry.report(server, &report);
            self.soft.leases.told(handle, version, server);
        }
        self.advance(step, handle);
    }

    /// raise-4: the primary wants to go on without a member. Nobody else's word counts. One whose process is gone gets the time to
    /// come back (raise-6); another run of it that came since is taken in.
    fn member_failed(
        &mut self,
        step: &mut Step<'_>,
        server: ServerIndex,
        (handle, version): (ChunkHandle, ChunkVersion),
        (member, session): (ServerUid, ProcessSession),
    ) {
        let (_, run) = self.run_of(server);
        let holds = self.soft.leases.live(step.now, handle).is_some_and(|lease| {
            lease.version == version
                && lease.primary == server
                && lease.session == run
                && lease.has_member(member)
        });
        let raised = self.durable.chunks.get(handle).is_some_and(|chunk| chunk.version == version);
        // Unknown to this process when it did not come since the start.
        let failed = self.soft.registry.by_uid(member);
        if !holds || !raised || failed == Some(server) {
            return;
        }
        let linked = failed.filter(|failed| {
            let its = self.soft.registry.get(*failed);
            its.link.is_some() && its.session == session
        });
        let work = self.spend(handle, version);
        work.left_out.extend(linked.map(|failed| ((failed, session), step.now)));
        self.advance(step, handle);
    }
}
