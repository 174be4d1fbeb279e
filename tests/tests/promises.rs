//! Promises of docs/semantics.md that need a real cluster and no killing: lengths, holes, overwrites, padding.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::process::Command;

use bytes::Bytes;
use gfs_client::{Client, File};
use gfs_tests::cluster::{Cluster, Options};
use gfs_tests::command::ok;
use gfs_tests::payload;

const CHUNK_BYTES: u64 = 1 << 20;

/// A cluster with chunks of 1 MiB, so that borders are near.
fn cluster() -> Cluster {
    Cluster::start_with(&Options::with(&["--chunk-size", "1MiB"]))
}

fn run<F: Future<Output = ()>>(test: impl FnOnce(Client) -> F, cluster: &Cluster) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { test(Client::connect(&cluster.masters).await.unwrap()).await });
}

async fn create(client: &Client, path: &str) -> File {
    client.create(path, Default::default()).await.unwrap()
}

#[test]
fn what_was_never_written_reads_as_zeros() {
    let cluster = cluster();
    run(
        |client| async move {
            let file = create(&client, "/holes").await;
            file.write_at(3 * CHUNK_BYTES + 100_000, "end").await.unwrap();
            file.write_at(CHUNK_BYTES - 2, "border").await.unwrap();
            let length = 3 * CHUNK_BYTES + 100_003;
            assert_eq!(file.length().await.unwrap(), length);
            let bytes = file.read_at(0, length + 10).await.unwrap();
            let mut expected = vec![0; usize::try_from(length).unwrap()];
            let at = usize::try_from(CHUNK_BYTES).unwrap() - 2;
            expected[at..at + 6].copy_from_slice(b"border");
            let end = expected.len() - 3;
            expected[end..].copy_from_slice(b"end");
            assert!(bytes == expected, "holes hold something");
            file.sync().await.unwrap();
            assert_eq!(client.stat("/holes").await.unwrap().length, length);
        },
        &cluster,
    );
    cluster.ok(&["fsck", "--replicas", "/"]);
}

#[test]
fn what_one_client_saw_acknowledged_another_reads_at_once_and_after_a_restart_of_the_master() {
    let cluster = &cluster();
    run(
        |writer| async move {
            let reader = Client::connect(&cluster.masters).await.unwrap();
            let file = create(&writer, "/shared").await;
            let mut expected = Vec::new();
            for seq in 0..60 {
                let record = payload::record(1, seq, payload::length(1, seq, 100, 100_000));
                let offset = usize::try_from(file.append(record.clone()).await.unwrap()).unwrap();
                expected.resize(offset, 0);
                expected.extend_from_slice(&record);
                let seen = reader.stat("/shared").await.unwrap().length;
                assert_eq!(seen, expected.len() as u64, "after append {seq}");
                let part = reader.open("/shared").await.unwrap();
                let part = part.read_at(offset as u64, record.len() as u64).await.unwrap();
                assert!(part == record, "append {seq} is not what another client reads");
            }
            // Nothing was synced: the master's log knows no length yet, and must not make one up.
            for _ in 0..3 {
                cluster.kill("master1");
                cluster.restart("master1");
                let third = Client::connect(&cluster.masters).await.unwrap();
                assert_eq!(third.stat("/shared").await.unwrap().length, expected.len() as u64);
                let file = third.open("/shared").await.unwrap();
                assert!(
                    file.read_at(0, 1 << 30).await.unwrap() == expected,
                    "a shorter or wrong file"
                );
            }
        },
        cluster,
    );
}

#[test]
fn overwrites_at_any_place_end_as_in_a_file_of_bytes() {
    let cluster = cluster();
    run(
        |client| async move {
            let file = create(&client, "/model").await;
            let mut model: Vec<u8> = Vec::new();
            for seq in 0..200u64 {
                let data = payload::record(7, seq, payload::length(7, seq, 20, 300_000));
                let at = payload::length(8, seq, 1, 3 << 20);
                model.resize(model.len().max(at + data.len()), 0);
                model[at..at + data.len()].copy_from_slice(&data);
                file.write_at(at as u64, Bytes::from(data)).await.unwrap();
                let from = payload::length(9, seq, 1, model.len());
                let got = file.read_at(from as u64, 200_000).await.unwrap();
                let end = model.len().min(from + 200_000);
                assert!(got == model[from..end], "write {seq}: {from}..{end} differs");
            }
            file.sync().await.unwrap();
            let other = client.open("/model").await.unwrap();
            assert!(other.read_at(0, 1 << 30).await.unwrap() == model);
        },
        &cluster,
    );
    cluster.ok(&["fsck", "--replicas", "/"]);
}

#[test]
fn a_record_never_straddles_chunks_and_what_is_between_is_padding() {
    let cluster = cluster();
    run(
        |client| async move {
            let file = create(&client, "/padded").await;
            let mut end = 0;
            for seq in 0..40 {
                let record = payload::record(2, seq, 200_000);
                let offset = file.append(record.clone()).await.unwrap();
                assert_eq!(offset / CHUNK_BYTES, (offset + 199_999) / CHUNK_BYTES, "it straddles");
                assert!(offset >= end);
                let padding = file.read_at(end, offset - end).await.unwrap();
                assert!(padding.iter().all(|byte| *byte == 0), "padding before {offset}");
                assert!(file.read_at(offset, 200_000).await.unwrap() == record);
                end = offset + 200_000;
            }
            assert_eq!(end, 7 * CHUNK_BYTES + 1_000_000, "five records fill a chunk");
        },
        &cluster,
    );
    cluster.ok(&["fsck", "--replicas", "/"]);
}

#[test]
fn every_example_of_the_library_runs() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(root).args([
        "build",
        "--locked",
        "--profile",
        "ci",
        "--workspace",
        "--examples",
    ]);
    ok(&mut build);
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap().join("examples");
    let cluster = cluster();
    // In this order: `get` and `replicas` look at what `put` left.
    let examples = [
        "connect",
        "put",
        "get",
        "replicas",
        "append",
        "namespace",
        "random_access",
        "store_and_read",
    ];
    for example in examples {
        let mut command = Command::new(built.join(example));
        ok(command.current_dir(root).env("GFS_MASTERS", &cluster.masters));
    }
    let sources = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../client/examples"));
    assert_eq!(sources.unwrap().count(), examples.len(), "a new example is to be run here too");
}
