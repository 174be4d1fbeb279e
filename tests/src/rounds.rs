//! Rounds of fault and calm: a crew works, something breaks and is mended, and then everything must be as it was told.
//!
//! A round that saw too little load does not count and is repeated.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::cluster::note_violation;
use crate::command::{gfs, run as run_command};
use crate::equal;
use crate::load::{Counts, Crew, Load};
use crate::payload;

/// A round with less does not count.
const APPENDS_MIN: u64 = 50;
const CHANGES_MIN: u64 = 20;
/// Of contenders.
const CONTENDED_MIN: u64 = 100;
/// ... and one in which fewer of a hundred calls did what was asked, while nothing was broken.
const OK_PERCENT_MIN: u64 = 60;
/// Everybody works for so long before something breaks, in milliseconds.
const WORK_MS: (u64, u64) = (300, 1800);
/// ... and for so long after all appenders went on.
const WORK_AFTER: Duration = Duration::from_millis(500);
/// Appenders go on this soon after everything works again.
const RESUME_WITHIN: Duration = Duration::from_secs(30);
/// All replicas are equal after so much calm.
const EQUAL_WITHIN: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// So many rounds use the same files: they grow.
const ROUNDS_PER_LOAD: u64 = 5;
const CREW: Crew = Crew { appenders: 8, namers: 3, contenders: 4, overwriters: 2, readers: 2 };
/// How many rounds, and from which seed on, when it is not as in the test command: `cargo xtask soak` sets them.
const ROUNDS_VARIABLE: &str = "GFS_SOAK_ROUNDS";
const SEED_VARIABLE: &str = "GFS_SOAK_SEED";

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Rounds that count.
    pub rounds: u64,
    /// The seed of the first; each has its own.
    pub first_seed: u64,
    /// It may take as long as it takes.
    pub soak: bool,
}

impl Plan {
    /// So many rounds, unless the environment asks for a soak.
    ///
    /// # Errors
    /// When a variable holds no number.
    pub fn of(rounds: u64) -> Result<Self> {
        let number = |variable: &str| {
            let text = std::env::var(variable).ok();
            text.map(|text| text.parse().with_context(|| format!("{variable}={text}"))).transpose()
        };
        let soak = number(ROUNDS_VARIABLE)?;
        let first_seed = number(SEED_VARIABLE)?.unwrap_or(1);
        Ok(Self { rounds: soak.unwrap_or(rounds), first_seed, soak: soak.is_some() })
    }
}

/// A number from `least` to `most`, of this seed; `what` keeps the numbers of one seed apart.
#[must_use]
pub fn draw(seed: u64, what: u64, least: u64, most: u64) -> u64 {
    least + payload::draw(seed, what) % (most - least + 1)
}

/// Runs the rounds of a plan against the cluster of these masters: `fault` breaks something by a seed, mends it, and says
/// what it was. The directory of the load is told to it.
///
/// # Errors
/// The first violation, with its seed; or too few rounds with enough load.
pub async fn run<Fault>(
    masters: &str,
    plan: Plan,
    fault: impl Fn(u64, String) -> Fault,
) -> Result<()>
where
    Fault: Future<Output = Result<String>>,
{
    let mut trial = Trial::begin(masters).await?;
    let mut sum = Sum::default();
    let mut tried = 0;
    while sum.rounds < plan.rounds {
        ensure!(tried < 2 * plan.rounds, "only {} of {tried} rounds had enough load", sum.rounds);
        if tried > 0 && tried % ROUNDS_PER_LOAD == 0 {
            trial.change_files().await?;
        }
        let seed = plan.first_seed + tried;
        tried += 1;
        let fault = fault(seed, trial.load.dir().to_owned());
        let round = trial.round(seed, fault).await;
        let round =
            round.with_context(|| format!("round {tried} (seed {seed})")).inspect_err(told)?;
        let remark = if round.has_load() { "" } else { "; too little load: repeated" };
        println!("round {tried} (seed {seed}): {round}{remark}");
        sum.add(&round);
    }
    trial.end().await.inspect_err(told)?;
    println!("summary: {sum}, 0 violations");
    Ok(())
}

/// In one line, among those of the rounds.
fn told(error: &anyhow::Error) {
    note_violation();
    println!("violation: {}", format!("{error:#}").replace('\n', "; "));
}

/// A cluster under test.
struct Trial {
    masters: String,
    load: Load,
    /// The one before: what it was told must still be true.
    old: Option<Load>,
    loads: u64,
}

impl Trial {
    async fn begin(masters: &str) -> Result<Self> {
        let load = Load::start(masters, "/load-0", 0, CREW).await?;
        load.rest().await?;
        Ok(Self { masters: masters.to_owned(), load, old: None, loads: 1 })
    }

    async fn round(
        &mut self,
        seed: u64,
        fault: impl Future<Output = Result<String>>,
    ) -> Result<Round> {
        let load = &self.load;
        let before = load.counts();
        // Nobody asked yet: what came before is no stall of this round.
        let _ = load.take_longest_stall();
        load.resume();
        sleep(Duration::from_millis(draw(seed, 0, WORK_MS.0, WORK_MS.1))).await;
        load.check_alive()?;
        let worked = load.counts().since(before);
        let fault = fault.await?;
        let mended = Instant::now();
        let resumed = load.resumed(mended, RESUME_WITHIN).await.with_context(|| fault.clone())?;
        let went_on = load.counts();
        sleep(WORK_AFTER).await;
        let calm = Instant::now();
        load.rest().await.with_context(|| fault.clone())?;
        let longest_stall = load.take_longest_stall();
        self.check(calm, load.dir()).await.with_context(|| fault.clone())?;
        let counts = load.counts().since(before);
        let in_calm = worked.plus(load.counts().since(went_on));
        Ok(Round { fault, counts, in_calm, longest_stall, resumed, equal: calm.elapsed() })
    }

