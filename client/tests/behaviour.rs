//! How the library behaves when its peers do not: over real sockets, against peers that obey the test.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fake;

use std::time::Duration;

use bytes::Bytes;
use fake::{CHUNK_BYTES, Cluster};
use futures::{FutureExt, StreamExt};
use gfs_client::{CreateOptions, ErrorKind, Options, RecordWriter, Submitted, UploadOptions};
use gfs_types::ids::{ClusterUid, ServerUid};
use gfs_types::limits::WRITE_PIECES_MAX;

/// Bytes that differ everywhere.
fn sample(length: u64) -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let words = usize::try_from(length).unwrap().div_ceil(8);
    let mut bytes: Vec<u8> = std::iter::repeat_with(next).take(words).flatten().collect();
    bytes.truncate(usize::try_from(length).unwrap());
    bytes.into()
}

#[tokio::test]
async fn an_upload_comes_back_identical_and_appears_only_at_the_end() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    let data = sample(5 * CHUNK_BYTES + 12_345);
    let options = UploadOptions { length: Some(data.len() as u64), ..Default::default() };
    let mut upload = client.upload("/file", options).await.unwrap();
    for piece in data.chunks(100_001) {
        upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    let before = client.stat("/file").await.unwrap_err();
    assert_eq!(before.kind(), ErrorKind::NotFound);
    upload.finish().await.unwrap();
    assert_eq!(client.stat("/file").await.unwrap().length, data.len() as u64);
    assert!(cluster.bytes().syncs >= 6, "every chunk was synced");
    let file = client.open("/file").await.unwrap();
    assert_eq!(file.read_at(0, u64::MAX).await.unwrap(), data);
    let (at, length) = (CHUNK_BYTES - 7, 99_999);
    let range = usize::try_from(at).unwrap()..usize::try_from(at + length).unwrap();
    assert_eq!(file.read_at(at, length).await.unwrap(), data[range]);
}

#[tokio::test]
async fn holes_read_as_zeros_and_nothing_is_read_behind_the_end() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    let file = client.create("/f", CreateOptions::default()).await.unwrap();
    assert_eq!(file.read_at(0, 10).await.unwrap(), "");
    file.write_at(2 * CHUNK_BYTES + 3, "xyz").await.unwrap();
    file.write_at(5, "abc").await.unwrap();
    let length = 2 * CHUNK_BYTES + 6;
    assert_eq!(file.length().await.unwrap(), length);
    let all = file.read_at(0, u64::MAX).await.unwrap();
    assert_eq!(all.len() as u64, length);
    assert_eq!(&all[..9], b"\0\0\0\0\0abc\0");
    assert!(all[8..all.len() - 3].iter().all(|byte| *byte == 0));
    assert_eq!(&all[all.len() - 3..], b"xyz");
    assert_eq!(file.read_at(length - 1, 10).await.unwrap(), "z");
    assert_eq!(file.read_at(length, 10).await.unwrap(), "");
    assert_eq!(file.read_at(u64::MAX - 1, 10).await.unwrap(), "");
}

#[tokio::test]
async fn a_replica_that_is_behind_hides_nothing_that_was_acknowledged() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    let file = client.create("/f", CreateOptions::default()).await.unwrap();
    file.write_at(0, sample(1000)).await.unwrap();
    for behind in [1, 2, 3] {
        cluster.bytes().behind = (behind != 1).then_some((ServerUid(behind), 10));
        assert_eq!(
            cluster.client().await.open("/f").await.unwrap().read_at(0, 1000).await.unwrap(),
            sample(1000)
        );
    }
}

