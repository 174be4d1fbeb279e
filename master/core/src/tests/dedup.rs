//! A repeated mutation takes effect once, across a restart too.

use gfs_types::ErrorKind::{Busy, Invalid, NotFound, Stale};
use gfs_types::limits::{SESSION_IDLE_MS, SESSION_RESULTS_MAX};
use gfs_types::message::client::{Mutation, Request, Response};

use super::world::{World, create, kind};

fn delete(path: &str) -> Mutation {
    Mutation::Delete { path: path.to_owned(), recursive: false, purge: false }
}

#[test]
fn a_repeated_request_gets_the_same_answer_and_no_record() {
    let mut world = World::new();
    let first = world.mutate_as(1, 1, create("/a")).unwrap();
    let deleted = world.mutate_as(2, 1, delete("/a")).unwrap();
    for _ in 0..2 {
        let log = world.log.len();
        assert_eq!(world.mutate_as(1, 1, create("/a")).as_ref(), Ok(&first));
        assert_eq!(world.mutate_as(2, 1, delete("/a")).as_ref(), Ok(&deleted));
        assert_eq!(world.log.len(), log);
        assert_eq!(kind(world.stat("/a")), NotFound, "the create did not take effect again");
        world.restart();
    }
}

#[test]
fn every_kind_of_mutation_is_remembered_across_restarts() {
    let mut world = World::new();
    world.mkdir("/d");
    let rename = Mutation::Rename { from: "/a".to_owned(), to: "/d/b".to_owned(), replace: false };
    let undelete = Mutation::Undelete { path: "/d/b".to_owned() };
    let mkdir = Mutation::Mkdir { path: "/e".to_owned(), parents: false };
    let all = [create("/a"), rename, delete("/d/b"), undelete, mkdir];
    let base = world.seq;
    let mut answers = Vec::new();
    for (seq, mutation) in (base + 1..).zip(&all) {
        answers.push(world.mutate_as(seq, base + 1, mutation.clone()).unwrap());
    }
    for at in 0..world.log.len() {
        world.restart_from_checkpoint(at);
        let log = world.log.len();
        for ((seq, mutation), answer) in (base + 1..).zip(&all).zip(&answers) {
            assert_eq!(world.mutate_as(seq, base + 1, mutation.clone()).as_ref(), Ok(answer));
        }
        assert_eq!(world.log.len(), log);
    }
    world.check_digests();
}

#[test]
fn what_was_refused_is_judged_anew() {
    let mut world = World::new();
    assert_eq!(kind(world.mutate_as(1, 1, create("/d/a"))), NotFound);
    assert_eq!(
        world.mutate_as(2, 1, Mutation::Mkdir { path: "/d".to_owned(), parents: false }),
        Ok(Response::Done)
    );
    assert!(world.mutate_as(1, 1, create("/d/a")).is_ok());
}

#[test]
fn the_window_has_an_end_on_both_sides() {
    let mut world = World::new();
    let most = SESSION_RESULTS_MAX as u64;
    for seq in 1..=most {
        world.mutate_as(seq, 1, create(&format!("/{seq}"))).unwrap();
    }
    assert_eq!(kind(world.mutate_as(most + 1, 1, create("/x"))), Busy);
    assert!(world.mutate_as(1, 1, create("/1")).is_ok());
    assert!(world.mutate_as(most + 1, 2, create("/x")).is_ok());
    let error = world.mutate_as(1, 1, create("/1")).unwrap_err();
    assert_eq!(error.kind, Invalid);
    assert!(error.message.contains("no longer known"), "{error}");
    world.restart();
    assert_eq!(kind(world.mutate_as(1, 1, create("/1"))), Invalid);
    assert_eq!(kind(world.mutate_as(2, 2, create("/other"))), Invalid, "one id, two requests");
}

#[test]
fn sessions_end_by_a_record() {
    let mut world = World::new();
    let idle = world.session;
    world.session = world.open();
    world.mutate_as(1, 1, create("/a")).unwrap();
    world.after_ms(SESSION_IDLE_MS.0 - 1);
    assert_eq!(world.master.durable().counts().sessions, 2);
    world.mutate_as(2, 2, create("/b")).unwrap();
    world.after_ms(5_000);
    assert_eq!(world.master.durable().counts().sessions, 1);
    let live = std::mem::replace(&mut world.session, idle);
    assert_eq!(kind(world.mutate_as(1, 1, create("/c"))), Stale);
    world.session = live;
    world.restart();
    assert!(world.mutate_as(3, 3, create("/c")).is_ok());
    assert_eq!(world.ask(Request::CloseSession(live)), Ok(Response::Done));
    assert_eq!(
        world.ask(Request::CloseSession(live)),
        Ok(Response::Done),
        "repeating does no harm"
    );
    assert_eq!(kind(world.mutate_as(4, 4, create("/d"))), Stale);
    let next = world.open();
    assert!(next != live && next != idle, "no session id is given twice");
    world.check_digests();
}
