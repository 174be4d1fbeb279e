//! Registration, reports, sessions of chunkservers, lifecycle.

use gfs_types::ErrorKind::{Busy, Fenced, Invalid, Stale};
use gfs_types::fence::MasterEpoch;
use gfs_types::ids::{ChunkHandle, ClusterUid, FileId, ProcessSession, ServerUid};
use gfs_types::limits::REPORT_PAGE_MAX;
use gfs_types::message::client::{Query, Request, Response};
use gfs_types::message::control::{Command, FromChunkserver};
use gfs_types::region::{ChunkIndex, ChunkSize};

use super::world::{CLUSTER, EPOCH, World, holds, kind, records, registration, sent};
use crate::record::Change;
use crate::{Effect, Input, Link, Settings};

fn refusal(out: &[Effect]) -> gfs_types::Error {
    let [(_, Command::Refused(error))] = &sent(out)[..] else { panic!("{out:?}") };
    assert!(matches!(out.last(), Some(Effect::CloseLink { .. })), "{out:?}");
    error.clone()
}

#[test]
fn a_blank_master_answers_status_only_until_it_is_formatted() {
    let mut world = World::blank(Settings::default());
    assert!(matches!(world.query(Query::Status), Ok(Response::Status(_))));
    assert_eq!(kind(world.ask(Request::OpenSession)), Busy);
    world.step(Input::Serve { epoch: EPOCH });
    assert!(!world.master.is_serving(), "nothing is formatted by itself");
    assert_eq!(refusal(&world.register(1, 1, Vec::new())).kind, Busy);
    let chunk_size = ChunkSize::default();
    let out = world.step(Input::Format { cluster: CLUSTER, chunk_size });
    assert_eq!(records(&out), [Change::Formatted { cluster: CLUSTER, chunk_size }]);
    assert_eq!(kind(world.ask(Request::OpenSession)), Busy, "it does not serve yet");
    let out = world.step(Input::Serve { epoch: EPOCH });
    assert_eq!(records(&out), [Change::EpochStarted { session: ProcessSession(1) }]);
    assert!(world.ask(Request::OpenSession).is_ok());
    let other = Input::Format { cluster: ClusterUid(9), chunk_size };
    assert!(world.step(other).is_empty(), "once only");
    world.check_digests();
}

#[test]
fn every_start_is_a_new_run_and_the_epoch_never_falls() {
    let mut world = World::new();
    world.restart();
    assert_eq!(world.master.durable().master_session(), ProcessSession(2));
    let mut durable = world.follower.clone();
    let record = crate::Record {
        wall: gfs_types::time::WallTime { ms: 1 },
        request: None,
        change: Change::EpochStarted { session: ProcessSession(3) },
    };
    let next = durable.position().next();
    durable.apply(next, MasterEpoch(5), &record).unwrap();
    let mut master = crate::Master::new(Settings::default(), durable);
    let mut out = Vec::new();
    let now = gfs_types::time::Instant::default();
    master.step(
        now,
        gfs_types::time::WallTime::default(),
        Input::Serve { epoch: MasterEpoch(4) },
        &mut out,
    );
    assert!(matches!(out[..], [Effect::StepDown { epoch: MasterEpoch(5), .. }]), "{out:?}");
    assert!(!master.is_serving());
}

#[test]
fn a_chunkserver_is_welcomed_a_foreign_one_is_refused() {
    let mut world = World::new();
    let out = world.register(1, 1, Vec::new());
    let [(_, Command::Welcome { cluster, master_session, .. })] = sent(&out)[..] else { panic!() };
    assert_eq!((cluster, master_session), (CLUSTER, ProcessSession(1)));
    let mut blank = registration(2, 1);
    blank.cluster = None;
    let register =
        |who| Input::Chunkserver { link: Link(50), message: FromChunkserver::Register(who) };
    assert!(matches!(&sent(&world.step(register(blank)))[..], [(_, Command::Welcome { .. })]));
    let mut foreign = registration(3, 1);
    foreign.cluster = Some(ClusterUid(0xbad));
    let message = FromChunkserver::Register(foreign);
    let error = refusal(&world.step(Input::Chunkserver { link: Link(51), message }));
    assert_eq!(error.kind, Invalid);
    assert!(error.message.contains("0bad") && error.message.contains("00c1"), "{error}");
    let heartbeat = FromChunkserver::ReportPage { replicas: Vec::new(), last: true };
    let out = world.step(Input::Chunkserver { link: Link(52), message: heartbeat });
    assert!(matches!(&out[..], [Effect::CloseLink { .. }]), "a stream begins with Register");
}