#[tokio::test]
async fn a_corrupt_replica_is_reported_and_another_is_read() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    let file = client.create("/f", CreateOptions::default()).await.unwrap();
    file.write_at(0, sample(100_000)).await.unwrap();
    for rotten in 1..=3 {
        cluster.bytes().rotten = Some(ServerUid(rotten));
        assert_eq!(file.read_at(0, 100_000).await.unwrap(), sample(100_000));
    }
    // Each read asks one replica first; that one was rotten once.
    while cluster.names().corrupt.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn appends_go_from_chunk_to_chunk_and_long_ones_in_parts() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    let file = client.create("/f", CreateOptions::default()).await.unwrap();
    let most = CHUNK_BYTES / 4;
    let mut offsets = Vec::new();
    for _ in 0..9 {
        offsets.push(file.append(sample(most)).await.unwrap());
    }
    let expected: Vec<u64> = (0..9).map(|n| n * most).collect();
    assert_eq!(offsets, expected, "four to a chunk");
    for offset in offsets {
        assert_eq!(file.read_at(offset, most).await.unwrap(), sample(most));
    }
    let error = file.append(sample(most + 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn records_are_read_once_and_in_order_although_answers_are_lost() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    let file = client.create("/records", CreateOptions::default()).await.unwrap();
    let writer = file.record_writer();
    let mut waiting = Vec::new();
    for n in 0..300u64 {
        if n % 50 == 10 {
            cluster.bytes().swallow_answers = 1;
        }
        waiting.push(writer.submit(format!("record {n} {}", "x".repeat(2000))).await.unwrap());
        if n % 25 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut offsets = Vec::new();
    for submitted in waiting {
        offsets.push(submitted.await.unwrap());
    }
    assert!(offsets.is_sorted(), "in order");
    let mut reader = file.record_reader();
    let mut count = 0;
    while let Some(record) = reader.next().await {
        let record = record.unwrap();
        assert_eq!((record.seq, record.writer), (count + 1, writer.id()));
        assert!(record.payload.starts_with(format!("record {count} ").as_bytes()));
        count += 1;
    }
    assert_eq!(count, 300);
}

#[tokio::test]
async fn writers_of_a_file_share_one_way_and_each_keeps_its_order() {
    const WRITERS: usize = 8;
    const EACH: u64 = 40;
    let cluster = Cluster::start();
    let client = cluster.client().await;
    client.create("/records", CreateOptions::default()).await.unwrap();
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        writers.push(client.open("/records").await.unwrap().record_writer());
    }
    let mut waiting = Vec::new();
    for n in 0..EACH {
        if n % 10 == 5 {
            cluster.bytes().swallow_answers = 1;
        }
        for writer in &writers {
            waiting.push(writer.submit(format!("record {n}")).await.unwrap());
        }
        tokio::task::yield_now().await;
    }
    for submitted in waiting {
        submitted.await.unwrap();
    }
    let appends = cluster.bytes().appends;
    assert!(appends < WRITERS * 40 / 4, "{appends} appends: each writer went by itself");
    let mut reader = client.open("/records").await.unwrap().record_reader();
    let mut seen = std::collections::BTreeMap::new();
    while let Some(record) = reader.next().await {
        let record = record.unwrap();
        let before = seen.insert(record.writer, record.seq).unwrap_or(0);
        assert_eq!(record.seq, before + 1, "in order, once");
        assert_eq!(record.payload, format!("record {before}"));
    }
    assert_eq!(seen.values().copied().collect::<Vec<_>>(), [EACH; WRITERS]);
    // A way ends with its last writer; the next one begins another.
    drop(writers);
    let writer = client.open("/records").await.unwrap().record_writer();
    writer.append("after").await.unwrap();
}

/// A record that is on its way until `refuse` is emptied: what comes now waits behind it.
async fn blocked(cluster: &Cluster, writer: &RecordWriter) -> Submitted {
    const REFUSALS: usize = 10_000;
    cluster.bytes().refuse = vec![ErrorKind::Busy; REFUSALS];
    let first = writer.submit("the first").await.unwrap();
    while cluster.bytes().refuse.len() == REFUSALS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    first
}

#[tokio::test]
async fn a_fresh_record_that_rides_with_an_old_one_has_its_own_time() {
    let cluster = Cluster::start();
    let timeout = Duration::from_secs(2);
    let options = Options { timeout, ..cluster.options() };
    let client = gfs_client::Client::connect_with(options).await.unwrap();
    let file = client.create("/records", CreateOptions::default()).await.unwrap();
    let (one, other) = (file.record_writer(), file.record_writer());
    let first = blocked(&cluster, &one).await;
    tokio::time::sleep(timeout / 4).await;
    let old = one.submit("old").await.unwrap();
    tokio::time::sleep(timeout / 2).await;
    let fresh = other.submit("fresh").await.unwrap();
    assert_eq!(first.await.unwrap_err().kind(), ErrorKind::Busy, "never taken by anybody");
    // These two are one batch now. It may still be appended when the time of the old one is over.
    let error = old.await.unwrap_err();
    cluster.bytes().refuse.clear();
    fresh.await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
    assert_eq!(cluster.bytes().appends, 1);
}

#[tokio::test]
async fn writers_of_a_file_share_4096_places_and_the_next_record_waits() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    let file = client.create("/records", CreateOptions::default()).await.unwrap();
    let writers = [file.record_writer(), file.record_writer()];
    let mut taken = vec![blocked(&cluster, &writers[0]).await];
    for n in 0..4096 {
        taken.push(writers[n % 2].submit("x").await.unwrap());
    }
    for writer in &writers {
        let past = tokio::task::unconstrained(writer.submit("one past")).now_or_never();
        assert!(past.is_none(), "it waits");
    }
    // Another file has a queue of its own.
    let other = client.create("/other", CreateOptions::default()).await.unwrap().record_writer();
    let other = other.submit("x").await.unwrap();
    cluster.bytes().refuse.clear();
    taken.push(writers[0].submit("now there is room").await.unwrap());
    for record in taken {
        record.await.unwrap();
    }
    other.await.unwrap();
}

