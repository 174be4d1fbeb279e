//! What must be so at every moment, by the names of the rules (docs/protocol.md): looked at where something is said, with what none of
//! those who say it knows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use gfs_chunkserver::data_plane::Ask;
use gfs_chunkserver::driver::Answer;
use gfs_master_core::invariants::chunk_view;
use gfs_types::ErrorKind;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ProcessSession, ServerUid};
use gfs_types::message::control::{
    Command, FromChunkserver, Registration, ReplicaState, ToChunkserver,
};
use gfs_types::message::data::{DataRequest, DataResponse, Target};
use gfs_types::time::Instant;

use crate::agenda::{Micros, SECOND};
use crate::grants::Grants;
use crate::world::World;

/// Numbers that a chunk may be given within a second (raise-1): the master asks again as fast as messages go, where what keeps a raise
/// from its end is not waited for.
const NUMBERS_A_SECOND_MAX: usize = 25;

/// What was said so far.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// The length of each chunk that somebody was told of, by the version under which it was committed.
    acknowledged: BTreeMap<ChunkHandle, BTreeMap<ChunkVersion, u64>>,
    /// Which runs of servers were to store which versions.
    raises: BTreeSet<(usize, ProcessSession, ChunkHandle, ChunkVersion)>,
    /// Which run of the master gave each number.
    numbers: BTreeMap<(ChunkHandle, ChunkVersion), u32>,
    /// When the last numbers of each chunk were given.
    given: BTreeMap<ChunkHandle, VecDeque<Micros>>,
    /// When each run of a server said first that it stored a version, by its own clock.
    pub(crate) stored: BTreeMap<(usize, ProcessSession, ChunkHandle, ChunkVersion), Instant>,
    /// Which version was granted to whom.
    pub(crate) grants: Grants,
    /// Who registered since the master stepped last: it told nothing yet.
    newcomers: Vec<ServerUid>,
    /// The newest run of each server that registered with each run of the master.
    registered: BTreeMap<(u32, ServerUid), ProcessSession>,
    /// Who found a bad block of its own while it was copied, and under which version.
    bad_sources: BTreeSet<(usize, ChunkHandle, ChunkVersion)>,
    /// Deletions that came for another version than the replica has, by server, chunk and their version: which one it has.
    misdirected: BTreeMap<(usize, ChunkHandle, ChunkVersion), ChunkVersion>,
    /// Requests that arrived, by the numbers of their calls.
    asked: BTreeMap<u64, (usize, Target, DataRequest)>,
}

impl Rules {
    /// The power failed everywhere: what was acknowledged need not be there.
    pub(crate) fn power_failed(&mut self) {
        self.acknowledged.clear();
    }

    /// A run that is over may be heard of late, on a stream of its own: it is refused, and what the next one told counts.
    pub(crate) fn registers(&mut self, master: u32, who: &Registration) {
        let newest = self.registered.entry((master, who.chunkserver)).or_default();
        if who.session >= *newest {
            *newest = who.session;
            self.newcomers.push(who.chunkserver);
        }
    }

    pub(crate) fn arrives(&mut self, call: u64, server: usize, ask: &Ask) {
        self.asked.insert(call, (server, ask.target, ask.request.clone()));
    }

    /// What was acknowledged under versions below this one.
    fn acknowledged_below(&self, handle: ChunkHandle, version: ChunkVersion) -> u64 {
        let its = self.acknowledged.get(&handle);
        its.and_then(|its| its.range(..version).map(|(_, length)| *length).max()).unwrap_or(0)
    }

    /// A number is given; says whether many were a moment ago.
    fn given_too_fast(&mut self, now: Micros, handle: ChunkHandle) -> bool {
        let given = self.given.entry(handle).or_default();
        given.push_back(now);
        if given.len() > NUMBERS_A_SECOND_MAX {
            given.pop_front();
        }
        given.len() == NUMBERS_A_SECOND_MAX && given.front().is_some_and(|at| now < at + SECOND)
    }
}

impl World {
    pub(crate) fn is_broken(&self, rule: &str, what: &str) {
        if let Some(shared) = &self.shared {
            shared.violation(format!("{rule}: {what}"));
        }
    }

    /// The master commands.
    pub(crate) fn commanded(&mut self, server: usize, message: &ToChunkserver) {
        match &message.command {
            Command::Raise { handle, version, .. } => {
                self.rules.raises.insert((server, message.session, *handle, *version));
                if !self.rules.numbers.contains_key(&(*handle, *version))
                    && self.rules.given_too_fast(self.now, *handle)
                {
                    let what = format!(
                        "chunk {handle}: {version} is its number {NUMBERS_A_SECOND_MAX} within a second"
                    );
                    self.is_broken("raise-1", &what);
                }
                let run = *self.rules.numbers.entry((*handle, *version)).or_insert(self.master.run);
                if run != self.master.run {
                    let what = format!("chunk {handle}: {version} is given again by another run");
                    self.is_broken("raise-1", &what);
                }
            }
            Command::GrantLease { handle, version, members, .. } => {
                self.granted(server, *handle, *version, members);
            }
            _ => {}
        }
    }

