//! raise-1 to raise-7, and leases.

use gfs_types::ErrorKind::{Busy, NotFound};
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ProcessSession, ServerUid};
use gfs_types::limits::{LEASE_MS, MEMBER_WAIT_MS, RAISE_ANSWER_MS, RETURN_WAIT_MS};
use gfs_types::message::client::{Mutation, Response};
use gfs_types::message::control::{
    Command, FromChunkserver, HeldLease, ReplicaReport, ReplicaState,
};

use super::world::{World, holds, kind, lease, raises, records, reply, sent};
use crate::invariants::chunk_view;
use crate::record::Change;
use crate::{Connection, Input};

const V1: ChunkVersion = ChunkVersion(1);

fn others(of: u128) -> Vec<u128> {
    (1..=3).filter(|uid| *uid != of).collect()
}

#[test]
fn a_raise_is_logged_stored_logged_and_granted() {
    let (mut world, file, grant) = World::with_chunk();
    let handle = grant.handle;
    world.tell(grant.primary.0, FromChunkserver::LeaseGivenUp { handle, version: V1, length: 10 });
    let (request, out) = world.ask_lease(file, None);
    let (second, more) = world.ask_lease(file, None);
    assert!(more.is_empty(), "who asks meanwhile shares the raise");
    let number = ChunkVersion(2);
    assert_eq!(records(&out), [Change::RaiseStarted { handle, number }]);
    assert_eq!(raises(&world, &out), [(1, 2, 1), (2, 2, 1), (3, 2, 1)]);
    let position = world.master.position();
    assert!(out[1..].iter().all(|effect| effect.after() == Some(position)));
    assert!(world.raised(1, handle, 2).is_empty());
    assert!(world.raised(2, handle, 2).is_empty());
    let out = world.raised(3, handle, 2);
    assert_eq!(records(&out), [Change::Raised { handle, version: number, members: 3 }]);
    assert!(matches!(&sent(&out)[..], [(_, Command::GrantLease { .. })]));
    for request in [request, second] {
        let granted = lease(&out, request).unwrap();
        assert_eq!((granted.version, granted.primary), (number, grant.primary));
    }
    assert_eq!(world.stat("/f").unwrap().length, 10);
    world.check_digests();
}

#[test]
fn a_silent_member_is_left_out_by_a_new_number() {
    let (mut world, file, grant) = World::with_chunk();
    let handle = grant.handle;
    world.after_ms(LEASE_MS.0);
    let (request, _) = world.ask_lease(file, None);
    world.raised(1, handle, 2);
    world.raised(2, handle, 2);
    assert!(world.after_ms(RAISE_ANSWER_MS.0 - 1).is_empty());
    let out = world.after_ms(1);
    assert_eq!(records(&out), [Change::RaiseStarted { handle, number: ChunkVersion(3) }]);
    assert_eq!(raises(&world, &out), [(1, 3, 1), (2, 3, 1)]);
    // It stored the number all the same: that must not make it look current, nor raise what is older.
    assert!(records(&world.raised(3, handle, 2)).is_empty());
    world.raised(1, handle, 3);
    let out = world.raised(2, handle, 3);
    assert_eq!(records(&out), [Change::Raised { handle, version: ChunkVersion(3), members: 2 }]);
    assert_eq!(lease(&out, request).unwrap().members.len(), 2);
    let view = chunk_view(&world.master, handle).unwrap();
    assert_eq!(view.current, [ServerUid(1), ServerUid(2)]);
    assert_eq!((view.version, view.started, view.members), (ChunkVersion(3), ChunkVersion(3), 2));
}

#[test]
fn an_answer_that_cannot_come_any_more_is_not_waited_for() {
    let (mut world, file, grant) = World::with_chunk();
    let handle = grant.handle;
    world.after_ms(LEASE_MS.0);
    world.ask_lease(file, None);
    world.raised(1, handle, 2);
    world.raised(2, handle, 2);
    let out = world.leave(3);
    assert_eq!(raises(&world, &out), [(1, 3, 1), (2, 3, 1)]);
    // Another run of it comes in the middle: its answer to the old number counts for nothing.
    world.join(3, 2, &[holds(handle, 2, 10)]);
    assert!(records(&world.raised(3, handle, 3)).is_empty());
    world.raised(1, handle, 3);
    let out = world.raised(2, handle, 3);
    assert_eq!(records(&out), [Change::Raised { handle, version: ChunkVersion(3), members: 2 }]);
}

