//! Everybody who uses a cluster while things go wrong, and what each of them was told.
//!
//! Appenders share two files, namespace clients have a directory each, contenders share one, overwriters own regions of one file, readers look at
//! all of it. All of them can be sent to rest, so that what is stored can be compared with what was told.

mod acks;
mod appender;
mod contenders;
mod gate;
mod names;
mod reader;
mod regions;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gfs_client::{Client, Options};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use self::acks::Acks;
use self::contenders::Notes;
use self::gate::Gate;
use self::names::Names;
use self::reader::Shown;
use self::regions::Regions;

/// Files that are appended to.
const LOGS: usize = 2;
/// How long one operation may take: longer than any fault, so that all of them are told an outcome.
const OPERATION_TIME: Duration = Duration::from_secs(180);
/// How long those who were sent to rest may still be at their last operation.
const REST_TIME: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How many there are of each.
#[derive(Debug, Clone, Copy, Default)]
pub struct Crew {
    /// Append records, to two shared files.
    pub appenders: u64,
    /// Create, rename, delete and bring back files, each in a directory of its own.
    pub namers: u64,
    /// Change and ask about the same few names, all of them.
    pub contenders: u64,
    /// Overwrite regions of one shared file.
    pub overwriters: u64,
    /// Read all files again and again.
    pub readers: u64,
}

/// What was acknowledged so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Records.
    pub appends: u64,
    /// Changes of the namespace, each in its client's own directory.
    pub changes: u64,
    /// Changes by contenders.
    pub contended: u64,
    /// Regions that were overwritten.
    pub overwrites: u64,
    /// Looks of readers at a file.
    pub reads: u64,
    /// What was called and not done, or nobody knows: the client gave up.
    pub unsettled: u64,
}

impl Counts {
    /// How many of a hundred calls did what was asked.
    #[must_use]
    pub fn ok_percent(self) -> u64 {
        let Self { appends, changes, contended, overwrites, reads, unsettled } = self;
        let ok = appends + changes + contended + overwrites + reads;
        (100 * ok).checked_div(ok + unsettled).unwrap_or(0)
    }

    /// What came since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        self.with(before, |now, before| now - before)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.with(other, |one, other| one + other)
    }

    fn with(self, other: Self, of: fn(u64, u64) -> u64) -> Self {
        Self {
            appends: of(self.appends, other.appends),
            changes: of(self.changes, other.changes),
            contended: of(self.contended, other.contended),
            overwrites: of(self.overwrites, other.overwrites),
            reads: of(self.reads, other.reads),
            unsettled: of(self.unsettled, other.unsettled),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { appends, changes, contended, overwrites, reads, unsettled } = self;
        write!(f, "{appends} appends, {changes}+{contended} changes, ")?;
        write!(f, "{overwrites} overwrites, {reads} reads, {unsettled} without an outcome")
    }
}

/// A crew at work.
pub struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the members of a crew have in common.
struct Shared {
    masters: String,
    dir: String,
    /// Tells the records of one load from those of another.
    number: u64,
    gate: Gate,
    counted: [AtomicU64; 6],
    acks: [Mutex<Acks>; LOGS],
    /// When each appender was last told of a record.
    last_acks: Vec<Mutex<Instant>>,
    longest_stall_ms: AtomicU64,
    names: Vec<Mutex<Names>>,
    contended: Notes,
    regions: Regions,
    shown: [Mutex<Shown>; LOGS],
    /// The first thing that was not as it should be.
    failure: Mutex<Option<String>>,
}

/// Which of [`Counts`].
#[derive(Clone, Copy)]
enum Count {
    Appends,
    Changes,
    Contended,
    Overwrites,
    Reads,
    Unsettled,
}

