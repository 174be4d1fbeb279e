//! Who becomes a member of a new version, who is waited for, and what the lease starts with.

use gfs_types::ErrorKind::Busy;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ProcessSession, ServerUid};
use gfs_types::limits::{LEASE_MS, MEMBER_WAIT_MS, RETURN_WAIT_MS};
use gfs_types::message::control::{
    FromChunkserver, HeldLease, LeaseStart, ReplicaReport, ReplicaState,
};

use super::world::{World, grants, holds, lease, raises, records, reply};

const V1: ChunkVersion = ChunkVersion(1);

fn others(of: u128) -> Vec<u128> {
    (1..=3).filter(|uid| *uid != of).collect()
}

/// The primary's word that this run of a member does not answer.
fn failed(handle: ChunkHandle, member: u128, session: u64) -> FromChunkserver {
    FromChunkserver::MemberFailed {
        handle,
        version: V1,
        member: ServerUid(member),
        session: ProcessSession(session),
        reason: "no answer".to_owned(),
    }
}

fn in_state(state: ReplicaState, handle: ChunkHandle, version: u64) -> ReplicaReport {
    ReplicaReport { state, ..holds(handle, version, 10) }
}

/// Born, and long ago for everybody.
fn settled() -> (World, gfs_types::ids::FileId, ChunkHandle, u128) {
    let (mut world, file, grant) = World::with_chunk();
    world.after_ms(MEMBER_WAIT_MS.0);
    (1..=3).for_each(|uid| drop(world.heartbeat(uid, &[])));
    (world, file, grant.handle, grant.primary.0)
}

#[test]
fn raise_6_a_failed_member_whose_process_went_has_the_time_to_come_back() {
    let (mut world, _, handle, primary) = settled();
    let member = others(primary)[0];
    world.leave(member);
    world.after_ms(500);
    assert!(world.tell(primary, failed(handle, member, 1)).is_empty(), "it may be back soon");
    world.after_ms(RETURN_WAIT_MS.0 - 501);
    world.register(member, 2, Vec::new());
    let out = world.page(member, &[holds(handle, 1, 10)]);
    assert_eq!(raises(&world, &out), [(1, 2, 1), (2, 2, 1), (3, 2, 1)], "it is: all of them");
}

#[test]
fn raise_6_one_that_does_not_come_back_is_not_waited_for_any_longer() {
    let (mut world, _, handle, primary) = settled();
    let [member, other] = others(primary)[..] else { panic!() };
    world.leave(member);
    world.tell(primary, failed(handle, member, 1));
    assert!(world.after_ms(RETURN_WAIT_MS.0 - 1).is_empty());
    let out = world.after_ms(1);
    let mut left = vec![(primary, 2, 1), (other, 2, 1)];
    left.sort_unstable();
    assert_eq!(raises(&world, &out), left, "the lease is not waited for: its primary is in it");
}

#[test]
fn raise_6_a_client_waits_no_longer_for_a_member_that_went() {
    let (mut world, file, handle, primary) = settled();
    world.tell(primary, FromChunkserver::LeaseGivenUp { handle, version: V1, length: 10 });
    world.leave(primary);
    let (_, out) = world.ask_lease(file, None);
    assert!(out.is_empty());
    assert!(world.after_ms(RETURN_WAIT_MS.0 - 1).is_empty());
    let out = world.after_ms(1);
    assert_eq!(raises(&world, &out).len(), 2);
}

#[test]
fn equal_3_a_member_that_restarted_is_taken_in_by_a_raise_of_all() {
    let (mut world, _, handle, primary) = settled();
    let member = others(primary)[0];
    world.leave(member);
    let out = world.register(member, 2, Vec::new());
    assert!(raises(&world, &out).is_empty(), "it has not told what it holds");
    let out = world.page(member, &[in_state(ReplicaState::Unclean, handle, 1)]);
    assert_eq!(raises(&world, &out), [(1, 2, 1), (2, 2, 1), (3, 2, 1)], "no lease is waited for");
    // The primary finds its old run silent only now: that says nothing against the new one.
    assert!(world.tell(primary, failed(handle, member, 1)).is_empty());
    world.raised(1, handle, 2);
    world.raised(2, handle, 2);
    let out = world.raised(3, handle, 2);
    let granted = grants(&world, &out);
    assert_eq!(granted, [(primary, LeaseStart::Equal, false)], "what it has in flight survives");
}

#[test]
fn equal_3_a_member_that_lost_its_copy_or_is_stale_is_left_out() {
    for held in [Vec::new(), vec![holds(ChunkHandle(1), 0, 10)]] {
        let (mut world, _, handle, primary) = settled();
        assert_eq!(handle, ChunkHandle(1));
        let member = others(primary)[0];
        world.leave(member);
        let out = world.join(member, 2, &held);
        let asked: Vec<_> = raises(&world, &out).into_iter().map(|(uid, ..)| uid).collect();
        assert_eq!((asked.len(), asked.contains(&member)), (2, false));
    }
}