#[test]
fn a_raise_that_nobody_stored_is_begun_again_with_all() {
    let (mut world, file, grant) = World::with_chunk();
    let handle = grant.handle;
    world.after_ms(LEASE_MS.0);
    let (request, _) = world.ask_lease(file, None);
    let out = world.after_ms(RAISE_ANSWER_MS.0);
    let error = reply(&out, request).unwrap().unwrap_err();
    assert!(error.kind == Busy && error.message.contains("no answer"), "{error}");
    let (_, out) = world.ask_lease(file, None);
    assert_eq!(raises(&world, &out), [(1, 3, 1), (2, 3, 1), (3, 3, 1)]);
    assert_eq!(chunk_view(&world.master, handle).unwrap().version, V1);
}

#[test]
fn a_raise_found_begun_is_never_ended_but_begun_anew() {
    let (mut world, file, grant) = World::with_chunk();
    let handle = grant.handle;
    world.after_ms(LEASE_MS.0);
    world.ask_lease(file, None);
    world.raised(1, handle, 2);
    world.restart();
    world.check_digests();
    world.join(1, 1, &[holds(handle, 2, 10)]);
    world.join(2, 1, &[holds(handle, 1, 10)]);
    world.join(3, 1, &[holds(handle, 1, 10)]);
    let view = chunk_view(&world.master, handle).unwrap();
    assert_eq!(view.current.len(), 3, "from the last raised to the highest started: all count");
    assert!(records(&world.raised(2, handle, 2)).is_empty());
    assert!(records(&world.raised(3, handle, 2)).is_empty(), "the old number is not raised");
    let (_, out) = world.ask_lease(file, None);
    assert_eq!(raises(&world, &out), [(1, 3, 1), (2, 3, 1), (3, 3, 1)]);
}

#[test]
fn after_a_start_a_raise_waits_for_the_members_there_were() {
    let (mut world, file, grant) = World::with_chunk();
    let handle = grant.handle;
    world.restart();
    world.join(1, 1, &[holds(handle, 1, 10)]);
    world.join(2, 1, &[holds(handle, 1, 10)]);
    let (request, out) = world.ask_lease(file, None);
    assert!(out.is_empty());
    world.after_ms(100);
    let out = world.join(3, 1, &[holds(handle, 1, 10)]);
    assert_eq!(raises(&world, &out).len(), 3);
    for uid in 1..=2 {
        world.raised(uid, handle, 2);
    }
    assert_eq!(lease(&world.raised(3, handle, 2), request).unwrap().members.len(), 3);
}

#[test]
fn but_not_for_ever() {
    let (mut world, file, grant) = World::with_chunk();
    let handle = grant.handle;
    world.restart();
    world.join(1, 1, &[holds(handle, 1, 10)]);
    world.join(2, 1, &[holds(handle, 1, 10)]);
    world.ask_lease(file, None);
    assert!(world.after_ms(MEMBER_WAIT_MS.0 - 1).is_empty());
    let out = world.after_ms(1);
    assert_eq!(raises(&world, &out), [(1, 2, 1), (2, 2, 1)]);
}

#[test]
fn a_member_that_just_went_is_waited_for_and_one_long_gone_is_not() {
    let (mut world, file, grant) = World::with_chunk();
    let primary = grant.primary.0;
    let gone = others(primary)[0];
    world.after_ms(LEASE_MS.0);
    world.leave(gone);
    let (_, out) = world.ask_lease(file, None);
    assert!(out.is_empty());
    let out = world.after_ms(MEMBER_WAIT_MS.0);
    assert_eq!(raises(&world, &out).len(), 2);
}

