//! equal-5: chunks are made equal without waiting for a writer.

use std::collections::BTreeSet;

use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;
use gfs_types::limits::{MEMBER_WAIT_MS, RAISE_ANSWER_MS, REPAIRS_MAX, RETURN_WAIT_MS};
use gfs_types::message::client::{LeaseTarget, Request};
use gfs_types::message::control::{
    Command, FromChunkserver, LeaseStart, ReplicaReport, ReplicaState,
};
use gfs_types::region::ChunkIndex;

use super::world::{World, grants, holds, lease, lessons, raises, records, reply, sent};
use crate::record::Change;

/// A file of `chunks` chunks on 1, 2 and 3, whose leases are over. All ended, and come back with this state.
fn all_back(chunks: u64, state: ReplicaState) -> World {
    let mut world = World::new();
    for uid in 1..=3 {
        world.join(uid, 1, &[]);
    }
    let file = world.file("/f");
    for index in 0..chunks {
        let target = LeaseTarget::Index(ChunkIndex(index));
        let (request, _) = world.send(Request::Lease { file, target, not_version: None });
        let handle = ChunkHandle(index + 1);
        world.created(1, handle);
        world.created(2, handle);
        let out = world.created(3, handle);
        assert!(lease(&out, request).is_some());
    }
    world.after_ms(60_000);
    (1..=3).for_each(|uid| drop(world.leave(uid)));
    let report = |chunk| ReplicaReport { state, ..holds(ChunkHandle(chunk), 1, 10) };
    let reports: Vec<_> = (1..=chunks).map(report).collect();
    world.after_ms(60_000);
    (1..=3).for_each(|uid| drop(world.join(uid, 2, &reports)));
    world
}

fn asked(world: &World, out: &[crate::Effect]) -> usize {
    raises(world, out).len()
}

#[test]
fn equal_5_an_unclean_chunk_gets_a_brief_lease_without_a_writer() {
    for state in [ReplicaState::Unclean, ReplicaState::Suspect] {
        let mut world = all_back(1, state);
        let handle = ChunkHandle(1);
        let out = world.after_ms(50);
        assert_eq!(raises(&world, &out), [(1, 2, 1), (2, 2, 1), (3, 2, 1)]);
        world.raised_in(1, handle, 2, (10, 1, state));
        world.raised_in(2, handle, 2, (10, 1, state));
        let out = world.raised_in(3, handle, 2, (9, 2, state));
        let [(primary, start, true)] = grants(&world, &out)[..] else { panic!("{out:?}") };
        let all = state == ReplicaState::Suspect;
        assert_eq!(start, if all { LeaseStart::AllSuspect } else { LeaseStart::Unequal });
        let version = ChunkVersion(2);
        world.tell(primary, FromChunkserver::LeaseGivenUp { handle, version, length: 10 });
        // They tell that it left them clean by their next heartbeats.
        world.after_ms(500);
        (1..=3).for_each(|uid| drop(world.changed(uid, holds(handle, 2, 10))));
        for _ in 0..20 {
            assert!(world.after_ms(1_000).is_empty());
        }
        assert_eq!(
            world.master.repairs(),
            (0, 0),
            "nothing is kept of a chunk that is as it should be"
        );
    }
}

#[test]
fn equal_5_clean_replicas_are_left_alone() {
    let mut world = all_back(30, ReplicaState::Clean);
    assert_eq!(world.master.repairs(), (0, 0));
    world.restart();
    let reports: Vec<_> = (1..=30).map(|chunk| holds(ChunkHandle(chunk), 1, 10)).collect();
    (1..=3).for_each(|uid| drop(world.join(uid, 3, &reports)));
    for _ in 0..20 {
        assert!(world.after_ms(1_000).is_empty());
    }
}

