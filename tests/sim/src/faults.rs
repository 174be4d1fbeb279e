//! What goes wrong, and how it is mended.

use std::collections::{BTreeMap, BTreeSet};

use gfs_durable::fs::sim::{CrashMode, Rotten};
use gfs_types::ids::{ChunkHandle, ServerUid};

use crate::agenda::{MS, Micros, SECOND};
use crate::aimed::AtFlush;
use crate::net::Who;
use crate::plan::{Plan, Script};
use crate::random::Random;
use crate::swarm::Fault;
use crate::world::{Event, World};

/// What is mended later.
#[derive(Debug, Clone)]
pub(crate) enum Mend {
    Paths(Vec<(Who, Who)>),
    Disk(Who),
}

/// Where faults come from.
#[derive(Debug)]
pub(crate) struct Weather {
    seed: u64,
    /// When there are faults.
    times: Random,
    /// Of the fault that is drawn: each has a generator of its own, so that one that is left out shifts no other.
    pub(crate) random: Random,
    /// Which ones, and when.
    pub(crate) script: Script,
    /// Of commands that come again.
    echoes: Random,
    left_out: BTreeSet<u64>,
    pub(crate) calm: bool,
    /// The master dies when its log has something to sync, before it is synced: most of its time it has not.
    pub(crate) at_flush: Option<AtFlush>,
    /// The master's disk becomes late when a learner was taught; and until when it is.
    pub(crate) late_when_taught: bool,
    pub(crate) late_until: Micros,
    /// Nodes that are to stop, and have had nothing to do since.
    stopping: BTreeSet<Who>,
    partitions: u64,
    /// A server whose disk may not give what is read.
    pub(crate) unread: Option<usize>,
    /// Those of which a disk was so.
    pub(crate) were_unread: BTreeSet<ServerUid>,
    /// Disks that are full: all that they take, and whether that was felt.
    pub(crate) full: BTreeMap<Who, (u64, bool)>,
    /// Until when a disk is slow, and whether that was felt.
    pub(crate) slow: BTreeMap<Who, (Micros, bool)>,
    /// Disks that were broken, how, and how many operations had failed before.
    pub(crate) watched: BTreeMap<Who, (Fault, u64)>,
    /// Chunks of which a byte rotted, and on which server.
    pub(crate) rotten: BTreeMap<ChunkHandle, usize>,
    /// Where it is.
    pub(crate) rotten_bytes: BTreeMap<ChunkHandle, Rotten>,
    /// Some of it was given back.
    pub(crate) rot_given_back: bool,
    /// Some of it could not be: a chunk has nothing but damaged replicas.
    pub(crate) rot_remains: bool,
    /// Chunks of which a rotten replica was left alone.
    pub(crate) left_to_rot: BTreeSet<ChunkHandle>,
    /// How many there were of each; only those that changed something.
    counts: BTreeMap<Fault, u64>,
}

impl Weather {
    pub(crate) fn new(plan: &Plan) -> Self {
        let seed = plan.seed;
        Self {
            seed,
            times: Random::of(seed, "times of faults"),
            random: Random::of(seed, "faults"),
            script: Script::new(plan),
            echoes: Random::of(seed, "echoes"),
            left_out: plan.cut.faults.clone(),
            calm: true,
            at_flush: None,
            late_when_taught: false,
            late_until: 0,
            stopping: BTreeSet::new(),
            partitions: 0,
            unread: None,
            were_unread: BTreeSet::new(),
            full: BTreeMap::new(),
            slow: BTreeMap::new(),
            watched: BTreeMap::new(),
            rotten: BTreeMap::new(),
            rotten_bytes: BTreeMap::new(),
            rot_given_back: false,
            rot_remains: false,
            left_to_rot: BTreeSet::new(),
            counts: BTreeMap::new(),
        }
    }

    /// The next fault, drawn or as it is written down; none when it is left out.
    fn next(&mut self, now: Micros, kinds: &[Fault]) -> Option<Fault> {
        let (number, written) = self.script.next();
        self.random = Random::of(self.seed, &format!("fault {number}"));
        let drawn = self.random.next();
        let drawn = || {
            let index = drawn.checked_rem(kinds.len() as u64)?;
            kinds.get(usize::try_from(index).ok()?).copied()
        };
        let kind = written.or_else(drawn).filter(|_| !self.left_out.contains(&number))?;
        self.script.came(now, number, kind);
        Some(kind)
    }

    pub(crate) fn crash_mode(&mut self) -> CrashMode {
        match self.random.below(4) {
            0 => CrashMode::Nothing,
            1 => CrashMode::Everything,
            _ => CrashMode::Subset(self.random.next()),
        }
    }

    /// When a command comes again, if it does.
    pub(crate) fn echoes(&mut self, ppm: u64) -> Option<Micros> {
        if self.calm || !self.echoes.in_a_million(ppm) {
            return None;
        }
        self.count(Fault::Echo);
        let latest = if self.echoes.percent(50) { 300 * MS } else { 8 * SECOND };
        Some(self.echoes.between(MS, latest))
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        *self.counts.entry(fault).or_default() += 1;
    }