#[test]
fn without_current_replicas_nothing_is_raised_and_the_client_is_told_who_is_missing() {
    let (mut world, file, grant) = World::with_chunk();
    let handle = grant.handle;
    world.after_ms(LEASE_MS.0);
    for uid in 1..=3 {
        world.leave(uid);
    }
    let (request, _) = world.ask_lease(file, None);
    let out = world.after_ms(MEMBER_WAIT_MS.0);
    let error = reply(&out, request).unwrap().unwrap_err();
    assert!(error.kind == Busy && error.message.contains("0 of 3"), "{error}");
    assert!(error.message.contains("cs1:7500"), "{error}");
    assert!(world.master.soft.works.is_empty(), "nobody waits, nothing goes on");
    // Stale replicas do not help.
    for uid in 1..=3 {
        world.join(uid, 2, &[holds(handle, 0, 10)]);
    }
    let (request, _) = world.ask_lease(file, None);
    let out = world.after_ms(MEMBER_WAIT_MS.0);
    assert_eq!(kind(reply(&out, request).unwrap()), Busy);
    assert_eq!(chunk_view(&world.master, handle).unwrap().started, V1);
}

#[test]
fn the_end_of_a_lease_is_waited_for_when_its_primary_is_out_of_reach() {
    let (mut world, file, grant) = World::with_chunk();
    let primary = grant.primary.0;
    world.after_ms(1_000);
    world.leave(primary);
    world.after_ms(MEMBER_WAIT_MS.0);
    for uid in others(primary) {
        world.heartbeat(uid, &[]);
    }
    let (request, out) = world.ask_lease(file, None);
    assert!(out.is_empty(), "6 s of 10 s are over: the primary may hold the lease");
    let left = LEASE_MS.0 - 1_000 - MEMBER_WAIT_MS.0;
    assert!(world.after_ms(left - 1).is_empty());
    let out = world.after_ms(1);
    assert_eq!(raises(&world, &out).len(), 2, "{request}");
}

#[test]
fn a_primary_known_dead_is_not_waited_for() {
    let (mut world, file, grant) = World::with_chunk();
    let (handle, primary) = (grant.handle, grant.primary.0);
    world.leave(primary);
    world.join(primary, 2, &[holds(handle, 1, 10)]);
    let (_, out) = world.ask_lease(file, None);
    assert_eq!(raises(&world, &out).len(), 3, "its run is over, and its lease");
    // The same for one whose new run lost its copy.
    let (mut world, file, grant) = World::with_chunk();
    let primary = grant.primary.0;
    world.leave(primary);
    world.join(primary, 2, &[]);
    world.after_ms(MEMBER_WAIT_MS.0);
    let (_, out) = world.ask_lease(file, None);
    assert_eq!(raises(&world, &out).len(), 2);
}

#[test]
fn leases_are_extended_for_who_holds_them_while_they_run() {
    let (mut world, file, grant) = World::with_chunk();
    let (handle, primary) = (grant.handle, grant.primary.0);
    let other = others(primary)[0];
    world.after_ms(LEASE_MS.0 - 1);
    assert!(world.heartbeat(other, &[(handle, 1)]).is_empty(), "not the primary");
    assert!(world.heartbeat(primary, &[(handle, 2)]).is_empty(), "not its version");
    assert_eq!(world.heartbeat(primary, &[(handle, 1)]), [(handle, V1)]);
    world.after_ms(LEASE_MS.0 - 1);
    let (request, out) = world.ask_lease(file, None);
    assert_eq!(lease(&out, request).unwrap().left_ms, 1);
    world.after_ms(1);
    assert!(world.heartbeat(primary, &[(handle, 1)]).is_empty(), "what is over is not extended");
    let (_, out) = world.ask_lease(file, None);
    assert_eq!(raises(&world, &out).len(), 3);
}

