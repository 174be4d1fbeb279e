//! The threads around the core on a simulated disk: driver, log and checkpoints together.

#![allow(clippy::unwrap_used, reason = "a failure in a helper of a test fails the test")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use gfs_durable::fs::Fs;
use gfs_durable::fs::sim::{CrashMode, Operation, SimFs};
use gfs_master::fatal::Fatal;
use gfs_master::metrics::Metrics;
use gfs_master::outbox::{Outbox, Replies};
use gfs_master::running::{Parts, Running};
use gfs_master_core::{Connection, Input, Room, Settings};
use gfs_types::fence::MasterEpoch;
use gfs_types::ids::{RequestId, RequestSeq, SessionId};
use gfs_types::message::client::{Attributes, Mutation, Query, Reply, Request, Response};
use support::engine::{DIR, Engine, checkpoints, new_cluster};

/// A running master and a client's stream to it.
struct Client {
    running: Running,
    outbox: Arc<Outbox>,
    connection: Connection,
    replies: Replies,
    session: SessionId,
    asked: u64,
}

/// `log_bytes`: of log between two checkpoints.
async fn start(fs: &SimFs, log_bytes: u64, fatal: Fatal) -> Client {
    let outbox = Arc::new(Outbox::default());
    let parts = Parts {
        fs: Arc::new(fs.clone()),
        dir: PathBuf::from(DIR),
        settings: Settings { random: 7, ..Settings::default() },
        checkpoint_log_bytes: log_bytes,
        reserve_bytes: 0,
        outbox: outbox.clone(),
        metrics: Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap()),
        fatal,
    };
    let running = Running::start(Engine::recover(fs).unwrap(), parts).unwrap();
    running.serve(MasterEpoch(1)).await;
    let (connection, replies) = outbox.open_client();
    let session = SessionId(0);
    let mut client = Client { running, outbox, connection, replies, session, asked: 0 };
    let Ok(Response::Session(session)) = client.ask(Request::OpenSession).await.result else {
        panic!("a session is given");
    };
    client.session = session;
    client
}

impl Client {
    async fn send(&mut self, message: Request) {
        self.asked += 1;
        let (connection, request) = (self.connection, self.asked);
        self.running.inputs.send(Input::Client { connection, request, message }).await.unwrap();
    }

    async fn ask(&mut self, message: Request) -> Reply {
        self.send(message).await;
        self.replies.recv().await.expect("it is answered").1
    }

    fn create(&self, number: u64) -> Request {
        let id = RequestId { session: self.session, seq: RequestSeq(number) };
        let (path, attributes) = (format!("/file-{number}"), Attributes::default());
        let mutation = Mutation::Create { path, replication: 0, attributes };
        Request::Mutate { id, answered_below: RequestSeq(number.max(33) - 32), mutation }
    }
}

#[tokio::test]
async fn what_was_answered_survives_a_power_loss_at_any_later_time() {
    let fs = new_cluster(1);
    let mut client = start(&fs, 1 << 20, Fatal::default()).await;
    for number in 1..=20 {
        let reply = client.ask(client.create(number)).await;
        assert!(reply.result.is_ok(), "{reply:?}");
        let after = fs.crash(CrashMode::Nothing);
        let recovered = Engine::recover(&after).unwrap();
        assert!(recovered.state.position() >= reply.log_position);
    }
    client.running.end().await.unwrap();
}

#[tokio::test]
async fn checkpoints_are_made_beside_the_service_and_the_log_behind_them_goes() {
    let fs = new_cluster(2);
    let mut client = start(&fs, 8 << 10, Fatal::default()).await;
    let disk: Arc<dyn Fs> = Arc::new(fs.clone());
    let is_cut = || Engine::recover(&fs.kill()).unwrap().log.positions().first.0 > 1;
    for number in 1.. {
        let reply = client.ask(client.create(number)).await;
        assert!(reply.result.is_ok(), "{reply:?}");
        if number % 50 == 0 && checkpoints(&disk).len() >= 2 && is_cut() {
            break;
        }
    }
    let status = client.ask(Request::Query(Query::Status)).await;
    client.running.end().await.unwrap();
    assert_eq!(checkpoints(&disk).len(), 2);
    let recovered = Engine::recover(&fs).unwrap();
    assert!(recovered.log.positions().first.0 > 1, "the log was cut");
    assert!(recovered.state.position() >= status.log_position);
}