#[test]
fn an_older_run_changes_nothing() {
    let (mut world, _, grant) = World::with_chunk();
    world.join(1, 2, &[holds(grant.handle, 1, 0)]);
    let old = world.link(1);
    assert_eq!(refusal(&world.register(1, 1, Vec::new())).kind, Stale);
    let out = world.tell(1, FromChunkserver::ReportPage { replicas: Vec::new(), last: true });
    assert!(matches!(&out[..], [Effect::CloseLink { .. }]));
    // A new stream of the same run takes the place of the old one; what comes over the old one is dropped.
    let out = world.register(1, 2, Vec::new());
    assert!(
        out.iter().any(|effect| matches!(effect, Effect::CloseLink { link, .. } if *link == old))
    );
    world.page(1, &[holds(grant.handle, 1, 5)]);
    let replicas = vec![holds(grant.handle, 1, 99)];
    let late = FromChunkserver::ReportPage { replicas, last: true };
    world.step(Input::Chunkserver { link: old, message: late });
    assert_eq!(world.stat("/f").unwrap().length, 5);
    world.step(Input::ChunkserverGone { link: old });
    let Ok(Response::Status(status)) = world.query(Query::Status) else { panic!() };
    assert!(status.chunkservers.iter().all(|server| server.alive));
}

#[test]
fn a_page_of_a_report_has_a_limit() {
    let mut world = World::new();
    world.register(1, 1, Vec::new());
    let page = |n| FromChunkserver::ReportPage {
        replicas: vec![holds(gfs_types::ids::ChunkHandle(9), 1, 0); n],
        last: true,
    };
    assert!(world.tell(1, page(REPORT_PAGE_MAX)).is_empty());
    let out = world.tell(1, page(REPORT_PAGE_MAX + 1));
    assert!(matches!(&out[..], [Effect::CloseLink { .. }]));
}

#[test]
fn a_newer_epoch_seen_means_to_stop() {
    let (mut world, file, _) = World::with_chunk();
    world.after_ms(gfs_types::limits::LEASE_MS.0);
    let (request, _) = world.ask_lease(file, None);
    let mut who = registration(4, 1);
    who.epoch = MasterEpoch(2);
    let out =
        world.step(Input::Chunkserver { link: Link(60), message: FromChunkserver::Register(who) });
    assert!(
        out.iter().any(|effect| matches!(effect, Effect::StepDown { epoch: MasterEpoch(2), .. }))
    );
    assert_eq!(kind(super::world::reply(&out, request).unwrap()), Fenced);
    assert_eq!(kind(world.stat("/f")), Fenced);
    assert_eq!(kind(world.create("/g")), Fenced);
    assert!(!world.master.is_serving());
}

#[test]
fn status_tells_what_is_known() {
    let (mut world, ..) = World::with_chunk();
    let position = world.master.position();
    world.step(Input::CheckpointDone(position));
    world.leave(2);
    let Ok(Response::Status(status)) = world.query(Query::Status) else { panic!() };
    assert_eq!((status.files, status.directories, status.chunks), (1, 4, 1));
    assert_eq!((status.chunks_below_goal, status.chunks_missing), (1, 0));
    assert_eq!((status.log_position, status.checkpoint_position), (position, position));
    let alive: Vec<_> =
        status.chunkservers.iter().map(|server| (server.uid.0, server.alive)).collect();
    assert_eq!(alive, [(1, true), (2, false), (3, true)]);
    assert_eq!(status.chunkservers[0].replicas, 1);
}