#[test]
fn leases_named_at_registration_are_adopted() {
    let (mut world, file, grant) = World::with_chunk();
    let (handle, primary) = (grant.handle, grant.primary.0);
    let members = vec![ServerUid(1), ServerUid(2), ServerUid(3)];
    world.restart();
    let held = HeldLease { handle, version: V1, left_ms: 4_000, members: members.clone() };
    world.register(primary, 1, vec![held]);
    world.page(primary, &[holds(handle, 1, 10)]);
    let (request, out) = world.ask_lease(file, None);
    assert!(out.is_empty(), "the other members' addresses are not known yet");
    let [a, b] = others(primary)[..] else { panic!() };
    world.join(a, 1, &[holds(handle, 1, 10)]);
    let out = world.join(b, 1, &[holds(handle, 1, 10)]);
    let adopted = lease(&out, request).unwrap();
    assert_eq!((adopted.version, adopted.primary.0, adopted.left_ms), (V1, primary, 4_000));
    assert!(records(&out).is_empty(), "no new version");
    assert!(!world.stat("/f").unwrap().length_is_final);
    // A lease of another version, or of a chunk nobody knows, is not.
    world.restart();
    let old = HeldLease { handle, version: ChunkVersion(9), left_ms: 4_000, members };
    world.register(primary, 1, vec![old]);
    assert!(world.master.soft.leases.iter().next().is_none());
}

#[test]
fn a_lease_that_its_run_does_not_name_when_it_comes_again_is_over() {
    let (mut world, file, grant) = World::with_chunk();
    let (handle, primary) = (grant.handle, grant.primary.0);
    let members = vec![ServerUid(1), ServerUid(2), ServerUid(3)];
    let held = HeldLease { handle, version: V1, left_ms: 9_000, members };
    world.register(primary, 1, vec![held]);
    world.page(primary, &[holds(handle, 1, 0)]);
    let (request, out) = world.ask_lease(file, None);
    assert_eq!(lease(&out, request).unwrap().version, V1, "named: it goes on");
    world.register(primary, 1, Vec::new());
    world.page(primary, &[holds(handle, 1, 0)]);
    let (_, out) = world.ask_lease(file, None);
    assert_eq!(raises(&world, &out).len(), 3);
}

#[test]
fn a_version_the_client_cannot_use_is_replaced_with_the_primary_in_the_new_one() {
    let (mut world, file, grant) = World::with_chunk();
    let handle = grant.handle;
    // Right after the grant the client may have been faster than the grant: the same again.
    let (request, out) = world.ask_lease(file, Some(1));
    assert_eq!(lease(&out, request).unwrap().version, V1);
    world.after_ms(100);
    let (request, out) = world.ask_lease(file, Some(1));
    assert_eq!(raises(&world, &out).len(), 3, "at once: the primary is in the new version");
    assert!(world.heartbeat(grant.primary.0, &[(handle, 1)]).is_empty());
    for uid in 1..=2 {
        world.raised(uid, handle, 2);
    }
    let granted = lease(&world.raised(3, handle, 2), request).unwrap();
    assert_eq!((granted.version, granted.primary), (ChunkVersion(2), grant.primary));
    // An older one says nothing about the lease that runs.
    let (request, out) = world.ask_lease(file, Some(1));
    assert_eq!(lease(&out, request).unwrap().version, ChunkVersion(2));
}

#[test]
fn a_failed_member_is_left_out_at_the_primarys_word_alone() {
    let (mut world, file, grant) = World::with_chunk();
    let (handle, primary) = (grant.handle, grant.primary.0);
    let [failed, other] = others(primary)[..] else { panic!() };
    let accuse = |member| FromChunkserver::MemberFailed {
        handle,
        version: V1,
        member: ServerUid(member),
        session: ProcessSession(1),
        reason: "no answer".to_owned(),
    };
    assert!(world.tell(other, accuse(failed)).is_empty(), "not the primary");
    let out = world.tell(primary, accuse(failed));
    let mut asked: Vec<_> = raises(&world, &out).into_iter().map(|(uid, ..)| uid).collect();
    asked.sort_unstable();
    let mut expected = vec![primary, other];
    expected.sort_unstable();
    assert_eq!(asked, expected, "no wait for the lease: the primary is in it");
    let (request, _) = world.ask_lease(file, None);
    world.raised(other, handle, 2);
    let out = world.raised(primary, handle, 2);
    let granted = lease(&out, request).unwrap();
    assert_eq!((granted.primary.0, granted.members.len()), (primary, 2));
    assert!(world.tell(primary, accuse(other)).is_empty(), "a version that is over");
}

