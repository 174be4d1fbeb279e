//! Chunkservers as they are now, and the replicas they reported. Soft: learned again after a start (§2.6.2).
//!
//! What is told belongs to a *run*, here: one registration of a chunkserver. With the next one everything it told before counts no
//! more, at once and without a walk over the chunks, until it is told again; what is never told again is lost, and looked for in
//! pieces when it said that it told all.

mod accused;

use std::collections::{BTreeMap, BTreeSet};

use gfs_types::Error;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ProcessSession, ServerUid};
use gfs_types::limits::CHUNKSERVER_SILENT_MS;
use gfs_types::message::control::{Registration, ReplicaReport, ReplicaState, Space};
use gfs_types::mutants::{Mutant, runs};
use gfs_types::time::Instant;
use gfs_types::topology::Topology;

use crate::Link;
use crate::placement::Candidate;
use crate::replicas::{Replicas, RunNumber, Told};

/// Chunks that one step of the search for lost replicas looks at: a millisecond or two.
const SEARCHED_MAX: usize = 1 << 13;

/// The number of a chunkserver within this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServerIndex(u32);

/// One chunkserver.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) uid: ServerUid,
    /// Its newest run; messages of an older one change nothing (D5).
    pub(crate) session: ProcessSession,
    /// The stream it speaks over, while there is one.
    pub(crate) link: Option<Link>,
    pub(crate) address: String,
    pub(crate) http_address: String,
    pub(crate) topology: Topology,
    pub(crate) space: Space,
    pub(crate) heard: Instant,
    /// When it came or went last.
    pub(crate) changed: Instant,
    /// Since it came it told all that it holds.
    pub(crate) reported: bool,
    /// Replicas it was given lately; halved as time goes by.
    pub(crate) recent: u32,
    /// What it tells now belongs to this.
    run: RunNumber,
    /// Earlier runs with replicas that it did not name again yet.
    older: BTreeSet<RunNumber>,
}

impl Server {
    /// In touch: it can be offered for reads and new chunks.
    pub(crate) fn alive(&self, now: Instant) -> bool {
        self.link.is_some() && now < self.heard + CHUNKSERVER_SILENT_MS
    }

    /// As one that could take a replica.
    pub(crate) fn candidate(&self, index: ServerIndex) -> Candidate<'_, ServerIndex> {
        let Self { topology, space, recent, .. } = self;
        Candidate { server: index, topology, space: *space, recent: *recent }
    }
}

/// One replica as last reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replica {
    pub(crate) server: ServerIndex,
    pub(crate) version: ChunkVersion,
    pub(crate) length: u64,
    pub(crate) state: ReplicaState,
}

#[derive(Debug, Default)]
pub(crate) struct Registry {
    servers: Vec<Server>,
    by_uid: BTreeMap<ServerUid, ServerIndex>,
    by_link: BTreeMap<Link, ServerIndex>,
    /// By their numbers.
    runs: Vec<Run>,
    /// Numbers that are of no run: low ones take less room, and are taken first.
    free_runs: BTreeSet<RunNumber>,
    told: Replicas,
    /// Where the search for what was lost goes on.
    searched: ChunkHandle,
    /// Replicas that a client saw bad bytes of, and until when that counts.
    accused: BTreeMap<(ChunkHandle, ServerIndex), Instant>,
    /// Chunks of which a server came back without its replica.
    lost: BTreeSet<ChunkHandle>,
}

/// One registration.
#[derive(Debug)]
struct Run {
    server: ServerIndex,
    /// Replicas that were told under it, and not under a later one.
    replicas: u64,
}

/// A chunkserver was taken in.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) index: ServerIndex,
    /// The stream it spoke over before, if that was not known to have ended.
    pub(crate) old_link: Option<Link>,
}

impl Registry {
    pub(crate) fn get(&self, index: ServerIndex) -> &Server {
        &self.servers[index.0 as usize]
    }

    pub(crate) fn get_mut(&mut self, index: ServerIndex) -> &mut Server {
        &mut self.servers[index.0 as usize]
    }

    pub(crate) fn by_uid(&self, uid: ServerUid) -> Option<ServerIndex> {
        self.by_uid.get(&uid).copied()
    }

