//! Runs seeds, and says what they came to.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use gfs_sim::{
    Cut, Fault, MS, Outcome, Plan, SECOND, Scenario, Sum, Traced, cores, mutants, run_many,
    run_plan, shrink,
};
use gfs_types::mutants::Mutant;

/// A world allocates all the time: a sixth of its time is spent here, with the allocator of the system a fifth.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The whole cluster in one process, from a seed.
#[derive(Parser)]
struct Arguments {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    first_seed: u64,
    /// So many at once; as many as there are cores, unless said otherwise
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    at_once: Option<u16>,
    /// How the sum is told
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Only this one
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// The worlds of this file instead of a seed's
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    scenario: Option<PathBuf>,
    /// Print what happens
    #[arg(long)]
    trace: bool,
    /// Leave out of a seed that fails what its violation does not need
    #[arg(long, requires = "seed")]
    shrink: bool,
    /// Write the world down as a scenario
    #[arg(long, value_name = "FILE", requires = "seed")]
    keep: Option<PathBuf>,
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
    /// This kind of fault in every world, as FailedSync
    #[arg(long, value_name = "FAULT", value_parser = fault)]
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

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn fault(name: &str) -> Result<Fault, String> {
    let named = Fault::events().find(|fault| format!("{fault:?}") == name);
    named.ok_or_else(|| format!("none of {:?}", Fault::events().collect::<Vec<_>>()))
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

    /// All worlds that are asked for.
    fn plans(&self) -> anyhow::Result<Vec<Plan>> {
        if let Some(file) = &self.scenario {
            let text = std::fs::read_to_string(file);
            let read = text.map_err(Into::into).and_then(|text| Scenario::read(&text));
            return Ok(read.with_context(|| file.display().to_string())?.plans().collect());
        }
        let seeds = match self.seed {
            Some(seed) => seed..=seed,
            None => self.first_seed..=self.first_seed.saturating_add(self.seeds - 1),
        };
        let cut = self.cut();
        Ok(seeds.map(|seed| Plan::drawn(seed, &cut)).collect())
    }
}

fn main() -> ExitCode {
    match act(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// False when something was found.
fn act(arguments: &Arguments) -> anyhow::Result<bool> {
    if let Some(name) = &arguments.run_as {
        mutants::run_as(Mutant::by_name(name), arguments.first_seed, arguments.seeds);
        return Ok(true);
    }
    if arguments.mutants {
        anyhow::ensure!(
            mutants::are_built(),
            "built without --cfg mutants: cargo xtask mutants builds and runs it"
        );
        let chosen = arguments.only.map_or_else(|| Mutant::ALL.to_vec(), |mutant| vec![mutant]);
        return mutants::try_all(&chosen, arguments.seeds);
    }
    match arguments.seed {
        Some(seed) if arguments.shrink => shrink_one(seed, arguments),
        Some(seed) => one(&Plan::drawn(seed, &arguments.cut()), arguments),
        None => many(arguments),
    }
}

/// Time from one line of progress to the next.
const PROGRESS: Duration = Duration::from_secs(10);

fn many(arguments: &Arguments) -> anyhow::Result<bool> {
    let plans = arguments.plans()?;
    let (all, began) = (plans.len(), Instant::now());
    let at_once =
        if arguments.trace { 1 } else { arguments.at_once.map_or_else(cores, usize::from) };
    let traced = if arguments.trace { Traced::Printed } else { Traced::Not };
    let (mut sum, mut told) = (Sum::default(), began);
    run_many(plans.into_iter(), at_once, traced, |outcome| {
        sum.add(&outcome);
        if !outcome.violations.is_empty() && arguments.output == Output::Text {
            tell(&outcome);
        }
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            let (worlds, bad, took) = (sum.worlds(), sum.bad(), began.elapsed());
            eprintln!(
                "{worlds} of {all} seeds in {} s, {bad} with violations; {} times as fast",
                took.as_secs(),
                sum.times_as_fast(took)
            );
        }
    });
    match arguments.output {
        Output::Text => println!("{}", sum.told(began.elapsed())),
        Output::Json => println!("{}", sum.to_json(began.elapsed())?),
    }
    Ok(sum.is_good())
}

fn one(plan: &Plan, arguments: &Arguments) -> anyhow::Result<bool> {
    let traced = if arguments.trace { Traced::Printed } else { Traced::Hashed };
    let began = Instant::now();
    let outcome = run_plan(plan, traced);
    println!("seed {}: {}", plan.seed, plan.swarm);
    tell(&outcome);
    keep(arguments, plan, &outcome)?;
    let mut sum = Sum::default();
    sum.add(&outcome);
    println!("{}", sum.told(began.elapsed()));
    Ok(outcome.violations.is_empty())
}

fn shrink_one(seed: u64, arguments: &Arguments) -> anyhow::Result<bool> {
    let found = shrink(seed, arguments.also.clone(), |step| println!("{step}"));
    let Some((cut, outcome)) = found else {
        println!("seed {seed} violates nothing");
        return Ok(true);
    };
    tell(&outcome);
    keep(arguments, &Plan::drawn(seed, &cut), &outcome)?;
    println!("what it takes: cargo xtask sim --seed {seed} --trace {cut}");
    Ok(false)
}

fn keep(arguments: &Arguments, plan: &Plan, outcome: &Outcome) -> anyhow::Result<()> {
    let Some(file) = &arguments.keep else { return Ok(()) };
    let write = |file: &Path| {
        let text = Scenario::of(plan, outcome).write()?;
        Ok::<_, anyhow::Error>(std::fs::write(file, text)?)
    };
    write(file).with_context(|| file.display().to_string())?;
    println!("kept as {}", file.display());
    Ok(())
}

fn tell(outcome: &Outcome) {
    for violation in &outcome.violations {
        println!("violation: seed {}: {violation}", outcome.seed);
    }
    let hash = outcome.hash.map(|hash| format!(", hash {hash:016x}")).unwrap_or_default();
    println!(
        "seed {}: {} s, {} acknowledged, {} stale reads, {:?}, {} lines{hash}",
        outcome.seed,
        outcome.simulated / SECOND,
        outcome.acknowledged,
        outcome.stale,
        outcome.faults,
        outcome.events
    );
}