    /// Everything as it was told, on all replicas.
    async fn check(&self, calm: Instant, dir: &str) -> Result<()> {
        self.settled(calm, dir).await?;
        self.load.check().await
    }

    /// All replicas are there and equal, and `fsck` reads each of them.
    async fn settled(&self, calm: Instant, dir: &str) -> Result<()> {
        let deadline = calm + EQUAL_WITHIN;
        loop {
            equal::wait(&self.masters, dir, deadline).await?;
            // Equal checksums can be told by a replica that shows its bytes to nobody yet.
            match self.fsck(dir).await {
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => sleep(LOOK_AGAIN).await,
                Ok(()) => return Ok(()),
            }
        }
    }

    async fn fsck(&self, path: &str) -> Result<()> {
        let mut fsck = gfs(&self.masters, ["fsck", "--replicas", path]);
        let output = spawn_blocking(move || run_command(&mut fsck)).await?;
        ensure!(
            output.status.success(),
            "`gfs fsck --replicas {path}` ended with {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// The load goes on with other files; those that it leaves are looked at again when it leaves the next.
    async fn change_files(&mut self) -> Result<()> {
        let dir = format!("/load-{}", self.loads);
        let next = Load::start(&self.masters, &dir, self.loads, CREW).await?;
        next.rest().await?;
        self.loads += 1;
        let mut left = std::mem::replace(&mut self.load, next);
        left.end().await?;
        if let Some(old) = self.old.replace(left) {
            old.check().await.with_context(|| format!("{} later", old.dir()))?;
            old.remove().await?;
        }
        Ok(())
    }

    async fn end(mut self) -> Result<()> {
        self.load.end().await?;
        self.load.check().await?;
        if let Some(old) = &self.old {
            old.check().await.with_context(|| format!("{} at the end", old.dir()))?;
        }
        self.settled(Instant::now(), "/").await
    }
}

/// What one round was like.
struct Round {
    fault: String,
    counts: Counts,
    /// Of them, while nothing was broken.
    in_calm: Counts,
    longest_stall: Duration,
    resumed: Duration,
    equal: Duration,
}

impl Round {
    fn has_load(&self) -> bool {
        let Counts { appends, changes, contended, .. } = self.counts;
        let enough = appends >= APPENDS_MIN && changes >= CHANGES_MIN && contended >= CONTENDED_MIN;
        enough && self.in_calm.ok_percent() >= OK_PERCENT_MIN
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, counts, in_calm, longest_stall, resumed, equal } = self;
        write!(
            f,
            "{fault}; {counts}; {} % ok in calm; longest stall {longest_stall:.1?}, ",
            in_calm.ok_percent()
        )?;
        write!(f, "all went on after {resumed:.1?}, all equal and checked after {equal:.1?}")
    }
}

/// All rounds that counted.
#[derive(Default)]
struct Sum {
    rounds: u64,
    counts: Counts,
    longest_stall: Duration,
    longest_equal: Duration,
}

impl Sum {
    fn add(&mut self, round: &Round) {
        self.rounds += u64::from(round.has_load());
        self.counts = self.counts.plus(round.counts);
        self.longest_stall = self.longest_stall.max(round.longest_stall);
        self.longest_equal = self.longest_equal.max(round.equal);
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, counts, longest_stall, longest_equal } = self;
        write!(f, "{rounds} rounds; {counts}; longest stall {longest_stall:.1?}, ")?;
        write!(f, "all equal and checked after {longest_equal:.1?} at most")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_counts_only_with_enough_load() {
        let of = |appends, changes, contended, in_calm| Round {
            fault: String::new(),
            counts: Counts { appends, changes, contended, ..Counts::default() },
            in_calm,
            longest_stall: Duration::ZERO,
            resumed: Duration::ZERO,
            equal: Duration::ZERO,
        };
        let calm = |unsettled| Counts { appends: 60, unsettled, ..Counts::default() };
        let round = |appends, changes, contended| of(appends, changes, contended, calm(0));
        assert!(round(APPENDS_MIN, CHANGES_MIN, CONTENDED_MIN).has_load());
        let few = |in_calm| of(APPENDS_MIN, CHANGES_MIN, CONTENDED_MIN, in_calm);
        assert!(few(calm(40)).has_load());
        assert!(!few(calm(41)).has_load());
        assert!(!few(Counts::default()).has_load(), "nothing was asked");
        assert!(!round(APPENDS_MIN - 1, CHANGES_MIN, CONTENDED_MIN).has_load());
        assert!(!round(APPENDS_MIN, CHANGES_MIN - 1, CONTENDED_MIN).has_load());
        assert!(!round(APPENDS_MIN, CHANGES_MIN, CONTENDED_MIN - 1).has_load());
    }

    #[test]
    fn what_is_drawn_is_the_same_again_and_within_its_bounds() {
        let drawn: Vec<_> = (0..500).map(|seed| draw(seed, 3, 2, 9)).collect();
        assert_eq!(drawn, (0..500).map(|seed| draw(seed, 3, 2, 9)).collect::<Vec<_>>());
        assert!((2..=9).all(|number| drawn.contains(&number)));
        assert!(drawn.iter().all(|number| (2..=9).contains(number)));
    }
}
