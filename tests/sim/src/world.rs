//! The world: what is in it, and what happens next.

use std::collections::BTreeMap;
use std::fmt::Arguments;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use gfs_client::network::MasterStream;
use gfs_master_core::Input;
use gfs_protocol::pb;
use gfs_types::Error;
use gfs_types::ids::{ChunkHandle, ClusterUid};
use gfs_types::limits::CHECKPOINT_RETRY_MS;
use gfs_types::message::client::ClientHello;
use gfs_types::message::control::{FromChunkserver, ToChunkserver};
use gfs_types::region::ChunkSize;
use tokio::time::{Instant, sleep_until};

use crate::agenda::{Agenda, MS, Micros};
use crate::calls::{Call, Ending};
use crate::clock::NodeClock;
use crate::faults::{Mend, Weather};
use crate::load::Shared;
use crate::master::{Done, MasterNode};
use crate::net::{Net, Who};
use crate::plan::Plan;
use crate::random::Random;
use crate::rules::Rules;
use crate::server::{Cluster, Server};
use crate::streams::{Control, Stream};
use crate::swarm::Swarm;
use crate::trace::{Trace, Traced};
use crate::wire::{Dialed, Held, Mail, Mailbox};

/// What happens at a point in time. Numbers behind a node are the run of the process that is meant.
pub(crate) enum Event {
    MasterStarts,
    MasterTick(u32),
    MasterStep(u32),
    MasterFlushed(u32),
    MasterCheckpoint(u32),
    ServerStarts(usize),
    ServerWork(usize, u32),
    ServerDisk(usize, u32),
    ServerDials(usize, u32),
    Beat(usize, u32, u64),
    DialArrives(usize, ClientHello, Dialed),
    DialFails(Dialed),
    Accepted(Dialed, Box<MasterStream>),
    ClientSaid(u64, pb::ClientMessage),
    MasterSaid(u64, pb::MasterMessage),
    StreamEnds(u64),
    ServerSaid(u64, Box<FromChunkserver>),
    CommandArrives(u64, Box<ToChunkserver>),
    CommandEchoes(usize, u64, Box<ToChunkserver>),
    ControlEnds(u64),
    CallArrives(u64),
    CallEnds(u64, Ending),
    Fault,
    Mend(Mend),
}

/// Everything that is simulated.
pub(crate) struct World {
    pub(crate) now: Micros,
    pub(crate) agenda: Agenda<Event>,
    pub(crate) trace: Trace,
    pub(crate) swarm: Swarm,
    pub(crate) cluster: Cluster,
    pub(crate) net: Net,
    pub(crate) master: MasterNode,
    pub(crate) servers: Vec<Server>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) calls: BTreeMap<u64, Call>,
    pub(crate) streams: BTreeMap<u64, Stream>,
    pub(crate) controls: BTreeMap<u64, Control>,
    pub(crate) weather: Weather,
    pub(crate) rules: Rules,
    /// What clients were told.
    pub(crate) shared: Option<Shared>,
    /// What connections and retries draw from.
    pub(crate) chance: Random,
    pub(crate) disks: Random,
    numbers: u64,
    started: Instant,
}

/// The time between two ticks of the master's core.
const TICK: Micros = 50 * MS;

