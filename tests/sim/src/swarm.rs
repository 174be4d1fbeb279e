//! What kind of a world a seed gives: drawn once, printed, and enough to tell one failure from another.

use std::fmt;
use std::ops::Range;

use gfs_types::DurationMs;
use gfs_types::pace::{MasterPace, ServerPace};
use serde::{Deserialize, Serialize};

use crate::agenda::{MS, Micros, SECOND};
use crate::random::Random;
use crate::shrink::Cut;

/// The kinds of fault. Which of them there are in a world is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fault {
    /// A process dies; what it wrote stays in the page cache.
    Kill,
    /// A machine loses power: of what was not synced any part is gone.
    PowerLoss,
    /// A process stops for a while, and goes on as if nothing had been.
    Pause,
    /// Nodes cannot reach each other, both ways or one way.
    Partition,
    /// A clock runs at another rate from now on, or jumps.
    ClockRate,
    /// All machines lose power at once. In a world at most once, for it takes what was not synced.
    Blackout,
    /// All machines but one lose power while that one is away.
    Alone,
    /// A disk takes long to sync.
    SlowDisk,
    /// A disk is full.
    FullDisk,
    /// A sync fails, and takes what it should have made durable.
    FailedSync,
    /// A write fails half way.
    FailedWrite,
    /// A chunkserver's disk does not give what is read, once or for a while.
    FailedRead,
    /// A bit of a chunk flips, or a byte of it cannot be read any more; or a bit of the operation log, which is found on a copy of it.
    Rot,
    /// A message is lost, and its connection with it.
    Lost,
    /// A message takes long.
    Late,
    /// A message between servers comes twice.
    Twice,
    /// A message between servers is overtaken by others.
    Overtaken,
    /// A command to a chunkserver comes again when it is old, at whichever run of it is there by then.
    Echo,
}

impl Fault {
    /// Those that come one at a time.
    pub const EVENTS: [Self; 12] = [
        Self::Kill,
        Self::PowerLoss,
        Self::Pause,
        Self::Partition,
        Self::ClockRate,
        Self::Blackout,
        Self::Alone,
        Self::SlowDisk,
        Self::FullDisk,
        Self::FailedSync,
        Self::FailedWrite,
        Self::Rot,
    ];
    /// Those that are drawn for themselves, so that worlds without them are as they were before there were these. A new one comes last.
    pub const LATER: [Self; 1] = [Self::FailedRead];
    /// Those that come to any message.
    pub const OF_MESSAGES: [Self; 5] =
        [Self::Lost, Self::Late, Self::Twice, Self::Overtaken, Self::Echo];

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::events().chain(Self::OF_MESSAGES)
    }

    /// All that come one at a time.
    pub fn events() -> impl Iterator<Item = Self> {
        Self::EVENTS.into_iter().chain(Self::LATER)
    }

    /// Half of the worlds have some of them.
    fn later(random: &mut Random) -> Vec<Self> {
        match random.percent(50) {
            true => Self::LATER.into_iter().filter(|_| random.percent(60)).collect(),
            false => Vec::new(),
        }
    }
}

/// The configuration of a world. What a scenario does not say is as in [`Swarm::default`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Swarm {
    /// Chunkservers.
    pub servers: usize,
    /// Bytes of a chunk.
    pub chunk_bytes: u64,
    /// How long a lease runs.
    pub lease_ms: u64,
    /// Time between heartbeats.
    pub heartbeat_ms: u64,
    /// Bytes of a segment of the operation log.
    pub segment_bytes: u64,
    /// How chunkservers work: often in smaller portions, and less patiently, than in production.
    pub server_pace: ServerPace,
    /// How the master does.
    pub master_pace: MasterPace,
    /// Clients that append.
    pub appenders: usize,
    /// Clients that follow what is appended.
    pub readers: usize,
    /// Clients that write over regions of a file and read them.
    pub overwriters: usize,
    /// Clients that fight over the same few names.
    pub namers: usize,
    /// Clients that create files of names that nobody else uses, in one directory.
    pub setters: usize,
    /// Two of those who fight over names move one file to and fro as well.
    pub ball: bool,
    /// Readers stay at the end of what they follow, and do not begin anew.
    pub tails: bool,
    /// Time of one operation of a client.
    pub timeout_ms: u64,
    /// Appends that a sync follows, in a hundred.
    pub sync_percent: u64,
    /// How long the faults last.
    pub chaos: Micros,
    /// Which faults there are.
    pub faults: Vec<Fault>,
    /// Time from one fault to the next: at least, at most.
    pub fault_every: (Micros, Micros),
    /// Messages that break their connection, in a million.
    pub loss_ppm: u64,
    /// Messages between servers that come twice, in a million.
    pub twice_ppm: u64,
    /// Messages between servers that others overtake, in a million.
    pub overtaken_ppm: u64,
    /// Commands to chunkservers that come again, in a million.
    pub echo_ppm: u64,
    /// Messages that take long, in a million, and how long at most.
    pub slow: (u64, Micros),
    /// A disk's time for a sync: at least, at most.
    pub sync: (Micros, Micros),
    /// Clocks run fast or slow by at most so much, in parts per million.
    pub rate_ppm: u64,
    /// They run up to twice as fast and half as fast, and jump: leases may overlap then (L2), and nothing is lost by that (LEASE-2).
    pub wild_clocks: bool,
}

