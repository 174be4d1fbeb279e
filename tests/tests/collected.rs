//! What was deleted leaves the disks of the chunkservers, and nothing else does.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use gfs_protocol::checksum::crc32c;
use gfs_tests::cluster::{Cluster, Options};
use gfs_tests::command::fails;
use gfs_tests::replicas::{eventually, files, kill, locate};

const SERVERS: [&str; 3] = ["cs1", "cs2", "cs3"];
const PATIENCE: Duration = Duration::from_secs(30);

fn cluster() -> Cluster {
    Cluster::start_with(&Options::with(&["--chunk-size", "128KiB"]))
}

/// A file of three chunks; gives their handles.
fn put(cluster: &Cluster, path: &str) -> Vec<String> {
    let source = cluster.scratch().join("source");
    fs::write(&source, vec![7; 300_000]).unwrap();
    cluster.ok(&["put", source.to_str().unwrap(), path]);
    let handles: Vec<String> =
        locate(cluster, path).into_iter().map(|chunk| chunk.handle).collect();
    assert_eq!(handles.len(), 3);
    SERVERS.iter().for_each(|server| assert!(has_all(cluster, server, &handles)));
    handles
}

fn has_all(cluster: &Cluster, server: &str, handles: &[String]) -> bool {
    let files = files(cluster, server);
    handles.iter().all(|handle| files.contains_key(handle))
}

fn await_gone(cluster: &Cluster, servers: &[&str], handles: &[String]) {
    eventually("the chunk files go", PATIENCE, || {
        for server in servers {
            let files = files(cluster, server);
            if let Some(left) = handles.iter().find(|handle| files.contains_key(*handle)) {
                return Err(format!("{server} still has {left}"));
            }
        }
        Ok(())
    });
}

#[test]
fn chunk_files_go_when_the_grace_is_over_and_not_before() {
    let cluster = cluster();
    let kept = put(&cluster, "/kept");
    let rests = put(&cluster, "/rests");
    let purged = put(&cluster, "/purged");
    cluster.ok(&["rm", "/rests"]);
    cluster.ok(&["rm", "--purge", "/purged"]);
    await_gone(&cluster, &SERVERS, &purged);
    // The grace is of days.
    SERVERS.iter().for_each(|server| assert!(has_all(&cluster, server, &rests)));
    cluster.ok(&["undelete", "/rests"]);
    cluster.ok(&["rm", "/rests"]);

    kill(&cluster, "master1");
    let config = cluster.dir().join("master1.yaml");
    let text = fs::read_to_string(&config).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("trash_grace"));
    let lines: Vec<&str> = lines.chain(["trash_grace: 1s"]).collect();
    fs::write(&config, lines.join("\n")).unwrap();
    cluster.restart("master1");
    await_gone(&cluster, &SERVERS, &rests);
    fails(&mut cluster.gfs(&["undelete", "/rests"]), 1);
    SERVERS.iter().for_each(|server| assert!(has_all(&cluster, server, &kept)));
    assert_eq!(cluster.ok(&["cat", "/kept"]).len(), 300_000);
    cluster.ok(&["fsck", "--replicas", "/"]);
}

#[test]
fn a_server_that_was_away_deletes_when_it_comes_back() {
    let cluster = cluster();
    let purged = put(&cluster, "/purged");
    let kept = put(&cluster, "/kept");
    kill(&cluster, "cs2");
    cluster.ok(&["rm", "--purge", "/purged"]);
    await_gone(&cluster, &["cs1", "cs3"], &purged);
    assert!(has_all(&cluster, "cs2", &purged));
    // Nor does the new master forget it.
    kill(&cluster, "master1");
    cluster.restart("master1");
    cluster.restart("cs2");
    await_gone(&cluster, &["cs2"], &purged);
    SERVERS.iter().for_each(|server| assert!(has_all(&cluster, server, &kept)));
}

#[test]
fn a_file_that_the_master_does_not_know_is_never_deleted() {
    let cluster = cluster();
    let known = put(&cluster, "/known");
    kill(&cluster, "cs1");
    let model = fs::read(&files(&cluster, "cs1")[&known[0]]).unwrap();
    let chunks = cluster.dir().join("cs1/chunks");
    let planted: Vec<PathBuf> = [
        // A good replica of a chunk that was never made, one of another cluster, and what is no chunk file at all.
        (
            "00000000ffffff01.chunk",
            with_head(&model, |head| head[32..40].copy_from_slice(&0xffff_ff01_u64.to_le_bytes())),
        ),
        (
            "00000000ffffff02.chunk",
            with_head(&model, |head| {
                head[32..40].copy_from_slice(&0xffff_ff02_u64.to_le_bytes());
                head[16] ^= 1;
            }),
        ),
        ("00000000ffffff03.chunk", b"nothing of ours".to_vec()),
        ("notes.txt", b"of a person".to_vec()),
    ]
    .into_iter()
    .map(|(name, bytes)| {
        let folder = chunks.join(name.get(12..14).unwrap_or("01"));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        path
    })
    .collect();
    cluster.restart("cs1");
    cluster.ok(&["rm", "--purge", "/known"]);
    await_gone(&cluster, &SERVERS, &known);
    // A deletion came through on this very server, and a master that starts afresh knows no better.
    kill(&cluster, "master1");
    cluster.restart("master1");
    let later = put(&cluster, "/later");
    cluster.ok(&["rm", "--purge", "/later"]);
    await_gone(&cluster, &SERVERS, &later);
    for path in planted {
        assert!(path.exists(), "{} is gone", path.display());
    }
}

/// The file with all copies of its head changed, their checksums made right (docs/formats/chunk-file.md).
fn with_head(file: &[u8], change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut file = file.to_vec();
    for copy in [0, 2048, 4096, 6144] {
        let head = &mut file[copy..copy + 128];
        change(head);
        let checksum = crc32c(&head[..124]);
        head[124..].copy_from_slice(&checksum.to_le_bytes());
    }
    file
}
