//! What is said to a master, and what its answers and commands mean: without a stream, a clock or a runtime.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gfs_chunkserver_core::Input;
use gfs_chunkserver_core::fence::Verdict;
use gfs_chunkserver_core::report::Holdings;
use gfs_types::DurationMs;
use gfs_types::fence::MasterEpoch;
use gfs_types::message::control::{
    Command, FromChunkserver, HeldLease, Registration, Space, ToChunkserver,
};
use gfs_types::region::ChunkSize;
use gfs_types::time::Instant;

use super::{Identity, Obeyed, ObeyedError};
use crate::driver::DriverHandle;

/// Why a stream must end.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// What the master said, or is.
    #[error("{0}")]
    Said(String),
    /// The epoch of the master cannot be made durable: the process must end.
    #[error(transparent)]
    Disk(#[from] ObeyedError),
}

/// What is known of the talk with the masters. One stream follows another.
pub struct Conversation {
    identity: Identity,
    obeyed: Obeyed,
    driver: DriverHandle,
    holdings: Arc<Mutex<Holdings>>,
    /// When each heartbeat of this stream was sent that is not answered.
    sent: BTreeMap<u64, Instant>,
    seq: u64,
}

impl Conversation {
    /// Of this server, before the first stream.
    #[must_use]
    pub fn new(
        identity: Identity,
        obeyed: Obeyed,
        driver: DriverHandle,
        holdings: Arc<Mutex<Holdings>>,
    ) -> Self {
        Self { identity, obeyed, driver, holdings, sent: BTreeMap::new(), seq: 0 }
    }

    /// The highest epoch that was obeyed.
    #[must_use]
    pub fn epoch(&self) -> MasterEpoch {
        self.obeyed.epoch()
    }

    /// How many replicas and leases there are.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let holdings = self.holdings();
        (holdings.count(), holdings.lease_count())
    }

    fn holdings(&self) -> MutexGuard<'_, Holdings> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first message of a stream.
    #[must_use]
    pub fn register(&self, now: Instant, space: Space) -> Registration {
        registration(&self.identity, self.obeyed.epoch(), space, self.holdings().held(now))
    }

    /// Takes the answer to the registration: how often to send heartbeats.
    ///
    /// # Errors
    /// It is no welcome of the own cluster's master.
    pub fn welcomed(&mut self, answer: &ToChunkserver) -> Result<Duration, Ended> {
        let heartbeat =
            welcomed(answer, &self.identity, self.obeyed.chunk_size()).map_err(Ended::Said)?;
        // Only now: the epoch of a foreign master would shut out the own one for ever.
        self.admit(answer)?;
        (self.sent, self.seq) = (BTreeMap::new(), 0);
        Ok(heartbeat)
    }

    /// Everything that is here: what follows a welcome.
    #[must_use]
    pub fn report(&self) -> Vec<FromChunkserver> {
        let pages = self.holdings().pages();
        let count = pages.len();
        let page = |(index, replicas)| {
            let last = index + 1 == count;
            FromChunkserver::ReportPage { replicas, last }
        };
        pages.into_iter().enumerate().map(page).collect()
    }

    /// One heartbeat. Leases it extends run from this moment (raise-7).
    #[must_use]
    pub fn beat(&mut self, now: Instant, space: Space) -> FromChunkserver {
        let (changed, extend) = {
            let mut holdings = self.holdings();
            (holdings.take_changed(), holdings.to_extend(now))
        };
        self.seq += 1;
        self.sent.insert(self.seq, now);
        FromChunkserver::Heartbeat { seq: self.seq, space, changed, extend }
    }

    /// Whether a command may be obeyed; its epoch is durable then.
    fn admit(&mut self, command: &ToChunkserver) -> Result<bool, Ended> {
        match self.obeyed.judge(command)? {
            Verdict::Refuse(error) => Err(Ended::Said(error.message)),
            Verdict::Drop => Ok(false),
            Verdict::Obey | Verdict::PersistFirst(_) => Ok(true),
        }
    }

    /// Takes a command; says whether it answers a heartbeat.
    ///
    /// # Errors
    /// The stream must end.
    pub fn obey(&mut self, command: ToChunkserver) -> Result<bool, Ended> {
        if let Command::Refused(error) = &command.command {
            return Err(Ended::Said(error.message.clone()));
        }
        if !self.admit(&command)? {
            return Ok(false);
        }
        let epoch = command.epoch;
        let driver = &self.driver;
        match command.command {
            Command::HeartbeatAnswer { seq, extended, lease_ms } => {
                if let Some(at) = self.sent.get(&seq) {
                    driver.extended(extended, *at + DurationMs(lease_ms));
                }
                self.sent = self.sent.split_off(&(seq + 1));
                return Ok(true);
            }
            Command::CreateReplica { handle, version } => {
                let chunk_size = self.obeyed.chunk_size();
                driver.command(handle, Input::Create { version, epoch, chunk_size });
            }
            Command::Raise { handle, version, from } => {
                driver.command(handle, Input::Raise { version, from, epoch });
            }
            Command::GrantLease { handle, version, members, lease_ms, start, brief, alone } => {
                let lease_ms = DurationMs(lease_ms);
                let grant = Input::Grant { version, members, lease_ms, start, brief, alone };
                driver.command(handle, grant);
            }
            Command::Teach { handle, version, learner } => {
                driver.command(handle, Input::Teach { version, learner });
            }
            Command::RevokeLease { handle, version } => {
                driver.command(handle, Input::Revoke { version });
            }
            Command::DeleteReplica { handle, version } => {
                driver.command(handle, Input::Delete { version });
            }
            // A second welcome says nothing new.
            Command::Welcome { .. } | Command::Refused(_) => {}
        }
        Ok(false)
    }
}

