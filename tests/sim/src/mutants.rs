//! Faults put in on purpose (`gfs_types::mutants`): each must be noticed by some seed.
//!
//! One build has them all; each is tried in a process of its own, for a rule that is gone may end a process in any way.

use std::num::NonZero;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use gfs_types::mutants::Mutant;

use crate::run;

/// Mutants that seeds do not notice, each with the reason. This list may only become shorter.
pub const SURVIVORS: &[(Mutant, &str)] = &[];

/// A mutant is tried from so many first seeds, this far apart.
const TRIALS: u64 = 3;
const APART: u64 = 1_000;

/// What became of a mutant.
#[derive(Debug, Clone)]
struct Trial {
    mutant: Mutant,
    /// From each first seed: how many seeds it took, and what the last one said.
    killed: Vec<Option<(u64, String)>>,
}

impl Trial {
    fn of(mutant: Mutant, budget: u64) -> anyhow::Result<Self> {
        let firsts = (0..TRIALS).map(|trial| 1 + trial * APART);
        let killed = firsts.map(|first| try_one(Some(mutant), first, budget));
        Ok(Self { mutant, killed: killed.collect::<anyhow::Result<_>>()? })
    }

    /// Of the seeds that it took; those that never noticed count as more than all.
    fn median(&self) -> Option<u64> {
        let mut took: Vec<_> =
            self.killed.iter().map(|k| k.as_ref().map_or(u64::MAX, |k| k.0)).collect();
        took.sort_unstable();
        took.get(took.len() / 2).copied().filter(|median| *median != u64::MAX)
    }

    fn lives(&self) -> bool {
        self.killed.iter().all(Option::is_none)
    }

    fn excuse(&self) -> Option<&'static str> {
        SURVIVORS.iter().find(|(mutant, _)| *mutant == self.mutant).map(|(_, reason)| *reason)
    }

    /// Mutant, seeds from each start, the median, what was violated.
    fn row(&self, budget: u64) -> String {
        let name = self.mutant.name();
        let took =
            |k: &Option<(u64, String)>| k.as_ref().map_or("-".to_owned(), |k| k.0.to_string());
        let took = self.killed.iter().map(took).collect::<Vec<_>>().join(" ");
        let median = self.median().map_or("-".to_owned(), |median| median.to_string());
        let why = self.killed.iter().flatten().map(|(_, why)| why.as_str()).next();
        let why = match (why, self.excuse()) {
            (Some(why), None) => why.to_owned(),
            (Some(why), Some(_)) => format!("killed, though SURVIVORS names it: {why}"),
            (None, Some(reason)) => format!("lives: {reason}"),
            (None, None) => format!("LIVES: not noticed by {TRIALS} times {budget} seeds"),
        };
        format!("{name:<28} {took:<12} median {median:<4} {why}")
    }
}

/// Whether this build can run as one at all.
#[must_use]
pub const fn are_built() -> bool {
    cfg!(mutants)
}

/// Runs as one of them over these seeds until one notices. The parent reads the lines.
pub fn run_as(mutant: Option<Mutant>, first: u64, seeds: u64) {
    // A seed that panics is told of in the table.
    std::panic::set_hook(Box::new(|_| {}));
    choose(mutant);
    for seed in first..first + seeds {
        println!("seed {seed}");
        if let Some(what) = run(seed, false).violations.into_iter().next() {
            println!("killed {}", what.lines().next().unwrap_or_default());
            return;
        }
    }
}

