//! One seed, from the first start to the last check.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use gfs_types::ids::ChunkHandle;

use crate::agenda::{Micros, SECOND};
use crate::faults::LONGEST;
use crate::load::{self, Shared};
use crate::oracle;
use crate::swarm::{Fault, Swarm};
use crate::world::World;

/// What a seed came to.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// One number for all that happened.
    pub hash: u64,
    /// How many things happened that the trace tells.
    pub events: u64,
    /// How long it was, in simulated microseconds.
    pub simulated: Micros,
    /// Operations of clients that were acknowledged.
    pub acknowledged: u64,
    /// Reads that gave what had been overwritten: READ-6 is not kept yet.
    pub stale: u64,
    /// Faults that there were.
    pub faults: BTreeMap<Fault, u64>,
    /// What may not be. Empty: all is well.
    pub violations: Vec<String>,
}

/// All must be well again within so much time after the last fault (V1).
const RECOVERED: Micros = 30 * SECOND;
/// All replicas must be equal and clean within so much time without load.
const EQUAL: Micros = 60 * SECOND;

/// Runs one seed. With `print`, what happens goes to the standard output.
#[must_use]
pub fn run(seed: u64, print: bool) -> Outcome {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => panic!("a runtime of one thread, which needs nothing: {error}"),
    };
    or_panicked(seed, || runtime.block_on(run_here(seed, print)))
}

/// An invariant that panics is a violation like any other: the seed is named, and the next one goes on.
fn or_panicked(seed: u64, run: impl FnOnce() -> Outcome) -> Outcome {
    let panicked = match std::panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(outcome) => return outcome,
        Err(panicked) => panicked,
    };
    let text = panicked.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panicked.downcast_ref::<&str>().copied()).unwrap_or("no text");
    Outcome { seed, violations: vec![format!("panicked: {text}")], ..Outcome::default() }
}

async fn run_here(seed: u64, print: bool) -> Outcome {
    let swarm = Swarm::draw(seed);
    if print {
        println!("seed {seed}: {swarm}");
    }
    let mut violations = Vec::new();
    let world = World::new(seed, swarm.clone(), print);
    let mut world = match world {
        Ok(world) => world,
        Err(error) => panic!("seed {seed}: no world can be made: {error:#}"),
    };
    let shared = Shared::new(seed, &swarm, world.mailbox.clone());
    if let Err(error) = live(&mut world, &shared).await {
        violations.push(format!("{error:#}"));
    }
    let ledger = shared.ledger();
    violations.extend(ledger.violations.iter().cloned());
    for violation in &violations {
        world.note(format_args!("violation: {violation}"));
    }
    if print && !violations.is_empty() {
        print_history(&shared);
    }
    Outcome {
        seed,
        hash: world.trace.hash(),
        events: world.trace.events(),
        simulated: world.now,
        acknowledged: ledger.operations(),
        stale: ledger.stale,
        faults: world.weather.counts.clone(),
        violations,
    }
}

/// What was told of names, in the format that gfs-history reads: behind the trace, a line each.
fn print_history(shared: &Shared) {
    let written = shared.notes.history().map(|history| history.write(std::io::stdout().lock()));
    if !matches!(written, Ok(Ok(()))) {
        println!("the history of names cannot be told: {written:?}");
    }
}

async fn live(world: &mut World, shared: &Shared) -> anyhow::Result<()> {
    let swarm = world.swarm.clone();
    let clients = swarm.appenders + swarm.readers + swarm.overwriters + swarm.namers;
    let set_up = tokio::spawn(load::set_up(shared.clone(), clients, swarm.clone()));
    let ready = world.run_until(30 * SECOND, |_| set_up.is_finished()).await?;
    anyhow::ensure!(ready, "V1: the cluster is not ready after 30 s without a fault");
    set_up.await??;
    let tasks = load::start(shared, &swarm);
    let violated = || !shared.ledger().violations.is_empty();
    world.faults_begin();
    let until = world.now + swarm.chaos;
    world.run_until(until, |_| violated()).await?;
    world.heal();
    let before = shared.ledger().acknowledged.clone();
    let all_went_on = || {
        let ledger = shared.ledger();
        let went_on =
            |(client, count): (&usize, &u64)| before.get(client).is_none_or(|b| count > b);
        !ledger.violations.is_empty() || ledger.acknowledged.iter().all(went_on)
    };
    let until = world.now + RECOVERED + world.swarm.timeout_ms * 1_000;
    let went_on = world.run_until(until, |_| all_went_on()).await?;
    anyhow::ensure!(went_on, "V1: a client did not go on within {} s", RECOVERED / SECOND);
    shared.stop();
    let until = world.now + LONGEST + world.swarm.timeout_ms * 1_000;
    let ended = |_: &World| tasks.iter().all(|task| task.is_finished());
    anyhow::ensure!(world.run_until(until, ended).await?, "V1: a client does not end");
    for task in tasks {
        task.await?;
    }
    if violated() {
        return Ok(());
    }
    become_equal(world).await?;
    check(world, shared, clients + 1).await
}

async fn become_equal(world: &mut World) -> anyhow::Result<()> {
    let until = world.now + EQUAL;
    loop {
        let next = world.now + SECOND;
        world.run_until(next, |_| false).await?;
        match oracle::unequal(world)? {
            None => return Ok(()),
            Some(why) if world.now > until => {
                anyhow::bail!("V1: after {} s of calm: {why}", EQUAL / SECOND)
            }
            Some(_) => {}
        }
    }
}

/// Reads all that was acknowledged.
async fn check(world: &mut World, shared: &Shared, client: usize) -> anyhow::Result<()> {
    let task = tokio::spawn(oracle::read_everything(shared.clone(), client));
    let until = world.now + 120 * SECOND;
    let read = world.run_until(until, |_| task.is_finished()).await?;
    anyhow::ensure!(read, "V1: not all can be read within 120 s of calm");
    task.await?;
    let chunks: Arc<Mutex<BTreeMap<(usize, u64), ChunkHandle>>> = Arc::default();
    let task = tokio::spawn(locate(shared.clone(), client + 1, chunks.clone()));
    let until = world.now + 60 * SECOND;
    world.run_until(until, |_| task.is_finished()).await?;
    task.await??;
    let chunks = chunks.lock().unwrap_or_else(PoisonError::into_inner).clone();
    oracle::on_every_replica(world, shared, &chunks)
}

async fn locate(
    shared: Shared,
    client: usize,
    chunks: Arc<Mutex<BTreeMap<(usize, u64), ChunkHandle>>>,
) -> anyhow::Result<()> {
    let connected = shared.connect(client).await?;
    for log in 0..load::LOGS {
        let found = connected.locate(load::log_path(log)).await?;
        let mut chunks = chunks.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in found.chunks {
            chunks.insert((log, chunk.index.0), chunk.handle);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_violation_of_its_seed() {
        let outcome = or_panicked(7, || panic!("mut-4: chunk {} shows too much", 3));
        assert_eq!(outcome.seed, 7);
        assert_eq!(outcome.violations, ["panicked: mut-4: chunk 3 shows too much"]);
        assert!(or_panicked(7, Outcome::default).violations.is_empty());
    }
}