    /// The time on the clock of a server.
    pub(crate) fn shown_to(&mut self, number: usize) -> Instant {
        let server = &mut self.servers[number];
        server.clock.move_to(self.now);
        server.clock.now()
    }

    /// A command arrives, whichever run of the server is there by now.
    pub(crate) fn is_commanded(&mut self, number: usize, command: &Command) {
        let Command::DeleteReplica { handle, version } = command else { return };
        let Some(process) = &self.servers[number].up else { return };
        let has = process.store.replica(*handle).ok().map(|replica| replica.version);
        let deletion = (number, *handle, *version);
        match has.filter(|has| has != version) {
            Some(has) => drop(self.rules.misdirected.insert(deletion, has)),
            None => drop(self.rules.misdirected.remove(&deletion)),
        }
    }

    /// A server tells the master.
    pub(crate) fn told_master(&mut self, number: usize, message: &FromChunkserver) {
        if let FromChunkserver::ReplicaDeleted { handle, version, result } = message {
            return self.deleted(number, *handle, *version, result.is_ok());
        }
        let now = self.shown_to(number);
        let FromChunkserver::Raised { handle, version, result } = message else { return };
        let Some(process) = &self.servers[number].up else { return };
        let asked = (number, process.session, *handle, *version);
        if !self.rules.raises.contains(&asked) {
            let what = format!(
                "chunk {handle}: server-{number} answers for {version}, which no run was asked but an earlier one"
            );
            return self.is_broken("session", &what);
        }
        let Ok(replica) = result else { return };
        self.rules.stored.entry(asked).or_insert(now);
        let sound = matches!(replica.state, ReplicaState::Clean | ReplicaState::Unclean);
        let acknowledged = self.rules.acknowledged_below(*handle, *version);
        if sound && replica.length < acknowledged {
            let what = format!(
                "chunk {handle}: server-{number} stored {version} with {} bytes, {acknowledged} were acknowledged",
                replica.length
            );
            self.is_broken("raise-5", &what);
        }
    }

    /// collect: a replica is deleted under the version that it has, or not at all.
    fn deleted(&mut self, number: usize, handle: ChunkHandle, version: ChunkVersion, done: bool) {
        let misdirected = self.rules.misdirected.remove(&(number, handle, version));
        if let Some(has) = misdirected.filter(|_| done) {
            let what = format!(
                "chunk {handle}: server-{number} deletes {version} on command, and had {has}"
            );
            self.is_broken("collect", &what);
        }
    }

    /// A server answers a request.
    pub(crate) fn answers(&mut self, call: u64, answer: &Answer) {
        let Some((server, target, request)) = self.rules.asked.remove(&call) else { return };
        let handle = target.handle;
        match (&request, &answer.reply.result) {
            (_, Err(error)) if error.kind == ErrorKind::Internal => {
                self.is_broken("a state that cannot be", &error.message);
            }
            (DataRequest::Order(_) | DataRequest::Committed { .. }, Ok(_)) => {
                self.obeyed(server, &target, |has| has == target.version);
            }
            // A learner has a lower one.
            (DataRequest::Equalise(_), Ok(_)) => {
                self.obeyed(server, &target, |has| has <= target.version);
            }
            (DataRequest::Copy { .. }, Err(error)) if error.kind == ErrorKind::Corrupt => {
                self.found_bad(server, handle, target.version);
            }
            (DataRequest::Read { .. }, Ok(DataResponse::Bytes { offset, length, .. })) => {
                self.shown(server, &target, *offset..*offset + *length, &answer.payload);
            }
            (
                DataRequest::Write { .. } | DataRequest::Append { .. } | DataRequest::Sync,
                Ok(
                    DataResponse::Committed { length, version }
                    | DataResponse::Appended { length, version, .. },
                ),
            ) => {
                self.may_acknowledge(server, handle, *version);
                let its = self.rules.acknowledged.entry(handle).or_default();
                let known = its.entry(*version).or_default();
                *known = (*known).max(*length);
            }
            _ => {}
        }
    }

    /// equal-4: who finds a bad block of its own while others copy it leads no more under that version, so it is not asked again.
    fn found_bad(&mut self, number: usize, handle: ChunkHandle, version: ChunkVersion) {
        if !self.rules.bad_sources.insert((number, handle, version)) {
            let what = format!(
                "chunk {handle}: server-{number} is copied under {version}, and knows that it has a bad block"
            );
            self.is_broken("equal-4", &what);
        }
    }

