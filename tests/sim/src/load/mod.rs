//! What clients do, each with a client library of its own; and what they were told, which must hold.

mod appender;
mod ball;
mod keeper;
mod namer;
mod onlooker;
pub(crate) mod overwriter;
mod reader;
pub(crate) mod regions;
mod setter;
mod tail;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use gfs_client::record::frame::{Decoded, HEADER_BYTES, decode};
use gfs_client::{Client, Error, ErrorKind, File, Options};
use gfs_types::ids::ChunkHandle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) use namer::look as look_at_names;
pub(crate) use setter::look as look_at_set;

use self::regions::Region;
use crate::random::Random;
use crate::swarm::Swarm;
use crate::wire::{Held, Mail, Mailbox, Wire};

/// Files that are appended to.
pub(crate) const LOGS: usize = 2;

/// What clients were told.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// What each client has done so far, by its number and what it does. All that are there are here from their start.
    pub(crate) done: BTreeMap<(usize, &'static str), u64>,
    /// Records that must be there.
    pub(crate) records: Vec<Record>,
    /// Records that a reader was shown, acknowledged or not, by file and offset: what was shown stays (mut-4).
    pub(crate) shown: BTreeMap<(usize, u64), Tag>,
    /// Regions that are written over, by file and number.
    pub(crate) regions: BTreeMap<(usize, u64), Region>,
    /// Files of names that nobody else uses.
    pub(crate) set: setter::Set,
    /// Reads that gave what was there before, though nothing is lost: READ-6 is not kept yet between clients.
    pub(crate) stale: u64,
    /// How often the power failed everywhere.
    pub(crate) blackouts: u64,
    numbers: u64,
    /// What may not be.
    pub(crate) violations: Vec<String>,
}

/// A record that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    number: u64,
    pub(crate) log: usize,
    /// As it was told; of a framed one where its frame begins.
    pub(crate) offset: u64,
    pub(crate) tag: Tag,
    pub(crate) framed: bool,
    /// A sync that began after it was acknowledged.
    synced: bool,
}

impl Record {
    /// One that was shown.
    pub(crate) const fn shown(log: usize, offset: u64, tag: Tag) -> Self {
        Self { number: 0, log, offset, tag, framed: true, synced: false }
    }

    /// From its offset on.
    pub(crate) fn bytes(&self) -> u64 {
        self.tag.length + if self.framed { HEADER_BYTES as u64 } else { 0 }
    }

    /// Whether it is these bytes.
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        match (self.framed, decode(bytes)) {
            (false, _) => Tag::of(bytes) == Some(self.tag),
            (true, Decoded::Frame { payload, bytes: all, .. }) => {
                all == bytes.len() && Tag::of(&payload) == Some(self.tag)
            }
            (true, _) => false,
        }
    }
}

/// What was acknowledged when a sync began.
#[derive(Debug)]
pub(crate) struct BeforeSync {
    numbers: u64,
    blackouts: u64,
}

impl Ledger {
    /// How many operations were acknowledged.
    pub(crate) fn operations(&self) -> u64 {
        self.done.values().sum()
    }

