//! Runs seeds, and says what they came to.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use gfs_sim::{Outcome, SECOND, Swarm, run};
use gfs_types::marks::{self, Mark};

/// The whole cluster in one process, from a seed.
#[derive(Parser)]
struct Arguments {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 100)]
    seeds: u64,
    /// The first of them
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    first_seed: u64,
    /// Only this one
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Print what happens
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seeds = match arguments.seed {
        Some(seed) => seed..=seed,
        None => arguments.first_seed..=arguments.first_seed + arguments.seeds - 1,
    };
    let began = Instant::now();
    let outcomes: Vec<_> = seeds
        .map(|seed| {
            let outcome = run(seed, arguments.trace);
            if arguments.seed.is_some() || !outcome.violations.is_empty() {
                tell(&outcome);
            }
            outcome
        })
        .collect();
    sum(&outcomes, began)
}

fn tell(outcome: &Outcome) {
    println!("seed {}: {}", outcome.seed, Swarm::draw(outcome.seed));
    for violation in &outcome.violations {
        println!("violation: seed {}: {violation}", outcome.seed);
    }
    println!(
        "seed {}: {} s, {} acknowledged, {} stale reads, {:?}, {} lines, hash {:016x}",
        outcome.seed,
        outcome.simulated / SECOND,
        outcome.acknowledged,
        outcome.stale,
        outcome.faults,
        outcome.events,
        outcome.hash
    );
}

/// The last lines.
fn sum(outcomes: &[Outcome], began: Instant) -> ExitCode {
    let mut acknowledged: Vec<_> = outcomes.iter().map(|outcome| outcome.acknowledged).collect();
    acknowledged.sort_unstable();
    let simulated = outcomes.iter().map(|outcome| outcome.simulated).sum::<u64>() / SECOND;
    let bad = outcomes.iter().filter(|outcome| !outcome.violations.is_empty()).count();
    let ms = began.elapsed().as_millis().max(1);
    let never = marks::never_hit();
    println!("marks: {} of {} hit, not {never:?}", Mark::ALL.len() - never.len(), Mark::ALL.len());
    let stale = outcomes.iter().filter(|outcome| outcome.stale > 0).count();
    println!(
        "{} seeds, {bad} with violations; {simulated} s simulated in {ms} ms: {} times as fast; {} acknowledged at \
         the median; {stale} seeds with stale reads",
        outcomes.len(),
        u128::from(simulated) * 1_000 / ms,
        acknowledged.get(acknowledged.len() / 2).copied().unwrap_or(0)
    );
    ExitCode::from(u8::from(bad > 0))
}
