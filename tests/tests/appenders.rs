//! Record append by many writers at once (docs/semantics.md, "Record append"; §3.3 of the paper).

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Stdio};
use std::thread;

use gfs_tests::cluster::Cluster;
use gfs_tests::payload;

const WRITERS: u64 = 16;
const RECORDS: u64 = 2_000;

/// Feeds one `gfs append` and gives the offsets it printed.
fn append(cluster: &Cluster, writer: u64) -> Vec<u64> {
    let mut process = cluster
        .gfs(&["append", "--length-prefixed", "/shared"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    let feeder = thread::spawn(move || {
        for seq in 0..RECORDS {
            let record = payload::record(writer, seq, payload::length(writer, seq, 100, 1 << 20));
            let length = u32::try_from(record.len()).unwrap();
            stdin.write_all(&length.to_be_bytes()).unwrap();
            stdin.write_all(&record).unwrap();
        }
    });
    let offsets = offsets(process.stdout.take().unwrap());
    feeder.join().unwrap();
    finish(process);
    offsets
}

fn offsets(stdout: ChildStdout) -> Vec<u64> {
    BufReader::new(stdout).lines().map(|line| line.unwrap().parse().unwrap()).collect()
}

fn finish(mut process: Child) {
    let status = process.wait().unwrap();
    assert!(status.success(), "gfs append ended with {status}");
}

/// What `gfs records --offsets --length-prefixed` prints: offset and record.
fn records(cluster: &Cluster) -> Vec<(u64, Vec<u8>)> {
    let mut process = cluster
        .gfs(&["records", "--offsets", "--length-prefixed", "/shared"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let mut all = Vec::new();
    loop {
        let mut offset = Vec::new();
        if stdout.read_until(b'\t', &mut offset).unwrap() == 0 {
            break;
        }
        let offset = std::str::from_utf8(&offset).unwrap().trim_end().parse().unwrap();
        let mut length = [0; 4];
        stdout.read_exact(&mut length).unwrap();
        let mut record = vec![0; u32::from_be_bytes(length) as usize];
        stdout.read_exact(&mut record).unwrap();
        all.push((offset, record));
    }
    assert!(process.wait().unwrap().success());
    all
}

#[test]
fn sixteen_processes_append_to_one_file_and_nothing_is_lost_or_doubled() {
    let cluster = Cluster::start();
    cluster.ok(&["append", "/shared"]);
    let printed: Vec<Vec<u64>> = thread::scope(|scope| {
        let cluster = &cluster;
        let writers: Vec<_> =
            (0..WRITERS).map(|w| scope.spawn(move || append(cluster, w))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });

    let mut seen = BTreeMap::new();
    let mut last_end = 0;
    for (offset, record) in records(&cluster) {
        let id = payload::check(&record).expect("a record that nobody wrote");
        assert!(offset >= last_end, "records overlap at {offset}");
        last_end = offset + record.len() as u64;
        assert_eq!(seen.insert(id, offset), None, "record {id:?} came twice");
    }
    assert_eq!(seen.len() as u64, WRITERS * RECORDS);
    for (writer, offsets) in printed.iter().enumerate() {
        assert_eq!(offsets.len() as u64, RECORDS, "writer {writer} was told fewer offsets");
        for (seq, offset) in offsets.iter().enumerate() {
            let found = seen[&(writer as u64, seq as u64)];
            assert_eq!(
                found, *offset,
                "record {seq} of writer {writer} is not where it was said to be"
            );
        }
    }
    // Every replica holds the same bytes, so each record stands at its offset on all three.
    cluster.ok(&["sync", "/shared"]);
    cluster.ok(&["fsck", "--replicas", "/shared"]);
    let located: serde_json::Value =
        serde_json::from_str(&cluster.ok(&["locate", "--output", "json", "/shared"])).unwrap();
    for chunk in located["chunks"].as_array().unwrap() {
        assert_eq!(chunk["replicas"].as_array().unwrap().len(), 3, "{chunk}");
    }
}

#[test]
fn lines_are_records_and_offsets_come_in_input_order() {
    let cluster = Cluster::start();
    let mut process = cluster
        .gfs(&["append", "/lines"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(b"one\n\nthree\nno newline").unwrap();
    let offsets = offsets(process.stdout.take().unwrap());
    finish(process);
    assert_eq!(offsets.len(), 4);
    assert!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
    assert_eq!(cluster.ok(&["records", "/lines"]), "one\n\nthree\nno newline\n");
    let with_offsets = cluster.ok(&["records", "--offsets", "/lines"]);
    let first = format!("{}\tone\n{}\t\n", offsets[0], offsets[1]);
    assert!(with_offsets.starts_with(&first), "{with_offsets}");
}