/// Tries these, each from several first seeds and one on each core, and prints a row of each as it comes; false when one lives that
/// should not.
///
/// # Errors
/// When this program cannot be started again.
pub fn try_all(mutants: &[Mutant], budget: u64) -> anyhow::Result<bool> {
    let began = Instant::now();
    println!("{:<28} {:<12} {:<11} what was violated first", "mutant", "seeds", "");
    let (queue, trials) = (Mutex::new(mutants.iter()), Mutex::new(Vec::new()));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let try_some = || {
        while let Some(mutant) = next() {
            let trial = Trial::of(*mutant, budget)?;
            println!("{}", trial.row(budget));
            trials.lock().unwrap_or_else(PoisonError::into_inner).push(trial);
        }
        Ok::<_, anyhow::Error>(())
    };
    let mut innocent = Ok(None);
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let others: Vec<_> = (1..cores).map(|_| scope.spawn(try_some)).collect();
        innocent = try_one(None, 1, budget);
        let mine = try_some();
        let ended = others.into_iter().map(|other| match other.join() {
            Ok(ended) => ended,
            Err(panicked) => std::panic::resume_unwind(panicked),
        });
        ended.chain([mine]).collect::<anyhow::Result<()>>()
    })?;
    if let Some((seeds, what)) = innocent? {
        println!("seed {seeds} finds fault with what has none put in: {what}");
        return Ok(false);
    }
    let trials = trials.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{}; {} s", sum(&trials, budget), began.elapsed().as_secs());
    Ok(trials.iter().all(|trial| !trial.lives() || trial.excuse().is_some()))
}

/// The last line.
fn sum(trials: &[Trial], budget: u64) -> String {
    let living = trials.iter().filter(|trial| trial.lives()).count();
    let mut medians: Vec<_> = trials.iter().filter_map(Trial::median).collect();
    medians.sort_unstable();
    format!(
        "mutants: {} of {} killed within {budget} seeds; median {} seeds, most {}",
        trials.len() - living,
        trials.len(),
        medians.get(medians.len() / 2).copied().unwrap_or(0),
        medians.last().copied().unwrap_or(0),
    )
}

/// How many seeds it took, and what the last of them said.
fn try_one(
    mutant: Option<Mutant>,
    first: u64,
    seeds: u64,
) -> anyhow::Result<Option<(u64, String)>> {
    let mut child = Command::new(std::env::current_exe()?);
    child.args(["--first-seed", &first.to_string(), "--seeds", &seeds.to_string(), "--run-as"]);
    child.arg(mutant.map_or(NONE, Mutant::name));
    let output = child.stdin(Stdio::null()).stderr(Stdio::null()).output()?;
    Ok(told(&String::from_utf8_lossy(&output.stdout), output.status.code().is_some()))
}

/// What runs as it should.
pub const NONE: &str = "none";

/// What the lines of a child say; `ended`: it was not ended by a signal.
fn told(lines: &str, ended: bool) -> Option<(u64, String)> {
    let seeds = lines.lines().filter(|line| line.starts_with("seed ")).count() as u64;
    let killed = lines.lines().find_map(|line| line.strip_prefix("killed "));
    match (killed, ended) {
        (Some(what), _) => Some((seeds, what.to_owned())),
        (None, false) => Some((seeds, "the process was ended by a signal".to_owned())),
        (None, true) => None,
    }
}

fn choose(mutant: Option<Mutant>) {
    #[cfg(mutants)]
    gfs_types::mutants::choose(mutant);
    #[cfg(not(mutants))]
    let _ = mutant;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_child_tell_how_many_seeds_it_took() {
        assert_eq!(told("seed 1\nseed 2\n", true), None);
        assert_eq!(told("seed 7\nseed 8\nkilled D4\n", true), Some((2, "D4".to_owned())));
        assert!(told("seed 7\n", false).is_some_and(|(seeds, _)| seeds == 1));
    }

    #[test]
    fn the_median_is_of_all_starts_and_one_that_is_never_noticed_lives() {
        let trial = |took: [Option<u64>; 3]| Trial {
            mutant: Mutant::NoEqualising,
            killed: took.map(|took| took.map(|took| (took, "D4".to_owned()))).to_vec(),
        };
        assert_eq!(trial([Some(9), None, Some(2)]).median(), Some(9));
        assert_eq!(trial([None, None, Some(2)]).median(), None);
        assert!(!trial([None, None, Some(2)]).lives() && trial([None; 3]).lives());
        let all = [trial([Some(9), None, Some(2)]), trial([None; 3])];
        assert_eq!(sum(&all, 80), "mutants: 1 of 2 killed within 80 seeds; median 9 seeds, most 9");
    }
}
