//! Runs seeds, and says what they came to.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use gfs_sim::{Cut, Fault, MS, Outcome, SECOND, Swarm, marks, mutants, run_cut, shrink};
use gfs_types::mutants::Mutant;

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
    /// Leave out of a seed that fails what its violation does not need
    #[arg(long, requires = "seed")]
    shrink: bool,
    /// Without these faults, by their numbers
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    without_faults: Vec<u64>,
    /// Without these clients
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    without_clients: Vec<usize>,
    /// Faults and load for this time only
    #[arg(long, value_name = "MS")]
    chaos_ms: Option<u64>,
    /// Without faults of messages
    #[arg(long)]
    calm_messages: bool,
    /// Also this kind of fault, which is not drawn yet: FailedSync, FailedWrite
    #[arg(long, value_name = "FAULT", value_parser = not_yet)]
    also: Vec<Fault>,
    /// Run these seeds as each mutant (built with `--cfg mutants`)
    #[arg(long)]
    mutants: bool,
    /// Only this mutant
    #[arg(long, value_name = "NAME", value_parser = mutant)]
    only: Option<Mutant>,
    /// Run as this mutant until a seed notices
    #[arg(long, value_name = "NAME", hide = true)]
    run_as: Option<String>,
}

fn not_yet(name: &str) -> Result<Fault, String> {
    let named = Fault::NOT_YET.iter().find(|(fault, _)| format!("{fault:?}") == name);
    named.map(|(fault, _)| *fault).ok_or_else(|| format!("none of {:?}", Fault::NOT_YET))
}

fn mutant(name: &str) -> Result<Mutant, String> {
    let names = || Mutant::ALL.iter().map(|mutant| mutant.name()).collect::<Vec<_>>().join(" ");
    Mutant::by_name(name).ok_or_else(|| format!("none of {}", names()))
}

impl Arguments {
    fn cut(&self) -> Cut {
        Cut {
            faults: self.without_faults.iter().copied().collect(),
            clients: self.without_clients.iter().copied().collect(),
            messages: self.calm_messages,
            chaos: self.chaos_ms.map(|ms| ms * MS),
            also: self.also.clone(),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(name) = &arguments.run_as {
        let mutant = Mutant::by_name(name);
        mutants::run_as(mutant, arguments.first_seed, arguments.seeds);
        return ExitCode::SUCCESS;
    }
    if arguments.mutants {
        return try_mutants(&arguments);
    }
    if let Some(seed) = arguments.seed.filter(|_| arguments.shrink) {
        return shrink_one(seed, arguments.also.clone());
    }
    let seeds = match arguments.seed {
        Some(seed) => seed..=seed,
        None => arguments.first_seed..=arguments.first_seed + arguments.seeds - 1,
    };
    let began = Instant::now();
    let cut = arguments.cut();
    let outcomes: Vec<_> = seeds
        .map(|seed| {
            let outcome = run_cut(seed, arguments.trace, &cut);
            if arguments.seed.is_some() || !outcome.violations.is_empty() {
                tell(&outcome);
            }
            outcome
        })
        .collect();
    sum(&outcomes, began)
}

fn try_mutants(arguments: &Arguments) -> ExitCode {
    if !mutants::are_built() {
        eprintln!("built without --cfg mutants: cargo xtask mutants builds and runs it");
        return ExitCode::FAILURE;
    }
    let chosen = arguments.only.map_or_else(|| Mutant::ALL.to_vec(), |mutant| vec![mutant]);
    match mutants::try_all(&chosen, arguments.seeds) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn shrink_one(seed: u64, also: Vec<Fault>) -> ExitCode {
    let Some((cut, outcome)) = shrink(seed, also, |step| println!("{step}")) else {
        println!("seed {seed} violates nothing");
        return ExitCode::SUCCESS;
    };
    tell(&outcome);
    println!("what it takes: cargo xtask sim --seed {seed} --trace {cut}");
    ExitCode::FAILURE
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

/// Among so many seeds there must be each kind of fault.
const MANY: usize = 80;

/// The last lines.
fn sum(outcomes: &[Outcome], began: Instant) -> ExitCode {
    let mut acknowledged: Vec<_> = outcomes.iter().map(|outcome| outcome.acknowledged).collect();
    acknowledged.sort_unstable();
    let simulated = outcomes.iter().map(|outcome| outcome.simulated).sum::<u64>() / SECOND;
    let bad = outcomes.iter().filter(|outcome| !outcome.violations.is_empty()).count();
    let ms = began.elapsed().as_millis().max(1);
    println!("{}", marks::summary());
    let of = |fault| outcomes.iter().filter_map(|o| o.faults.get(&fault)).sum::<u64>();
    let faults: Vec<_> = Fault::all().map(|fault| format!("{fault:?} {}", of(fault))).collect();
    println!("faults that were felt: {}", faults.join(", "));
    let missing: Vec<_> = Fault::all().filter(|fault| of(*fault) == 0).collect();
    let enough = outcomes.len() < MANY || missing.is_empty();
    if !enough {
        println!(
            "in {} seeds there was no {missing:?}: they prove nothing about it",
            outcomes.len()
        );
    }
    let stale = outcomes.iter().filter(|outcome| outcome.stale > 0).count();
    println!(
        "{} seeds, {bad} with violations; {simulated} s simulated in {ms} ms: {} times as fast; {} acknowledged at \
         the median; {stale} seeds with stale reads",
        outcomes.len(),
        u128::from(simulated) * 1_000 / ms,
        acknowledged.get(acknowledged.len() / 2).copied().unwrap_or(0)
    );
    ExitCode::from(u8::from(bad > 0 || !enough))
}