impl Swarm {
    /// Draws one.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let random = &mut Random::of(seed, "swarm");
        let lease_ms = *random.pick(&[2_000, 5_000, 10_000]);
        let mut faults: Vec<_> = Fault::EVENTS.into_iter().filter(|_| random.percent(70)).collect();
        while faults.len() < 3 {
            let more = *random.pick(&Fault::EVENTS);
            if !faults.contains(&more) {
                faults.push(more);
            }
        }
        faults.extend(Fault::later(&mut Random::of(seed, "later faults")));
        let wild_clocks = Random::of(seed, "wild clocks").percent(4);
        if wild_clocks && !faults.contains(&Fault::ClockRate) {
            faults.push(Fault::ClockRate);
        }
        let loads = &mut Random::of(seed, "later loads");
        let (set, ball, tails) = (loads.percent(50), loads.percent(50), loads.percent(50));
        let often = random.between(1, 6);
        Self {
            servers: usize::try_from(random.between(3, 5)).unwrap_or(3),
            chunk_bytes: *random.pick(&[128 << 10, 256 << 10, 512 << 10]),
            lease_ms,
            heartbeat_ms: *random.pick(&[100, 250, 500]),
            segment_bytes: *random.pick(&[80 << 10, 256 << 10]),
            server_pace: server_pace(&mut Random::of(seed, "pace of servers")),
            master_pace: master_pace(&mut Random::of(seed, "pace of the master")),
            appenders: usize::try_from(random.between(1, 6)).unwrap_or(1),
            readers: usize::try_from(random.between(1, 2)).unwrap_or(1),
            overwriters: usize::try_from(random.between(1, 3)).unwrap_or(1),
            namers: usize::try_from(random.between(2, 4)).unwrap_or(2),
            setters: if set { 2 } else { 0 },
            ball,
            tails,
            timeout_ms: *random.pick(&[10_000, 20_000, 60_000]),
            sync_percent: *random.pick(&[5, 50]),
            chaos: random.between(60, 75) * SECOND,
            faults,
            fault_every: (often * SECOND / 2, often * 2 * SECOND),
            loss_ppm: *random.pick(&[0, 200, 2_000]),
            twice_ppm: *random.pick(&[0, 2_000, 50_000]),
            overtaken_ppm: *random.pick(&[0, 5_000, 100_000]),
            slow: *random.pick(&[(0, MS), (2_000, 100 * MS), (1_000, 1_500 * MS)]),
            sync: *random.pick(&[(100, 800), (500, 5 * MS), (2 * MS, 30 * MS)]),
            rate_ppm: *random.pick(&[0, 100, 50_000]),
            echo_ppm: *random.pick(&[0, 50_000, 300_000]),
            wild_clocks,
        }
    }
}

