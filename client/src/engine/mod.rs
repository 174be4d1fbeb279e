//! Takes the steps that sessions decide on: the only place where links, caches and clocks meet.

mod length;
mod master;
mod mutate;
pub(crate) mod read;
mod sync;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gfs_types::fence::{ChunkVersion, MasterEpoch};
use gfs_types::ids::{ChunkHandle, DataId, FileId};
use gfs_types::limits::WRITE_PIECES_MAX;
use gfs_types::message::data::Target;
use gfs_types::region::ChunkSize;
use gfs_types::time::Instant as CoreInstant;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub(crate) use master::Doing;
pub(crate) use mutate::{Appended, MutationOf, Order};

use crate::data_link::DataLinks;
use crate::error::{Error, Result};
use crate::locations::Locations;
use crate::lock;
use crate::master_link::{MasterLink, Sessions};
use crate::options::Options;
use crate::record::WriterId;
use crate::records::Ways;
use crate::retry::Failure;

/// Everything one client has.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) options: Options,
    pub(crate) master: MasterLink,
    pub(crate) sessions: Sessions,
    pub(crate) data: DataLinks,
    pub(crate) chunk_size: ChunkSize,
    pub(crate) record_ways: Ways,
    /// Places that the writers share, see [`WRITE_PIECES_MAX`].
    pub(crate) pieces: Arc<Semaphore>,
    locations: Mutex<Locations>,
    data_client: u64,
    data_seq: AtomicU64,
    writers: AtomicU64,
    seeds: AtomicU64,
    started: Instant,
}

impl Engine {
    pub(crate) fn new(
        options: Options,
        master: MasterLink,
        data: DataLinks,
        chunk_size: ChunkSize,
        random: u64,
    ) -> Self {
        Self {
            options,
            master,
            sessions: Sessions::default(),
            data,
            chunk_size,
            record_ways: Ways::default(),
            pieces: Arc::new(Semaphore::new(WRITE_PIECES_MAX)),
            locations: Mutex::default(),
            data_client: random,
            data_seq: AtomicU64::new(1),
            writers: AtomicU64::new(0),
            seeds: AtomicU64::new(random),
            started: Instant::now(),
        }
    }

    /// When an operation that begins now has to be over.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.options.timeout
    }

    /// A number for the pauses of one operation.
    pub(crate) fn seed(&self) -> u64 {
        self.seeds.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }

    /// Looks into, or changes, what is remembered; the time is handed in.
    pub(crate) fn remembered<T>(&self, look: impl FnOnce(&mut Locations, CoreInstant) -> T) -> T {
        let nanos = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        look(&mut lock(&self.locations), CoreInstant { nanos })
    }

    /// The length that this client was told of.
    pub(crate) fn known_length(&self, file: FileId) -> u64 {
        lock(&self.locations).length(file)
    }

    /// Names for so many pushes, one after the other.
    fn data_ids(&self, count: u64) -> DataId {
        DataId { client: self.data_client, seq: self.data_seq.fetch_add(count, Ordering::Relaxed) }
    }

    /// A new writer of records, unlike any other: this client is 128 random bits.
    pub(crate) fn writer_id(&self) -> WriterId {
        let count = self.writers.fetch_add(1, Ordering::Relaxed);
        WriterId(self.data.me().0.wrapping_add(u128::from(count)))
    }

    /// The time a server is given is put in when the request leaves.
    fn target(&self, handle: ChunkHandle, version: ChunkVersion, epoch: MasterEpoch) -> Target {
        Target { handle, version, epoch, left_ms: 0 }
    }

    /// The epoch of the master this client follows.
    pub(crate) fn epoch(&self) -> MasterEpoch {
        self.master.welcome().map_or(MasterEpoch(0), |welcome| welcome.record.epoch)
    }

    /// Asks one server about a replica, without trying again.
    pub(crate) async fn ask_plain(
        &self,
        server: &gfs_types::message::client::ReplicaLocation,
        (handle, version): (ChunkHandle, ChunkVersion),
        request: gfs_types::message::data::DataRequest,
        deadline: Instant,
    ) -> std::result::Result<crate::data_link::Answer, Failure> {
        let target = self.target(handle, version, self.epoch());
        self.data.ask(server, crate::data_link::Ask::plain(target, request), deadline, None).await
    }

    /// Pauses, but not past the deadline.
    async fn pause(&self, ms: u64, deadline: Instant) {
        tokio::time::sleep_until(deadline.min(Instant::now() + Duration::from_millis(ms))).await;
    }

    pub(crate) fn timed_out(&self, doing: &str, last: &str, outcome_unknown: bool) -> Error {
        Error::TimedOut {
            doing: doing.to_owned(),
            timeout: self.options.timeout,
            last: last.to_owned(),
            outcome_unknown,
        }
    }
}

/// When one attempt is given up in favour of another, within the deadline of the whole.
fn attempt_until(deadline: Instant, limit: Duration) -> Instant {
    deadline.min(Instant::now() + limit)
}

/// An answer of another kind than the request has.
pub(crate) fn defect<T>(doing: Doing<'_>, answer: &impl std::fmt::Debug) -> Result<T> {
    let reason = format!("unexpected answer {answer:?}");
    Err(Error::Defect { doing: doing.to_string(), reason })
}

/// As [`defect`], where a session decides what follows.
fn odd_answer(answer: &impl std::fmt::Debug) -> Failure {
    Failure::Refused(gfs_types::Error::internal(format!("unexpected answer {answer:?}")))
}