#[test]
fn a_lease_adopted_by_a_new_master_knows_the_runs_that_come() {
    let (mut world, _, handle, primary) = settled();
    let [member, other] = others(primary)[..] else { panic!() };
    world.restart();
    let members = vec![ServerUid(1), ServerUid(2), ServerUid(3)];
    let held = HeldLease { handle, version: V1, left_ms: 9_000, members };
    world.join(other, 1, &[holds(handle, 1, 10)]);
    world.register(primary, 1, vec![held]);
    world.page(primary, &[holds(handle, 1, 10)]);
    let out = world.join(member, 1, &[holds(handle, 1, 10)]);
    assert!(raises(&world, &out).is_empty());
    for returned in [member, other] {
        world.leave(returned);
        let version = world.started(handle);
        let out = world.join(returned, 2, &[holds(handle, version, 10)]);
        assert_eq!(raises(&world, &out).len(), 3, "before or behind the holder's registration");
        for uid in 1..=3 {
            world.raised(uid, handle, world.started(handle));
        }
    }
}

#[test]
fn raise_3_a_raise_found_begun_is_begun_anew_though_its_primary_still_has_the_lease() {
    let (mut world, file, handle, primary) = settled();
    world.ask_lease(file, Some(1));
    world.restart();
    let members = vec![ServerUid(1), ServerUid(2), ServerUid(3)];
    let held = HeldLease { handle, version: V1, left_ms: 9_000, members };
    for uid in 1..=3 {
        let leases = if uid == primary { vec![held.clone()] } else { Vec::new() };
        world.register(uid, 1, leases);
        let version = if uid == primary { 1 } else { 2 };
        world.page(uid, &[in_state(ReplicaState::Unclean, handle, version)]);
    }
    let out = world.after_ms(50);
    assert_eq!(raises(&world, &out), [(1, 3, 1), (2, 3, 1), (3, 3, 1)]);
}

/// The lease that follows on these answers of 1, 2 and 3: its primary, and what it starts with.
fn granted_on(answers: [(u64, u32, ReplicaState); 3]) -> (u128, LeaseStart) {
    let (mut world, file, grant) = World::with_chunk();
    let handle = grant.handle;
    world.tell(grant.primary.0, FromChunkserver::LeaseGivenUp { handle, version: V1, length: 10 });
    world.ask_lease(file, None);
    let mut out = Vec::new();
    for (uid, answer) in (1..=3).zip(answers) {
        out = world.raised_in(uid, handle, 2, answer);
    }
    let [(primary, start, brief)] = grants(&world, &out)[..] else { panic!("{out:?}") };
    assert!(!brief, "a client waits");
    (primary, start)
}

#[test]
fn a_lease_starts_as_the_answers_say() {
    use ReplicaState::{Clean, Suspect, Unclean};
    let equal = |state| [(10, 1, state), (10, 1, Clean), (10, 1, Unclean)];
    assert_eq!(granted_on(equal(Clean)).1, LeaseStart::Equal);
    assert_eq!(granted_on(equal(Unclean)).1, LeaseStart::Equal, "equal is equal");
    assert_eq!(granted_on(equal(Suspect)).1, LeaseStart::Unequal, "it must shake that off");
    let shorter = [(10, 1, Clean), (9, 1, Clean), (10, 1, Clean)];
    assert_eq!(granted_on(shorter).1, LeaseStart::Unequal);
    let other = [(10, 1, Clean), (10, 1, Clean), (10, 2, Clean)];
    assert_eq!(granted_on(other).1, LeaseStart::Unequal);
    let suspects = [(10, 1, Suspect), (10, 1, Suspect), (10, 1, Suspect)];
    assert_eq!(granted_on(suspects).1, LeaseStart::AllSuspect, "equal or not");
}

#[test]
fn equal_2_a_suspect_never_leads_even_if_it_did_before_unless_all_are() {
    use ReplicaState::{Suspect, Unclean};
    for suspect in 1..=3 {
        let state = |uid| if uid == suspect { Suspect } else { Unclean };
        let (primary, start) =
            granted_on([(10, 1, state(1)), (10, 1, state(2)), (99, 1, state(3))]);
        assert_ne!(primary, suspect);
        assert_eq!(start, LeaseStart::Unequal);
        let length = |uid| if uid == suspect { 12 } else { 10 };
        let all = [(length(1), 1, Suspect), (length(2), 1, Suspect), (length(3), 1, Suspect)];
        assert_eq!(granted_on(all), (suspect, LeaseStart::AllSuspect), "the longest");
    }
}

