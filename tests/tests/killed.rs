//! SIGKILL of any one process, of any two, or of all, at random moments under load: nothing acknowledged is lost or wrong, and
//! all replicas are equal again soon (docs/semantics.md, DUR-1, REC-1, REC-3).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use gfs_tests::cluster::{Cluster, Options};
use gfs_tests::rounds::{self, Plan, draw};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// In the test command; `cargo xtask soak` asks for more.
const ROUNDS: u64 = 10;
const ROLES: [&str; 4] = ["master1", "cs1", "cs2", "cs3"];
/// A killed process is started again after at most this time: some before anybody noticed, some after they were given up.
const GONE_MS_MAX: u64 = 4000;

/// Who is killed: one, two, or all.
fn victims(seed: u64) -> Vec<&'static str> {
    let count = [4, 1, 2, 1, 2][usize::try_from(seed % 5).expect("below 5")];
    let mut roles = ROLES.to_vec();
    let drawn = (0..count).map(|n| {
        let left = roles.len() as u64;
        roles.remove(usize::try_from(draw(seed, 10 + n, 0, left - 1)).expect("below 4"))
    });
    drawn.collect()
}

/// One in three is started at once.
fn gone_ms(seed: u64, n: u64) -> u64 {
    if draw(seed, 20 + n, 0, 2) == 0 { 0 } else { draw(seed, 30 + n, 1, GONE_MS_MAX) }
}

async fn kill(cluster: Arc<Cluster>, seed: u64) -> Result<String> {
    let victims = victims(seed);
    let (killed, by) = (victims.clone(), Arc::clone(&cluster));
    spawn_blocking(move || by.kill_at_once(&killed)).await?;
    let back = (0..).zip(&victims).map(|(n, &role)| {
        let cluster = Arc::clone(&cluster);
        async move {
            let gone_ms = gone_ms(seed, n);
            sleep(Duration::from_millis(gone_ms)).await;
            spawn_blocking(move || cluster.restart(role)).await?;
            anyhow::Ok(format!("{role} ({:.1} s)", Duration::from_millis(gone_ms).as_secs_f64()))
        }
    });
    Ok(format!("killed {}", try_join_all(back).await?.join(", ")))
}

#[test]
fn any_processes_die_under_load_and_nothing_acknowledged_is_lost() -> Result<()> {
    let cluster = Arc::new(Cluster::start_with(&Options::with(&["--chunk-size", "1MiB"])));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let fault = |seed, _| kill(Arc::clone(&cluster), seed);
    runtime.block_on(rounds::run(&cluster.masters, Plan::of(ROUNDS)?, fault))
}

#[test]
fn the_seeds_of_the_test_command_kill_one_and_two_and_all_and_each() {
    let all: Vec<_> = (1..=ROUNDS).map(victims).collect();
    for count in [1, 2, 4] {
        assert!(all.iter().any(|victims| victims.len() == count), "nobody kills {count}");
    }
    for role in ROLES {
        assert!(all.iter().any(|victims| victims.len() < 4 && victims.contains(&role)), "{role}");
    }
}