    /// Something had to wait until this node goes on.
    pub(crate) fn held(&mut self, node: Who) {
        if self.stopping.remove(&node) {
            self.count(Fault::Pause);
        }
    }
}

impl World {
    /// From now on things go wrong.
    pub(crate) fn faults_begin(&mut self) {
        self.weather.calm = false;
        self.weather.script.begins(self.now);
        self.net.worsen(&self.swarm);
        self.note(format_args!("the faults begin"));
        self.plan_fault();
    }

    /// Everybody is well from now on, and the network too.
    pub(crate) fn heal(&mut self) {
        self.weather.calm = true;
        self.weather.late_until = 0;
        self.net.heal();
        self.mend_disks();
        self.note(format_args!("all is mended"));
        let now = self.now;
        self.master.clock.run_at(now, 0);
        self.master.paused_until = self.master.paused_until.min(now);
        self.agenda.enter(now, Event::MasterStarts);
        for server in &mut self.servers {
            server.clock.run_at(now, 0);
            server.paused_until = server.paused_until.min(now);
            self.agenda.enter(now, Event::ServerStarts(server.number));
        }
    }

    fn plan_fault(&mut self) {
        let (least, most) = self.swarm.fault_every;
        let drawn = self.now + self.weather.times.between(least, most);
        if let Some(at) = self.weather.script.next_at(drawn) {
            self.agenda.enter(at, Event::Fault);
        }
    }

    pub(crate) fn fault(&mut self) -> anyhow::Result<()> {
        if self.weather.calm {
            return Ok(());
        }
        let fault = self.weather.next(self.now, &self.swarm.faults);
        self.plan_fault();
        let Some(fault) = fault else { return Ok(()) };
        let happened = match fault {
            Fault::Kill => self.kill(),
            Fault::PowerLoss => self.lose_power()?,
            Fault::ClockRate => self.change_rate(),
            Fault::Blackout => self.black_out_once(),
            Fault::Alone => self.leave_alone()?,
            // Counted when they are felt.
            Fault::Pause => {
                self.pause();
                false
            }
            Fault::Partition => {
                self.part();
                false
            }
            Fault::SlowDisk
            | Fault::FullDisk
            | Fault::FailedSync
            | Fault::FailedWrite
            | Fault::FailedRead
            | Fault::Rot => {
                self.break_disk(fault)?;
                false
            }
            Fault::Lost | Fault::Late | Fault::Twice | Fault::Overtaken | Fault::Echo => false,
        };
        if happened {
            self.weather.count(fault);
        }
        Ok(())
    }

    /// What there was of each, and was felt.
    pub(crate) fn faults(&self) -> BTreeMap<Fault, u64> {
        let mut counts = self.net.counts();
        counts.extend(self.weather.counts.clone());
        counts
    }

    pub(crate) fn node_to_harm(&mut self) -> Who {
        let servers = self.servers.len() as u64;
        let number = usize::try_from(self.weather.random.below(servers)).unwrap_or(0);
        if self.weather.random.percent(25) { Who::Master } else { Who::Server(number) }
    }

    /// Down for a moment, or for long enough that others go on without it.
    fn down_for(&mut self) -> Micros {
        let random = &mut self.weather.random;
        let most = if random.percent(30) { 15_000 } else { 3_000 };
        random.between(50, most) * MS
    }

    fn kill(&mut self) -> bool {
        let node = self.node_to_harm();
        let after = self.down_for();
        self.starts_twice(node);
        if node == Who::Master && self.weather.random.percent(50) {
            self.weather.at_flush = Some(AtFlush::new(after, None));
            return false;
        }
        self.dies(node, after, None)
    }

    fn lose_power(&mut self) -> anyhow::Result<bool> {
        let node = self.node_to_harm();
        let after = self.down_for();
        let mode = self.weather.crash_mode();
        if node == Who::Master && self.weather.random.percent(50) {
            self.weather.at_flush = Some(AtFlush::new(after, Some(mode)));
            return Ok(false);
        }
        if let Who::Server(number) = node
            && !self.may_lose_power(number)?
        {
            return Ok(false);
        }
        Ok(self.dies(node, after, Some(mode)))
    }

    fn black_out_once(&mut self) -> bool {
        let first = !self.weather.counts.contains_key(&Fault::Blackout);
        if first {
            self.black_out();
        }
        first
    }

    /// Every machine loses power, whether its process runs or not. What was synced must be there, and nothing else (DUR-2).
    pub(crate) fn black_out(&mut self) {
        self.note(format_args!("the power fails everywhere"));
        for node in std::iter::once(Who::Master).chain((0..self.servers.len()).map(Who::Server)) {
            let after = self.down_for();
            let mode = self.weather.crash_mode();
            if !self.dies(node, after, Some(mode)) {
                self.loses_power_while_off(node, mode);
            }
        }
        if let Some(shared) = &self.shared {
            shared.ledger().power_failed();
        }
        self.rules.power_failed();
    }

