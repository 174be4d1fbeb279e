//! `gfs dev`: a whole cluster as processes (docs/cli.md).

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use gfs_tests::cluster::{Cluster, Options};
use gfs_tests::command::{fails, gfs_binary, ok, run};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

fn alive(pid: i32) -> bool {
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok()
}

/// Waits until a process is gone, at most 20 s.
fn gone(pid: i32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while alive(pid) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    !alive(pid)
}

#[test]
fn a_cluster_keeps_its_files_over_a_clean_end_and_a_new_start() {
    let cluster = Cluster::start();
    let roles: Vec<String> = cluster.pids().into_keys().collect();
    assert_eq!(roles, ["cs1", "cs2", "cs3", "master1"]);
    let pids: Vec<i32> = cluster.pids().into_values().collect();
    let source = cluster.scratch().join("file");
    fs::write(&source, vec![9; 3 << 20]).unwrap();
    cluster.ok(&["put", source.to_str().unwrap(), "/kept"]);
    let before = Instant::now();
    let dir = cluster.stop();
    assert!(before.elapsed() < Duration::from_secs(15), "a clean end took {:?}", before.elapsed());
    assert!(pids.iter().all(|pid| gone(*pid)), "roles outlived gfs dev");

    let cluster = Cluster::start_in(dir, &Options::default());
    let copy = cluster.scratch().join("copy");
    cluster.ok(&["get", "/kept", copy.to_str().unwrap()]);
    assert_eq!(fs::read(copy).unwrap(), vec![9; 3 << 20]);
    cluster.ok(&["fsck", "--replicas", "/"]);
}

#[test]
fn a_directory_with_live_roles_is_refused_and_their_pids_named() {
    let cluster = Cluster::start();
    let mut second = Command::new(gfs_binary());
    second.arg("dev").arg("--dir").arg(cluster.dir()).args(["--listen", "127.0.0.1:0"]);
    let stderr = fails(&mut second, 1);
    for pid in cluster.pids().values() {
        assert!(stderr.contains(&pid.to_string()), "{stderr} does not name {pid}");
    }
    cluster.ok(&["ls", "/"]);
}

#[test]
fn roles_are_killed_and_started_one_by_one() {
    let cluster = Cluster::start();
    for role in ["master1", "cs1"] {
        let pid = cluster.pids()[role];
        cluster.kill(role);
        assert!(gone(pid), "{role} survived");
        cluster.restart(role);
        let new = cluster.pids()[role];
        assert!(new != pid && alive(new));
    }
    let source = cluster.scratch().join("file");
    fs::write(&source, b"after").unwrap();
    cluster.ok(&["put", source.to_str().unwrap(), "/after"]);
    assert_eq!(cluster.ok(&["cat", "/after"]), "after");
    let dir = cluster.dir();
    let dir = dir.to_str().unwrap();
    let stderr = fails(&mut cluster.gfs(&["dev", "kill", "cs9", "--dir", dir]), 1);
    assert!(stderr.contains("cs9") && stderr.contains("cs1"), "{stderr}");
    let restarted = cluster.pids();
    let _ = cluster.stop();
    assert!(
        restarted.values().all(|pid| gone(*pid)),
        "a role started by hand outlived the cluster"
    );
}

#[test]
fn roles_end_when_dev_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut dev = Command::new(gfs_binary())
        .args(["dev", "--listen", "127.0.0.1:0", "--dir"])
        .arg(dir.path().join("c"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(dev.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap() == "ready"), "the cluster never became ready");
    let pids = fs::read_to_string(dir.path().join("c/pids")).unwrap();
    let pids: Vec<i32> =
        pids.lines().map(|line| line.split_once(' ').unwrap().1.parse().unwrap()).collect();
    kill_process(Pid::from_child(&dev), Signal::KILL).unwrap();
    dev.wait().unwrap();
    assert!(pids.iter().all(|pid| gone(*pid)), "a role outlived gfs dev");
}

#[test]
fn a_command_runs_in_a_cluster_of_its_own() {
    let dev = |script: &str| {
        let mut command = Command::new(gfs_binary());
        command.args(["dev", "--listen", "127.0.0.1:0", "--", "sh", "-c", script]);
        command.env("GFS", gfs_binary());
        command
    };
    let script = "echo hello | \"$GFS\" put - /greeting && \"$GFS\" cat /greeting";
    assert_eq!(ok(&mut dev(script)), "hello\n");
    assert_eq!(run(&mut dev("exit 7")).status.code(), Some(7));
    assert_eq!(run(&mut dev("kill -TERM $$")).status.code(), Some(128 + 15));
}

#[test]
fn every_server_tells_of_its_health_and_its_numbers() {
    let cluster = Cluster::start();
    let status: serde_json::Value =
        serde_json::from_str(&cluster.ok(&["status", "--output", "json"])).unwrap();
    let mut addresses = vec![status["master_http_address"].as_str().unwrap().to_owned()];
    for server in status["chunkservers"].as_array().unwrap() {
        addresses.push(server["http_address"].as_str().unwrap().to_owned());
    }
    assert_eq!(addresses.len(), 4);
    for address in addresses {
        assert!(http(&address, "/livez").starts_with("HTTP/1.1 200"));
        assert!(http(&address, "/readyz").starts_with("HTTP/1.1 200"));
        let metrics = http(&address, "/metrics");
        assert!(metrics.contains("process_cpu_seconds_total"), "{metrics}");
        assert!(metrics.contains("gfs_"), "{metrics}");
    }
}

fn http(address: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