    pub(crate) fn by_link(&self, link: Link) -> Option<ServerIndex> {
        self.by_link.get(&link).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.servers.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ServerIndex, &Server)> {
        (0..).map(ServerIndex).zip(&self.servers)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Server> {
        self.servers.iter_mut()
    }

    /// Takes a run of a chunkserver in. What it holds is forgotten until it tells again.
    ///
    /// # Errors
    /// `Stale` when a newer run is known.
    pub(crate) fn register(
        &mut self,
        now: Instant,
        link: Link,
        who: &Registration,
    ) -> Result<Registered, Error> {
        let index = match self.by_uid(who.chunkserver) {
            Some(index) => index,
            None => self.add(who),
        };
        let known = self.get(index).session;
        if who.session < known {
            return Err(Error::stale(format!(
                "chunkserver {} has registered its run {}: run {} is over and must end",
                who.chunkserver, known.0, who.session.0
            )));
        }
        self.begin_run(index);
        let server = self.get_mut(index);
        let old_link = server.link.replace(link).filter(|old| *old != link);
        server.session = who.session;
        server.address.clone_from(&who.address);
        server.http_address.clone_from(&who.http_address);
        server.topology = who.topology.clone();
        server.space = who.space;
        server.heard = now;
        server.changed = now;
        server.reported = false;
        if let Some(old) = old_link {
            self.by_link.remove(&old);
        }
        self.by_link.insert(link, index);
        Ok(Registered { index, old_link })
    }

    fn add(&mut self, who: &Registration) -> ServerIndex {
        let index =
            ServerIndex(u32::try_from(self.servers.len()).expect("fewer than 2^32 servers"));
        let run = self.new_run(index);
        self.servers.push(Server {
            uid: who.chunkserver,
            session: who.session,
            link: None,
            address: String::new(),
            http_address: String::new(),
            topology: Topology::default(),
            space: Space::default(),
            heard: Instant::default(),
            changed: Instant::default(),
            reported: false,
            recent: 0,
            run,
            older: BTreeSet::new(),
        });
        self.by_uid.insert(who.chunkserver, index);
        index
    }

    /// A stream ended. What the chunkserver holds stays known: its process may live.
    pub(crate) fn unlink(&mut self, now: Instant, link: Link) -> Option<ServerIndex> {
        let index = self.by_link.remove(&link)?;
        let server = self.get_mut(index);
        server.link = None;
        server.changed = now;
        Some(index)
    }

    fn run(&self, number: RunNumber) -> &Run {
        &self.runs[number.0 as usize]
    }

    fn run_mut(&mut self, number: RunNumber) -> &mut Run {
        &mut self.runs[number.0 as usize]
    }

    fn new_run(&mut self, server: ServerIndex) -> RunNumber {
        let run = Run { server, replicas: 0 };
        if let Some(number) = self.free_runs.pop_first() {
            *self.run_mut(number) = run;
            return number;
        }
        let number = RunNumber(u32::try_from(self.runs.len()).expect("fewer than 2^32 runs"));
        self.runs.push(run);
        number
    }

    /// What a server told until now counts no more.
    fn begin_run(&mut self, index: ServerIndex) {
        let before = self.get(index).run;
        if self.run(before).replicas > 0 {
            let run = self.new_run(index);
            let server = self.get_mut(index);
            server.older.insert(before);
            server.run = run;
        }
    }

    /// A replica less was told under this run. Without any, an older one is over.
    fn one_less(&mut self, number: RunNumber) {
        let run = self.run_mut(number);
        let server = run.server;
        run.replicas -= 1;
        if run.replicas == 0 && self.get_mut(server).older.remove(&number) {
            self.free_runs.insert(number);
        }
    }

    /// Replicas of a server, of all chunks.
    pub(crate) fn replicas_on(&self, server: ServerIndex) -> u64 {
        self.run(self.get(server).run).replicas
    }

    /// What servers told since they came last.
    pub(crate) fn replicas(&self, handle: ChunkHandle) -> impl Iterator<Item = Replica> + '_ {
        self.told.of(handle).filter_map(|Told { run, version, length, state }| {
            let server = self.run(run).server;
            (self.get(server).run == run || runs(Mutant::EarlierRunsCount)).then_some(Replica {
                server,
                version,
                length,
                state,
            })
        })
    }

    /// In whichever run.
    fn told_by(&self, server: ServerIndex, handle: ChunkHandle) -> Option<Told> {
        self.told.of(handle).find(|told| self.run(told.run).server == server)
    }