#[tokio::test]
async fn a_clean_end_leaves_a_proof_and_starts_again_with_everything() {
    let fs = new_cluster(3);
    let mut client = start(&fs, 1 << 20, Fatal::default()).await;
    let first = client.ask(client.create(1)).await;
    let again = client.create(1);
    let session = client.session;
    client.running.end().await.unwrap();
    let fs = fs.crash(CrashMode::Nothing);
    let mut client = start(&fs, 1 << 20, Fatal::default()).await;
    assert_ne!(client.session, session);
    let repeated = client.ask(again).await;
    assert_eq!(repeated.result, first.result, "once, across a restart too");
    client.running.end().await.unwrap();
}

/// After a failed flush nothing is answered, and the process is told to end with a reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_failing_disk_is_the_end_and_nothing_is_answered_after_it() {
    for failing in [Operation::Write, Operation::Sync] {
        let fs = new_cluster(4);
        let (told, why) = mpsc::channel();
        let told = Mutex::new(told);
        let fatal = Fatal::calling(move |reason| {
            let _ = told.lock().unwrap().send(reason.to_owned());
        });
        let mut client = start(&fs, 1 << 20, fatal).await;
        // The first one is the preparation of a segment or the record's own.
        for nth in 0..4 {
            fs.fail_nth(failing, nth);
        }
        client.send(client.create(1)).await;
        let reason = tokio::task::spawn_blocking(move || why.recv().unwrap()).await.unwrap();
        assert!(reason.contains("operation log failed"), "{reason}");
        // On a slow day the segment that cannot be prepared is noticed first: then the create is refused for want of room.
        let refused = |kind| kind == gfs_types::ErrorKind::Busy;
        while let Ok((_, reply)) = client.replies.try_recv() {
            let refusal = reply.result.as_ref().err();
            assert!(refusal.is_some_and(|error| refused(error.kind)), "{reply:?} left");
        }
        assert_eq!(client.outbox.open().0, 1);
        let error = client.running.end().await.unwrap_err();
        assert!(error.to_string().contains("operation log"), "{error}");
    }
}

/// Creates files on a disk that takes no byte more, until one is not answered; gives its number.
async fn fill(client: &mut Client, fs: &SimFs) -> u64 {
    // The segment that is ready may be the last one.
    fs.set_capacity(1);
    for number in 1.. {
        client.send(client.create(number)).await;
        let soon = std::time::Duration::from_secs(1);
        match tokio::time::timeout(soon, client.replies.recv()).await {
            Ok(reply) => assert!(reply.unwrap().1.result.is_ok()),
            Err(_) => return number,
        }
        assert!(number < 10_000, "the log finds space on a full disk");
    }
    unreachable!("the loop has no end")
}

/// Nothing was told to the core here, so it logs what it likes: even then the log waits, and nobody is told anything that is
/// not durable.
#[tokio::test]
async fn a_log_without_space_waits_and_goes_on_by_itself() {
    let fs = new_cluster(6);
    let mut client = start(&fs, 4096, Fatal::default()).await;
    let waiting = fill(&mut client, &fs).await;
    assert!(matches!(client.running.disk.look().unwrap().1, Room::Nothing(_)));
    let durable = Engine::recover(&fs.kill()).unwrap().state.position();
    fs.set_capacity(1 << 30);
    let reply = client.replies.recv().await.unwrap().1;
    assert!(reply.result.is_ok() && reply.log_position > durable, "{reply:?}");
    let reply = client.ask(client.create(waiting + 1)).await;
    assert!(reply.result.is_ok(), "{reply:?}");
    assert_eq!(client.running.disk.look().unwrap().1, Room::Enough);
    client.running.end().await.unwrap();
    let recovered = Engine::recover(&fs.crash(CrashMode::Nothing)).unwrap();
    assert_eq!(recovered.state.counts().files, waiting + 1);
}

#[tokio::test]
async fn a_master_whose_log_has_no_space_ends_in_order_and_starts_again() {
    let fs = new_cluster(7);
    let mut client = start(&fs, 4096, Fatal::default()).await;
    let waiting = fill(&mut client, &fs).await;
    client.running.end().await.unwrap();
    assert!(client.replies.try_recv().is_err(), "what was not durable is not answered");
    fs.set_capacity(1 << 30);
    let mut client = start(&fs, 4096, Fatal::default()).await;
    let Ok(Response::Status(status)) = client.ask(Request::Query(Query::Status)).await.result
    else {
        panic!("it is answered")
    };
    assert!(status.files + 1 >= waiting, "{} files of {waiting}", status.files);
    client.running.end().await.unwrap();
}

#[test]
fn the_data_directory_is_where_the_tests_believe() {
    let fs = new_cluster(5);
    assert!(fs.exists(&Path::new(DIR).join("format")).unwrap());
}