    /// Its process is down already, and will be started by whoever meant to.
    fn loses_power_while_off(&mut self, node: Who, mode: CrashMode) {
        match node {
            Who::Master => self.master.fs = self.master.fs.crash(mode),
            Who::Server(number) => {
                let server = &mut self.servers[number];
                server.fs = server.fs.crash(mode);
                server.boot += 1;
            }
            Who::Client(_) => {}
        }
        self.disk_goes_on(node);
    }

    pub(crate) fn dies(&mut self, node: Who, after: Micros, power: Option<CrashMode>) -> bool {
        self.settle_disk(node);
        match node {
            Who::Master if self.master.up.is_some() => {
                self.note(format_args!("the master dies: {power:?}"));
                self.streams_die(node, power.is_some());
                self.master.up = None;
                self.master.fs = match power {
                    Some(mode) => self.master.fs.crash(mode),
                    None => self.master.fs.kill(),
                };
                self.disk_goes_on(node);
                self.agenda.enter(self.now + after, Event::MasterStarts);
                true
            }
            Who::Server(number) if self.servers[number].up.is_some() => {
                self.note(format_args!("server-{number} dies: {power:?}"));
                self.streams_die(node, power.is_some());
                self.calls_die(number);
                let server = &mut self.servers[number];
                server.up = None;
                server.fs = match power {
                    Some(mode) => server.fs.crash(mode),
                    None => server.fs.kill(),
                };
                server.boot += u128::from(power.is_some());
                self.disk_goes_on(node);
                self.agenda.enter(self.now + after, Event::ServerStarts(number));
                true
            }
            _ => false,
        }
    }

    fn pause(&mut self) {
        let node = self.node_to_harm();
        if !self.is_up(node) {
            return;
        }
        let random = &mut self.weather.random;
        let most = if random.percent(30) { 15_000 } else { 2_000 };
        let until = self.now + random.between(20, most) * MS + 1;
        self.note(format_args!("{node} stops until {until}"));
        match node {
            Who::Master => self.master.paused_until = until,
            Who::Server(number) => self.servers[number].paused_until = until,
            Who::Client(_) => {}
        }
        self.weather.stopping.insert(node);
    }

    pub(crate) fn is_up(&self, node: Who) -> bool {
        match node {
            Who::Master => self.master.up.is_some(),
            Who::Server(number) => self.servers[number].up.is_some(),
            Who::Client(_) => true,
        }
    }

    fn everybody(&self) -> Vec<Who> {
        let servers = (0..self.servers.len()).map(Who::Server);
        let clients = (0..=self.swarm.clients()).map(Who::Client);
        std::iter::once(Who::Master).chain(servers).chain(clients).collect()
    }

    /// Isolates one, parts two, parts them one way, lets one only send or only hear, or cuts the world in halves.
    fn part(&mut self) {
        let all = self.everybody();
        let (one, other) = (self.node_to_harm(), self.node_to_harm());
        let random = &mut self.weather.random;
        let mut paths = Vec::new();
        let kind = random.below(4);
        match kind {
            0 => {
                for to in all.iter().filter(|to| **to != one) {
                    paths.extend([(one, *to), (*to, one)]);
                }
            }
            1 => paths.extend([(one, other), (other, one)]),
            2 => paths.push((one, *random.pick(&all))),
            _ => {
                let here: Vec<_> = all.iter().map(|_| random.percent(50)).collect();
                for (from, a) in all.iter().zip(&here) {
                    for (to, b) in all.iter().zip(&here) {
                        if a != b {
                            paths.push((*from, *to));
                        }
                    }
                }
            }
        }
        paths.retain(|(from, to)| from != to);
        if paths.is_empty() {
            return;
        }
        let after = random.between(100, 12_000) * MS;
        if kind == 2 && random.percent(70) {
            paths = one_way(one, &all, random.percent(50));
        }
        let (count, first) = (paths.len(), paths[0]);
        self.note(format_args!("{count} paths are cut, {} to {} the first", first.0, first.1));
        self.weather.partitions += 1;
        let partition = self.weather.partitions;
        paths.iter().for_each(|(from, to)| self.net.cut(*from, *to, partition));
        self.agenda.enter(self.now + after, Event::Mend(Mend::Paths(paths)));
    }

    pub(crate) fn mend(&mut self, mend: Mend) {
        let paths = match mend {
            Mend::Paths(paths) => paths,
            Mend::Disk(node) => return self.mend_disk(node),
        };
        self.note(format_args!("{} paths are mended", paths.len()));
        paths.iter().for_each(|(from, to)| self.net.mend(*from, *to));
    }
}

/// All paths to a node, which can only send then; or all from it, which can only hear.
fn one_way(node: Who, all: &[Who], only_sends: bool) -> Vec<(Who, Who)> {
    let others = all.iter().filter(|other| **other != node);
    others.map(|other| if only_sends { (*other, node) } else { (node, *other) }).collect()
}

/// Longer than any pause or cut.
pub(crate) const LONGEST: Micros = 20 * SECOND;
