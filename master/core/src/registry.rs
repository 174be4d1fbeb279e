//! Chunkservers as they are now, and the replicas they reported. Soft: learned again after a start (§2.6.2).

use std::collections::{BTreeMap, BTreeSet};

use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ProcessSession, ServerUid};
use gfs_types::limits::CHUNKSERVER_SILENT_MS;
use gfs_types::message::control::{Registration, ReplicaReport, ReplicaState, Space};
use gfs_types::time::Instant;
use gfs_types::topology::Topology;
use gfs_types::{DurationMs, Error};

use crate::Link;
use crate::placement::Candidate;

/// So long an accusation counts that the server does not confirm.
const ACCUSED_MS: DurationMs = DurationMs(10_000);

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
    /// Chunks it was known to hold, and did not name yet since it came.
    pub(crate) unnamed: BTreeSet<ChunkHandle>,
    /// Replicas it was given lately; halved as time goes by.
    pub(crate) recent: u32,
    replicas: BTreeSet<ChunkHandle>,
}

impl Server {
    /// In touch: it can be offered for reads and new chunks.
    pub(crate) fn alive(&self, now: Instant) -> bool {
        self.link.is_some() && now < self.heard + CHUNKSERVER_SILENT_MS
    }

    pub(crate) fn replicas(&self) -> u64 {
        self.replicas.len() as u64
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
    replicas: BTreeMap<ChunkHandle, Vec<Replica>>,
    /// Replicas that a client saw bad bytes of, and until when that counts.
    accused: BTreeMap<(ChunkHandle, ServerIndex), Instant>,
    /// Chunks of which a server came back without its replica.
    lost: BTreeSet<ChunkHandle>,
}

/// A chunkserver was taken in.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) index: ServerIndex,
    /// The stream it spoke over before, if that was not known to have ended.
    pub(crate) old_link: Option<Link>,
    /// What it was known to hold, before it tells again.
    pub(crate) held: BTreeSet<ChunkHandle>,
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
        let held = self.forget_replicas(index);
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
        server.unnamed.extend(&held);
        if let Some(old) = old_link {
            self.by_link.remove(&old);
        }
        self.by_link.insert(link, index);
        Ok(Registered { index, old_link, held })
    }

    fn add(&mut self, who: &Registration) -> ServerIndex {
        let index =
            ServerIndex(u32::try_from(self.servers.len()).expect("fewer than 2^32 servers"));
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
            unnamed: BTreeSet::new(),
            recent: 0,
            replicas: BTreeSet::new(),
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

    pub(crate) fn replicas(&self, handle: ChunkHandle) -> &[Replica] {
        self.replicas.get(&handle).map_or(&[], Vec::as_slice)
    }

    /// A replica as its server sees it now; never an older version than was heard before from the same run.
    pub(crate) fn report(&mut self, server: ServerIndex, report: &ReplicaReport) {
        let ReplicaReport { handle, version, length, state } = *report;
        let replicas = self.replicas.entry(handle).or_default();
        let fresh = Replica { server, version, length, state };
        match replicas.iter_mut().find(|replica| replica.server == server) {
            Some(known) if known.version > version => {}
            Some(known) => *known = fresh,
            None => replicas.push(fresh),
        }
        let its = self.get_mut(server);
        its.replicas.insert(handle);
        its.unnamed.remove(&handle);
        self.accused.remove(&(handle, server));
    }

    /// Its server deleted it, or lost it.
    pub(crate) fn forget(&mut self, server: ServerIndex, handle: ChunkHandle) {
        self.get_mut(server).replicas.remove(&handle);
        if let Some(replicas) = self.replicas.get_mut(&handle) {
            replicas.retain(|replica| replica.server != server);
            if replicas.is_empty() {
                self.replicas.remove(&handle);
            }
        }
    }

    /// A client saw bad bytes there. Its server looks itself and has the last word: what it reports, and time, end this.
    pub(crate) fn accuse(&mut self, now: Instant, server: ServerIndex, handle: ChunkHandle) {
        self.accused.insert((handle, server), now + ACCUSED_MS);
    }

    pub(crate) fn is_accused(
        &self,
        now: Instant,
        server: ServerIndex,
        handle: ChunkHandle,
    ) -> bool {
        self.accused.get(&(handle, server)).is_some_and(|until| now < *until)
    }

    pub(crate) fn sweep_accused(&mut self, now: Instant) {
        self.accused.retain(|_, until| now < *until);
    }

    /// It told all that it holds. Gives what it was known to hold and has no more.
    pub(crate) fn told_all(&mut self, server: ServerIndex) -> BTreeSet<ChunkHandle> {
        let its = self.get_mut(server);
        its.reported = true;
        let lost = std::mem::take(&mut its.unnamed);
        self.lost.extend(&lost);
        lost
    }

    /// Whether a server came back without its replica, and nobody has one in its place yet.
    pub(crate) fn lacks_a_lost(&self, handle: ChunkHandle) -> bool {
        self.lost.contains(&handle)
    }

    /// It has as many replicas as it wants, or is no more.
    pub(crate) fn forget_lost(&mut self, handle: ChunkHandle) {
        self.lost.remove(&handle);
    }

    fn forget_replicas(&mut self, index: ServerIndex) -> BTreeSet<ChunkHandle> {
        let held = std::mem::take(&mut self.get_mut(index).replicas);
        for handle in &held {
            self.forget(index, *handle);
        }
        held
    }
}
