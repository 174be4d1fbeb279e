//! mut-6: one replica alone acknowledges nothing; its lease is there to teach another.

use gfs_types::ErrorKind::Busy;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, FileId, ServerUid};
use gfs_types::limits::{LEASE_MS, MEMBER_WAIT_MS};
use gfs_types::message::client::{Attributes, LeaseTarget, Mutation, Request, Response};
use gfs_types::message::control::{Command, FromChunkserver, HeldLease};
use gfs_types::region::ChunkIndex;

use super::learners::{taught, without_3};
use super::world::{
    World, alone, grants, holds, kind, lease, lessons, raises, records, reply, sent,
};
use crate::Effect;
use crate::record::Change;

/// What is durable of a chunk whose last version one replica has alone.
const ALONE: u8 = 0;

/// One that is left of the members of version 2, with a client that waits, and 3, which is stale and came a moment ago.
struct Left {
    world: World,
    file: FileId,
    handle: ChunkHandle,
    primary: u128,
    request: u64,
}

/// ... and the one has stored version 3. What the master did then.
fn left() -> (Left, Vec<Effect>) {
    let (mut world, file, handle, primary) = without_3();
    let other = 3 - primary;
    world.after_ms(60_000);
    world.leave(other);
    world.after_ms(5_000);
    world.heartbeat(primary, &[]);
    let (request, out) = world.ask_lease(file, None);
    assert!(raises(&world, &out).is_empty(), "one is too few while there is nobody to teach");
    let out = world.join(3, 2, &[holds(handle, 1, 10)]);
    assert_eq!(raises(&world, &out), [(primary, 3, 2)]);
    let out = world.raised(primary, handle, 3);
    (Left { world, file, handle, primary, request }, out)
}

/// The primary's word on 3, whom it taught under version 3.
fn taught_under_3(handle: ChunkHandle, good: bool) -> FromChunkserver {
    let mut message = taught(handle, 3, 2, good);
    let FromChunkserver::LearnerTaught { version, .. } = &mut message else { panic!() };
    *version = ChunkVersion(3);
    message
}

#[test]
fn mut_6_one_member_will_do_to_teach_and_nobody_is_told_of_its_lease() {
    let (Left { world, handle, primary, request, .. }, out) = left();
    assert_eq!(alone(&world, &out), [(primary, 3)]);
    let raised = Change::Raised { handle, version: ChunkVersion(3), members: ALONE };
    assert_eq!(records(&out), [raised]);
    assert_eq!(lessons(&world, &out), [(primary, 3, 3)], "at once: a client waits");
    assert_eq!(reply(&out, request), None);
    world.check_digests();
}

#[test]
fn mut_6_who_waits_gets_the_lease_that_has_two_members() {
    let (Left { mut world, file, handle, primary, request }, _) = left();
    let (second, out) = world.ask_lease(file, None);
    assert!(out.is_empty(), "it waits too, and no other raise begins");
    let out = world.tell(primary, taught_under_3(handle, true));
    let mut asked = vec![(primary, 4, 3), (3, 4, 3)];
    asked.sort_unstable();
    assert_eq!(raises(&world, &out), asked);
    world.raised(primary, handle, 4);
    let out = world.raised(3, handle, 4);
    assert_eq!((grants(&world, &out).len(), alone(&world, &out).len()), (1, 0));
    for request in [request, second] {
        let granted = lease(&out, request).unwrap();
        assert_eq!((granted.version, granted.members.len()), (ChunkVersion(4), 2));
    }
    assert_eq!(world.master.durable.chunks.get(handle).unwrap().members, 2);
}

