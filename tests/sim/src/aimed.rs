//! Faults that chance alone would seldom bring: aimed at a moment, or at all servers but one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gfs_durable::data_dir::{DataDir, DataDirError, Role};
use gfs_durable::fs::Fs;
use gfs_durable::fs::sim::{CrashMode, SimFs};

use crate::agenda::{MS, Micros, SECOND};
use crate::net::Who;
use crate::swarm::Fault;
use crate::world::World;

/// The master is to die when its log is to be synced.
#[derive(Debug)]
pub(crate) struct AtFlush {
    /// How long it is down then.
    after: Micros,
    /// What is left of the disk; `None`: its process alone dies.
    power: Option<CrashMode>,
    /// Syncs it may wait for one that fits.
    patience: u32,
}

const PATIENCE: u32 = 100;
/// A raise with a learner begins within this time, as a rule.
const LATE: Micros = 5 * SECOND;
/// A log with less in it has nothing that later frames prove.
const LOG_BYTES_MIN: u64 = 8 << 10;

impl AtFlush {
    pub(crate) const fn new(after: Micros, power: Option<CrashMode>) -> Self {
        Self { after, power, patience: PATIENCE }
    }
}

impl World {
    /// The master dies instead of a sync, if that is what is to come. Where the disk keeps a part of what was to be synced, that is half of
    /// one write, and most fit a sector. Where it keeps all of it, that is the beginning of a raise: it is logged, nobody was asked,
    /// and the primary goes on with its lease.
    pub(crate) fn fails_at_flush(&mut self) -> bool {
        let Some(mut plan) = self.weather.at_flush.take().filter(|_| !self.weather.calm) else {
            return false;
        };
        let torn = torn(&self.master.fs);
        let fits = match plan.power {
            Some(CrashMode::Subset(_)) => torn.is_some(),
            Some(CrashMode::Everything) | None => self.master.flushes_a_raise(),
            Some(_) => true,
        };
        if !fits && plan.patience > 0 {
            plan.patience -= 1;
            self.weather.at_flush = Some(plan);
            return false;
        }
        let power = match plan.power {
            Some(CrashMode::Subset(_)) => torn.or(plan.power),
            power => power,
        };
        let fails = self.dies(Who::Master, plan.after, power);
        if fails {
            self.weather.count(power.map_or(Fault::Kill, |_| Fault::PowerLoss));
        }
        fails
    }

    /// One server is away for a while, and the machines of the others lose power: what it alone still has must be waited for
    /// (equal-2).
    pub(crate) fn leave_alone(&mut self) -> anyhow::Result<bool> {
        let random = &mut self.weather.random;
        let alone = usize::try_from(random.below(self.servers.len() as u64)).unwrap_or(0);
        let away = random.between(3_000, 12_000) * MS;
        self.dies(Who::Server(alone), away, None);
        let mut others = 0;
        for other in (0..self.servers.len()).filter(|other| *other != alone) {
            let after = self.weather.random.between(50, 1_000) * MS;
            let mode = self.weather.crash_mode();
            if self.may_lose_power(other)? && self.dies(Who::Server(other), after, Some(mode)) {
                others += 1;
            }
        }
        Ok(others >= 2)
    }

    /// A learner was taught, and is to be raised with the others.
    pub(crate) fn learner_is_taught(&mut self) {
        if std::mem::take(&mut self.weather.late_when_taught) && !self.weather.calm {
            self.note(format_args!("the log of the master is late, for a learner is taught"));
            self.weather.late_until = self.now + LATE;
        }
    }

    /// A sync of the master's log then takes longer than a raise waits for answers: the raise and the next one become durable
    /// together, and the learner hears of the second while it stores the first (raise-2). Where raises are patient that would be
    /// seconds, and is left to chance.
    pub(crate) fn late_by(&self, node: Who) -> Option<Micros> {
        let answer = self.swarm.master_pace.raise_answer_ms.0 * MS;
        let late = node == Who::Master && self.now < self.weather.late_until;
        (late && answer < SECOND / 2).then_some(4 * answer)
    }

    /// One process has a disk: a second one, started beside it, must refuse.
    pub(crate) fn starts_twice(&mut self, node: Who) {
        let (fs, dir, role) = match node {
            Who::Master => (&self.master.fs, crate::master::DIR, Role::Master),
            Who::Server(number) => {
                (&self.servers[number].fs, crate::server::DIR, Role::Chunkserver)
            }
            Who::Client(_) => return,
        };
        if !self.is_up(node) {
            return;
        }
        let second = DataDir::open(Arc::new(fs.clone()), Path::new(dir), role);
        if !matches!(second, Err(DataDirError::InUse { .. })) {
            self.is_broken("a disk has one process", &format!("another one starts on {node}'s"));
        }
    }

    /// K2: a bit of the log flips where later frames prove that it was durable. Who finds it does not start, or has it from
    /// elsewhere; nothing that was told is cut off. Tried on a copy: nobody could mend it.
    pub(crate) fn log_rots(&mut self) -> anyhow::Result<()> {
        let copy = self.master.fs.kill();
        let random = &mut self.weather.random;
        let Some((path, used)) = newest_segment(&copy)? else { return Ok(()) };
        if used < LOG_BYTES_MIN {
            return Ok(());
        }
        let (at, mask) = (random.below(used / 2), 1 << random.below(8));
        copy.flip(&path, at, mask)?;
        if let Some(found) = self.master.recovered_from(copy)
            && found < self.master.told
        {
            let told = self.master.told;
            let what = format!("a bit of the log flips, and it ends at {found}: {told} was told");
            self.is_broken("K2", &what);
        }
        Ok(())
    }
}

/// How the last write can be torn, if it has more than a sector.
fn torn(fs: &SimFs) -> Option<CrashMode> {
    let torn = |mode: &CrashMode| matches!(mode, CrashMode::TornTail(_));
    fs.crash_modes(0).into_iter().find(torn)
}

/// The segment that is written to, and how much of it is.
fn newest_segment(fs: &SimFs) -> anyhow::Result<Option<(PathBuf, u64)>> {
    let dir = Path::new(crate::master::DIR).join(gfs_master::oplog::LOG_DIR);
    let mut newest = None;
    for name in fs.read_dir(&dir)? {
        let path = dir.join(name);
        if path.extension().is_some_and(|extension| extension == "tmp") {
            continue;
        }
        let bytes = fs.read(&path, 1 << 20)?;
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            newest = newest.max(Some((path, last as u64)));
        }
    }
    Ok(newest)
}
