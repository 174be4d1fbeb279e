//! The master's state, and `step()`: dispatch only.

use std::collections::{BTreeMap, BTreeSet};

use gfs_types::fence::{LogPosition, MasterEpoch};
use gfs_types::ids::{ChunkHandle, FileId, SessionId};
use gfs_types::limits;
use gfs_types::message::client::{Reply, Response};
use gfs_types::message::control::{Command, ToChunkserver};
use gfs_types::pace::MasterPace;
use gfs_types::time::{Instant, WallTime};
use gfs_types::{DurationMs, Error};

use crate::learners::Learners;
use crate::leases::Leases;
use crate::lifecycle::Lifecycle;
use crate::ops::Census;
use crate::raise::Work;
use crate::record::{Change, Record, RequestMark};
use crate::registry::{Registry, ServerIndex};
use crate::repair::Repairs;
use crate::room::Room;
use crate::{Connection, Durable, Effect, Input};

/// What the shell's configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Replicas of a chunk unless a file asks otherwise.
    pub replication: u8,
    /// How long a lease runs.
    pub lease_ms: DurationMs,
    /// Time between heartbeats of a chunkserver.
    pub heartbeat_ms: DurationMs,
    /// How long a deleted file can come back.
    pub trash_grace_ms: DurationMs,
    /// How it works.
    pub pace: MasterPace,
    /// `HOST:PORT` of this master's health and metrics, for `Status`.
    pub http_address: String,
    /// A number nobody can guess, drawn at start: session ids are made from it.
    pub random: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            replication: limits::REPLICATION_DEFAULT,
            lease_ms: limits::LEASE_MS,
            heartbeat_ms: limits::HEARTBEAT_MS,
            trash_grace_ms: limits::TRASH_GRACE_MS,
            pace: MasterPace::default(),
            http_address: String::new(),
            random: 0,
        }
    }
}

/// The whole master, as a state machine.
#[derive(Debug)]
pub struct Master {
    pub(crate) settings: Settings,
    pub(crate) durable: Durable,
    pub(crate) soft: Soft,
    pub(crate) lifecycle: Lifecycle,
}

/// What is learned again after a start.
#[derive(Debug, Default)]
pub(crate) struct Soft {
    pub(crate) registry: Registry,
    pub(crate) leases: Leases,
    /// Births and raises under way, and who waits for them.
    pub(crate) works: BTreeMap<ChunkHandle, Work>,
    pub(crate) learners: Learners,
    pub(crate) repairs: Repairs,
    /// How many chunks lack replicas.
    pub(crate) census: Census,
    /// Chunks of which no server made a replica, and which nobody was told of: to be allocated again.
    pub(crate) barren: BTreeSet<ChunkHandle>,
    /// When each session was heard of last.
    pub(crate) sessions: BTreeMap<SessionId, Instant>,
    /// When each upload was first seen under its temporary name.
    pub(crate) uploads: BTreeMap<FileId, Instant>,
    pub(crate) checkpoint: LogPosition,
    /// Room on the own disk.
    pub(crate) room: Room,
    /// When the slow duties were last done.
    pub(crate) swept: Instant,
}

/// One step: the time, and where effects go.
pub(crate) struct Step<'a> {
    pub(crate) now: Instant,
    pub(crate) wall: WallTime,
    pub(crate) out: &'a mut Vec<Effect>,
}

/// Where a reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) connection: Connection,
    pub(crate) request: u64,
}

impl Master {
    /// A master over durable state: [`Durable::blank`], or what a checkpoint and the log behind it gave.
    #[must_use]
    pub fn new(settings: Settings, durable: Durable) -> Self {
        let lifecycle = Lifecycle::at_start(&durable);
        Self { settings, durable, soft: Soft::default(), lifecycle }
    }

    /// Takes one input; pushes what has to be done, in order.
    pub fn step(&mut self, now: Instant, wall: WallTime, input: Input, out: &mut Vec<Effect>) {
        let step = &mut Step { now, wall, out };
        match input {
            Input::Format { cluster, chunk_size } => self.format(step, cluster, chunk_size),
            Input::Serve { epoch } => self.serve(step, epoch),
            Input::Client { connection, request, message } => {
                self.client(step, Caller { connection, request }, message);
            }
            Input::ClientGone { connection } => self.forget_waiters_of(connection),
            Input::Chunkserver { link, message } => self.chunkserver(step, link, message),
            Input::ChunkserverGone { link } => self.chunkserver_gone(step, link),
            Input::Tick => self.tick(step),
            Input::Room(room) => self.soft.room = room,
            Input::CheckpointDone(position) => {
                self.soft.checkpoint = self.soft.checkpoint.max(position);
            }
        }
    }

    /// The durable state, as far as it is applied (the log may lag behind it by what is not flushed).
    #[must_use]
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// The position of the last record applied.
    #[must_use]
    pub fn position(&self) -> LogPosition {
        self.durable.position()
    }

    /// Whether it serves as the primary master.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        matches!(self.lifecycle, Lifecycle::Serving { .. })
    }

    /// The epoch that messages carry: of the log, which nobody but a serving master writes.
    pub(crate) fn epoch(&self) -> MasterEpoch {
        self.durable.epoch
    }

    /// Applies a change and has it logged. All changes of durable state go through here.
    pub(crate) fn commit(
        &mut self,
        step: &mut Step<'_>,
        request: Option<RequestMark>,
        change: Change,
    ) {
        let epoch = self.epoch();
        self.commit_in(step, epoch, request, change);
    }

    pub(crate) fn commit_in(
        &mut self,
        step: &mut Step<'_>,
        epoch: MasterEpoch,
        request: Option<RequestMark>,
        change: Change,
    ) {
        let record = Record { wall: step.wall, request, change };
        let position = self.durable.position().next();
        if let Err(error) = self.durable.apply(position, epoch, &record) {
            panic!("the master decided on a change that it cannot apply: {error} ({record:?})");
        }
        step.out.push(Effect::Append { position, epoch, record: record.encode() });
    }

    pub(crate) fn reply(&self, step: &mut Step<'_>, to: Caller, result: Result<Response, Error>) {
        let after = self.durable.position();
        step.out.push(Effect::Reply {
            connection: to.connection,
            request: to.request,
            reply: Reply { epoch: self.epoch(), log_position: after, result },
            after,
        });
    }

    /// Sends to a chunkserver, if it has a stream.
    pub(crate) fn send(&self, step: &mut Step<'_>, to: ServerIndex, command: Command) {
        let server = self.soft.registry.get(to);
        let Some(link) = server.link else { return };
        let message = ToChunkserver { epoch: self.epoch(), session: server.session, command };
        step.out.push(Effect::Send { link, message, after: self.durable.position() });
    }
}