#[test]
fn equal_5_a_few_at_a_time_and_clients_are_not_counted() {
    let mut world = all_back(REPAIRS_MAX as u64 + 4, ReplicaState::Unclean);
    let out = world.after_ms(50);
    assert_eq!(asked(&world, &out), 3 * REPAIRS_MAX);
    let out = world.tick();
    assert_eq!(asked(&world, &out), 0);
    // A client comes for one of those that wait, and for one that is being raised.
    let last = ChunkHandle(REPAIRS_MAX as u64 + 4);
    let (_, out) = {
        let ask = world.lease_of(REPAIRS_MAX as u64 + 3);
        world.send(ask)
    };
    assert_eq!(asked(&world, &out), 3, "clients come first");
    let (request, out) = {
        let ask = world.lease_of(0);
        world.send(ask)
    };
    assert!(out.is_empty());
    let out = world.tick();
    assert_eq!(asked(&world, &out), 3, "the one taken up by a client does not count any more");
    world.raised(1, ChunkHandle(1), 2);
    world.raised(2, ChunkHandle(1), 2);
    let out = world.raised(3, ChunkHandle(1), 2);
    assert!(matches!(grants(&world, &out)[..], [(_, _, false)]), "the client means to write");
    assert!(reply(&out, request).unwrap().is_ok());
    // One more is over: the next begins.
    let handle = ChunkHandle(2);
    world.raised(1, handle, 2);
    world.raised(2, handle, 2);
    let out = world.raised(3, handle, 2);
    let [(primary, _, true)] = grants(&world, &out)[..] else { panic!("{out:?}") };
    let out = world.tick();
    assert_eq!(asked(&world, &out), 0, "its lease counts");
    let version = ChunkVersion(2);
    world.tell(primary, FromChunkserver::LeaseGivenUp { handle, version, length: 10 });
    let out = world.tick();
    assert_eq!(asked(&world, &out), 3);
    assert!(raises(&world, &out).iter().all(|(_, number, _)| *number == 2) && last.0 == 12);
}

#[test]
fn equal_5_what_was_begun_goes_on_before_others_that_wait_may_begin() {
    let max = REPAIRS_MAX as u64;
    let mut world = all_back(2 * max, ReplicaState::Clean);
    for chunk in 1..=2 * max {
        let state = ReplicaState::Corrupt;
        world.changed(3, ReplicaReport { state, ..holds(ChunkHandle(chunk), 1, 10) });
    }
    let out = world.after_ms(50);
    assert_eq!(asked(&world, &out), 2 * REPAIRS_MAX);
    for handle in (1..=max).map(ChunkHandle) {
        world.raised(1, handle, 2);
        let out = world.raised(2, handle, 2);
        assert_eq!(grants(&world, &out).len(), 1);
    }
    let out = world.tick();
    assert_eq!(lessons(&world, &out).len(), REPAIRS_MAX, "they do not wait behind the others");
}

#[test]
fn equal_5_what_fails_is_tried_again_later_and_later() {
    let mut world = all_back(1, ReplicaState::Unclean);
    let mut at = Vec::new();
    for tenth in 0..600 {
        let out = world.after_ms(100);
        if asked(&world, &out) > 0 {
            at.push(tenth * 100);
        }
        (1..=3).for_each(|uid| drop(world.heartbeat(uid, &[])));
    }
    let gaps: Vec<u64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap >= RAISE_ANSWER_MS.0), "{gaps:?}");
    assert!(gaps[1..].is_sorted() && gaps.len() < 10 && gaps.last() >= Some(&9_000), "{gaps:?}");
    // One that comes anew is what it may have waited for.
    world.join(1, 3, &[holds(ChunkHandle(1), 1, 10)]);
    let out = world.tick();
    assert_eq!(asked(&world, &out), 3);
}

#[test]
fn equal_5_too_few_replicas_are_not_raised_at_all() {
    let mut world = all_back(1, ReplicaState::Unclean);
    (2..=3).for_each(|uid| drop(world.leave(uid)));
    for _ in 0..60 {
        assert!(sent(&world.after_ms(1_000)).is_empty());
    }
    let unclean = ReplicaReport { state: ReplicaState::Unclean, ..holds(ChunkHandle(1), 1, 10) };
    world.join(2, 3, &[unclean]);
    let out = world.tick();
    assert_eq!(asked(&world, &out), 2, "the third is away for long");
}

#[test]
fn equal_5_members_that_were_here_a_moment_ago_are_waited_for() {
    let mut world = all_back(1, ReplicaState::Clean);
    let unclean = ReplicaReport { state: ReplicaState::Unclean, ..holds(ChunkHandle(1), 1, 10) };
    world.leave(3);
    world.changed(1, unclean);
    let mut passed = 0;
    loop {
        let out = world.after_ms(100);
        if asked(&world, &out) > 0 {
            break;
        }
        passed += 100;
        assert!(passed < MEMBER_WAIT_MS.0);
    }
    assert!(passed + 100 >= RETURN_WAIT_MS.0, "{passed}");
}