impl Load {
    /// Makes the directory `dir` with all files, and sets everybody to work. `number` is another one for each load.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn start(masters: &str, dir: &str, number: u64, crew: Crew) -> Result<Self> {
        let shared = Arc::new(Shared::new(masters, dir, number, crew));
        shared.prepare().await.with_context(|| format!("preparing {dir}"))?;
        let mut load = Self { shared: Arc::clone(&shared), tasks: Vec::new() };
        for n in 0..crew.appenders {
            load.spawn(format!("appender {n}"), appender::run(Arc::clone(&shared), n));
        }
        for n in 0..crew.namers {
            load.spawn(format!("namespace client {n}"), names::run(Arc::clone(&shared), n));
        }
        for n in 0..crew.contenders {
            load.spawn(format!("contender {n}"), contenders::run(Arc::clone(&shared), n));
        }
        for n in 0..crew.overwriters {
            let all = crew.overwriters;
            load.spawn(format!("overwriter {n}"), regions::run(Arc::clone(&shared), n, all));
        }
        for n in 0..crew.readers {
            load.spawn(format!("reader {n}"), reader::run(Arc::clone(&shared), n));
        }
        Ok(load)
    }

    fn spawn(&mut self, who: String, work: impl Future<Output = Result<()>> + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        self.tasks.push(tokio::spawn(async move {
            if let Err(error) = work.await {
                lock(&shared.failure).get_or_insert(format!("{who}: {error:#}"));
            }
        }));
    }

    /// The directory with all its files.
    #[must_use]
    pub fn dir(&self) -> &str {
        &self.shared.dir
    }

    /// The path of a shared file of records.
    #[must_use]
    pub fn log(&self, log: usize) -> String {
        self.shared.log(log)
    }

    /// What was acknowledged so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let count = |which: Count| self.shared.counted[which as usize].load(Ordering::Relaxed);
        Counts {
            appends: count(Count::Appends),
            changes: count(Count::Changes),
            contended: count(Count::Contended),
            overwrites: count(Count::Overwrites),
            reads: count(Count::Reads),
            unsettled: count(Count::Unsettled),
        }
    }

    /// The longest time between two acknowledgements of one appender since this was asked last.
    #[must_use]
    pub fn take_longest_stall(&self) -> Duration {
        Duration::from_millis(self.shared.longest_stall_ms.swap(0, Ordering::Relaxed))
    }

    /// Whether everybody saw only what may be.
    ///
    /// # Errors
    /// The first thing that was wrong.
    pub fn check_alive(&self) -> Result<()> {
        let failure = lock(&self.shared.failure).clone();
        ensure!(failure.is_none(), "{}", failure.unwrap_or_default());
        ensure!(!self.tasks.iter().any(JoinHandle::is_finished), "a member of the crew panicked");
        Ok(())
    }

    /// Waits until every appender was told of a record that is younger than `since`; gives how long that took.
    ///
    /// # Errors
    /// When one was not, within this time; or when something was wrong.
    pub async fn resumed(&self, since: Instant, within: Duration) -> Result<Duration> {
        loop {
            self.check_alive()?;
            let late = |last: &&Mutex<Instant>| *lock(last) <= since;
            let waiting = self.shared.last_acks.iter().filter(late).count();
            if waiting == 0 {
                return Ok(since.elapsed());
            }
            ensure!(
                since.elapsed() < within,
                "{waiting} of {} appenders still wait {within:?} after everything works again",
                self.shared.last_acks.len()
            );
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Lets everybody finish what they are at and begin nothing new.
    ///
    /// # Errors
    /// When somebody does not finish, or when something was wrong.
    pub async fn rest(&self) -> Result<()> {
        let begun = Instant::now();
        self.shared.gate.rest();
        while self.shared.gate.resting() < self.tasks.len() {
            self.check_alive()?;
            let at_work = self.tasks.len() - self.shared.gate.resting();
            ensure!(
                begun.elapsed() < REST_TIME,
                "{at_work} of {} clients are at one operation for {REST_TIME:?}, in calm",
                self.tasks.len()
            );
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Goes on after [`Load::rest`].
    pub fn resume(&self) {
        let now = Instant::now();
        // The rest is nobody's stall.
        self.shared.last_acks.iter().for_each(|last| *lock(last) = now);
        self.shared.gate.resume();
    }

    /// Ends everybody's work; what was told can still be checked.
    ///
    /// # Errors
    /// When somebody does not finish, or when something was wrong.
    pub async fn end(&mut self) -> Result<()> {
        self.rest().await?;
        self.shared.gate.end();
        for task in self.tasks.drain(..) {
            task.await?;
        }
        Ok(())
    }

    /// Compares all that is stored with all that was told, while everybody rests.
    ///
    /// # Errors
    /// The first thing that is missing or wrong.
    pub async fn check(&self) -> Result<()> {
        let shared = &self.shared;
        let client = shared.connect().await?;
        for log in 0..LOGS {
            let acks = lock(&shared.acks[log]).clone();
            let shown = lock(&shared.shown[log]).clone();
            let path = shared.log(log);
            acks::check(&client, &path, &acks, &shown).await.with_context(|| path.clone())?;
        }
        for (number, names) in (0..).zip(&shared.names) {
            let names = lock(names).clone();
            let dir = shared.names_dir(number);
            names::check(&client, &dir, &names).await.with_context(|| dir.clone())?;
        }
        shared.contended.check().with_context(|| shared.contended_dir())?;
        let path = shared.regions_path();
        shared.regions.check(&client, &path).await.with_context(|| path.clone())?;
        client.close().await;
        Ok(())
    }

    /// Removes its directory for good.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn remove(self) -> Result<()> {
        let client = self.shared.connect().await?;
        let options = gfs_client::DeleteOptions { recursive: true, purge: true };
        client.delete(&self.shared.dir, options).await?;
        client.close().await;
        Ok(())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    fn new(masters: &str, dir: &str, number: u64, crew: Crew) -> Self {
        let now = Instant::now();
        Self {
            masters: masters.to_owned(),
            dir: dir.to_owned(),
            number,
            gate: Gate::default(),
            counted: Default::default(),
            acks: Default::default(),
            last_acks: (0..crew.appenders).map(|_| Mutex::new(now)).collect(),
            longest_stall_ms: AtomicU64::new(0),
            names: (0..crew.namers).map(|_| Mutex::default()).collect(),
            contended: Notes::new(),
            regions: Regions::new(number, crew.overwriters > 0),
            shown: Default::default(),
            failure: Mutex::default(),
        }
    }

    async fn prepare(&self) -> Result<()> {
        let client = self.connect().await?;
        client.mkdir(&self.dir, true).await?;
        for log in 0..LOGS {
            client.create(self.log(log), Default::default()).await?;
        }
        for number in (0..).zip(&self.names).map(|(number, _)| number) {
            client.mkdir(self.names_dir(number), true).await?;
        }
        client.mkdir(self.contended_dir(), true).await?;
        self.regions.write_first(&client, &self.regions_path()).await?;
        client.close().await;
        Ok(())
    }

    /// A client of its own, with nothing remembered.
    async fn connect(&self) -> Result<Client> {
        let options = Options { timeout: OPERATION_TIME, ..Options::new(&self.masters)? };
        Ok(Client::connect_with(options).await?)
    }

    fn log(&self, log: usize) -> String {
        format!("{}/log-{log}", self.dir)
    }

    fn names_dir(&self, number: u64) -> String {
        format!("{}/names-{number}", self.dir)
    }

    /// As if it were a root.
    fn contended_dir(&self) -> String {
        format!("{}/contended", self.dir)
    }

    fn regions_path(&self) -> String {
        format!("{}/regions", self.dir)
    }

    fn count(&self, what: Count) {
        self.counted[what as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// A lock that is held for a few instructions; a panic of a holder ends the test anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