/// A small world in which nothing goes wrong.
impl Default for Swarm {
    fn default() -> Self {
        Self {
            servers: 3,
            chunk_bytes: 128 << 10,
            lease_ms: 10_000,
            heartbeat_ms: 500,
            segment_bytes: 256 << 10,
            server_pace: ServerPace::default(),
            master_pace: MasterPace::default(),
            appenders: 1,
            readers: 1,
            overwriters: 1,
            namers: 2,
            setters: 0,
            ball: false,
            tails: false,
            timeout_ms: 60_000,
            sync_percent: 0,
            chaos: 60 * SECOND,
            faults: Vec::new(),
            fault_every: (SECOND, SECOND),
            loss_ppm: 0,
            twice_ppm: 0,
            overtaken_ppm: 0,
            echo_ppm: 0,
            slow: (0, MS),
            sync: (100, 800),
            rate_ppm: 0,
            wild_clocks: false,
        }
    }
}

fn server_pace(random: &mut Random) -> ServerPace {
    let usual = ServerPace::default();
    ServerPace {
        mutations_max: *random.pick(&[2, 8, usual.mutations_max]),
        // Longer than any mutation of these workloads.
        flight_bytes_max: *random.pick(&[160 << 10, usual.flight_bytes_max]),
        orders_resent_max: *random.pick(&[1, usual.orders_resent_max]),
        joined_bytes_max: *random.pick(&[0, 4 << 10, usual.joined_bytes_max]),
        teach_rest_bytes: *random.pick(&[4 << 10, usual.teach_rest_bytes]),
        lease_idle_ms: *random.pick(&[DurationMs(100), DurationMs(1_000), usual.lease_idle_ms]),
    }
}

fn master_pace(random: &mut Random) -> MasterPace {
    let usual = MasterPace::default();
    MasterPace {
        repairs_max: *random.pick(&[1, usual.repairs_max]),
        raise_answer_ms: *random.pick(&[DurationMs(200), usual.raise_answer_ms]),
    }
}

impl Swarm {
    /// Without what is cut out of it, and with what is asked for.
    pub(crate) fn leave_out(&mut self, cut: &Cut) {
        self.chaos = cut.chaos.unwrap_or(self.chaos);
        for fault in &cut.also {
            if !self.faults.contains(fault) {
                self.faults.push(*fault);
            }
        }
        if cut.messages {
            (self.loss_ppm, self.slow) = (0, (0, MS));
            (self.twice_ppm, self.overtaken_ppm, self.echo_ppm) = (0, 0, 0);
        }
    }

    /// Those who write over regions, by the numbers of their clients: they come behind those who append.
    pub(crate) fn overwriting(&self) -> Range<usize> {
        self.appenders..self.appenders + self.overwriters
    }

    /// The one that looks at what they write: the last but one of those that every world has.
    pub(crate) const fn onlooker(&self) -> usize {
        self.clients() - self.setters - 2
    }

    /// How many clients there are: those that are counted above, one that looks at what others write, and one that wants back
    /// what it deletes.
    #[must_use]
    pub const fn clients(&self) -> usize {
        self.appenders + self.readers + self.overwriters + self.namers + 2 + self.setters
    }
}

impl fmt::Display for Swarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} servers, chunks of {} KiB, lease {} ms, heartbeat {} ms, segments of {} KiB; {} append, {} follow{}, {} overwrite, \
             {} name{}, {} create, for {} s with {} ms each, {} % synced; ",
            self.servers,
            self.chunk_bytes >> 10,
            self.lease_ms,
            self.heartbeat_ms,
            self.segment_bytes >> 10,
            self.appenders,
            self.readers,
            if self.tails { " without end" } else { "" },
            self.overwriters,
            self.namers,
            if self.ball { " and play" } else { "" },
            self.setters,
            self.chaos / SECOND,
            self.timeout_ms,
            self.sync_percent
        )?;
        write!(
            f,
            "{:?} every {}-{} ms; lost {} ppm, twice {} ppm, overtaken {} ppm, commands again {} ppm, slow {} \
             ppm up to {} ms; sync {}-{} us; clocks \
             {} ppm{}; {:?}, {:?}",
            self.faults,
            self.fault_every.0 / MS,
            self.fault_every.1 / MS,
            self.loss_ppm,
            self.twice_ppm,
            self.overtaken_ppm,
            self.echo_ppm,
            self.slow.0,
            self.slow.1 / MS,
            self.sync.0,
            self.sync.1,
            self.rate_ppm,
            if self.wild_clocks { " and wild" } else { "" },
            self.server_pace,
            self.master_pace
        )
    }
}