    /// raise-2: orders of another version are refused.
    fn obeyed(&self, number: usize, target: &Target, fits: impl Fn(ChunkVersion) -> bool) {
        let Some(process) = &self.servers[number].up else { return };
        let Ok(replica) = process.store.replica(target.handle) else { return };
        if !fits(replica.version) {
            let (handle, version, has) = (target.handle, target.version, replica.version);
            let what = format!("chunk {handle}: server-{number} obeys {version}, it has {has}");
            self.is_broken("raise-2", &what);
        }
    }

    /// mut-4: what is shown is committed, so every replica of that version or a later one has it; and whoever shows it too shows
    /// the same.
    fn shown(&self, number: usize, target: &Target, range: Range<u64>, bytes: &[u8]) {
        let handle = target.handle;
        if range.is_empty() || self.weather.rotten.contains_key(&handle) {
            return;
        }
        let Some(process) = &self.servers[number].up else { return };
        let Ok(replica) = process.store.replica(handle) else { return };
        let version = replica.version;
        for other in self.servers.iter().filter(|other| other.number != number) {
            let Some(process) = &other.up else { continue };
            let Ok(replica) = process.store.replica(handle) else { continue };
            if replica.version < version || replica.suspect || replica.damaged.is_some() {
                continue;
            }
            let other = other.number;
            if replica.length < range.end {
                let what = format!(
                    "chunk {handle}: server-{number} shows {} bytes of {version}, server-{other} has {} of {}",
                    range.end, replica.length, replica.version
                );
                return self.is_broken("mut-4", &what);
            }
            let Some(view) = process.handle.view(handle) else { continue };
            let its = Target { version, ..*target };
            let shows = view.admit(handle, &its, range.clone(), 0).is_ok_and(|all| all == range);
            if !shows || replica.version > version {
                continue;
            }
            let read = || process.store.read_verified(handle, range.clone(), view.committed_length);
            let read = self.servers[other].fs.quietly(read);
            if read.is_ok_and(|read| read != bytes) {
                let what = format!(
                    "chunk {handle}: server-{number} and server-{other} show different bytes of {version} at {range:?}"
                );
                return self.is_broken("mut-4", &what);
            }
        }
    }

    /// D5: what a server told before it registered counts no more, until it tells it again.
    pub(crate) fn newcomers_told_nothing(&mut self) {
        let newcomers = std::mem::take(&mut self.rules.newcomers);
        let Some(process) = self.master.up.as_ref().filter(|_| !newcomers.is_empty()) else {
            return;
        };
        for handle in self.rules.acknowledged.keys() {
            let view = chunk_view(&process.core, *handle);
            let counted = view.iter().flat_map(|view| &view.current);
            if let Some(uid) = counted.into_iter().find(|uid| newcomers.contains(uid)) {
                let what = format!("chunk {handle}: {uid} counts, which told nothing yet");
                return self.is_broken("D5", &what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use gfs_types::fence::MasterEpoch;
    use gfs_types::topology::Topology;

    use gfs_types::message::control::Space;

    use super::*;

    #[test]
    fn a_run_that_is_heard_of_when_it_is_over_is_no_newcomer() {
        let who = |session| Registration {
            cluster: None,
            chunkserver: ServerUid(1),
            session: ProcessSession(session),
            address: String::new(),
            http_address: String::new(),
            topology: Topology::default(),
            space: Space::default(),
            epoch: MasterEpoch(1),
            leases: Vec::new(),
        };
        let mut rules = Rules::default();
        let mut comes = |master, session| {
            rules.registers(master, &who(session));
            !std::mem::take(&mut rules.newcomers).is_empty()
        };
        assert!(comes(1, 8));
        assert!(!comes(1, 7), "run 7 is refused, and what run 8 told counts");
        assert!(comes(1, 8), "on another stream it tells all anew");
        assert!(comes(2, 7), "the next run of the master knows of none");
    }

    #[test]
    fn many_numbers_within_a_second_are_too_fast_and_over_more_time_are_not() {
        for (apart, too_fast) in [(SECOND / 25, true), (SECOND / 24 + 1, false)] {
            let mut rules = Rules::default();
            let given = (0..25).map(|n| rules.given_too_fast(n * apart, ChunkHandle(1)));
            let given: Vec<_> = given.collect();
            assert_eq!(given.last(), Some(&too_fast), "{apart}");
            assert!(!given[..24].contains(&true));
            assert!(!rules.given_too_fast(0, ChunkHandle(2)), "of another chunk");
        }
    }
}