/// Whether the first answer welcomes this server, into the cluster it belongs to.
fn welcomed(
    answer: &ToChunkserver,
    identity: &Identity,
    chunk_size: ChunkSize,
) -> Result<Duration, String> {
    if let Command::Refused(error) = &answer.command {
        return Err(error.message.clone());
    }
    let Command::Welcome { cluster, chunk_bytes, heartbeat_ms, .. } = answer.command else {
        return Err("the first answer is no welcome".to_owned());
    };
    if answer.session != identity.session {
        return Err(format!("this master welcomes session {}", answer.session.0));
    }
    if identity.cluster != Some(cluster) {
        return Err(format!("this master belongs to cluster {cluster}"));
    }
    if chunk_bytes != chunk_size.bytes() {
        return Err(format!("this master says that chunks have {chunk_bytes} bytes"));
    }
    Ok(Duration::from_millis(heartbeat_ms.max(10)))
}

/// A registration of this server.
pub(super) fn registration(
    identity: &Identity,
    epoch: MasterEpoch,
    space: Space,
    leases: Vec<HeldLease>,
) -> Registration {
    Registration {
        cluster: identity.cluster,
        chunkserver: identity.chunkserver,
        session: identity.session,
        address: identity.address.clone(),
        http_address: identity.http_address.clone(),
        topology: identity.topology.clone(),
        space,
        epoch,
        leases,
    }
}

#[cfg(test)]
mod tests {
    use gfs_types::ids::{ClusterUid, ProcessSession, ServerUid};

    use super::*;

    #[test]
    fn only_a_welcome_to_this_run_into_the_own_cluster_counts() {
        let identity = Identity {
            cluster: Some(ClusterUid(1)),
            chunkserver: ServerUid(2),
            session: ProcessSession(3),
            address: String::new(),
            http_address: String::new(),
            topology: "zone/host/disk".parse().expect("a topology"),
        };
        let chunk_size = ChunkSize::new(1 << 20).expect("a chunk size");
        let judge = |session, cluster, chunk_bytes| {
            let command = Command::Welcome {
                cluster: ClusterUid(cluster),
                master_session: ProcessSession(1),
                chunk_bytes,
                heartbeat_ms: 500,
            };
            let session = ProcessSession(session);
            let answer = ToChunkserver { epoch: MasterEpoch(9), session, command };
            welcomed(&answer, &identity, chunk_size)
        };
        assert_eq!(judge(3, 1, 1 << 20), Ok(Duration::from_millis(500)));
        assert!(judge(4, 1, 1 << 20).is_err_and(|why| why.contains("session 4")));
        assert!(judge(3, 2, 1 << 20).is_err_and(|why| why.contains("cluster")));
        assert!(judge(3, 1, 2 << 20).is_err_and(|why| why.contains("chunks")));
    }
}