#[test]
fn equal_2_when_all_that_are_here_are_suspect_all_that_were_counted_must_be() {
    let (mut world, file, handle, _) = settled();
    for uid in 1..=3 {
        world.leave(uid);
    }
    let suspect = in_state(ReplicaState::Suspect, handle, 1);
    world.join(1, 2, &[suspect]);
    world.join(2, 2, &[suspect]);
    world.after_ms(LEASE_MS.0);
    let (request, _) = world.ask_lease(file, None);
    let out = world.after_ms(MEMBER_WAIT_MS.0);
    assert!(raises(&world, &out).is_empty());
    assert_eq!(super::world::kind(reply(&out, request).unwrap()), Busy);
    let out = world.join(3, 2, &[suspect]);
    let out = if raises(&world, &out).is_empty() { world.after_ms(50) } else { out };
    assert_eq!(raises(&world, &out).len(), 3);
}

#[test]
fn raise_4_runs_that_failed_for_a_moment_are_tried_again_though_a_client_waits_all_the_time() {
    let (mut world, file, handle, primary) = settled();
    let first = others(primary)[0];
    let out = world.tell(primary, failed(handle, first, 1));
    assert_eq!(raises(&world, &out).len(), 2, "without the first");
    world.ask_lease(file, None);
    world.raised(primary, handle, 2);
    // The second is silent: the primary alone is too few.
    let mut asked = Vec::new();
    for _ in 0..10 {
        let out = world.after_ms(500);
        (1..=3).for_each(|uid| drop(world.heartbeat(uid, &[])));
        asked.extend(raises(&world, &out).into_iter().map(|(uid, ..)| uid));
        world.ask_lease(file, None);
    }
    assert!(asked.contains(&first), "{asked:?}");
}

#[test]
fn equal_2_a_damaged_one_counts_among_those_that_nobody_better_can_come_of() {
    let (mut world, file, handle, _) = settled();
    for uid in 1..=3 {
        world.leave(uid);
    }
    world.join(1, 2, &[in_state(ReplicaState::Suspect, handle, 1)]);
    world.join(2, 2, &[in_state(ReplicaState::Suspect, handle, 1)]);
    world.after_ms(LEASE_MS.0);
    world.ask_lease(file, None);
    let out = world.join(3, 2, &[in_state(ReplicaState::Corrupt, handle, 1)]);
    let out = if raises(&world, &out).is_empty() { world.after_ms(MEMBER_WAIT_MS.0) } else { out };
    assert_eq!(raises(&world, &out), [(1, 2, 1), (2, 2, 1)]);
    world.raised_in(1, handle, 2, (10, 1, ReplicaState::Suspect));
    let out = world.raised_in(2, handle, 2, (9, 2, ReplicaState::Suspect));
    let [(primary, start, _)] = grants(&world, &out)[..] else { panic!("{out:?}") };
    assert_eq!((primary, start), (1, LeaseStart::AllSuspect));
}

#[test]
fn a_damaged_replica_is_left_out_by_a_new_number() {
    let (mut world, file, grant) = World::with_chunk();
    let handle = grant.handle;
    world.tell(grant.primary.0, FromChunkserver::LeaseGivenUp { handle, version: V1, length: 10 });
    world.ask_lease(file, None);
    world.raised(1, handle, 2);
    world.raised(2, handle, 2);
    let out = world.raised_in(3, handle, 2, (10, 1, ReplicaState::Corrupt));
    assert_eq!(raises(&world, &out), [(1, 3, 1), (2, 3, 1)]);
}

#[test]
fn a_member_that_turns_out_damaged_is_left_out_at_once() {
    let (mut world, _, handle, primary) = settled();
    let member = others(primary)[0];
    let out = world.changed(member, in_state(ReplicaState::Corrupt, handle, 1));
    let asked: Vec<_> = raises(&world, &out).into_iter().map(|(uid, ..)| uid).collect();
    assert_eq!((asked.len(), asked.contains(&member)), (2, false));
}

#[test]
fn one_member_alone_is_not_raised() {
    let (mut world, file, grant) = World::with_chunk();
    let handle = grant.handle;
    world.after_ms(LEASE_MS.0);
    let (request, _) = world.ask_lease(file, None);
    world.raised(1, handle, 2);
    world.leave(2);
    let out = world.leave(3);
    assert!(records(&out).is_empty(), "what it acknowledged alone would die with it");
    // One comes back before the client's time is out.
    let out = world.join(2, 2, &[holds(handle, 2, 10)]);
    assert_eq!(raises(&world, &out), [(1, 3, 1), (2, 3, 1)]);
    world.raised(1, handle, 3);
    assert!(lease(&world.raised(2, handle, 3), request).is_some());
    // Both of those are needed from now on.
    world.leave(2);
    world.after_ms(LEASE_MS.0);
    world.heartbeat(1, &[]);
    let (request, _) = world.ask_lease(file, None);
    let out = world.after_ms(MEMBER_WAIT_MS.0);
    let error = reply(&out, request).unwrap().unwrap_err();
    assert!(error.kind == Busy && error.message.contains("cs2:7500"), "{error}");
}