#[tokio::test]
async fn a_raw_append_without_an_answer_is_unknown() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    let file = client.create("/f", CreateOptions::default()).await.unwrap();
    cluster.bytes().swallow_answers = 1;
    let error = file.append("once").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
    assert_eq!(file.append("twice").await.unwrap(), 4, "it had happened");
}

#[tokio::test]
async fn refusals_are_worked_around() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    let file = client.create("/f", CreateOptions::default()).await.unwrap();
    for kind in [ErrorKind::Stale, ErrorKind::NeedData, ErrorKind::Busy, ErrorKind::Unknown] {
        cluster.bytes().refuse = vec![kind];
        file.write_at(0, sample(100_000)).await.unwrap();
        assert!(cluster.bytes().refuse.is_empty());
    }
    assert!(cluster.names().leases_refused.is_empty(), "one refusal disturbs no lease");
    cluster.bytes().refuse = vec![ErrorKind::Stale; 2];
    file.write_at(0, sample(100_000)).await.unwrap();
    assert_eq!(cluster.names().leases_refused.len(), 1, "the second time the version is refused");
    assert_eq!(file.read_at(0, 100_000).await.unwrap(), sample(100_000));
}

#[tokio::test]
async fn an_impostor_at_an_address_is_not_talked_to() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    let file = client.create("/f", CreateOptions::default()).await.unwrap();
    file.write_at(0, "abc").await.unwrap();
    for uid in 1..=3 {
        cluster.bytes().impostor = Some(ServerUid(uid));
        // A client without connections, so that it has to say hello.
        let file = cluster.client().await.open("/f").await.unwrap();
        if uid == 1 {
            let mut options = cluster.options();
            options.timeout = Duration::from_millis(600);
            let client = gfs_client::Client::connect_with(options).await.unwrap();
            let error = client.open("/f").await.unwrap().write_at(0, "abc").await.unwrap_err();
            assert!(error.to_string().contains("not 0000"), "{error}");
        } else {
            assert_eq!(file.read_at(0, 3).await.unwrap(), "abc");
        }
    }
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_takes_effect_once() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    cluster.names().swallow_answers = 3;
    client.create("/once", CreateOptions::default()).await.unwrap();
    assert_eq!(cluster.names().applied, 1);
    let again = client.create("/once", CreateOptions::default()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn a_killed_master_comes_back_and_everything_in_flight_goes_on() {
    let mut cluster = Cluster::start();
    let client = cluster.client().await;
    let file = client.create("/f", CreateOptions::default()).await.unwrap();
    let writer = file.record_writer();
    writer.append("before").await.unwrap();
    cluster.kill_master();
    // The data plane needs no master as long as the lease is known.
    writer.append("meanwhile").await.unwrap();
    let stat = tokio::spawn({
        let client = client.clone();
        async move { client.stat("/f").await }
    });
    let creates: Vec<_> = (0..100)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(
                async move { client.create(format!("/c{n}"), CreateOptions::default()).await },
            )
        })
        .collect();
    tokio::task::yield_now().await;
    cluster.start_master();
    assert_eq!(stat.await.unwrap().unwrap().id, file.id());
    for create in creates {
        create.await.unwrap().unwrap();
    }
    assert_eq!(cluster.names().applied, 101);
}

#[tokio::test]
async fn a_forgotten_session_leaves_unknown_what_may_have_happened_and_nothing_else() {
    let mut cluster = Cluster::start();
    let client = cluster.client().await;
    client.create("/a", CreateOptions::default()).await.unwrap();
    cluster.names().sessions.clear();
    client.create("/b", CreateOptions::default()).await.unwrap();
    // Applied, no answer, and then the master forgets.
    cluster.names().swallow_answers = usize::MAX;
    let pending = tokio::spawn({
        let client = client.clone();
        async move { client.create("/c", CreateOptions::default()).await }
    });
    while cluster.names().applied < 3 {
        tokio::task::yield_now().await;
    }
    cluster.kill_master();
    cluster.names().swallow_answers = 0;
    cluster.names().sessions.clear();
    cluster.start_master();
    let error = pending.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
    client.create("/d", CreateOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_master_of_another_cluster_is_refused_by_name() {
    let mut cluster = Cluster::start();
    let client = cluster.client().await;
    cluster.kill_master();
    cluster.names().cluster = ClusterUid(0xdead);
    cluster.start_master();
    let error = client.stat("/").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("dead") && error.to_string().contains("c1"), "{error}");
}

#[tokio::test]
async fn silence_ends_at_the_deadline_with_words() {
    let cluster = Cluster::start();
    let mut options = cluster.options();
    options.timeout = Duration::from_millis(300);
    let client = gfs_client::Client::connect_with(options).await.unwrap();
    cluster.names().mute = true;
    let question = client.stat("/f").await.unwrap_err();
    assert_eq!(question.kind(), ErrorKind::Busy);
    for part in ["stat `/f`", "300ms", "does not answer"] {
        assert!(question.to_string().contains(part), "{question}");
    }
    cluster.names().mute = false;
    client.create("/opens-the-session", CreateOptions::default()).await.unwrap();
    cluster.names().mute = true;
    let change = client.create("/f", CreateOptions::default()).await.unwrap_err();
    assert_eq!(change.kind(), ErrorKind::Unknown, "{change}");
}

#[tokio::test]
async fn a_busy_master_is_asked_again() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    cluster.names().busy = 4;
    client.create("/f", CreateOptions::default()).await.unwrap();
}

