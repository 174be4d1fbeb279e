//! The network is cut between any two of master, chunkservers and client, one way or both (docs/semantics.md, MUT-2, LEASE-2).

use std::io::Write;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use gfs_tests::apart::{ClusterApart, MEMBERS};
use gfs_tests::network::Network;
use gfs_tests::rounds::{self, Plan, draw};
use tokio::time::sleep;

/// In the test command; `cargo xtask soak` asks for more and longer ones.
const ROUNDS: u64 = 4;
const CUT_MS: (u64, u64) = (3000, 5000);
const CUT_MS_IN_SOAK: (u64, u64) = (3000, 15_000);

/// Who cannot hear whom: (speaker, listener).
type Cut = (&'static str, &'static str);

/// All pairs come one after another, each time another way.
fn cuts(seed: u64) -> Vec<Cut> {
    let pairs: Vec<Cut> = (0..MEMBERS.len())
        .flat_map(|one| (0..one).map(move |other| (MEMBERS[one], MEMBERS[other])))
        .collect();
    // Neighbours in the list have a member in common: a step of three mixes them.
    let all = pairs.len() as u64;
    let (one, other) = pairs[usize::try_from(seed * 3 % all).expect("ten pairs")];
    match (seed + seed / all) % 3 {
        0 => vec![(one, other), (other, one)],
        1 => vec![(one, other)],
        _ => vec![(other, one)],
    }
}

async fn cut(network: &Network, seed: u64, cut_ms: (u64, u64)) -> Result<String> {
    let cuts = cuts(seed);
    for (speaker, listener) in &cuts {
        network.cut(speaker, listener)?;
    }
    let time = Duration::from_millis(draw(seed, 10, cut_ms.0, cut_ms.1));
    sleep(time).await;
    network.heal()?;
    let arrows: Vec<_> = cuts.iter().map(|(from, to)| format!("{from} -> {to}")).collect();
    Ok(format!("{} cut for {time:.1?}", arrows.join(", ")))
}

fn run_as_client() -> Result<()> {
    let cluster = ClusterApart::start()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let plan = Plan::of(ROUNDS)?;
    let cut_ms = if plan.soak { CUT_MS_IN_SOAK } else { CUT_MS };
    runtime.block_on(async {
        cluster.ready().await?;
        let fault = |seed, _| cut(&cluster.network, seed, cut_ms);
        rounds::run(&cluster.masters, plan, fault).await
    })
}

#[test]
fn any_two_are_cut_off_under_load_and_nothing_acknowledged_is_lost() -> Result<()> {
    if let Some(why) = Network::obstacle() {
        // Past the test's own output, which is shown for failures only: the task runner counts it.
        writeln!(std::io::stdout(), "\nskipped: partitions: {why}")?;
        return Ok(());
    }
    // A thread of its own, since it moves into another network.
    let client = std::thread::spawn(run_as_client);
    client.join().map_err(|_| anyhow!("the test panicked: see above"))?
}

#[test]
fn a_soak_cuts_every_pair_in_every_way() -> Result<()> {
    let mut all: Vec<_> = (1..=30).map(cuts).collect();
    all.sort_unstable();
    all.dedup();
    ensure!(all.len() == 30, "only {} different ones", all.len());
    Ok(())
}