    /// Who has not done a thing since, with what it does: those that never did anything, too.
    pub(crate) fn not_gone_on(
        &self,
        since: &BTreeMap<(usize, &'static str), u64>,
    ) -> Vec<(usize, &'static str)> {
        let rests = |(of, count): &(&(usize, &'static str), &u64)| {
            since.get(*of).is_some_and(|before| before >= *count)
        };
        self.done.iter().filter(rests).map(|(of, _)| *of).collect()
    }

    /// A record was acknowledged, and the power did not fail everywhere while it was on its way.
    pub(crate) fn recorded(&mut self, log: usize, offset: u64, tag: Tag, framed: bool) {
        self.numbers += 1;
        let (number, synced) = (self.numbers, false);
        self.records.push(Record { number, log, offset, tag, framed, synced });
    }

    pub(crate) fn sync_begins(&self) -> BeforeSync {
        BeforeSync { numbers: self.numbers, blackouts: self.blackouts }
    }

    /// What was acknowledged before the sync began stays (DUR-2): of one writer, where it synced only what it wrote itself.
    pub(crate) fn synced(&mut self, log: usize, writer: Option<u64>, before: &BeforeSync) {
        if before.blackouts == self.blackouts {
            let its = |record: &&mut Record| {
                let mine = writer.is_none_or(|writer| record.tag.writer == writer);
                mine && record.log == log && record.number <= before.numbers
            };
            self.records.iter_mut().filter(its).for_each(|record| record.synced = true);
        }
    }

    /// The power failed everywhere: what was not synced need not be there.
    pub(crate) fn power_failed(&mut self) {
        self.blackouts += 1;
        self.records.retain(|record| record.synced);
        self.shown.clear();
        self.regions.values_mut().for_each(Region::power_failed);
    }
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
        let mut bytes = vec![0; usize::try_from(self.length.max(TAG_BYTES)).unwrap_or(0)];
        let mut words = self.words();
        let (parts, rest) = bytes.as_chunks_mut();
        for (part, word) in parts.iter_mut().zip(words.by_ref()) {
            *part = word.to_le_bytes();
        }
        let last = words.next().unwrap_or(0).to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
        bytes.into()
    }

    /// Itself, and then the pattern, for ever.
    fn words(self) -> impl Iterator<Item = u64> {
        let mut word = self.writer.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.number;
        let pattern = std::iter::repeat_with(move || {
            word = word.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
            word
        });
        [self.writer, self.number, self.length].into_iter().chain(pattern)
    }

    /// Whether these are its bytes.
    fn is(self, bytes: &[u8]) -> bool {
        let mut words = self.words();
        let (parts, rest) = bytes.as_chunks();
        bytes.len() as u64 == self.length.max(TAG_BYTES)
            && parts.iter().zip(words.by_ref()).all(|(part, word)| *part == word.to_le_bytes())
            && words.next().is_some_and(|last| last.to_le_bytes().starts_with(rest))
    }

    /// Whose bytes these are, if they are whole.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| {
            let word = bytes.get(at..at + 8)?;
            Some(u64::from_le_bytes(word.try_into().ok()?))
        };
        let tag = Self { writer: word(0)?, number: word(8)?, length: word(16)? };
        (tag.length == bytes.len() as u64 && tag.is(bytes)).then_some(tag)
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
    sync_percent: u64,
    pub(crate) chunk_bytes: u64,
    /// There is a set of files.
    pub(crate) set: bool,
    /// Two of those who change names move one file to and fro.
    ball: bool,
    /// Readers stay at the end of what they follow.
    tails: bool,
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
            sync_percent: swarm.sync_percent,
            chunk_bytes: swarm.chunk_bytes,
            set: swarm.setters > 0,
            ball: swarm.ball,
            tails: swarm.tails,
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