#[tokio::test]
async fn nobody_at_the_address_is_said_clearly() {
    let mut cluster = Cluster::start();
    let options = Options { timeout: Duration::from_millis(300), ..cluster.options() };
    cluster.kill_master();
    let error = gfs_client::Client::connect_with(options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    for part in ["connect to 127.0.0.1:", "refused"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_directory_comes_page_by_page() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    for name in ["c", "a", "b", "e", "d"] {
        client.create(format!("/{name}"), CreateOptions::default()).await.unwrap();
    }
    let entries: Vec<_> = client.list("/").collect().await;
    let names: Vec<String> = entries.into_iter().map(|entry| entry.unwrap().path).collect();
    assert_eq!(names, [".gfs", "a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn bad_paths_are_refused_before_anything_is_sent() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    cluster.names().mute = true;
    for path in ["relative", "/a/../b", "/nul\0", &format!("/{}", "n".repeat(256))] {
        assert_eq!(client.stat(path).await.unwrap_err().kind(), ErrorKind::Invalid, "{path:?}");
        let first = client.list(path).next().await.unwrap();
        assert_eq!(first.unwrap_err().kind(), ErrorKind::Invalid, "{path:?}");
    }
}

#[tokio::test]
async fn following_waits_for_more_and_loses_nothing_when_given_up() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    let file = client.create("/f", CreateOptions::default()).await.unwrap();
    let writer = file.record_writer();
    let mut reader = file.record_reader().follow(true);
    writer.append("one").await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap().payload, "one");
    let given_up = tokio::time::timeout(Duration::from_millis(1), reader.next()).await;
    assert!(given_up.is_err());
    writer.append("two").await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap().payload, "two");
}

#[tokio::test]
async fn an_upload_of_another_length_than_promised_does_not_appear() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    let options = UploadOptions { length: Some(10), ..Default::default() };
    let mut upload = client.upload("/f", options).await.unwrap();
    upload.write("123456789").await.unwrap();
    assert_eq!(upload.write("xx").await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(upload.finish().await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(client.stat("/f").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(client.upload("/none/f", options).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(client.upload("/.gfs", options).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn writers_share_what_is_on_its_way_and_none_waits_for_another_with_its_first_piece() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    let count = 3 * WRITE_PIECES_MAX;
    cluster.bytes().stalled = true;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..count {
        let file = client.create(format!("/{number}"), CreateOptions::default()).await.unwrap();
        writers.spawn(async move {
            let mut writer = file.writer(0);
            writer.write(sample(4 * CHUNK_BYTES)).await.unwrap();
            writer.flush().await.unwrap();
        });
    }
    // Each with one, and as many as there are places: nothing was written yet.
    while cluster.bytes().pushes < count + WRITE_PIECES_MAX {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    cluster.bytes().stalled = false;
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
    let store = cluster.bytes();
    assert_eq!((store.pushed_max, store.pushes), (count + WRITE_PIECES_MAX, 4 * count));
}

#[tokio::test]
async fn a_writer_that_knows_its_end_asks_for_the_next_chunk_with_the_first_piece() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    let file = client.create("/f", CreateOptions::default()).await.unwrap();
    let chunks = |file: &gfs_client::File| {
        cluster.names().chunks.get(&file.id()).map_or(0, std::collections::BTreeMap::len)
    };
    let mut writer = file.writer(0).expect(2 * CHUNK_BYTES + 1);
    writer.write("a").await.unwrap();
    writer.flush().await.unwrap();
    while chunks(&file) < 2 {
        tokio::task::yield_now().await;
    }
    drop(writer);

    // Nothing behind the end is asked for, nor anything by who does not know where that is.
    for expected in [Some(CHUNK_BYTES), None] {
        let file = client.create(format!("/{expected:?}"), CreateOptions::default()).await.unwrap();
        let mut writer = file.writer(0);
        if let Some(length) = expected {
            writer = writer.expect(length);
        }
        writer.write(sample(CHUNK_BYTES)).await.unwrap();
        writer.close().await.unwrap();
        assert_eq!(chunks(&file), 1, "{expected:?}");
    }
}
