//! One seed, from the first start to the last check.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use gfs_types::marks::{self, Mark};
use tokio::task::JoinHandle;

use crate::agenda::{Micros, SECOND};
use crate::faults::LONGEST;
use crate::load::{self, Ledger, Shared};
use crate::oracle;
use crate::plan::{Plan, Planned};
use crate::shrink::Cut;
use crate::swarm::Fault;
use crate::trace::Traced;
use crate::world::World;

/// What a seed came to.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// One number for all that happened, where it was asked for.
    pub hash: Option<u64>,
    /// How many things happened that the trace tells.
    pub events: u64,
    /// How long it was, in simulated microseconds.
    pub simulated: Micros,
    /// Operations of clients that were acknowledged.
    pub acknowledged: u64,
    /// Reads that gave what another client had overwritten, though nothing was lost: READ-6 is not kept yet between clients.
    pub stale: u64,
    /// Faults that there were, and that were felt.
    pub faults: BTreeMap<Fault, u64>,
    /// The rare paths that it came by.
    pub marks: Vec<Mark>,
    /// The faults that came one at a time.
    pub script: Vec<Planned>,
    /// A chunk was left with its rotten replica alone, and what had rotted was given back: nobody else had it.
    pub rot_given_back: bool,
    /// It was too late to give it back, for its server had told of it: the world was not asked to come to rest.
    pub rot_remains: bool,
    /// What may not be. Empty: all is well.
    pub violations: Vec<String>,
}

/// All must be well again within so much time after the last fault (V1).
const RECOVERED: Micros = 30 * SECOND;
/// All replicas must be equal and clean within so much time without load.
const EQUAL: Micros = 60 * SECOND;

/// What is written into the ledger that never happened, to see that it is missed.
type Lie = fn(&mut Ledger);

/// Runs one seed. With `print`, what happens goes to the standard output.
#[must_use]
pub fn run(seed: u64, print: bool) -> Outcome {
    run_cut(seed, print, &Cut::default())
}

/// As [`run`], without what is cut out.
#[must_use]
pub fn run_cut(seed: u64, print: bool, cut: &Cut) -> Outcome {
    run_plan(&Plan::drawn(seed, cut), if print { Traced::Printed } else { Traced::Not })
}

/// Runs one world.
#[must_use]
pub fn run_plan(plan: &Plan, traced: Traced) -> Outcome {
    run_with(plan, traced, |_| {})
}

fn run_with(plan: &Plan, traced: Traced, lie: Lie) -> Outcome {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => panic!("a runtime of one thread, which needs nothing: {error}"),
    };
    // What this thread came by before is of another world.
    drop(marks::take());
    let outcome = or_panicked(plan.seed, || runtime.block_on(run_here(plan, traced, lie)));
    Outcome { marks: marks::take(), ..outcome }
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