impl World {
    /// A formatted cluster that is off. Must be called on the runtime that runs it.
    pub(crate) fn new(plan: &Plan, traced: Traced) -> anyhow::Result<Self> {
        let (seed, swarm) = (plan.seed, plan.swarm.clone());
        let chunk_size = ChunkSize::new(swarm.chunk_bytes)?;
        let cluster = Cluster { uid: ClusterUid(0xc1), chunk_size, pace: swarm.server_pace };
        let clocks = &mut Random::of(seed, "clocks");
        let mut clock = || {
            let rate = swarm.rate_ppm;
            let ppm = i64::try_from(clocks.below(2 * rate + 1)).unwrap_or(0);
            NodeClock::new(
                clocks.between(1_000, 100_000_000),
                ppm - i64::try_from(rate).unwrap_or(0),
            )
        };
        let disks = &mut Random::of(seed, "disk seeds");
        let master = MasterNode::format(disks.next(), clock(), cluster, &swarm)?;
        let servers = (0..swarm.servers)
            .map(|number| Server::format(number, disks.next(), clock(), cluster))
            .collect::<anyhow::Result<_>>()?;
        let mut world = Self {
            now: 0,
            agenda: Agenda::default(),
            trace: Trace::new(traced),
            cluster,
            net: Net::new(seed),
            master,
            servers,
            mailbox: Arc::default(),
            calls: BTreeMap::new(),
            streams: BTreeMap::new(),
            controls: BTreeMap::new(),
            weather: Weather::new(plan),
            rules: Rules::default(),
            shared: None,
            chance: Random::of(seed, "connections"),
            disks: Random::of(seed, "disks"),
            numbers: 0,
            started: Instant::now(),
            swarm,
        };
        gfs_chunkserver::driver::simulated_here();
        world.agenda.enter(0, Event::MasterStarts);
        for number in 0..world.servers.len() {
            world.agenda.enter(MS, Event::ServerStarts(number));
        }
        Ok(world)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn note(&mut self, what: Arguments<'_>) {
        self.trace.note(self.now, what);
    }

    /// Lets time pass until it is so, or it is this late; says whether it is so.
    pub(crate) async fn run_until(
        &mut self,
        deadline: Micros,
        done: impl Fn(&Self) -> bool,
    ) -> anyhow::Result<bool> {
        loop {
            self.take_mail()?;
            if done(self) {
                return Ok(true);
            }
            if self.now >= deadline {
                return Ok(false);
            }
            let next = self.agenda.next_at().unwrap_or(deadline).min(deadline);
            let mailbox = self.mailbox.clone();
            tokio::select! {
                biased;
                () = mailbox.rung() => {}
                () = sleep_until(self.started + Duration::from_millis(next.div_ceil(MS))) => {}
            }
            let clock = u64::try_from(self.started.elapsed().as_micros())?;
            while let Some((at, event)) = self.agenda.take_until(clock) {
                self.now = at.max(self.now);
                self.happens(event)?;
            }
            self.now = clock.max(self.now);
        }
    }

    fn take_mail(&mut self) -> anyhow::Result<()> {
        for mail in self.mailbox.take() {
            match mail {
                Mail::Dial { client, hello, reply } => self.client_dials(client, hello, reply),
                Mail::Said { stream, message } => self.client_says(stream, message),
                Mail::Ask { client, call, reply } => self.client_asks(client, call, reply),
                // Who asked may have gone.
                Mail::Look { handle, range, reply } => drop(reply.send(self.look(handle, &range)?)),
            }
        }
        Ok(())
    }

    /// What the replicas hold that hold all that was acknowledged: those of the newest version that did not lose their machine,
    /// as their next processes would find them.
    pub(crate) fn look(
        &self,
        handle: ChunkHandle,
        range: &Range<u64>,
    ) -> anyhow::Result<Vec<Held>> {
        let mut all = Vec::new();
        for server in &self.servers {
            let (store, found) = server.opened(self.cluster)?;
            let found = found.into_iter().find(|found| found.handle == handle);
            let Some(Ok(replica)) = found.map(|found| found.replica) else { continue };
            if replica.suspect || replica.damaged.is_some() {
                continue;
            }
            // What does not verify is nothing that anybody is shown.
            let end = range.end.min(replica.length).max(range.start);
            let bytes = store.read_verified(handle, range.start..end, replica.length);
            let Ok(mut bytes) = bytes else { continue };
            bytes.resize(usize::try_from(range.end - range.start)?, 0);
            let (who, version) = (Who::Server(server.number), replica.version);
            all.push(Held { who, version, bytes });
        }
        let newest = all.iter().map(|held| held.version).max();
        all.retain(|held| Some(held.version) == newest);
        Ok(all)
    }

    /// Whose event it is: a node that is paused has it later.
    fn node(&self, event: &Event) -> Option<Who> {
        match event {
            Event::MasterTick(_)
            | Event::MasterStep(_)
            | Event::MasterFlushed(_)
            | Event::MasterCheckpoint(_)
            | Event::DialArrives(..)
            | Event::ClientSaid(..)
            | Event::ServerSaid(..) => Some(Who::Master),
            Event::ServerWork(server, _)
            | Event::ServerDisk(server, _)
            | Event::ServerDials(server, _)
            | Event::CommandEchoes(server, ..)
            | Event::Beat(server, ..) => Some(Who::Server(*server)),
            Event::CommandArrives(control, _) => self.controls.get(control).map(Control::node),
            Event::CallArrives(call) => self.calls.get(call).map(|call| Who::Server(call.to)),
            Event::CallEnds(call, _) => self.calls.get(call).map(|call| call.asker.who()),
            _ => None,
        }
    }

    fn paused_until(&self, event: &Event) -> Micros {
        match self.node(event) {
            Some(Who::Master) => self.master.paused_until,
            Some(Who::Server(number)) => self.servers[number].paused_until,
            Some(Who::Client(_)) | None => 0,
        }
    }

    fn happens(&mut self, event: Event) -> anyhow::Result<()> {
        let until = self.paused_until(&event);
        if self.now < until {
            if let Some(node) = self.node(&event) {
                self.weather.held(node);
            }
            self.agenda.enter(until, event);
            return Ok(());
        }
        let node = self.node(&event);
        self.or_ends(node, |world| world.take(event))
    }

    fn take(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::MasterStarts => self.master_starts()?,
            Event::MasterTick(run) => self.master_ticks(run)?,
            Event::MasterStep(run) => self.master_steps(run)?,
            Event::MasterFlushed(run) => self.master_flushed(run)?,
            Event::MasterCheckpoint(run) => self.master_checkpoints(run)?,
            Event::ServerStarts(number) => self.server_starts(number)?,
            Event::ServerWork(number, run) => self.server_wakes(number, run)?,
            Event::ServerDisk(number, run) => self.disk_done(number, run)?,
            Event::ServerDials(number, run) => self.server_dials(number, run),
            Event::Beat(number, run, control) => self.beat(number, run, control)?,
            Event::DialArrives(client, hello, reply) => self.dial_arrives(client, &hello, reply),
            // Of these two the client may have given up.
            Event::DialFails(reply) => drop(reply.send(Err(Error::busy("no connection")))),
            Event::Accepted(reply, opened) => drop(reply.send(Ok(*opened))),
            Event::ClientSaid(stream, message) => self.client_said(stream, message),
            Event::MasterSaid(stream, message) => self.master_said(stream, message),
            Event::StreamEnds(stream) => self.stream_ends(stream),
            Event::ServerSaid(control, message) => self.server_said(control, *message),
            Event::CommandArrives(control, message) => self.command_arrives(control, *message)?,
            Event::CommandEchoes(number, stream, message) => {
                self.command_echoes(number, stream, *message)?;
            }
            Event::ControlEnds(control) => self.control_ends(control),
            Event::CallArrives(call) => self.call_arrives(call)?,
            Event::CallEnds(call, ending) => self.call_ends(call, ending)?,
            Event::Fault => self.fault()?,
            Event::Mend(mend) => self.mend(mend),
        }
        Ok(())
    }