#[test]
fn mut_6_while_nobody_could_be_taught_clients_are_told_to_come_again() {
    let (Left { mut world, file, handle, primary, request }, _) = left();
    let out = world.tell(primary, taught_under_3(handle, false));
    assert!(lessons(&world, &out).is_empty() && raises(&world, &out).is_empty(), "it rests");
    world.heartbeat(3, &[]);
    let out = world.after_ms(MEMBER_WAIT_MS.0);
    assert_eq!(reply(&out, request).map(kind), Some(Busy));
    // It has rested, and is taught under the same lease: nobody needs another number.
    world.heartbeat(primary, &[(handle, 3)]);
    world.heartbeat(3, &[]);
    let (_, out) = world.ask_lease(file, None);
    let later = world.after_ms(1_000);
    let told = [lessons(&world, &out), lessons(&world, &later)].concat();
    assert_eq!(told, [(primary, 3, 3)]);
    assert_eq!(world.started(handle), 3);
}

#[test]
fn mut_6_when_the_one_goes_its_version_is_no_member_to_spare() {
    let (Left { mut world, file, handle, primary, .. }, _) = left();
    world.leave(primary);
    world.leave(3);
    world.after_ms(LEASE_MS.0 + MEMBER_WAIT_MS.0);
    // What came back alone, without anybody to teach, is not enough, though it is all that has the version.
    world.join(primary, 2, &[holds(handle, 3, 10)]);
    let (request, out) = world.ask_lease(file, None);
    let later = world.after_ms(MEMBER_WAIT_MS.0);
    assert!(raises(&world, &out).is_empty() && raises(&world, &later).is_empty());
    assert_eq!(reply(&later, request).map(kind), Some(Busy));
}

#[test]
fn mut_6_a_master_that_starts_knows_which_leases_are_of_one_alone() {
    let (Left { mut world, file, handle, primary, .. }, _) = left();
    world.restart();
    let members = vec![ServerUid(primary)];
    let held = HeldLease { handle, version: ChunkVersion(3), left_ms: 9_000, members };
    world.register(primary, 1, vec![held]);
    world.page(primary, &[holds(handle, 3, 10)]);
    world.join(3, 2, &[holds(handle, 1, 10)]);
    let (request, out) = world.ask_lease(file, None);
    assert_eq!(lessons(&world, &out), [(primary, 3, 3)]);
    assert_eq!(reply(&out, request), None);
    assert_eq!(world.started(handle), 3, "the lease goes on");
}

#[test]
fn mut_6_a_file_that_wants_one_replica_has_one() {
    let mut world = World::new();
    (1..=3).for_each(|uid| drop(world.join(uid, 1, &[])));
    let create = Mutation::Create {
        path: "/one".to_owned(),
        replication: 1,
        attributes: Attributes::default(),
    };
    let Ok(Response::Entry(entry)) = world.mutate(create) else { panic!() };
    let ask = |world: &mut World| {
        let target = LeaseTarget::Index(ChunkIndex(0));
        world.send(Request::Lease { file: entry.id, target, not_version: None })
    };
    let (request, out) = ask(&mut world);
    let handle = world.only_handle();
    let [(link, Command::CreateReplica { .. })] = sent(&out)[..] else { panic!("{out:?}") };
    let primary = world.at(link);
    let out = world.created(primary, handle);
    assert_eq!(lease(&out, request).unwrap().members.len(), 1);
    let given_up = FromChunkserver::LeaseGivenUp { handle, version: ChunkVersion(1), length: 10 };
    world.tell(primary, given_up);
    let (request, out) = ask(&mut world);
    assert_eq!(raises(&world, &out), [(primary, 2, 1)]);
    let out = world.raised(primary, handle, 2);
    assert_eq!((grants(&world, &out).len(), alone(&world, &out).len()), (1, 0));
    assert_eq!(lease(&out, request).unwrap().members.len(), 1);
}

#[test]
fn mut_6_a_chunk_that_was_born_on_the_only_server_is_served_by_it() {
    let mut world = World::new();
    world.join(1, 1, &[]);
    world.after_ms(MEMBER_WAIT_MS.0);
    world.heartbeat(1, &[]);
    let file = world.file("/f");
    let (request, _) = world.ask_lease(file, None);
    let handle = world.only_handle();
    let out = world.created(1, handle);
    assert_eq!(alone(&world, &out), []);
    assert_eq!(lease(&out, request).unwrap().members.len(), 1);
}