#[test]
fn equal_5_a_lease_that_ended_without_order_is_followed_by_a_repair() {
    let (mut world, _, grant) = World::with_chunk();
    let unclean = ReplicaReport { state: ReplicaState::Unclean, ..holds(grant.handle, 1, 10) };
    (1..=3).for_each(|uid| drop(world.changed(uid, unclean)));
    let mut who = BTreeSet::new();
    for _ in 0..40 {
        let out = world.after_ms(500);
        who.extend(raises(&world, &out).into_iter().map(|(uid, ..)| uid));
        (1..=3).for_each(|uid| drop(world.heartbeat(uid, &[])));
    }
    assert_eq!(who.len(), 3);
}

/// Its stream broke, it told all anew, and the answer to the raise came behind that (seeds 11772 and 13330).
#[test]
fn equal_5_an_answer_behind_a_newer_report_does_not_make_the_replica_clean() {
    let (mut world, _, grant) = World::with_chunk();
    let unclean = ReplicaReport { state: ReplicaState::Unclean, ..holds(grant.handle, 2, 10) };
    world.changed(1, unclean);
    world.raised(1, grant.handle, 2);
    let index = world.master.soft.registry.by_uid(gfs_types::ids::ServerUid(1)).unwrap();
    let known = world.master.soft.registry.replica_on(index, grant.handle).unwrap();
    assert_eq!((known.version.0, known.state), (2, ReplicaState::Unclean));
}

/// A chunk that was made on 1, 2 and 3, of whose birth the log says nothing; they come back with replicas in this state.
fn unborn(state: ReplicaState) -> World {
    let mut world = World::new();
    (1..=3).for_each(|uid| drop(world.join(uid, 1, &[])));
    let file = world.file("/f");
    world.ask_lease(file, None);
    let handle = world.only_handle();
    (1..=2).for_each(|uid| drop(world.created(uid, handle)));
    world.restart();
    let report = ReplicaReport { state, ..holds(handle, 1, 0) };
    (1..=3).for_each(|uid| drop(world.join(uid, 2, &[report])));
    world
}

#[test]
fn equal_5_a_chunk_whose_birth_the_power_took_is_made_equal_without_a_writer() {
    let mut world = unborn(ReplicaState::Suspect);
    let out = world.after_ms(50);
    assert_eq!(raises(&world, &out), [(1, 2, 1), (2, 2, 1), (3, 2, 1)]);
    let mut world = unborn(ReplicaState::Unclean);
    let out = world.after_ms(50);
    assert_eq!(asked(&world, &out), 0, "nobody was told of it, or it can be read");
}

/// The record of its birth went with the power, what was written to it did not: nobody made the third replica (seeds 41885, 45212).
#[test]
fn equal_5_a_chunk_whose_birth_the_power_took_gets_the_replica_that_it_lacks() {
    let mut world = World::new();
    (1..=2).for_each(|uid| drop(world.join(uid, 1, &[])));
    world.after_ms(1_000);
    let file = world.file("/f");
    world.ask_lease(file, None);
    let handle = world.only_handle();
    world.created(1, handle);
    world.restart();
    let told = |world: &mut World, length| {
        (1..=2).for_each(|uid| drop(world.join(uid, 2, &[holds(handle, 1, length)])));
        world.join(3, 1, &[]);
        let mut out = Vec::new();
        for _ in 0..4 * MEMBER_WAIT_MS.0 / 1_000 {
            (1..=3).for_each(|uid| drop(world.heartbeat(uid, &[])));
            out.extend(world.after_ms(500));
        }
        out
    };
    let invites = |out: &[crate::Effect]| {
        sent(out).iter().filter(|(_, it)| matches!(it, Command::CreateReplica { .. })).count()
    };
    let out = told(&mut world, 0);
    assert_eq!((invites(&out), records(&out)), (0, vec![]), "it may never have been granted");
    world.restart();
    let out = told(&mut world, 7);
    assert_eq!(records(&out), [Change::ChunkBorn { handle }]);
    assert_eq!(invites(&out), 1);
    world.check_digests();
}
