//! The master: its core, the rule of group commit, the operation log and the checkpoints, over a disk and a clock that are
//! simulated.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use gfs_durable::data_dir::{DataDir, Opened};
use gfs_durable::fs::Fs;
use gfs_durable::fs::sim::SimFs;
use gfs_durable::log::{Log, LogOptions};
use gfs_master::lifecycle::{self, NewCluster};
use gfs_master::oplog::{self, Recovered};
use gfs_master::release::{Batch, GroupCommit};
use gfs_master_core::record::Change;
use gfs_master_core::{Connection, Effect, Input, Link, Master, Record, Settings, invariants};
use gfs_membership::record::ConfigRecord;
use gfs_membership::store::file::FileStore;
use gfs_types::DurationMs;
use gfs_types::fence::LogPosition;
use gfs_types::ids::ServerUid;

use crate::agenda::Micros;
use crate::clock::NodeClock;
use crate::random::Random;
use crate::room::{OwnRoom, can_wait};
use crate::server::Cluster;
use crate::swarm::Swarm;

pub(crate) const DIR: &str = "/master";
/// The whole state is checked after so many steps.
const CHECKED_EVERY: u64 = 256;
/// Longer than any record of these workloads.
const RECORD_BYTES_MAX: usize = 64 << 10;

/// A machine with a master's disk, and its process while there is one.
pub(crate) struct MasterNode {
    pub(crate) fs: SimFs,
    pub(crate) clock: NodeClock,
    pub(crate) run: u32,
    pub(crate) up: Option<Process>,
    pub(crate) paused_until: Micros,
    cluster: Cluster,
    swarm: Swarm,
    random: Random,
    /// The last position that anybody was told something about.
    pub(crate) told: LogPosition,
    steps: u64,
}

/// A running master.
pub(crate) struct Process {
    pub(crate) uid: ServerUid,
    pub(crate) record: ConfigRecord,
    pub(crate) core: Master,
    pub(crate) log: Log,
    group: GroupCommit<Effect>,
    /// What is being synced, or waits for space.
    pub(crate) flushing: Option<Batch>,
    pub(crate) room: OwnRoom,
    pub(crate) inbox: Vec<Input>,
    pub(crate) step_planned: bool,
    pub(crate) connections: BTreeMap<Connection, u64>,
    pub(crate) links: BTreeMap<Link, u64>,
    numbers: u64,
    pub(crate) bytes_since_checkpoint: u64,
    pub(crate) last_flush: Micros,
    marked: bool,
    _held: (DataDir, FileStore),
}

/// What a step or a flush led to.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// To be let out, in order.
    pub(crate) effects: Vec<Effect>,
    /// The log has something to sync.
    pub(crate) flush: bool,
    /// A checkpoint of what is durable is due.
    pub(crate) checkpoint: bool,
}

impl MasterNode {
    pub(crate) fn format(
        seed: u64,
        clock: NodeClock,
        cluster: Cluster,
        swarm: &Swarm,
    ) -> anyhow::Result<Self> {
        let fs = SimFs::new(seed);
        let disk: Arc<dyn Fs> = Arc::new(fs.clone());
        let Opened::Blank(blank) = lifecycle::open(disk.clone(), Path::new(DIR))? else {
            anyhow::bail!("an empty disk is blank");
        };
        let (uid, chunk_size) = (cluster.uid, cluster.chunk_size);
        let new = NewCluster { cluster: uid, master: ServerUid(0x5e), chunk_size };
        drop(lifecycle::format(&disk, blank, new, options(cluster, swarm))?);
        Ok(Self {
            fs,
            clock,
            run: 0,
            up: None,
            paused_until: 0,
            cluster,
            swarm: swarm.clone(),
            random: Random::of(seed, "master"),
            told: LogPosition(0),
            steps: 0,
        })
    }