    // The master.

    /// Hands it an input; it steps with all that come until then.
    pub(crate) fn master_input(&mut self, input: Input) {
        let run = self.master.run;
        let Some(process) = &mut self.master.up else { return };
        process.inbox.push(input);
        if !std::mem::replace(&mut process.step_planned, true) {
            let after = 20 + self.chance.below(60);
            self.agenda.enter(self.now + after, Event::MasterStep(run));
        }
    }

    fn master_starts(&mut self) -> anyhow::Result<()> {
        if self.master.up.is_some() {
            return Ok(());
        }
        self.master.clock.move_to(self.now);
        if let Err(error) = self.master.start() {
            return self.starts_later(Who::Master, error);
        }
        let run = self.master.run;
        let position = self.master.up.as_ref().map(|up| up.core.position());
        self.note(format_args!("the master starts at {}", position.unwrap_or_default()));
        self.agenda.enter(self.now, Event::MasterStep(run));
        self.agenda.enter(self.now + TICK, Event::MasterTick(run));
        Ok(())
    }

    fn is_master(&mut self, run: u32) -> bool {
        self.master.clock.move_to(self.now);
        self.master.run == run && self.master.up.is_some()
    }

    fn master_ticks(&mut self, run: u32) -> anyhow::Result<()> {
        if self.is_master(run) {
            self.master.idle(self.now)?;
            if self.master_looks_for_room()? {
                self.master_flushes(run);
            }
            self.master_input(Input::Tick);
            self.agenda.enter(self.now + TICK, Event::MasterTick(run));
        }
        Ok(())
    }

    fn master_steps(&mut self, run: u32) -> anyhow::Result<()> {
        if !self.is_master(run) {
            return Ok(());
        }
        if let Some(process) = &mut self.master.up {
            process.step_planned = false;
        }
        let done = self.master.step()?;
        self.newcomers_told_nothing();
        self.master_did(run, done)
    }

    fn master_flushed(&mut self, run: u32) -> anyhow::Result<()> {
        if !self.is_master(run) || self.fails_at_flush() {
            return Ok(());
        }
        let done = self.master.flushed(self.now)?;
        self.master_did(run, done)
    }

    fn master_did(&mut self, run: u32, done: Done) -> anyhow::Result<()> {
        if done.flush {
            self.master_flushes(run);
        }
        if done.checkpoint {
            let at = self.now + self.disks.between(MS, 100 * MS);
            self.agenda.enter(at, Event::MasterCheckpoint(run));
        }
        self.let_out(done.effects)
    }

    fn master_flushes(&mut self, run: u32) {
        let at = self.now + self.sync_takes(Who::Master);
        self.agenda.enter(at, Event::MasterFlushed(run));
    }

    fn master_checkpoints(&mut self, run: u32) -> anyhow::Result<()> {
        if self.is_master(run) {
            match self.master.checkpoint()? {
                true => self.note(format_args!("the master made a checkpoint")),
                false => {
                    let at = self.now + CHECKPOINT_RETRY_MS.0 * MS;
                    self.agenda.enter(at, Event::MasterCheckpoint(run));
                }
            }
        }
        Ok(())
    }

    // A chunkserver.

    fn server_starts(&mut self, number: usize) -> anyhow::Result<()> {
        let cluster = self.cluster;
        let server = &mut self.servers[number];
        if server.up.is_some() {
            return Ok(());
        }
        server.clock.move_to(self.now);
        if let Err(error) = server.start(cluster) {
            return self.starts_later(Who::Server(number), error);
        }
        let run = server.run;
        self.note(format_args!("server-{number} starts, run {run}"));
        self.agenda.enter(self.now, Event::ServerDials(number, run));
        self.serve(number)
    }
}