    /// It has done something of what it does.
    fn done(&self, client: usize, what: &'static str) {
        *self.ledger().done.entry((client, what)).or_default() += 1;
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

    /// As [`Shared::connect`], for a client that goes on until it is stopped.
    async fn connected(&self, client: usize) -> Option<Client> {
        match self.connect(client).await {
            Ok(connected) => Some(connected),
            Err(_) if self.is_stopped() => None,
            Err(error) => {
                self.violation(format!("client-{client} cannot connect: {error}"));
                None
            }
        }
    }

    /// A file that is there.
    async fn open(&self, connected: &Client, path: String) -> Option<File> {
        loop {
            match connected.open(&path).await {
                Ok(file) => return Some(file),
                Err(_) if self.is_stopped() => return None,
                Err(error) if is_trouble(&error) => {}
                Err(error) => {
                    self.violation(format!("opening {path}: {error}"));
                    return None;
                }
            }
        }
    }

    /// What the best replicas of a chunk hold, as the world sees it.
    async fn look(&self, handle: ChunkHandle, range: Range<u64>) -> Vec<Held> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.post(Mail::Look { handle, range, reply });
        answer.await.unwrap_or_default()
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
    // Corrupt: the only replica in touch is rotten. No byte of it was given out, and in calm weather there are others.
    let kinds = [ErrorKind::Busy, ErrorKind::Stale, ErrorKind::Corrupt];
    is_unknown(error) || kinds.contains(&error.kind())
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
    if shared.set {
        connected.mkdir(setter::ROOT, false).await?;
    }
    Ok(())
}

/// What the client of a number does.
type Work = Box<dyn FnOnce(usize) -> BoxFuture<'static, ()>>;

/// Starts all of them. The first client is number 0. What each does is known from now on: who never does it is missed.
/// Those that are left out do nothing, and nobody misses it.
pub(crate) fn start(
    shared: &Shared,
    swarm: &Swarm,
    left_out: &BTreeSet<usize>,
) -> Vec<JoinHandle<()>> {
    let left_out = with_those_who_rest_on_them(swarm, left_out);
    let mut clients = 0..;
    let mut next = |does: &[&'static str]| {
        let client = clients.next().unwrap_or(usize::MAX);
        let starts = !left_out.contains(&client);
        if starts {
            shared.ledger().done.extend(does.iter().map(|what| ((client, *what), 0)));
        }
        (client, starts)
    };
    let mut tasks = Vec::new();
    let mut spawn = |(client, starts): (usize, bool), work: Work| {
        if starts {
            tasks.push(tokio::spawn(work(client)));
        }
    };
    for number in 0..swarm.appenders {
        let shared = shared.clone();
        let work = move |client| appender::run(shared, client, number).boxed();
        spawn(next(&appender::DOES), Box::new(work));
    }
    for number in 0..swarm.overwriters {
        let shared = shared.clone();
        let work = move |client| overwriter::run(shared, client, number).boxed();
        spawn(next(&overwriter::DOES), Box::new(work));
    }
    for number in 0..swarm.namers {
        let shared = shared.clone();
        let work = move |client| namer::run(shared, client, number).boxed();
        spawn(next(&[namer::DOES]), Box::new(work));
    }
    for number in 0..swarm.readers {
        let shared = shared.clone();
        let work = move |client| reader::run(shared, client, number).boxed();
        spawn(next(&[reader::DOES]), Box::new(work));
    }
    let (looking, keeping) = (shared.clone(), shared.clone());
    let files = swarm.overwriters;
    let work = move |client| onlooker::run(looking, client, files).boxed();
    spawn(next(&[onlooker::DOES]), Box::new(work));
    spawn(next(&[keeper::DOES]), Box::new(move |client| keeper::run(keeping, client).boxed()));
    for _ in 0..swarm.setters {
        let shared = shared.clone();
        let work = move |client| setter::run(shared, client).boxed();
        spawn(next(&setter::DOES), Box::new(work));
    }
    tasks
}

/// The onlooker goes with the last of those whom it looks at: it would wait for what nobody writes, and be missed for that.
fn with_those_who_rest_on_them(swarm: &Swarm, left_out: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut left_out = left_out.clone();
    if swarm.overwriting().all(|client| left_out.contains(&client)) {
        left_out.insert(swarm.onlooker());
    }
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_onlooker_goes_with_the_last_whom_it_looks_at() {
        let swarm = Swarm { appenders: 2, overwriters: 2, readers: 1, ..Swarm::default() };
        let without = |clients: &[usize]| {
            with_those_who_rest_on_them(&swarm, &clients.iter().copied().collect())
        };
        assert_eq!(without(&[0, 3]), [0, 3].into());
        assert_eq!(without(&[2, 3]), [2, 3, swarm.onlooker()].into());
        assert_eq!((swarm.onlooker(), swarm.clients()), (7, 9));
    }

    fn tag(number: u64) -> Tag {
        Tag { writer: 1, number, length: 40 }
    }

    #[test]
    fn who_does_nothing_is_named_though_it_never_did_anything() {
        let mut ledger = Ledger::default();
        ledger.done.extend([((0, "append"), 5), ((1, "write"), 0), ((1, "read"), 3)]);
        let before = ledger.done.clone();
        ledger.done.extend([((0, "append"), 6), ((1, "read"), 4)]);
        assert_eq!(ledger.not_gone_on(&before), [(1, "write")]);
    }

    #[test]
    fn what_was_acknowledged_before_a_sync_must_outlive_the_power_and_nothing_else() {
        let mut ledger = Ledger::default();
        ledger.recorded(0, 0, tag(1), false);
        ledger.recorded(1, 0, tag(2), false);
        let before = ledger.sync_begins();
        ledger.recorded(0, 40, tag(3), false);
        ledger.synced(0, None, &before);
        ledger.power_failed();
        let left =
            |ledger: &Ledger| ledger.records.iter().map(|r| r.tag.number).collect::<Vec<_>>();
        assert_eq!(left(&ledger), [1]);
        ledger.recorded(0, 40, tag(4), false);
        let before = ledger.sync_begins();
        ledger.power_failed();
        ledger.recorded(0, 40, tag(5), false);
        ledger.synced(0, None, &before);
        ledger.power_failed();
        assert_eq!(left(&ledger), [1], "a sync around which the power failed proves nothing");
    }

    #[test]
    fn a_framed_record_is_its_frame_and_nothing_near_it() {
        let mut frame = bytes::BytesMut::new();
        gfs_client::record::frame::encode(
            &mut frame,
            gfs_client::record::WriterId(1),
            1,
            &tag(1).bytes(),
        );
        let record = |framed, number| Record {
            number: 1,
            log: 0,
            offset: 0,
            tag: tag(number),
            framed,
            synced: false,
        };
        assert_eq!(record(true, 1).bytes(), frame.len() as u64);
        assert!(record(true, 1).is(&frame) && !record(true, 2).is(&frame));
        assert!(!record(false, 1).is(&frame) && !record(true, 1).is(&frame[1..]));
        assert!(record(false, 1).is(&tag(1).bytes()) && !record(true, 1).is(&tag(1).bytes()));
    }

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
