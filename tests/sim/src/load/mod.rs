//! What clients do, each with a client library of its own; and what they were told, which must hold.

mod appender;
mod namer;
mod overwriter;
mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use gfs_client::{Client, Error, ErrorKind, Options};
use tokio::task::JoinHandle;

pub(crate) use namer::look as look_at_names;
pub(crate) use overwriter::check as check_region;

use crate::random::Random;
use crate::swarm::Swarm;
use crate::wire::{Mailbox, Wire};

/// Files that are appended to.
pub(crate) const LOGS: usize = 2;

/// What clients were told.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Operations that were acknowledged, of each client.
    pub(crate) acknowledged: BTreeMap<usize, u64>,
    /// Raw records: file, offset, which.
    pub(crate) records: Vec<(usize, u64, Tag)>,
    /// Framed records: file, offset, which.
    pub(crate) framed: Vec<(usize, u64, Tag)>,
    /// Regions that are written over: of each what a read may give.
    pub(crate) regions: BTreeMap<(usize, u64), Region>,
    /// Reads that gave what was there before.
    pub(crate) stale: u64,
    /// What may not be.
    pub(crate) violations: Vec<String>,
}

impl Ledger {
    /// How many operations were acknowledged.
    pub(crate) fn operations(&self) -> u64 {
        self.acknowledged.values().sum()
    }
}

/// What of a region is known.
#[derive(Debug, Default, Clone)]
pub(crate) struct Region {
    /// The last write that was acknowledged, and those that were begun since, by number. 0: never written.
    pub(crate) may_hold: BTreeSet<u64>,
    /// Writes that were there before: a replica that was left behind may show them for a while (READ-6 is not kept yet).
    pub(crate) before: BTreeSet<u64>,
}

/// Names a record: who wrote it, its number, its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tag {
    pub(crate) writer: u64,
    pub(crate) number: u64,
    pub(crate) length: u64,
}

const TAG_BYTES: u64 = 24;

impl Tag {
    /// Its bytes: itself, and then a pattern of its own.
    pub(crate) fn bytes(self) -> Bytes {
        let mut bytes = Vec::with_capacity(usize::try_from(self.length).unwrap_or(0) + 8);
        for word in [self.writer, self.number, self.length] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        let mut word = self.writer.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.number;
        while (bytes.len() as u64) < self.length {
            word = word.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.truncate(usize::try_from(self.length.max(TAG_BYTES)).unwrap_or(0));
        bytes.into()
    }

    /// Whose bytes these are, if they are whole.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| {
            let word = bytes.get(at..at + 8)?;
            Some(u64::from_le_bytes(word.try_into().ok()?))
        };
        let tag = Self { writer: word(0)?, number: word(8)?, length: word(16)? };
        (tag.length == bytes.len() as u64 && tag.bytes() == bytes).then_some(tag)
    }
}

/// What all workloads share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    ledger: Arc<Mutex<Ledger>>,
    /// What was called and told of names.
    pub(crate) notes: Arc<namer::Notes>,
    stop: Arc<AtomicBool>,
    mailbox: Arc<Mailbox>,
    timeout: Duration,
    pub(crate) chunk_bytes: u64,
    seed: u64,
}

impl Shared {
    pub(crate) fn new(seed: u64, swarm: &Swarm, mailbox: Arc<Mailbox>) -> Self {
        Self {
            ledger: Arc::default(),
            notes: Arc::new(namer::Notes::new()),
            stop: Arc::default(),
            mailbox,
            timeout: Duration::from_millis(swarm.timeout_ms),
            chunk_bytes: swarm.chunk_bytes,
            seed,
        }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn violation(&self, what: String) {
        self.ledger().violations.push(what);
    }

    /// An operation was acknowledged.
    fn acknowledged(&self, client: usize) {
        *self.ledger().acknowledged.entry(client).or_default() += 1;
    }

    fn random(&self, client: usize) -> Random {
        Random::of(self.seed, &format!("client {client}"))
    }

    /// A client of its own, through the network that is simulated.
    pub(crate) async fn connect(&self, client: usize) -> gfs_client::Result<Client> {
        let mut random = Random::of(self.seed, &format!("identity {client}"));
        let options = Options { timeout: self.timeout, ..Options::new("master:1")? };
        let wire = Arc::new(Wire { client, mailbox: self.mailbox.clone() });
        let numbers = std::array::from_fn(|_| random.next());
        loop {
            match Client::connect_over(options.clone(), wire.clone(), numbers).await {
                Err(error) if error.kind() == ErrorKind::Busy && !self.is_stopped() => {}
                connected => return connected,
            }
        }
    }
}

/// Whether nobody can say if it happened.
fn is_unknown(error: &Error) -> bool {
    match error {
        Error::TimedOut { outcome_unknown, .. } => *outcome_unknown,
        other => other.kind() == ErrorKind::Unknown,
    }
}

/// Whether waiting would have helped: what clients meet while things go wrong.
fn is_trouble(error: &Error) -> bool {
    is_unknown(error) || matches!(error.kind(), ErrorKind::Busy | ErrorKind::Stale)
}

async fn rest(random: &mut Random, ms: u64) {
    tokio::time::sleep(Duration::from_millis(random.between(1, ms))).await;
}

pub(crate) fn log_path(log: usize) -> String {
    format!("/log-{log}")
}

pub(crate) fn region_path(client: usize) -> String {
    format!("/regions-{client}")
}

/// Makes what the others begin with.
pub(crate) async fn set_up(shared: Shared, client: usize, swarm: Swarm) -> anyhow::Result<()> {
    let connected = shared.connect(client).await?;
    for log in 0..LOGS {
        connected.create(log_path(log), Default::default()).await?;
    }
    for number in 0..swarm.overwriters {
        connected.create(region_path(number), Default::default()).await?;
    }
    connected.mkdir(namer::ROOT, false).await?;
    Ok(())
}

/// Starts all of them. The first client is number 0.
pub(crate) fn start(shared: &Shared, swarm: &Swarm) -> Vec<JoinHandle<()>> {
    let mut clients = 0..;
    let mut next = || clients.next().unwrap_or(usize::MAX);
    let mut tasks = Vec::new();
    for number in 0..swarm.appenders {
        tasks.push(tokio::spawn(appender::run(shared.clone(), next(), number)));
    }
    for number in 0..swarm.overwriters {
        tasks.push(tokio::spawn(overwriter::run(shared.clone(), next(), number)));
    }
    for _ in 0..swarm.namers {
        tasks.push(tokio::spawn(namer::run(shared.clone(), next())));
    }
    for number in 0..swarm.readers {
        tasks.push(tokio::spawn(reader::run(shared.clone(), next(), number)));
    }
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_known_by_its_bytes_and_only_when_it_is_whole() {
        for length in [24, 25, 31, 100, 4_000] {
            let tag = Tag { writer: 7, number: 9, length };
            let bytes = tag.bytes();
            assert_eq!((bytes.len() as u64, Tag::of(&bytes)), (length, Some(tag)));
            let mut torn = bytes.to_vec();
            if let Some(last) = torn.last_mut() {
                *last ^= 1;
            }
            assert_eq!(Tag::of(&torn), None);
            assert_eq!(Tag::of(&bytes[1..]), None);
        }
    }
}
