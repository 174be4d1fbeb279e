//! Which version was granted to whom, and whether a lease may be held by who holds it.

use std::collections::{BTreeMap, BTreeSet};

use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ProcessSession, ServerUid};
use gfs_types::limits::REPLICAS_MIN;
use gfs_types::message::control::{Command, HeldLease, Member, Space};

use crate::swarm::Swarm;
use crate::world::World;

/// What rounding to milliseconds may take from a lease.
const ROUNDING_MS: u64 = 5;

/// A version of a chunk.
type Version = (ChunkHandle, ChunkVersion);

/// What was granted so far.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    /// To which server, and by which run of the master.
    to: BTreeMap<Version, (usize, u32)>,
    /// With which members.
    members: BTreeMap<Version, Vec<ServerUid>>,
    /// Which runs of servers took which leases.
    taken: BTreeSet<(usize, ProcessSession, Version)>,
}

impl Grants {
    /// Whether what was acknowledged last is waited for from this one: it was a member of the version that was granted last, or holds no
    /// higher one. Who learned is not, before a raise of it ends.
    pub(crate) fn counts(
        &self,
        handle: ChunkHandle,
        version: ChunkVersion,
        who: ServerUid,
    ) -> bool {
        self.last(handle).is_none_or(|(granted, _)| {
            let members = self.members.get(&(handle, granted));
            version <= granted || members.is_some_and(|members| members.contains(&who))
        })
    }

    /// The last lease of a chunk.
    fn last(&self, handle: ChunkHandle) -> Option<(ChunkVersion, (usize, u32))> {
        let all = (handle, ChunkVersion(0))..=(handle, ChunkVersion(u64::MAX));
        self.to.range(all).next_back().map(|((_, version), to)| (*version, *to))
    }
}

/// By how much two servers may differ on when a lease is over: their clocks, and rounding (L2).
fn clock_error_ms(swarm: &Swarm) -> u64 {
    swarm.lease_ms * 2 * swarm.rate_ppm.max(1) / 1_000_000 + ROUNDING_MS
}

impl World {
    /// raise-3: every member has stored what is granted. L2: nobody else holds a lease that this master granted before.
    pub(crate) fn granted(
        &mut self,
        server: usize,
        handle: ChunkHandle,
        version: ChunkVersion,
        members: &[Member],
    ) {
        for member in members {
            let its = self.servers.iter().find(|server| server.uid == member.chunkserver);
            let process = its.and_then(|server| server.up.as_ref());
            let process = process.filter(|process| process.session == member.session);
            let replica = process.and_then(|process| process.store.replica(handle).ok());
            if let Some(replica) = replica.filter(|replica| replica.version < version) {
                let (uid, has) = (member.chunkserver, replica.version);
                let what = format!("chunk {handle}: {version} is granted, {uid} has stored {has}");
                self.is_broken("raise-3", &what);
            }
        }
        self.may_be_left_to_rot(handle, members);
        self.may_be_left_unread(members, handle);
        let before = self.rules.grants.last(handle).map(|(_, (before, _))| before);
        self.rules.grants.to.insert((handle, version), (server, self.master.run));
        let uids = members.iter().map(|member| member.chunkserver).collect();
        self.rules.grants.members.insert((handle, version), uids);
        if let Some(before) = before.filter(|before| *before != server) {
            self.leases_are_apart(before);
        }
    }

    /// L2: a lease that is over for its master is over for who held it. Versions keep everything safe without it (raise-7).
    pub(crate) fn leases_are_apart(&mut self, number: usize) {
        if self.swarm.wild_clocks {
            return;
        }
        let error_ms = clock_error_ms(&self.swarm);
        let now = self.shown_to(number);
        let Some(process) = &self.servers[number].up else { return };
        let leases = process.conversation.register(now, Space::default()).leases;
        for held in leases {
            let its = self.rules.grants.to.get(&(held.handle, held.version));
            let Some((version, (to, run))) = self.rules.grants.last(held.handle) else { continue };
            let same_master = its.is_some_and(|(_, of)| *of == run);
            let later = version > held.version && to != number;
            if same_master && later && held.left_ms > error_ms {
                let what = format!(
                    "chunk {}: server-{to} was granted {version}, and server-{number} holds the lease of {} for {} ms",
                    held.handle, held.version, held.left_ms
                );
                self.is_broken("L2", &what);
            }
        }
    }

    /// L2: a lease runs from when its holder said that it stored the version, for its master counts from later.
    pub(crate) fn took_lease(
        &mut self,
        number: usize,
        (handle, version): (ChunkHandle, ChunkVersion),
        lease_ms: u64,
    ) {
        let left_ms = self.lease_left_ms(number, (handle, version));
        let now = self.shown_to(number);
        let Some(process) = &self.servers[number].up else { return };
        let its = (number, process.session, handle, version);
        let Some(stored) = self.rules.stored.get(&its) else { return };
        let ago_ms = now.ms_since(*stored).0;
        if left_ms > 0 && left_ms + ago_ms > lease_ms + ROUNDING_MS {
            let what = format!(
                "chunk {handle}: server-{number} takes the lease of {version} for {left_ms} ms, and stored it {ago_ms} ms \
                 ago"
            );
            self.is_broken("L2", &what);
        }
    }

    /// How long the lease of this version is held by who is there now; 0 where it is not.
    fn lease_left_ms(&mut self, number: usize, (handle, version): Version) -> u64 {
        let now = self.shown_to(number);
        let Some(process) = &self.servers[number].up else { return 0 };
        let leases = process.conversation.register(now, Space::default()).leases;
        let its = |held: &&HeldLease| held.handle == handle && held.version == version;
        leases.iter().find(its).map_or(0, |held| held.left_ms)
    }

    /// The version that a command grants, and whether its lease is held before it is heard.
    pub(crate) fn grant_comes(
        &mut self,
        number: usize,
        command: &Command,
    ) -> Option<(Version, bool)> {
        let Command::GrantLease { handle, version, .. } = command else { return None };
        let version = (*handle, *version);
        Some((version, self.lease_left_ms(number, version) > 0))
    }

    /// L1: a lease that is over is not taken again, however often its grant comes.
    pub(crate) fn is_taken_once(&mut self, number: usize, grant: Option<(Version, bool)>) {
        let Some((version, held_before)) = grant else { return };
        let holds = self.lease_left_ms(number, version) > 0;
        let Some(process) = self.servers[number].up.as_ref().filter(|_| holds) else { return };
        let first = self.rules.grants.taken.insert((number, process.session, version));
        if !first && !held_before {
            let (handle, version) = version;
            let what = format!(
                "chunk {handle}: server-{number} takes the lease of {version} again, and it was over"
            );
            self.is_broken("L1", &what);
        }
    }

    /// L1: who acknowledges was granted the lease of that version. mut-6: what is acknowledged is on two replicas.
    pub(crate) fn may_acknowledge(
        &self,
        number: usize,
        handle: ChunkHandle,
        version: ChunkVersion,
    ) {
        let to = self.rules.grants.to.get(&(handle, version)).map(|(to, _)| *to);
        if to != Some(number) {
            let what = format!(
                "chunk {handle}: server-{number} acknowledges under {version}, which was granted to {to:?}"
            );
            self.is_broken("L1", &what);
        }
        let members = self.rules.grants.members.get(&(handle, version)).map_or(0, Vec::len);
        if members < REPLICAS_MIN {
            let what = format!(
                "chunk {handle}: server-{number} acknowledges under {version}, which has {members} members"
            );
            self.is_broken("mut-6", &what);
        }
    }
}