    /// Starts the process as `gfs_master::run` does, up to serving.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        self.run += 1;
        let fs: Arc<dyn Fs> = Arc::new(self.fs.clone());
        let dir = Path::new(DIR);
        let Opened::Formatted(mut data_dir) = lifecycle::open(fs.clone(), dir)? else {
            anyhow::bail!("the stamp of the master's data directory is gone");
        };
        data_dir.next_session()?;
        let (record, store) = lifecycle::config_record(fs.clone(), &data_dir)?;
        let never = AtomicBool::new(false);
        let recovered = oplog::recover(&fs, dir, options(self.cluster, &self.swarm), &never);
        let Recovered { log, state, checkpoint, .. } = recovered?;
        anyhow::ensure!(
            state.position() >= self.told,
            "N1: somebody was told of {}, the log that was found ends at {}",
            self.told,
            state.position()
        );
        invariants::check_durable(&state).context("after a recovery")?;
        let group = GroupCommit::new(state.position());
        let settings = Settings {
            lease_ms: DurationMs(self.swarm.lease_ms),
            heartbeat_ms: DurationMs(self.swarm.heartbeat_ms),
            pace: self.swarm.master_pace,
            http_address: "master:2".to_owned(),
            random: self.random.next(),
            ..Settings::default()
        };
        let uid = data_dir.format().own_uid;
        let inbox = vec![Input::Serve { epoch: record.epoch }, Input::CheckpointDone(checkpoint)];
        self.up = Some(Process {
            uid,
            record,
            core: Master::new(settings, state),
            log,
            group,
            flushing: None,
            room: OwnRoom::new(&self.fs, &self.swarm),
            inbox,
            step_planned: false,
            connections: BTreeMap::new(),
            links: BTreeMap::new(),
            numbers: 0,
            bytes_since_checkpoint: 0,
            last_flush: 0,
            marked: false,
            _held: (data_dir, store),
        });
        Ok(())
    }

    /// Where the log on this disk ends, if a process starts from it.
    pub(crate) fn recovered_from(&self, fs: SimFs) -> Option<LogPosition> {
        let (fs, never): (Arc<dyn Fs>, _) = (Arc::new(fs), AtomicBool::new(false));
        let found = oplog::recover(&fs, Path::new(DIR), options(self.cluster, &self.swarm), &never);
        found.ok().map(|found| found.state.position())
    }

    /// Steps the core with all that waits, as the driver does with a batch.
    pub(crate) fn step(&mut self) -> anyhow::Result<Done> {
        let Some(process) = &mut self.up else { return Ok(Done::default()) };
        let (now, wall) = (self.clock.now(), self.clock.wall());
        let mut effects = Vec::new();
        for input in std::mem::take(&mut process.inbox) {
            process.core.step(now, wall, input, &mut effects);
        }
        process.group.accept(effects.drain(..));
        self.steps += 1;
        if self.steps.is_multiple_of(CHECKED_EVERY) {
            invariants::check(&process.core)?;
        }
        self.go_on()
    }

    /// Lets out what may leave, and begins the next flush.
    fn go_on(&mut self) -> anyhow::Result<Done> {
        let Some(process) = &mut self.up else { return Ok(Done::default()) };
        let mut done = Done::default();
        while let Some(effect) = process.group.release() {
            self.told = self.told.max(effect.after().unwrap_or_default());
            done.effects.push(effect);
        }
        anyhow::ensure!(
            self.told <= process.log.positions().durable,
            "N1: {} was told, {} is durable",
            self.told,
            process.log.positions().durable
        );
        if let Some(batch) = process.group.begin_flush() {
            process.counts(&batch);
            process.flushing = Some(batch);
            done.flush = process.appends()?;
        }
        Ok(done)
    }

    /// The disk synced what was appended.
    pub(crate) fn flushed(&mut self, now: Micros) -> anyhow::Result<Done> {
        let Some(process) = &mut self.up else { return Ok(Done::default()) };
        let durable = process.log.flush()?;
        process.room.left(process.log.segment_bytes_left());
        process.group.flushed(durable);
        process.flushing = None;
        (process.last_flush, process.marked) = (now, false);
        let due = process.bytes_since_checkpoint >= self.swarm.segment_bytes / 2;
        let mut done = self.go_on()?;
        done.checkpoint = due;
        Ok(done)
    }

    /// Whether what is being synced says that a raise began (raise-1).
    pub(crate) fn flushes_a_raise(&self) -> bool {
        let batch = self.up.as_ref().and_then(|process| process.flushing.as_ref());
        let mut records = batch.map_or(&[][..], Batch::records).iter();
        records.any(|record| match Record::decode(&record.bytes) {
            Ok(record) => matches!(record.change, Change::RaiseStarted { .. }),
            Err(_) => false,
        })
    }

    /// Nothing was logged for a while: the log leaves a proof that all before was durable.
    pub(crate) fn idle(&mut self, now: Micros) -> anyhow::Result<()> {
        let Some(process) = &mut self.up else { return Ok(()) };
        if !process.marked && process.group.is_idle() && now > process.last_flush + 200_000 {
            process.marked = true;
            can_wait(process.log.mark_durable())?;
        }
        Ok(())
    }
}

impl Process {
    /// A number that no stream of this process had.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn counts(&mut self, batch: &Batch) {
        self.bytes_since_checkpoint += batch.bytes() + 48 * batch.records().len() as u64;
    }
}

fn options(cluster: Cluster, swarm: &Swarm) -> LogOptions {
    LogOptions {
        segment_bytes: swarm.segment_bytes,
        record_bytes_max: RECORD_BYTES_MAX,
        ..LogOptions::new(cluster.uid)
    }
}
