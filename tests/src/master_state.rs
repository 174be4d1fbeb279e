//! States of a master that would take hours to reach through its door: many files, each with a name of 20 bytes and one
//! chunk of three replicas, a thousand files a directory.

use anyhow::{Context, Result};
use gfs_master_core::record::{Change, Record};
use gfs_master_core::{Durable, Input, Link, Master, Settings};
use gfs_types::fence::{ChunkVersion, MasterEpoch};
use gfs_types::ids::{ChunkHandle, ClusterUid, FileId, ProcessSession, ROOT, ServerUid};
use gfs_types::limits;
use gfs_types::message::client::Attributes;
use gfs_types::message::control::{
    FromChunkserver, Registration, ReplicaReport, ReplicaState, Space,
};
use gfs_types::region::{ChunkIndex, ChunkSize};
use gfs_types::time::{Instant, WallTime};

/// When everything happened.
pub const WALL: WallTime = WallTime { ms: 1_700_000_000_000 };

const CLUSTER: ClusterUid = ClusterUid(1);
const EPOCH: MasterEpoch = MasterEpoch(1);
const FILES_EACH: u64 = 1000;
const FILE_BYTES: u64 = 4096;
const SERVERS: [u128; 3] = [1, 2, 3];
const REPLICAS: u8 = 3;
/// Places of directories that every cluster has lie below this.
const FIRST_IDS: u64 = 64;

/// A cluster that was just formatted.
///
/// # Errors
/// Never, as long as that is how a log begins.
pub fn formatted() -> Result<Durable> {
    let mut state = Durable::blank();
    let (cluster, chunk_size) = (CLUSTER, ChunkSize::default());
    apply(&mut state, EPOCH, Change::Formatted { cluster, chunk_size })?;
    Ok(state)
}

/// A master that serves a state to which [`fill`] gave so many files, all replicas of which were reported.
#[must_use]
pub fn serve(state: Durable, files: u64) -> Master {
    let mut master = Master::new(Settings::default(), state);
    step(&mut master, Input::Serve { epoch: EPOCH });
    for server in SERVERS {
        report_all(&mut master, server, files);
    }
    master
}

/// What the names of a directory have in common. A name is 20 bytes long, whichever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Numbers: neighbours share all but their last digits.
    Counted,
    /// Nothing: neighbours share what chance gives them.
    Scattered,
}

/// The path of a file of [`fill`].
#[must_use]
pub fn path(names: Names, number: u64) -> String {
    format!("/{}/{}", directory_name(number / FILES_EACH), names.of(number))
}

fn directory_name(number: u64) -> String {
    format!("directory-{number:010}")
}

impl Names {
    fn of(self, number: u64) -> String {
        match self {
            Self::Counted => format!("file-{number:015}"),
            Self::Scattered => {
                let scattered = scatter(number);
                format!("{scattered:016x}{:04x}", scatter(scattered) >> 48)
            }
        }
    }
}

/// The finalizer of `SplitMix64`: no two numbers give the same.
const fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Puts files into the state of a new cluster, by records as live requests would leave them.
///
/// # Errors
/// This is not the state of a new cluster.
pub fn fill(state: &mut Durable, files: u64, names: Names) -> Result<()> {
    let epoch = state.epoch();
    let mut next_id = next_id(state)?;
    let mut next_handle = state.counts().chunks + 1;
    let mut directory = ROOT;
    for number in 0..files {
        if number.is_multiple_of(FILES_EACH) {
            directory = FileId(next_id);
            next_id += 1;
            let name = directory_name(number / FILES_EACH);
            let made = vec![(directory, name)];
            apply(state, epoch, Change::DirectoriesMade { parent: ROOT, made })?;
        }
        let (file, handle) = (FileId(next_id), ChunkHandle(next_handle));
        (next_id, next_handle) = (next_id + 1, next_handle + 1);
        apply(state, epoch, created(file, directory, names.of(number)))?;
        let (index, members) = (ChunkIndex(0), SERVERS.map(ServerUid).to_vec());
        apply(state, epoch, Change::ChunkAllocated { file, index, handle, members })?;
        apply(state, epoch, Change::ChunkBorn { handle })?;
        apply(state, epoch, Change::LengthSet { file, length: FILE_BYTES, attributes: None })?;
    }
    Ok(())
}

fn created(file: FileId, parent: FileId, name: String) -> Change {
    let attributes = Attributes { modified: WALL, executable: false };
    Change::Created { file, parent, name, replication: REPLICAS, attributes }
}

/// The first id that was never given: ids of new entries are those at the end of the table.
fn next_id(state: &Durable) -> Result<u64> {
    let fits = |id: &u64| {
        let made = vec![(FileId(*id), "tried".to_owned())];
        apply(&mut state.clone(), state.epoch(), Change::DirectoriesMade { parent: ROOT, made })
            .is_ok()
    };
    (0..FIRST_IDS).find(fits).context("this is not the state of a new cluster")
}

fn apply(state: &mut Durable, epoch: MasterEpoch, change: Change) -> Result<()> {
    let record = Record { wall: WALL, request: None, change };
    Ok(state.apply(state.position().next(), epoch, &record)?)
}

/// A server registers and tells of a replica of every chunk.
fn report_all(master: &mut Master, server: u128, chunks: u64) {
    let link = Link(u64::try_from(server).unwrap_or_default());
    let registration = Registration {
        cluster: Some(CLUSTER),
        chunkserver: ServerUid(server),
        session: ProcessSession(1),
        address: format!("server-{server}:7500"),
        http_address: format!("server-{server}:7501"),
        topology: format!("zone/host-{server}/disk").parse().unwrap_or_default(),
        space: Space { capacity_bytes: 1 << 50, free_bytes: 1 << 49 },
        epoch: EPOCH,
        leases: Vec::new(),
    };
    step(master, Input::Chunkserver { link, message: FromChunkserver::Register(registration) });
    let page = limits::REPORT_PAGE_MAX as u64;
    for first in (1..=chunks).step_by(limits::REPORT_PAGE_MAX) {
        let last = chunks.min(first + page - 1);
        let replicas = (first..=last).map(|handle| ReplicaReport {
            handle: ChunkHandle(handle),
            version: ChunkVersion(1),
            length: FILE_BYTES,
            state: ReplicaState::Clean,
        });
        let replicas = replicas.collect();
        let message = FromChunkserver::ReportPage { replicas, last: last == chunks };
        step(master, Input::Chunkserver { link, message });
    }
}

fn step(master: &mut Master, input: Input) {
    master.step(Instant::from_ms(1000), WALL, input, &mut Vec::new());
}
