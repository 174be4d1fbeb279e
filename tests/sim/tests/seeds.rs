//! Worlds from seeds: nothing that is acknowledged is lost, everything goes on, and the same seed gives the same world.

use std::path::{Path, PathBuf};
use std::time::Instant;

use gfs_sim::{Cut, Outcome, Plan, Scenario, Sum, Swarm, Traced, cores, run_many, run_plan};

/// As the program has it: a world allocates all the time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The test command wants more of them, and every rare path come by.
const SEEDS: u64 = 200;

/// Seeds from 1 of which the traces are compared.
const COMPARED: u64 = 6;

fn told(outcome: &Outcome) -> String {
    let Outcome { seed, violations, .. } = outcome;
    format!("seed {seed} ({}): {violations:?}", Swarm::draw(*seed))
}

fn drawn(seed: u64) -> Plan {
    Plan::drawn(seed, &Cut::default())
}

#[test]
fn whatever_fails_what_was_acknowledged_is_there_when_all_is_well_again() {
    let seeds = match std::env::var("GFS_SIM_SEEDS") {
        Ok(seeds) => seeds.parse().expect("GFS_SIM_SEEDS is a number"),
        Err(_) => SEEDS,
    };
    let (began, mut sum, mut bad) = (Instant::now(), Sum::default(), Vec::new());
    run_many((1..=seeds).map(drawn), cores(), Traced::Not, |outcome| {
        sum.add(&outcome);
        bad.extend((!outcome.violations.is_empty()).then(|| told(&outcome)));
    });
    println!("{}", sum.told(began.elapsed()));
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert_eq!(sum.worlds() as u64, seeds);
    assert!((1..=seeds).all(|seed| Swarm::draw(seed).faults.len() >= 3));
    // Worlds in which nothing happens prove nothing.
    assert_eq!(sum.lacks(), [""; 0]);
}

#[test]
fn what_was_found_once_is_not_found_again() {
    let mut files = scenarios();
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a file of this folder can be read");
        let scenario =
            Scenario::read(&text).unwrap_or_else(|error| panic!("{}: {error:#}", file.display()));
        let mut bad = Vec::new();
        run_many(scenario.plans(), cores(), Traced::Not, |outcome| {
            bad.extend(
                (!outcome.violations.is_empty()).then_some((outcome.seed, outcome.violations)),
            );
        });
        assert!(
            bad.is_empty(),
            "{}, which once showed: {}\n{bad:?}",
            file.display(),
            scenario.showed
        );
    }
}

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = std::fs::read_dir(folder).expect("the folder of scenarios can be read");
    let files = entries.map(|entry| entry.expect("its entries too").path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "yaml")).collect()
}

/// The lines with the hashes are compared with those of another build by the test command.
#[test]
fn the_same_seed_gives_the_same_world() {
    for seed in 1..=COMPARED {
        let trace = |seed| {
            let outcome = run_plan(&drawn(seed), Traced::Hashed);
            (outcome.hash, outcome.events)
        };
        let first = trace(seed);
        assert_eq!(first, trace(seed), "seed {seed}");
        assert_ne!(first.0, trace(seed + 100).0, "seed {seed}");
        println!("trace of seed {seed}: {first:?}");
    }
}