async fn run_here(plan: &Plan, traced: Traced, lie: Lie) -> Outcome {
    let Plan { seed, swarm, cut, .. } = plan;
    let seed = *seed;
    if traced == Traced::Printed {
        println!("seed {seed}: {swarm}");
    }
    let mut violations = Vec::new();
    let world = World::new(plan, traced);
    let mut world = match world {
        Ok(world) => world,
        Err(error) => panic!("seed {seed}: no world can be made: {error:#}"),
    };
    let shared = Shared::new(seed, swarm, world.mailbox.clone());
    world.shared = Some(shared.clone());
    let lived = live(&mut world, &shared, cut, lie).await;
    violations.extend(lived.err().map(|error| format!("{error:#}")));
    let ledger = shared.ledger();
    violations.extend(ledger.violations.iter().cloned());
    for violation in &violations {
        world.note(format_args!("violation: {violation}"));
    }
    if traced == Traced::Printed && !violations.is_empty() {
        print_history(&shared);
    }
    Outcome {
        seed,
        hash: world.trace.hash(),
        events: world.trace.events(),
        simulated: world.now,
        acknowledged: ledger.operations(),
        stale: ledger.stale,
        faults: world.faults(),
        marks: Vec::new(),
        rot_given_back: world.weather.rot_given_back,
        rot_remains: world.weather.rot_remains,
        script: world.weather.script.came.clone(),
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

async fn live(world: &mut World, shared: &Shared, cut: &Cut, lie: Lie) -> anyhow::Result<()> {
    let swarm = world.swarm.clone();
    let mut spare = swarm.clients()..;
    let mut client = || spare.next().unwrap_or(usize::MAX);
    let set_up = tokio::spawn(load::set_up(shared.clone(), client(), swarm.clone()));
    let ready = world.run_until(30 * SECOND, |_| set_up.is_finished()).await?;
    anyhow::ensure!(ready, "V1: the cluster is not ready after 30 s without a fault");
    set_up.await??;
    let tasks = load::start(shared, &swarm, &cut.clients);
    let violated = || !shared.ledger().violations.is_empty();
    world.faults_begin();
    let until = world.now + swarm.chaos;
    world.run_until(until, |_| violated()).await?;
    if world.rot_remains()? {
        return Ok(());
    }
    world.heal();
    lie(&mut shared.ledger());
    go_on(world, shared).await?;
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
    // Nobody reads all of every replica by himself: rot that nobody met is found as `gfs fsck --replicas` finds it, when no replica
    // is behind: those it does not look at.
    become_equal(world).await?;
    let scrubbed = tokio::spawn(oracle::scrub(shared.clone(), client()));
    finish(world, 120 * SECOND, "not all that rotted is mended", scrubbed).await??;
    become_equal(world).await?;
    check(world, shared, [client(), client()]).await?;
    // DUR-2: all of it is synced, and then the power fails everywhere.
    let synced = tokio::spawn(oracle::sync_everything(shared.clone(), client()));
    finish(world, 60 * SECOND, "not all can be synced", synced).await??;
    world.black_out();
    world.heal();
    become_equal(world).await?;
    check(world, shared, [client(), client()]).await?;
    oracle::names(shared);
    Ok(())
}

/// Every client must do each thing that it does within so much time after the last fault, those that never did too (V1).
async fn go_on(world: &mut World, shared: &Shared) -> anyhow::Result<()> {
    let before = shared.ledger().done.clone();
    let rest = || shared.ledger().not_gone_on(&before);
    let violated = || !shared.ledger().violations.is_empty();
    let until = world.now + RECOVERED;
    let went_on = world.run_until(until, |_| violated() || rest().is_empty()).await?;
    anyhow::ensure!(went_on, "V1: not done within {} s of calm: {:?}", RECOVERED / SECOND, rest());
    Ok(())
}

/// Lets a task come to its end.
async fn finish<T>(
    world: &mut World,
    within: Micros,
    or: &str,
    task: JoinHandle<T>,
) -> anyhow::Result<T> {
    let until = world.now + within;
    let ended = world.run_until(until, |_| task.is_finished()).await?;
    anyhow::ensure!(ended, "V1: {or} within {} s of calm", within / SECOND);
    Ok(task.await?)
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
async fn check(world: &mut World, shared: &Shared, clients: [usize; 2]) -> anyhow::Result<()> {
    let task = tokio::spawn(oracle::read_everything(shared.clone(), clients[0]));
    finish(world, 120 * SECOND, "not all can be read", task).await?;
    let task = tokio::spawn(oracle::locate(shared.clone(), clients[1]));
    let chunks = finish(world, 60 * SECOND, "not all can be found", task).await??;
    oracle::on_every_replica(world, shared, &chunks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Tag;
    use crate::swarm::Swarm;

    /// What the first violation says of a world in which that is claimed.
    fn found(lie: Lie) -> String {
        run_with(&Plan::drawn(3, &Cut::default()), Traced::Not, lie)
            .violations
            .into_iter()
            .next()
            .unwrap_or_default()
    }

    #[test]
    fn oracles_find_what_was_told_and_is_not_so() {
        assert_eq!(found(|_| {}), "");
        let idle = found(|ledger| ledger.done.extend([((77, "rest"), 0)]));
        assert!(idle.contains("V1") && idle.contains("rest"), "{idle}");
        let raw = found(|ledger| ledger.recorded(0, 0, NEVER, false));
        let framed = found(|ledger| ledger.recorded(0, 0, NEVER, true));
        for lost in [raw, framed] {
            assert!(lost.contains(&format!("{NEVER:?}")), "{lost}");
        }
        let moved = found(|ledger| {
            let framed = ledger.records.iter_mut().find(|record| record.framed);
            framed.expect("seed 3 has framed records").offset += 1;
        });
        assert!(moved.contains("(A1)"), "{moved}");
    }

    /// A record that nobody wrote.
    const NEVER: Tag = Tag { writer: 0, number: 9_999, length: 40 };

    #[test]
    fn the_onlooker_is_not_missed_where_nobody_writes_what_it_looks_at() {
        let cut = Cut { clients: Swarm::draw(3).overwriting().collect(), ..Cut::default() };
        assert_eq!(run_cut(3, false, &cut).violations, [""; 0]);
    }

    #[test]
    fn a_panic_is_a_violation_of_its_seed() {
        let outcome = or_panicked(7, || panic!("mut-4: chunk {} shows too much", 3));
        assert_eq!(outcome.seed, 7);
        assert_eq!(outcome.violations, ["panicked: mut-4: chunk 3 shows too much"]);
        assert!(or_panicked(7, Outcome::default).violations.is_empty());
    }
}
