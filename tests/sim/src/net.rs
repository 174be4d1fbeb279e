//! Who reaches whom, and how long it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::agenda::Micros;
use crate::random::Random;
use crate::swarm::{Fault, Swarm};

/// One end of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The master.
    Master,
    /// A chunkserver, from 0.
    Server(usize),
    /// A client, from 0.
    Client(usize),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master => write!(f, "master"),
            Self::Server(number) => write!(f, "server-{number}"),
            Self::Client(number) => write!(f, "client-{number}"),
        }
    }
}

/// What is sent on one of these comes in order.
pub(crate) type Lane = (Who, Who, u8);

/// The network.
#[derive(Debug)]
pub(crate) struct Net {
    random: Random,
    /// One way each, and in which partition.
    cut: BTreeMap<(Who, Who), u64>,
    /// Partitions in which something did not get through.
    struck: BTreeSet<u64>,
    /// How often each came to a message.
    counts: BTreeMap<Fault, u64>,
    /// When the last message of a lane arrives.
    last: BTreeMap<Lane, Micros>,
    loss_ppm: u64,
    slow: (u64, Micros),
    twice_ppm: u64,
    overtaken_ppm: u64,
}

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random::of(seed, "network"),
            cut: BTreeMap::new(),
            struck: BTreeSet::new(),
            counts: BTreeMap::new(),
            last: BTreeMap::new(),
            loss_ppm: 0,
            slow: (0, 0),
            twice_ppm: 0,
            overtaken_ppm: 0,
        }
    }

    /// From now on it is as bad as the swarm says.
    pub(crate) fn worsen(&mut self, swarm: &Swarm) {
        self.loss_ppm = swarm.loss_ppm;
        self.slow = swarm.slow;
        self.twice_ppm = swarm.twice_ppm;
        self.overtaken_ppm = swarm.overtaken_ppm;
    }

    /// From now on it is good.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        (self.loss_ppm, self.slow) = (0, (0, 0));
        (self.twice_ppm, self.overtaken_ppm) = (0, 0);
    }

    pub(crate) fn cut(&mut self, from: Who, to: Who, partition: u64) {
        self.cut.insert((from, to), partition);
    }

    pub(crate) fn mend(&mut self, from: Who, to: Who) {
        self.cut.remove(&(from, to));
    }

    pub(crate) fn is_cut(&self, from: Who, to: Who) -> bool {
        self.cut.contains_key(&(from, to))
    }

    fn strikes(&mut self, fault: Fault, ppm: u64) -> bool {
        let strikes = ppm > 0 && self.random.in_a_million(ppm);
        if strikes {
            *self.counts.entry(fault).or_default() += 1;
        }
        strikes
    }

    /// Whether this message comes twice.
    pub(crate) fn twice(&mut self) -> bool {
        self.strikes(Fault::Twice, self.twice_ppm)
    }

    /// What came to messages: partitions are those that stopped one.
    pub(crate) fn counts(&self) -> BTreeMap<Fault, u64> {
        let mut counts = self.counts.clone();
        counts.insert(Fault::Partition, self.struck.len() as u64);
        counts
    }

    /// How long something without a lane takes.
    pub(crate) fn delay(&mut self) -> Micros {
        let usual = self.random.between(60, 300);
        match self.strikes(Fault::Late, self.slow.0) {
            true => usual + self.random.below(self.slow.1),
            false => usual,
        }
    }

    /// When a message sent now arrives; `None`: never, and its connection breaks.
    pub(crate) fn travel(&mut self, now: Micros, lane: Lane) -> Option<Micros> {
        let (from, to, _) = lane;
        if let Some(partition) = self.cut.get(&(from, to)) {
            self.struck.insert(*partition);
            return None;
        }
        if self.strikes(Fault::Lost, self.loss_ppm) {
            return None;
        }
        let arrives = now + self.delay();
        let servers = matches!((from, to), (Who::Server(_), Who::Server(_)));
        if servers && self.strikes(Fault::Overtaken, self.overtaken_ppm) {
            return Some(arrives + self.random.below(20_000));
        }
        let last = self.last.entry(lane).or_default();
        *last = arrives.max(*last);
        Some(*last)
    }
}
