//! Bad input gets a clear error and loses nothing.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use gfs_client::Client;
use gfs_protocol::frame::{self, Head, blocking};
use gfs_tests::cluster::Cluster;
use gfs_tests::command::{fails, gfs_binary, run};
use gfs_types::ids::{ClusterUid, ProcessSession, ServerUid};
use gfs_types::message::data::{Hello, PROTOCOL_VERSION};

/// A cluster with one small file, to see afterwards that nothing was lost.
fn cluster_with_a_file() -> Cluster {
    let cluster = Cluster::start();
    let source = cluster.scratch().join("witness");
    fs::write(&source, b"still here").unwrap();
    cluster.ok(&["put", source.to_str().unwrap(), "/witness"]);
    cluster
}

fn still_well(cluster: &Cluster) {
    assert_eq!(cluster.ok(&["cat", "/witness"]), "still here");
    cluster.ok(&["fsck", "--replicas", "/"]);
}

#[test]
fn commands_say_what_is_wrong_with_a_path() {
    let cluster = cluster_with_a_file();
    let refused = |arguments: &[&str], words: &[&str]| {
        let stderr = fails(&mut cluster.gfs(arguments), 1);
        for word in words {
            assert!(stderr.contains(word), "{arguments:?} says {stderr:?}, not {word:?}");
        }
    };
    refused(&["mkdir", "relative"], &["relative", "absolute"]);
    refused(&["mkdir", "/a/../b"], &["/a/../b", ".."]);
    refused(&["mkdir", &format!("/{}", "n".repeat(256))], &["256", "255"]);
    refused(&["mkdir", &"/n".repeat(2049)], &["4098", "4096"]);
    refused(&["mkdir", &"/n".repeat(257)], &["257", "256"]);
    refused(&["mkdir", "/missing/child"], &["/missing"]);
    refused(&["mkdir", "-p", "/witness/child"], &["/witness", "directory"]);
    refused(&["mkdir", "/witness"], &["/witness", "exists"]);
    refused(&["cat", "/nothing"], &["/nothing"]);
    refused(&["cat", "/"], &["directory"]);
    refused(&["ls", "/nothing"], &["/nothing"]);
    refused(&["mv", "/nothing", "/else"], &["/nothing"]);
    refused(&["mv", "/witness", "/missing/name"], &["/missing"]);
    refused(&["mkdir", "/.gfs/mine"], &["/.gfs"]);
    refused(&["rm", "/"], &["/"]);
    refused(&["rm", "/nothing"], &["/nothing"]);
    refused(&["undelete", "/nothing"], &["/nothing"]);
    cluster.ok(&["mkdir", "-p", "/dir/sub"]);
    refused(&["rm", "/dir"], &["/dir", "-r"]);
    refused(&["mv", "/dir", "/dir/sub/inside"], &["/dir"]);
    refused(&["mv", "/dir", "/witness"], &["/witness"]);
    still_well(&cluster);
}

#[test]
fn reads_past_the_end_are_short_and_records_have_a_limit() {
    let cluster = cluster_with_a_file();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = Client::connect(&cluster.masters).await.unwrap();
        let file = client.open("/witness").await.unwrap();
        assert_eq!(file.read_at(6, 100).await.unwrap(), "here");
        assert_eq!(file.read_at(10, 100).await.unwrap(), "");
        assert_eq!(file.read_at(1 << 40, 1).await.unwrap(), "");

        let log = client.create("/records", Default::default()).await.unwrap();
        let quarter = usize::try_from(client.chunk_size().bytes() / 4).unwrap();
        assert_eq!(log.append(vec![1; quarter]).await.unwrap(), 0, "the limit itself is allowed");
        let error = log.append(vec![2; quarter + 1]).await.unwrap_err();
        assert_eq!(error.kind(), gfs_client::ErrorKind::Invalid);
        assert!(error.to_string().contains(&quarter.to_string()), "{error}");
        assert_eq!(log.length().await.unwrap(), quarter as u64, "the refused record left nothing");
        assert_eq!(log.read_at(0, quarter as u64).await.unwrap(), vec![1; quarter]);
    });
    still_well(&cluster);
}

/// What a chunkserver answers to a hello.
fn greet(address: &str, hello: &Hello) -> Result<Hello, gfs_types::Error> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&frame::encode_hello(hello).unwrap()).unwrap();
    match blocking::read_head(&mut stream).unwrap() {
        Some((_, Head::HelloReply(answer))) => answer,
        other => panic!("no answer to a hello: {other:?}"),
    }
}

