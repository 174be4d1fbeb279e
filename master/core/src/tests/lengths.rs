//! FILE-3: a length is final only when nothing can have been acknowledged that the master does not know of.

use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ServerUid};
use gfs_types::limits::LEASE_MS;
use gfs_types::message::control::{FromChunkserver, HeldLease};

use super::world::{World, grants, holds, raises};
use crate::leases::CALM_MS;

/// Longer than a lease, and than it takes until all is looked at again and again.
const LONG_MS: u64 = 10 * LEASE_MS.0;

fn length(world: &mut World) -> (u64, bool) {
    let entry = world.stat("/f").unwrap();
    (entry.length, entry.length_is_final)
}

fn given_up(world: &mut World, uid: u128, handle: ChunkHandle, version: u64, length: u64) {
    let version = ChunkVersion(version);
    world.tell(uid, FromChunkserver::LeaseGivenUp { handle, version, length });
}

#[test]
fn file_3_a_length_told_before_a_lease_is_not_final_after_it() {
    let (mut world, _, grant) = World::with_chunk();
    // Cut apart a moment after the grant, with all that is acknowledged under it.
    (1..=3).for_each(|uid| drop(world.leave(uid)));
    world.after_ms(LONG_MS);
    world.after_ms(LONG_MS);
    assert!(!length(&mut world).1);
    // A member that comes back clean may have seen the last mutation later than it says.
    let primary = grant.primary.0;
    for uid in (1..=3).filter(|uid| *uid != primary) {
        world.join(uid, 1, &[holds(grant.handle, 1, 0)]);
        assert!(!length(&mut world).1);
    }
    // The primary gave the lease up where nobody heard it.
    world.register(primary, 1, Vec::new());
    assert!(!length(&mut world).1, "it has not said yet what it holds");
    world.page(primary, &[holds(grant.handle, 1, 90)]);
    assert_eq!(length(&mut world).0, 90);
}

#[test]
fn file_3_a_primary_that_comes_back_without_the_lease_tells_all() {
    let (mut world, _, grant) = World::with_chunk();
    let primary = grant.primary.0;
    world.leave(primary);
    world.register(primary, 1, Vec::new());
    assert!(!length(&mut world).1);
    world.page(primary, &[holds(grant.handle, 1, 90)]);
    assert_eq!(length(&mut world), (90, true));
}

#[test]
fn file_3_a_lease_that_ends_in_order_leaves_a_final_length_at_once() {
    let (mut world, _, grant) = World::with_chunk();
    given_up(&mut world, grant.primary.0, grant.handle, 1, 90);
    assert_eq!(length(&mut world), (90, true));
}

#[test]
fn file_3_where_nobody_tells_of_the_end_of_a_lease_a_new_one_does() {
    let (mut world, file, grant) = World::with_chunk();
    let (handle, primary) = (grant.handle, grant.primary.0);
    world.after_ms(LONG_MS);
    assert!(!length(&mut world).1, "time makes it no truer");
    let (_, out) = world.ask_lease(file, None);
    assert_eq!(raises(&world, &out).len(), 3);
    let out: Vec<_> = (1..=3).flat_map(|uid| world.raised(uid, handle, 2)).collect();
    let [(next, ..)] = grants(&world, &out)[..] else { panic!("{out:?}") };
    given_up(&mut world, primary, handle, 1, 80);
    assert!(!length(&mut world).1, "that was the lease before");
    given_up(&mut world, next, handle, 2, 90);
    assert_eq!(length(&mut world), (90, true));
}

#[test]
fn file_3_a_lease_that_a_new_master_adopts_counts_as_well() {
    let (mut world, _, grant) = World::with_chunk();
    let (handle, primary) = (grant.handle, grant.primary.0);
    world.restart();
    let members = (1..=3).map(ServerUid).collect();
    let lease = HeldLease { handle, version: ChunkVersion(1), members, left_ms: LEASE_MS.0 };
    for uid in 1..=3 {
        let leases = if uid == primary { vec![lease.clone()] } else { Vec::new() };
        world.register(uid, 1, leases);
        world.page(uid, &[holds(handle, 1, 0)]);
    }
    (1..=3).for_each(|uid| drop(world.leave(uid)));
    world.after_ms(LONG_MS);
    assert!(!length(&mut world).1);
}

#[test]
fn file_3_a_member_that_a_new_master_heard_before_old_leases_were_over_does_not_tell() {
    let (mut world, _, grant) = World::with_chunk();
    world.restart();
    world.join(1, 1, &[holds(grant.handle, 1, 0)]);
    world.after_ms(LEASE_MS.0 + CALM_MS.0);
    assert!(!length(&mut world).1, "another one may lead it, and have appended since");
    world.heartbeat(1, &[]);
    assert_eq!(length(&mut world), (0, true));
}
