//! What scripts may rely on (docs/cli.md): names, formats, exit statuses.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use gfs_tests::cluster::{Cluster, Options};
use gfs_tests::command::fails;
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(json).collect()
}

/// A file of `bytes` bytes under `path`.
fn put(cluster: &Cluster, path: &str, bytes: usize) {
    let source = cluster.scratch().join("source");
    fs::write(&source, vec![b'x'; bytes]).unwrap();
    cluster.ok(&["put", source.to_str().unwrap(), path]);
}

/// Runs a command with this stdin; gives its status and stdout.
fn with_stdin(cluster: &Cluster, arguments: &[&str], stdin: &str) -> (i32, String) {
    let mut process =
        cluster.gfs(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn names_are_listed_told_and_located() {
    let cluster = Cluster::start_with(&Options::with(&["--chunk-size", "1MiB"]));
    cluster.ok(&["mkdir", "-p", "/a/b"]);
    put(&cluster, "/a/file", 2_500_000);
    assert_eq!(cluster.ok(&["ls", "/a"]), "b\nfile\n");

    let entries = json_lines(&cluster.ok(&["ls", "--output", "json", "/a"]));
    let file =
        entries.iter().find(|entry| entry["path"].as_str().unwrap().ends_with("file")).unwrap();
    assert_eq!((&file["kind"], &file["size"]), (&"file".into(), &2_500_000.into()));
    assert_eq!((&file["chunks"], &file["replication"]), (&3.into(), &3.into()));
    let modified = file["modified"].as_str().unwrap();
    assert!(
        modified.starts_with("20") && modified.contains('T') && modified.ends_with('Z'),
        "{modified}"
    );

    let stat = json(&cluster.ok(&["stat", "--output", "json", "/a/file"]));
    assert_eq!(stat["size"], 2_500_000);
    let located = json(&cluster.ok(&["locate", "--output", "json", "/a/file"]));
    let chunks = located["chunks"].as_array().unwrap();
    assert_eq!(chunks.len(), 3);
    for (index, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk["index"], index);
        assert_eq!(chunk["handle"].as_str().unwrap().len(), 16);
        assert_eq!(chunk["replicas"].as_array().unwrap().len(), 3);
        for replica in chunk["replicas"].as_array().unwrap() {
            assert_eq!(replica["version"], chunk["version"]);
            assert!(replica["address"].as_str().unwrap().starts_with("127.0.0.1:"));
        }
    }
    let status = json(&cluster.ok(&["status", "--output", "json"]));
    assert_eq!(status["chunks"], 3);
    let df = json(&cluster.ok(&["df", "--output", "json"]));
    assert!(df.is_object(), "{df}");
}

#[test]
fn what_was_deleted_comes_back_unless_it_was_purged() {
    let cluster = Cluster::start();
    put(&cluster, "/file", 10);
    assert_eq!(cluster.ok(&["rm", "/file"]), "");
    fails(&mut cluster.gfs(&["cat", "/file"]), 1);
    cluster.ok(&["undelete", "/file"]);
    assert_eq!(cluster.ok(&["cat", "/file"]), "xxxxxxxxxx");
    cluster.ok(&["rm", "--purge", "/file"]);
    fails(&mut cluster.gfs(&["undelete", "/file"]), 1);

    cluster.ok(&["mkdir", "/dir"]);
    put(&cluster, "/dir/inside", 5);
    cluster.ok(&["rm", "-r", "/dir"]);
    assert_eq!(cluster.ok(&["ls", "/"]), "");
    cluster.ok(&["undelete", "/dir"]);
    assert_eq!(cluster.ok(&["cat", "/dir/inside"]), "xxxxx");
}

#[test]
fn a_rename_is_atomic_with_and_without_replacing() {
    let cluster = Cluster::start();
    put(&cluster, "/a", 1);
    put(&cluster, "/b", 2);
    fails(&mut cluster.gfs(&["mv", "/a", "/b"]), 1);
    assert_eq!(cluster.ok(&["ls", "/"]), "a\nb\n");
    cluster.ok(&["mv", "--replace", "/a", "/b"]);
    assert_eq!(cluster.ok(&["cat", "/b"]), "x");
    cluster.ok(&["mv", "/b", "/c"]);
    cluster.ok(&["undelete", "/b"]);
    assert_eq!(cluster.ok(&["cat", "/b"]), "xx", "what was replaced rests in the trash");
}

#[test]
fn a_batch_answers_every_line_in_json() {
    let cluster = Cluster::start();
    let lines = "mkdir '/with space'\nmkdir /missing/child\nls /\nrm \"/with space\"\n";
    let (status, stdout) = with_stdin(&cluster, &["batch"], lines);
    assert_eq!(status, 1, "one line failed");
    let answers = json_lines(&stdout);
    let ids: Vec<i64> = answers.iter().map(|answer| answer["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    for ok in [0, 2, 3] {
        assert!(answers[ok]["ok"].is_object(), "{}", answers[ok]);
    }
    assert_eq!(answers[1]["error"]["kind"], "NotFound");
    assert!(answers[1]["error"]["message"].as_str().unwrap().contains("/missing"));

    let many: String = (0..500).map(|n| format!("mkdir /many-{n}\n")).collect();
    let (status, stdout) = with_stdin(&cluster, &["batch", "--jobs", "32"], &many);
    assert_eq!((status, stdout.lines().count()), (0, 500));
    assert_eq!(cluster.ok(&["ls", "/"]).lines().count(), 500);
}

#[test]
fn records_are_followed_as_they_come() {
    let cluster = Cluster::start();
    with_stdin(&cluster, &["append", "/log"], "first\n");
    let mut follower =
        cluster.gfs(&["records", "--follow", "/log"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "first");
    with_stdin(&cluster, &["append", "/log"], "second\n");
    assert_eq!(lines.next().unwrap().unwrap(), "second");
    follower.kill().unwrap();
    follower.wait().unwrap();
    let stderr = fails(&mut cluster.gfs(&["append", "--no-create", "/none"]), 1);
    assert!(stderr.contains("/none"), "{stderr}");
}

#[test]
fn fsck_finds_a_replica_that_differs_and_it_is_repaired() {
    let cluster = Cluster::start();
    put(&cluster, "/file", 300_000);
    cluster.ok(&["fsck", "--replicas", "/"]);
    let chunk = chunk_file(&cluster.dir().join("cs2"));
    cluster.kill("cs2");
    let mut bytes = fs::read(&chunk).unwrap();
    let run =
        bytes.windows(1000).rposition(|window| window.iter().all(|byte| *byte == b'x')).unwrap();
    bytes[run] ^= 1;
    fs::write(&chunk, bytes).unwrap();
    cluster.restart("cs2");
    let output = gfs_tests::command::run(&mut cluster.gfs(&["fsck", "--replicas", "/"]));
    assert_eq!(output.status.code(), Some(1));
    let findings = String::from_utf8(output.stdout).unwrap();
    assert!(findings.contains("/file"), "{findings}");
    // Readers never see it.
    assert_eq!(cluster.ok(&["cat", "/file"]), "x".repeat(300_000));
    // The server was told, and has it repaired from another one.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !gfs_tests::command::run(&mut cluster.gfs(&["fsck", "--replicas", "/"])).status.success()
    {
        assert!(std::time::Instant::now() < deadline, "the replica is not repaired");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

/// The one chunk file of a chunkserver.
fn chunk_file(dir: &std::path::Path) -> std::path::PathBuf {
    let found = gfs_tests::tree::walk(dir).unwrap();
    let mut chunks = found.keys().filter(|path| path.extension().is_some_and(|e| e == "chunk"));
    dir.join(chunks.next().expect("a chunk file"))
}

#[test]
fn every_bench_reports_the_same_fields() {
    let cluster = Cluster::start();
    for bench in ["write", "read", "append", "create", "stat", "list", "mixed", "idle"] {
        let report = bench_report(&cluster, bench, &["--files", "1000"]);
        let fields =
            ["clients", "ops", "seconds", "ops_per_s", "errors", "sync_cpu_s", "slowest_of_mean"];
        for field in fields {
            assert!(report[field].is_number(), "{bench}: {field} in {report}");
        }
        assert_eq!(report["errors"], 0, "{report}");
        assert!(report["ops"].as_u64().unwrap() > 0, "{report}");
        for percentile in ["p50", "p90", "p99", "p999", "max"] {
            assert!(report["latency_us"][percentile].is_number(), "{bench}: {percentile}");
        }
        for role in ["client", "master1", "cs1", "cs2", "cs3"] {
            assert!(report["cpu_s"][role].is_number(), "{bench}: cpu of {role} in {report}");
            let memory = &report["memory_bytes"][role];
            assert!(memory["peak"].as_u64() >= memory["end"].as_u64(), "{bench}: {memory}");
        }
    }
    assert_eq!(cluster.ok(&["ls", "/"]), "", "a bench leaves nothing behind");
}

#[test]
fn a_bench_in_processes_of_its_own_reports_for_all_of_them() {
    let cluster = Cluster::start();
    for bench in ["write", "read", "append", "stat"] {
        let more = ["--processes", "2", "--verify"];
        let report = bench_report(&cluster, bench, &more);
        assert_eq!((&report["clients"], &report["errors"]), (&2.into(), &0.into()), "{report}");
        assert!(report["ops"].as_u64().unwrap() > 0, "{report}");
        assert!(report["cpu_s"]["client"].as_f64().unwrap() > 0.0, "{report}");
    }
    assert_eq!(cluster.ok(&["ls", "/"]), "", "a bench leaves nothing behind");
}

/// Of two callers, short.
fn bench_report(cluster: &Cluster, bench: &str, more: &[&str]) -> serde_json::Value {
    let all = ["--clients", "2", "--size", "8MiB", "--seconds", "1", "--output", "json"];
    let report = json(&cluster.ok(&[&["bench", bench], &all[..], more].concat()));
    assert_eq!(report["bench"], bench);
    report
}

#[test]
fn completions_and_help_are_there() {
    let cluster = Cluster::start();
    for shell in ["bash", "zsh", "fish"] {
        assert!(cluster.ok(&["completions", shell]).contains("gfs"));
    }
    assert!(cluster.ok(&["put", "--help"]).contains("Example"));
    assert!(cluster.ok(&["--version"]).starts_with("gfs "));
}

#[test]
fn a_command_that_finds_no_master_says_which_it_tried() {
    let nobody = "127.0.0.1:9";
    let mut command = gfs_tests::command::gfs(nobody, ["ls", "--timeout", "2s", "/"]);
    let output = gfs_tests::command::run(&mut command);
    assert!(matches!(output.status.code(), Some(1 | 3)));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(nobody), "{stderr}");
    assert!(stderr.contains("trying on"), "a person is told before the time is out: {stderr}");
}