#[test]
fn a_chunkserver_refuses_strangers_and_survives_garbage() {
    let cluster = cluster_with_a_file();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (uid, peer) = runtime.block_on(async {
        let client = Client::connect(&cluster.masters).await.unwrap();
        let servers = client.status().await.unwrap().chunkservers;
        let address = cluster.address("cs1");
        let server = servers.iter().find(|server| server.address == address).unwrap().uid;
        (client.record().cluster, server)
    });
    let address = cluster.address("cs1");
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        cluster: uid,
        me: ServerUid(77),
        peer,
        session: ProcessSession(1),
        peer_session: ProcessSession(0),
    };
    assert_eq!(greet(&address, &hello).unwrap().me, peer);

    let refused = |hello: Hello, words: &[String]| {
        let message = greet(&address, &hello).unwrap_err().message;
        for word in words {
            assert!(message.contains(word), "{message:?} does not name {word}");
        }
    };
    let foreign = ClusterUid(uid.0 ^ 1);
    refused(Hello { cluster: foreign, ..hello.clone() }, &[uid.to_string(), foreign.to_string()]);
    let wrong = ServerUid(peer.0 ^ 1);
    refused(Hello { peer: wrong, ..hello.clone() }, &[peer.to_string(), wrong.to_string()]);
    refused(Hello { peer_session: ProcessSession(u64::MAX), ..hello.clone() }, &["session".into()]);
    refused(Hello { protocol: 99, ..hello.clone() }, &["99".into()]);

    let greeting = frame::encode_hello(&hello).unwrap();
    for (what, bytes) in garbage(&greeting) {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // The server may close while we still write: that is an answer too.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(greet(&address, &hello).unwrap().me, peer, "after {what} it does not greet");
    }
    still_well(&cluster);
}

/// Frames cut, over-long, with flipped bits, and what is no frame at all.
fn garbage(greeting: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![
        ("nothing".to_owned(), Vec::new()),
        ("HTTP".to_owned(), b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("zeros".to_owned(), vec![0; 4096]),
        ("a greeting twice".to_owned(), [greeting, greeting].concat()),
    ];
    for cut in (1..greeting.len()).step_by(29) {
        all.push((format!("a greeting cut at {cut}"), greeting[..cut].to_vec()));
    }
    for byte in (0..greeting.len()).step_by(7) {
        let mut flipped = greeting.to_vec();
        flipped[byte] ^= 0x10;
        all.push((format!("a greeting with byte {byte} flipped"), flipped));
    }
    all
}

#[test]
fn a_server_that_cannot_start_says_why_and_ends() {
    let cluster = cluster_with_a_file();
    let config = fs::read_to_string(cluster.dir().join("master1.yaml")).unwrap();
    let written = |name: &str, text: String| {
        let path = cluster.scratch().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let start = |role: &str, path: &std::path::Path| {
        let output = run(Command::new(gfs_binary()).arg(role).arg("--config").arg(path));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        stderr
    };

    let stderr = start("master", &written("same.yaml", config.clone()));
    assert!(stderr.contains("in use"), "a directory in use: {stderr}");
    assert!(stderr.contains(&cluster.pids()["master1"].to_string()), "by whom: {stderr}");

    let unknown = written("unknown.yaml", format!("{config}\nno_such_key: 1\n"));
    let stderr = start("master", &unknown);
    assert!(stderr.contains("no_such_key") && stderr.contains("unknown.yaml"), "{stderr}");

    let missing = cluster.scratch().join("nowhere.yaml");
    assert!(start("master", &missing).contains("nowhere.yaml"));

    let taken = cluster.address("master1");
    let own_dir = cluster.scratch().join("blank");
    let net = format!("net:\n  listen: {taken}\n  http_listen: 127.0.0.1:0\n");
    let text = format!("dir: {}\n{net}", own_dir.display());
    let stderr = start("master", &written("taken.yaml", text));
    assert!(stderr.contains(&taken), "a port in use: {stderr}");

    let everywhere = format!(
        "dir: {}\nnet:\n  listen: 0.0.0.0:0\n  http_listen: 127.0.0.1:0\n",
        own_dir.display()
    );
    let stderr = start("master", &written("everywhere.yaml", everywhere));
    assert!(stderr.contains("advertise"), "{stderr}");

    let chunkserver = fs::read_to_string(cluster.dir().join("cs1.yaml")).unwrap();
    let dir_line = |line: &str| line.starts_with("dir:");
    let stopped = cluster.dir().join("cs2");
    let foreign: String = chunkserver
        .lines()
        .filter(|line| !dir_line(line) && !line.starts_with("cluster:"))
        .map(|line| format!("{line}\n"))
        .collect();
    still_well(&cluster);
    cluster.kill("cs2");
    let text = format!(
        "dir: {}\ncluster: {}\n{foreign}",
        stopped.display(),
        "0123456789abcdef0123456789abcdef"
    );
    let stderr = start("chunkserver", &written("foreign.yaml", text));
    assert!(stderr.contains("0123456789abcdef0123456789abcdef"), "a foreign cluster: {stderr}");
    cluster.restart("cs2");
    assert_eq!(cluster.ok(&["cat", "/witness"]), "still here");
}

#[test]
fn wrong_usage_ends_with_status_2() {
    let gfs = |arguments: &[&str]| {
        let mut command = Command::new(gfs_binary());
        command.args(arguments).env_remove("GFS_MASTERS");
        command
    };
    fails(&mut gfs(&["no-such-command"]), 2);
    fails(&mut gfs(&["ls", "--no-such-option", "/"]), 2);
    fails(&mut gfs(&["put"]), 2);
    let stderr = fails(&mut gfs(&["ls", "/"]), 2);
    assert!(stderr.contains("GFS_MASTERS"), "{stderr}");
    let stderr = fails(&mut gfs(&["dev", "--shadows", "1"]), 2);
    assert!(stderr.contains("shadow"), "{stderr}");
}