/// Right after a start the gauges ask for it: millions of chunks would be walked through before the first client is answered.
#[test]
fn while_no_chunkserver_is_in_touch_no_chunk_is_counted() {
    let (mut world, ..) = World::with_chunk();
    let lacking = |world: &mut World| {
        let Ok(Response::Status(status)) = world.query(Query::Status) else { panic!() };
        (status.chunks_below_goal, status.chunks_missing, world.master.soft.census.has_counted())
    };
    (1..=3).for_each(|uid| drop(world.leave(uid)));
    assert_eq!(lacking(&mut world), (1, 1, false));
    world.restart();
    assert_eq!(lacking(&mut world), (1, 1, false));
    world.join(1, 2, &[]);
    assert_eq!(lacking(&mut world), (1, 1, true));
}

fn with_chunks(world: &mut World, file: FileId, count: u64) {
    for index in 0..count {
        let (handle, index) = (world.master.durable.chunks.next(), ChunkIndex(index));
        let members = (1..=3).map(ServerUid).collect();
        world.apply(Change::ChunkAllocated { file, index, handle, members });
        world.apply(Change::ChunkBorn { handle });
    }
}

/// Mostly nobody waits while millions of chunks are looked at: they are counted with the ticks. But what is told was counted, and
/// with the chunkservers that are there.
#[test]
fn many_chunks_are_counted_a_few_at_a_time() {
    let mut world = World::new();
    let file = world.file("/f");
    let many = 80_000;
    let lacking = |world: &mut World| {
        let Ok(Response::Status(status)) = world.query(Query::Status) else { panic!() };
        assert_eq!(status.chunks, many);
        (status.chunks_below_goal, status.chunks_missing, status.chunks_uncounted)
    };
    with_chunks(&mut world, file, many);
    assert_eq!(lacking(&mut world), (many, many, 0), "nobody is there");
    world.tick();
    assert_eq!(lacking(&mut world), (many, many, 0), "a part is counted");
    for uid in 1..=3 {
        let held = (1..=many).filter(|handle| uid < 3 || handle % 2 == 0);
        let held: Vec<_> = held.map(|handle| holds(ChunkHandle(handle), 1, 0)).collect();
        world.register(uid, 1, Vec::new());
        held.chunks(REPORT_PAGE_MAX).for_each(|page| drop(world.page(uid, page)));
    }
    assert_eq!(lacking(&mut world), (16_384, 0, many - 32_768), "one question looks at so many");
    world.tick();
    for round in 0..12 {
        assert_eq!(lacking(&mut world), (many / 2, 0, 0), "{round}");
        world.tick(); // The next count begins, and does not show before it ends.
    }
    world.leave(1);
    assert_eq!(lacking(&mut world), (32_768, 0, many - 32_768), "who left counts at once");
    world.leave(2);
    assert_eq!(lacking(&mut world), (32_768, 16_384, many - 32_768), "it begins again");
    world.tick();
    for round in 0..12 {
        assert_eq!(lacking(&mut world), (many, many / 2, 0), "{round}");
        world.tick();
    }
}

/// Chunks that go while they are counted do not make half a count a whole one.
#[test]
fn a_count_that_is_not_finished_says_so_whatever_was_deleted_meanwhile() {
    let mut world = World::new();
    let (gone, stays) = (world.file("/gone"), world.file("/stays"));
    with_chunks(&mut world, gone, 60_000);
    with_chunks(&mut world, stays, 40_000);
    world.register(1, 1, Vec::new());
    let asked = |world: &mut World| {
        let Ok(Response::Status(status)) = world.query(Query::Status) else { panic!() };
        (status.chunks, status.chunks_below_goal, status.chunks_uncounted)
    };
    assert_eq!(asked(&mut world), (100_000, 32_768, 67_232));
    assert_eq!(asked(&mut world), (100_000, 65_536, 34_464));
    world.apply(Change::Deleted { entry: gone, path: "/gone".to_owned(), purge: true });
    world.apply(Change::Purged { entries: vec![gone] });
    assert_eq!(asked(&mut world), (40_000, 40_000, 1), "it is not at the end");
    assert_eq!(asked(&mut world), (40_000, 40_000, 0));
}
