//! SIGTERM gives leases back and flushes everything: the next start finds every replica clean and raises nothing.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::time::Duration;

use gfs_client::Client;
use gfs_tests::cluster::{Cluster, Options};
use gfs_tests::payload;
use gfs_tests::replicas::{await_equal, eventually, locate};
use rustix::process::{Pid, Signal, test_kill_process};

const FILES: u64 = 6;
const ROLES: [&str; 4] = ["cs1", "cs2", "cs3", "master1"];

fn name(file: u64) -> String {
    format!("/file-{file}")
}

/// Appends, overwrites and holes, none of them synced, and every lease still running.
fn write(cluster: &Cluster, round: u64) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = Client::connect(&cluster.masters).await.unwrap();
        for file in 0..FILES {
            let file_name = name(file);
            let open = match client.open(&file_name).await {
                Ok(open) => open,
                Err(_) => client.create(&file_name, Default::default()).await.unwrap(),
            };
            for seq in 0..8 {
                let length = payload::length(file, round * 8 + seq, 100, 30_000);
                let record = payload::record(file, round * 8 + seq, length);
                open.append(record.clone()).await.unwrap();
                if file % 2 == 0 {
                    open.write_at(seq * 10_000 + 7, record).await.unwrap();
                }
            }
        }
        client.close().await;
    });
}

fn contents(cluster: &Cluster) -> Vec<Vec<u8>> {
    let cat = |file| {
        let output = gfs_tests::command::run(&mut cluster.gfs(&["cat", &name(file)]));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    (0..FILES).map(cat).collect()
}

fn versions(cluster: &Cluster) -> Vec<(String, u64)> {
    let chunks = (0..FILES).flat_map(|file| locate(cluster, &name(file)));
    chunks.map(|chunk| (chunk.handle, chunk.version)).collect()
}

fn check_clean(cluster: &Cluster) -> Result<(), String> {
    for chunk in (0..FILES).flat_map(|file| locate(cluster, &name(file))) {
        if chunk.states != ["clean"; 3] {
            return Err(format!("{chunk:?}"));
        }
    }
    Ok(())
}

fn await_end(pids: &[i32]) {
    eventually("the end of the servers", Duration::from_secs(30), || {
        let lives = |pid: &&i32| test_kill_process(Pid::from_raw(**pid).unwrap()).is_ok();
        pids.iter().find(lives).map_or(Ok(()), |pid| Err(format!("{pid} lives")))
    });
}

/// Ends the roles in this order, each when the one before is gone, or all at once; then starts them again.
fn end_and_start(cluster: &Cluster, order: &[&str], at_once: bool) {
    let pids = cluster.pids();
    for role in order {
        cluster.signal(role, Signal::TERM);
        if !at_once {
            await_end(&[pids[*role]]);
        }
    }
    let ended: Vec<i32> = order.iter().map(|role| pids[*role]).collect();
    await_end(&ended);
    // The master first: without it a chunkserver does not serve.
    ROLES.iter().rev().for_each(|role| cluster.restart(role));
}

/// Nothing is unclean, and nobody thinks that it has to be raised: neither now nor a little later.
fn check_after_start(cluster: &Cluster, what: &str, before: &[(String, u64)]) {
    eventually(what, Duration::from_secs(30), || check_clean(cluster));
    // Longer than the master waits before it repairs something.
    std::thread::sleep(Duration::from_secs(4));
    check_clean(cluster).unwrap_or_else(|why| panic!("{what}: {why}"));
    assert_eq!(versions(cluster), before, "{what}: something was raised");
}

#[test]
fn servers_that_end_together_are_clean_at_the_next_start() {
    let cluster = Cluster::start_with(&Options::with(&["--chunk-size", "256KiB"]));
    for round in 0..2 {
        write(&cluster, round);
        let (bytes, before) = (contents(&cluster), versions(&cluster));
        end_and_start(&cluster, &ROLES, true);
        check_after_start(&cluster, "all at once", &before);
        assert!(contents(&cluster) == bytes, "other bytes after the start");
    }
    await_equal(&cluster, Duration::from_secs(30));
}

#[test]
fn a_whole_cluster_that_ended_in_order_is_clean_at_the_next_start() {
    let cluster = Cluster::start_with(&Options::with(&["--chunk-size", "256KiB"]));
    write(&cluster, 0);
    let (bytes, before) = (contents(&cluster), versions(&cluster));
    let cluster = Cluster::start_in(cluster.stop(), &Options::default());
    check_after_start(&cluster, "gfs dev", &before);
    assert!(contents(&cluster) == bytes, "other bytes after the start");
    await_equal(&cluster, Duration::from_secs(30));
}

#[test]
fn in_whatever_order_the_servers_end_nothing_is_lost_and_all_are_clean_again() {
    let cluster = Cluster::start_with(&Options::with(&["--chunk-size", "256KiB"]));
    let orders = [
        ["cs1", "cs2", "cs3", "master1"],
        ["master1", "cs3", "cs2", "cs1"],
        ["cs2", "master1", "cs1", "cs3"],
    ];
    for (round, order) in (0..).zip(orders) {
        write(&cluster, round);
        let bytes = contents(&cluster);
        end_and_start(&cluster, &order, false);
        let what = format!("{order:?}");
        eventually(&what, Duration::from_secs(30), || check_clean(&cluster));
        assert!(contents(&cluster) == bytes, "{what}: other bytes after the start");
    }
    await_equal(&cluster, Duration::from_secs(30));
}