#[test]
fn a_failed_member_that_a_new_master_never_saw_has_the_time_to_come_back() {
    let (mut world, _, grant) = World::with_chunk();
    let (handle, primary) = (grant.handle, grant.primary.0);
    let [failed, other] = others(primary)[..] else { panic!() };
    world.restart();
    let members = vec![ServerUid(1), ServerUid(2), ServerUid(3)];
    let held = HeldLease { handle, version: V1, left_ms: 9_000, members };
    world.register(primary, 1, vec![held]);
    world.page(primary, &[holds(handle, 1, 10)]);
    world.join(other, 1, &[holds(handle, 1, 10)]);
    let accuse = |member| FromChunkserver::MemberFailed {
        handle,
        version: V1,
        member: ServerUid(member),
        session: ProcessSession(1),
        reason: "no answer".to_owned(),
    };
    assert!(world.tell(primary, accuse(8)).is_empty(), "no member of the lease");
    assert!(world.tell(primary, accuse(failed)).is_empty());
    assert!(world.after_ms(RETURN_WAIT_MS.0 - 1).is_empty());
    let out = world.after_ms(1);
    let mut asked: Vec<_> = raises(&world, &out).into_iter().map(|(uid, ..)| uid).collect();
    asked.sort_unstable();
    let mut expected = vec![primary, other];
    expected.sort_unstable();
    assert_eq!(asked, expected);
}

#[test]
fn a_suspect_may_be_a_member_but_not_lead_nor_stand_alone() {
    let (mut world, file, grant) = World::with_chunk();
    let (handle, primary) = (grant.handle, grant.primary.0);
    let suspect = ReplicaReport { state: ReplicaState::Suspect, ..holds(handle, 1, 10) };
    world.join(primary, 2, &[suspect]);
    let (request, out) = world.ask_lease(file, None);
    assert_eq!(raises(&world, &out).len(), 3);
    for uid in others(primary) {
        world.raised(uid, handle, 2);
    }
    let result = Ok(gfs_types::message::control::RaisedReplica {
        length: 10,
        digest: 1,
        state: ReplicaState::Suspect,
    });
    let answer = FromChunkserver::Raised { handle, version: ChunkVersion(2), result };
    let granted = lease(&world.tell(primary, answer), request).unwrap();
    assert_ne!(granted.primary.0, primary);
    // Alone of three it is not enough.
    let alone = ReplicaReport { version: ChunkVersion(2), ..suspect };
    world.join(primary, 3, &[alone]);
    for uid in others(primary) {
        world.join(uid, 2, &[]);
    }
    world.after_ms(MEMBER_WAIT_MS.0);
    let (request, _) = world.ask_lease(file, None);
    let out = world.after_ms(MEMBER_WAIT_MS.0);
    assert_eq!(kind(reply(&out, request).unwrap()), Busy);
}

#[test]
fn who_waits_for_a_file_that_is_purged_is_told_and_who_left_is_forgotten() {
    let (mut world, file, _) = World::with_chunk();
    world.after_ms(LEASE_MS.0);
    let (request, _) = world.ask_lease(file, None);
    let purge = Mutation::Delete { path: "/f".to_owned(), recursive: false, purge: true };
    assert_eq!(world.mutate(purge), Ok(Response::Done));
    let out = world.after_ms(50);
    assert_eq!(kind(reply(&out, request).unwrap()), NotFound);
    let (mut world, file, grant) = World::with_chunk();
    world.after_ms(LEASE_MS.0);
    let (request, _) = world.ask_lease(file, None);
    world.step(Input::ClientGone { connection: Connection(1) });
    for uid in 1..=3 {
        assert!(reply(&world.raised(uid, grant.handle, 2), request).is_none());
    }
}
