//! What does the master do where its disk is full (docs/adr/0022)? As the threads of its shell: the core is told what room there is, a log
//! without space waits with its batch in its hands, and the next segment and a checkpoint are tried again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gfs_durable::fs::Fs;
use gfs_durable::fs::sim::SimFs;
use gfs_durable::log::LogError;
use gfs_master::checkpoint;
use gfs_master::oplog::{self, CHECKPOINT_DIR};
use gfs_master::room::{Disk, Growth};
use gfs_master_core::{Input, Room};
use gfs_types::limits::NO_SPACE_RETRY_MS;

use crate::agenda::{MS, Micros};
use crate::master::{DIR, MasterNode, Process};
use crate::net::Who;
use crate::swarm::Swarm;
use crate::world::World;

/// What a running master knows of its disk.
pub(crate) struct OwnRoom {
    disk: Disk,
    growth: Arc<Growth>,
    /// What the core was told last.
    known: Room,
    segment_bytes: u64,
    /// When what found no space is tried again.
    again: Micros,
    /// The log waits with a batch in its hands.
    stuck: bool,
}

impl OwnRoom {
    pub(crate) fn new(fs: &SimFs, swarm: &Swarm) -> Self {
        // Four segments, as in production.
        let disk = Disk::new(Arc::new(fs.clone()), PathBuf::from(DIR), 4 * swarm.segment_bytes);
        let (growth, known) = (disk.growth(), Room::Enough);
        Self { disk, growth, known, segment_bytes: swarm.segment_bytes, again: 0, stuck: false }
    }

    /// So many bytes are left of the current segment.
    pub(crate) fn left(&self, bytes: u64) {
        self.growth.left(bytes, self.segment_bytes);
    }
}

impl MasterNode {
    /// Looks at the disk, and tries again what found no space. Says whether the log has something to sync by that.
    pub(crate) fn looks_for_room(&mut self, now: Micros) -> anyhow::Result<bool> {
        let Some(process) = &mut self.up else { return Ok(false) };
        let room = process.room.disk.look()?.1;
        if room != process.room.known {
            process.room.known = room.clone();
            process.inbox.push(Input::Room(room));
        }
        if now < process.room.again {
            return Ok(false);
        }
        process.room.again = now + NO_SPACE_RETRY_MS.0 * MS;
        if process.room.growth.was_refused() {
            process.prepares();
        }
        Ok(process.room.stuck && process.appends()?)
    }

    fn waits_for_room(&self) -> bool {
        self.up.as_ref().is_some_and(|process| process.room.stuck)
    }

    /// Whether the core was told that its disk is short of space.
    pub(crate) fn is_short_of_room(&self) -> bool {
        self.up.as_ref().is_some_and(|process| process.room.known != Room::Enough)
    }

    /// Makes the next segment ready, and the checkpoint of what is durable; says whether it could be made. Where it could not, it is
    /// tried again later: the older ones and the log stay.
    pub(crate) fn checkpoint(&mut self) -> anyhow::Result<bool> {
        let fs: Arc<dyn Fs> = Arc::new(self.fs.clone());
        let Some(process) = &mut self.up else { return Ok(true) };
        process.bytes_since_checkpoint = 0;
        process.prepares();
        let durable = process.log.positions().durable;
        let dir = Path::new(DIR).join(CHECKPOINT_DIR);
        let made = checkpoint::make(&fs, &dir, &process.log.reader(), durable);
        let made = match made.map_err(anyhow::Error::from) {
            Ok(made) => made,
            Err(error) if error.chain().any(|cause| cause.is::<std::io::Error>()) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        can_wait(process.log.remove_before(made.log_from))?;
        process.inbox.push(Input::CheckpointDone(made.position));
        Ok(true)
    }
}

impl Process {
    fn prepares(&mut self) {
        let prepared = self.log.preparer().prepare();
        self.room.growth.prepared(prepared.is_ok());
    }

    /// Appends the batch that it has in its hands; says whether it is all there now. Without space the log waits.
    pub(crate) fn appends(&mut self) -> anyhow::Result<bool> {
        let Some(batch) = &self.flushing else { return Ok(false) };
        let stuck = match oplog::append(&mut self.log, batch) {
            Err(LogError::Full { .. }) => true,
            done => {
                done?;
                false
            }
        };
        self.room.stuck = stuck;
        self.room.growth.waits(stuck);
        Ok(!stuck)
    }
}

/// What only tidies up does not fail for want of space.
pub(crate) fn can_wait(done: Result<(), LogError>) -> Result<(), LogError> {
    match done {
        Err(LogError::Full { .. }) => Ok(()),
        done => done,
    }
}

impl World {
    /// Its reserve is what it feels first.
    pub(crate) fn master_looks_for_room(&mut self) -> anyhow::Result<bool> {
        let flushes = self.master.looks_for_room(self.now)?;
        if self.master.waits_for_room() {
            self.note(format_args!("the master's log waits for space"));
        }
        if self.master.is_short_of_room() {
            self.feels_full(Who::Master);
        }
        Ok(flushes)
    }
}