    pub(crate) fn replica_on(&self, server: ServerIndex, handle: ChunkHandle) -> Option<Replica> {
        self.replicas(handle).find(|replica| replica.server == server)
    }

    /// A replica as its server sees it now; never an older version than was heard before from the same run.
    pub(crate) fn report(&mut self, server: ServerIndex, report: &ReplicaReport) {
        let ReplicaReport { handle, version, length, state } = *report;
        let run = self.get(server).run;
        let fresh = Told { run, version, length, state };
        match self.told_by(server, handle) {
            Some(known) if known == fresh || (known.run == run && known.version > version) => {}
            Some(known) if known.run == run => self.told.change(handle, |all| {
                all.iter_mut().filter(|one| one.run == run).for_each(|one| *one = fresh);
            }),
            Some(Told { run: before, .. }) => {
                self.told.change(handle, |all| {
                    all.retain(|one| one.run != before);
                    all.push(fresh);
                });
                self.run_mut(run).replicas += 1;
                self.one_less(before);
            }
            None => {
                self.told.add(handle, fresh);
                self.run_mut(run).replicas += 1;
            }
        }
        if !self.accused.is_empty() {
            self.accused.remove(&(handle, server));
        }
    }

    /// Its server deleted it, or lost it.
    pub(crate) fn forget(&mut self, server: ServerIndex, handle: ChunkHandle) {
        if let Some(Told { run, .. }) = self.told_by(server, handle) {
            self.told.change(handle, |all| all.retain(|one| one.run != run));
            self.one_less(run);
        }
    }

    /// It told all that it holds. What it was known to hold and did not name is lost: [`Self::search_lost`] finds it.
    pub(crate) fn told_all(&mut self, server: ServerIndex) {
        self.get_mut(server).reported = true;
    }

    /// Looks through some of the chunks for replicas that their servers came back without. Gives those that were found now.
    pub(crate) fn search_lost(&mut self) -> Vec<ChunkHandle> {
        let missed: BTreeSet<RunNumber> = self
            .servers
            .iter()
            .filter(|one| one.reported)
            .flat_map(|one| &one.older)
            .copied()
            .collect();
        if missed.is_empty() {
            return Vec::new();
        }
        let (some, next) = self.told.some_from(self.searched, SEARCHED_MAX);
        // Round and round, until there is none: what moves from behind to before is found the next time.
        self.searched = next.unwrap_or_default();
        let mut lost = Vec::new();
        for handle in some {
            let runs = self.told.of(handle).map(|told| told.run);
            let runs: Vec<_> = runs.filter(|run| missed.contains(run)).collect();
            for run in &runs {
                self.told.change(handle, |all| all.retain(|one| one.run != *run));
                self.one_less(*run);
            }
            lost.extend((!runs.is_empty()).then_some(handle));
        }
        self.lost.extend(&lost);
        lost
    }

    /// Each server has at most one replica of a chunk, and as many in all as its runs say; numbers that are free are nobody's.
    pub(crate) fn is_consistent(&self) -> bool {
        let mut counted: BTreeMap<RunNumber, u64> = BTreeMap::new();
        let (all, _) = self.told.some_from(ChunkHandle(0), usize::MAX);
        for handle in all {
            let mut servers = BTreeSet::new();
            for told in self.told.of(handle) {
                *counted.entry(told.run).or_default() += 1;
                if !servers.insert(self.run(told.run).server) {
                    return false;
                }
            }
        }
        let right = |(number, run): (RunNumber, &Run)| {
            let server = self.get(run.server);
            let replicas = counted.get(&number).copied().unwrap_or(0);
            match self.free_runs.contains(&number) {
                true => replicas == 0 && server.run != number && !server.older.contains(&number),
                false if server.run == number => replicas == run.replicas,
                false => server.older.contains(&number) && replicas == run.replicas && replicas > 0,
            }
        };
        (0..).map(RunNumber).zip(&self.runs).all(right) && self.told.is_consistent()
    }

    /// Whether a server came back without its replica, and nobody has one in its place yet.
    pub(crate) fn lacks_a_lost(&self, handle: ChunkHandle) -> bool {
        self.lost.contains(&handle)
    }

    /// It has as many replicas as it wants, or is no more.
    pub(crate) fn forget_lost(&mut self, handle: ChunkHandle) {
        self.lost.remove(&handle);
    }
}

#[cfg(test)]
mod tests;
