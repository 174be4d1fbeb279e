//! Births, locations, lengths, and the end of chunks.

use gfs_types::ErrorKind::{Busy, Invalid, NotFound};
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ServerUid;
use gfs_types::limits::FILE_CHUNKS_MAX;
use gfs_types::message::client::{FileLocations, LeaseTarget, Mutation, Query, Request, Response};
use gfs_types::message::control::{Command, FromChunkserver, ReplicaReport, ReplicaState};
use gfs_types::region::ChunkIndex;
use gfs_types::{Error, limits};

use super::world::{World, holds, kind, lease, records, registration, reply, sent};
use crate::record::Change;
use crate::{Effect, Input, Link};

fn locate(world: &mut World, file: gfs_types::ids::FileId) -> FileLocations {
    match world.query(Query::Locate { file, first: ChunkIndex(0), count: 10 }) {
        Ok(Response::Locations(locations)) => locations,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_birth_is_logged_then_made_then_granted() {
    let mut world = World::new();
    for uid in 1..=3 {
        world.join(uid, 1, &[]);
    }
    let file = world.file("/f");
    let (request, out) = world.ask_lease(file, None);
    let [Change::ChunkAllocated { handle, members, .. }] = &records(&out)[..] else { panic!() };
    assert_eq!(members.len(), 3);
    let position = world.master.position();
    let creates: Vec<_> =
        out.iter().filter(|effect| matches!(effect, Effect::Send { .. })).collect();
    assert_eq!(creates.len(), 3);
    assert!(creates.iter().all(|effect| effect.after() == Some(position)));
    assert!(world.created(1, *handle).is_empty());
    assert!(world.created(2, *handle).is_empty());
    let out = world.created(3, *handle);
    let grant = lease(&out, request).unwrap();
    assert_eq!((grant.version, grant.members.len()), (ChunkVersion(1), 3));
    assert_eq!(grant.left_ms, limits::LEASE_MS.0);
    let granted = sent(&out);
    let [(to, Command::GrantLease { version, members, .. })] = &granted[..] else { panic!() };
    assert_eq!(*to, world.link(grant.primary.0));
    assert_eq!((*version, members.len()), (ChunkVersion(1), 3));
    assert!(matches!(out[0], Effect::Send { .. }), "the primary is told before anybody else");
    assert_eq!(records(&out), [Change::ChunkBorn { handle: *handle }]);
    assert!(matches!(out[2], Effect::Append { .. }), "nobody waits for that the birth is logged");
    world.check_digests();
}

#[test]
fn the_lease_is_shared_and_a_second_request_finds_it() {
    let (mut world, file, grant) = World::with_chunk();
    let log = world.log.len();
    let (request, out) = world.ask_lease(file, None);
    let again = lease(&out, request).unwrap();
    assert_eq!((again.version, again.primary), (grant.version, grant.primary));
    let target = LeaseTarget::Last;
    let Ok(Response::Lease(last)) = world.ask(Request::Lease { file, target, not_version: None })
    else {
        panic!()
    };
    assert_eq!(last.handle, grant.handle);
    assert_eq!(world.log.len(), log);
}

#[test]
fn a_birth_goes_on_without_the_silent_under_a_new_number() {
    let mut world = World::new();
    for uid in 1..=3 {
        world.join(uid, 1, &[]);
    }
    let file = world.file("/f");
    let (request, _) = world.ask_lease(file, None);
    let handle = world.only_handle();
    world.created(1, handle);
    world.created(2, handle);
    assert!(world.after_ms(limits::RAISE_ANSWER_MS.0 - 1).is_empty());
    let out = world.after_ms(1);
    assert_eq!(records(&out), [Change::RaiseStarted { handle, number: ChunkVersion(2) }]);
    world.created(3, handle);
    world.raised(1, handle, 2);
    let out = world.raised(2, handle, 2);
    assert_eq!(records(&out), [Change::Raised { handle, version: ChunkVersion(2), members: 2 }]);
    let grant = lease(&out, request).unwrap();
    assert_eq!(grant.members.iter().map(|m| m.chunkserver.0).collect::<Vec<_>>(), [1, 2]);
    let listed = &locate(&mut world, file).chunks[0].replicas;
    assert!(
        listed.iter().all(|replica| replica.chunkserver != ServerUid(3)),
        "stale, never listed"
    );
}

#[test]
fn a_chunk_nobody_made_is_allocated_again() {
    let mut world = World::new();
    for uid in 1..=3 {
        world.join(uid, 1, &[]);
    }
    let file = world.file("/f");
    let (request, _) = world.ask_lease(file, None);
    let handle = world.only_handle();
    let refuse = |world: &mut World, uid| {
        let result = Err(Error::busy("the disk is full"));
        let version = ChunkVersion(1);
        world.tell(uid, FromChunkserver::ReplicaCreated { handle, version, result })
    };
    refuse(&mut world, 1);
    refuse(&mut world, 2);
    let out = refuse(&mut world, 3);
    let error = reply(&out, request).unwrap().unwrap_err();
    assert!(error.kind == Busy && error.message.contains("the disk is full"), "{error}");
    assert!(locate(&mut world, file).chunks.is_empty(), "it reads as a hole");
    let (_, out) = world.ask_lease(file, None);
    assert!(
        matches!(&records(&out)[..], [Change::ChunkAllocated { handle: next, .. }] if *next > handle)
    );
    let late = world.created(1, handle);
    assert!(
        matches!(&sent(&late)[..], [(_, Command::DeleteReplica { .. })]),
        "late, and of no use"
    );
    world.check_digests();
}

#[test]
fn a_birth_cut_short_by_a_restart_begins_again_when_one_member_told_that_it_has_none() {
    let mut world = World::new();
    for uid in 1..=3 {
        world.join(uid, 1, &[]);
    }
    let file = world.file("/f");
    world.ask_lease(file, None);
    let lost = world.only_handle();
    world.restart();
    world.join(1, 1, &[holds(lost, 1, 0)]);
    world.register(2, 1, Vec::new());
    let (request, out) = world.ask_lease(file, None);
    assert!(out.is_empty(), "each may have made it, and then it may have been granted");
    world.join(4, 1, &[]);
    world.join(5, 1, &[]);
    let out = world.page(2, &[]);
    let freed = Command::DeleteReplica { handle: lost, version: ChunkVersion(1) };
    assert!(sent(&out).contains(&(world.link(1), freed)), "the third need not come back");
    assert!(matches!(&records(&out)[..], [Change::ChunkAllocated { .. }]), "{out:?}");
    let handle = world.only_handle();
    assert!(handle > lost);
    let Change::ChunkAllocated { members, .. } = &records(&out)[0] else { panic!() };
    let out: Vec<_> = members.iter().flat_map(|member| world.created(member.0, handle)).collect();
    assert!(lease(&out, request).is_some());
}

/// A chunk was granted, but the record that says it was born never reached the disk before the master died.
fn granted_and_restarted() -> (World, gfs_types::ids::FileId, gfs_types::message::client::LeaseGrant)
{
    let (mut world, file, grant) = World::with_chunk();
    assert!(world.log.pop().is_some());
    let mut durable = crate::Durable::blank();
    for (position, epoch, record) in &world.log {
        durable.replay(*position, *epoch, record).unwrap();
    }
    world.follower = durable.clone();
    world.master = crate::Master::new(world.settings.clone(), durable);
    world.step(Input::Serve { epoch: super::world::EPOCH });
    (world, file, grant)
}

#[test]
fn a_chunk_that_was_granted_is_no_hole_before_its_members_are_back() {
    let (mut world, file, grant) = granted_and_restarted();
    let told = |world: &mut World| {
        let length = world.stat("/f").unwrap();
        let chunks = locate(world, file).chunks;
        (length.length, length.length_is_final, chunks.len())
    };
    assert_eq!(told(&mut world), (0, false, 1), "somebody may have appended to it");
    // Each of them must have made it, or there was no grant: none of them is here without it.
    world.join(1, 2, &[holds(grant.handle, 1, 50)]);
    assert_eq!(told(&mut world), (50, false, 1));
    world.join(2, 2, &[holds(grant.handle, 1, 50)]);
    world.join(3, 2, &[holds(grant.handle, 1, 50)]);
    assert_eq!(told(&mut world), (50, true, 1));
}

#[test]
fn a_birth_that_one_member_never_made_is_a_hole() {
    let (mut world, file, _) = granted_and_restarted();
    world.register(1, 2, Vec::new());
    assert_eq!(locate(&mut world, file).chunks.len(), 1, "it has not told yet what it holds");
    world.page(1, &[]);
    assert!(locate(&mut world, file).chunks.is_empty());
    assert!(world.stat("/f").unwrap().length_is_final);
}

/// 1 made it and lost its power since, 2 never did, and was invited to learn it while 1 was away (seed 39259).
#[test]
fn a_replica_of_no_version_is_no_sign_of_a_birth() {
    let suspect = |length| {
        let (mut world, file, grant) = granted_and_restarted();
        let state = ReplicaState::Suspect;
        world.join(1, 2, &[ReplicaReport { state, ..holds(grant.handle, 1, length) }]);
        world.join(2, 2, &[holds(grant.handle, 0, 0)]);
        (world, file, grant.handle)
    };
    let (mut world, file, handle) = suspect(0);
    assert!(locate(&mut world, file).chunks.is_empty(), "what nobody was told of is a hole");
    assert!(world.stat("/f").unwrap().length_is_final);
    world.join(4, 1, &[]);
    world.after_ms(50);
    assert_eq!(world.master.repairs(), (0, 0), "nobody waits for what nobody was told of");
    let (_, out) = world.ask_lease(file, None);
    assert!(
        matches!(&records(&out)[..], [Change::ChunkAllocated { handle: next, .. }] if *next > handle),
        "{out:?}"
    );
    let (mut world, file, _) = suspect(1);
    assert_eq!(locate(&mut world, file).chunks.len(), 1, "a byte of it was written under a grant");
    let (request, out) = world.ask_lease(file, None);
    assert!(reply(&out, request).is_none() && records(&out).is_empty(), "{out:?}");
}

#[test]
fn a_birth_cut_short_that_was_made_goes_on() {
    let (mut world, file, grant) = granted_and_restarted();
    let holding = [holds(grant.handle, 1, 0)];
    world.join(1, 2, &holding);
    world.join(2, 2, &holding);
    let (request, out) = world.ask_lease(file, None);
    assert!(reply(&out, request).is_none());
    world.join(3, 2, &holding);
    world.raised(1, grant.handle, 2);
    world.raised(2, grant.handle, 2);
    let out = world.raised(3, grant.handle, 2);
    assert_eq!(lease(&out, request).unwrap().handle, grant.handle);
}

#[test]
fn a_new_chunk_needs_enough_chunkservers() {
    let mut world = World::new();
    let file = world.file("/f");
    let (request, out) = world.ask_lease(file, None);
    assert_eq!(kind(reply(&out, request).unwrap()), Busy, "none");
    world.join(1, 1, &[]);
    let (request, out) = world.ask_lease(file, None);
    assert_eq!(kind(reply(&out, request).unwrap()), Busy, "others may come");
    world.after_ms(1_000);
    let (request, out) = world.ask_lease(file, None);
    assert!(reply(&out, request).is_none(), "one is enough where there was never another");
    world.created(1, world.only_handle());
    world.join(2, 1, &[]);
    world.leave(2);
    world.after_ms(limits::MEMBER_WAIT_MS.0);
    world.heartbeat(1, &[]);
    let second =
        Request::Lease { file, target: LeaseTarget::Index(ChunkIndex(1)), not_version: None };
    let error = world.ask(second.clone()).unwrap_err();
    assert!(error.kind == Busy && error.message.contains("needs 2"), "{error}");
    world.join(2, 1, &[]);
    let (request, out) = world.send(second);
    assert!(reply(&out, request).is_none());
}

#[test]
fn after_a_restart_births_wait_for_the_servers_there_were() {
    let (mut world, _, grant) = World::with_chunk();
    world.restart();
    world.join(1, 1, &[holds(grant.handle, 1, 0)]);
    world.join(2, 1, &[holds(grant.handle, 1, 0)]);
    let file = world.file("/g");
    let (request, out) = world.ask_lease(file, None);
    let error = reply(&out, request).unwrap().unwrap_err();
    assert!(error.kind == Busy && error.retry_after_ms > 0, "{error}");
    world.after_ms(limits::MEMBER_WAIT_MS.0 - 1);
    world.heartbeat(1, &[]);
    world.heartbeat(2, &[]);
    world.after_ms(1);
    let (request, out) = world.ask_lease(file, None);
    assert!(reply(&out, request).is_none(), "two will do when the third stays away");
}

#[test]
fn the_last_chunk_of_a_file_has_an_index_limit() {
    let (mut world, file, _) = World::with_chunk();
    let at = |index| Request::Lease {
        file,
        target: LeaseTarget::Index(ChunkIndex(index)),
        not_version: None,
    };
    let (request, out) = world.send(at(FILE_CHUNKS_MAX - 1));
    assert!(reply(&out, request).is_none());
    assert_eq!(kind(world.ask(at(FILE_CHUNKS_MAX))), Invalid);
    assert_eq!(world.stat("/f").unwrap().chunks, 1, "nobody was told of it yet");
    let handle = world.master.durable.chunks.last();
    (1..=3).for_each(|uid| drop(world.created(uid, handle)));
    assert_eq!(world.stat("/f").unwrap().chunks, FILE_CHUNKS_MAX);
    world.check_digests();
}

#[test]
fn a_chunk_that_nobody_was_told_of_does_not_take_the_length_back() {
    let (mut world, file, grant) = World::with_chunk();
    let full = world.master.durable.chunk_size().bytes();
    world.tell(
        grant.primary.0,
        FromChunkserver::LeaseGivenUp {
            handle: grant.handle,
            version: ChunkVersion(1),
            length: full,
        },
    );
    // The next chunk is allocated, and everything dies before it is made.
    world.send(Request::Lease {
        file,
        target: LeaseTarget::Index(ChunkIndex(1)),
        not_version: None,
    });
    world.restart();
    for uid in 1..=3 {
        world.join(uid, 2, &[holds(grant.handle, 1, full)]);
        let entry = world.stat("/f").unwrap();
        let final_at_least = !entry.length_is_final || entry.length == full;
        assert!(final_at_least, "{} bytes for good, {full} were there", entry.length);
    }
    let entry = world.stat("/f").unwrap();
    assert_eq!((entry.length, entry.length_is_final, entry.chunks), (full, true, 1));
}

#[test]
fn what_a_member_of_a_raise_applied_says_nothing_of_the_length() {
    let (mut world, file, grant) = World::with_chunk();
    let (handle, version) = (grant.handle, ChunkVersion(1));
    world.tell(grant.primary.0, FromChunkserver::LeaseGivenUp { handle, version, length: 10 });
    world.ask_lease(file, None);
    world.raised_in(1, handle, 2, (500, 7, ReplicaState::Unclean));
    assert_eq!(world.stat("/f").unwrap().length, 10);
}

#[test]
fn the_length_is_logged_or_newer_from_reports() {
    let (mut world, file, grant) = World::with_chunk();
    let entry = world.stat("/f").unwrap();
    assert_eq!((entry.length, entry.length_is_final), (0, false), "a lease is out");
    let (handle, version) = (grant.handle, ChunkVersion(1));
    for uid in 1..=3 {
        world.page(uid, &[holds(handle, 1, 70 + u64::try_from(uid).unwrap())]);
    }
    assert_eq!(world.stat("/f").unwrap().length, 73);
    let length = Mutation::SetLength { file, length: 80, attributes: None };
    world.mutate(length).unwrap();
    assert_eq!(world.stat("/f").unwrap().length, 80);
    world.tell(grant.primary.0, FromChunkserver::LeaseGivenUp { handle, version, length: 90 });
    let entry = world.stat("/f").unwrap();
    assert_eq!((entry.length, entry.length_is_final), (90, true));
    // After a restart it is final when all members have reported and none holds a lease.
    world.restart();
    let entry = world.stat("/f").unwrap();
    assert_eq!((entry.length, entry.length_is_final), (80, false));
    for uid in 1..=3 {
        world.join(uid, 2, &[holds(handle, 1, 90)]);
    }
    let entry = world.stat("/f").unwrap();
    assert_eq!((entry.length, entry.length_is_final), (90, true));
}

#[test]
fn replicas_that_did_not_end_in_order_do_not_tell_the_length() {
    let (mut world, _, grant) = World::with_chunk();
    // All processes were killed: what was appended and never synced is there, but nobody says so.
    let unclean = ReplicaReport { state: ReplicaState::Unclean, ..holds(grant.handle, 1, 0) };
    for uid in 1..=3 {
        world.join(uid, 2, &[unclean]);
    }
    assert!(!world.stat("/f").unwrap().length_is_final);
    world.after_ms(60_000);
    assert!(!world.stat("/f").unwrap().length_is_final, "time makes it no truer");
    for uid in 1..=3 {
        world.page(uid, &[holds(grant.handle, 1, 90)]);
    }
    world.after_ms(limits::RAISE_ANSWER_MS.0);
    let entry = world.stat("/f").unwrap();
    assert_eq!((entry.length, entry.length_is_final), (90, true));
}

#[test]
fn locate_names_what_can_be_read() {
    let (mut world, file, grant) = World::with_chunk();
    let handle = grant.handle;
    let locations = locate(&mut world, file);
    assert_eq!(locations.entry.path, "/f");
    let chunk = &locations.chunks[0];
    assert_eq!((chunk.handle, chunk.version, chunk.replicas.len()), (handle, ChunkVersion(1), 3));
    assert_eq!((chunk.primary, chunk.members), (Some(grant.primary), 3));
    // Damaged: named last, a suspect before it. Older, of another history, or out of touch: not named.
    world.page(1, &[ReplicaReport { state: ReplicaState::Corrupt, ..holds(handle, 1, 0) }]);
    world.page(2, &[ReplicaReport { state: ReplicaState::Suspect, ..holds(handle, 1, 0) }]);
    let named = |world: &mut World| -> Vec<u128> {
        let replicas = locate(world, file).chunks[0].replicas.clone();
        replicas.iter().map(|one| one.chunkserver.0).collect()
    };
    assert_eq!(named(&mut world), [3, 2, 1]);
    world.join(2, 2, &[holds(handle, 7, 0)]);
    assert_eq!(named(&mut world), [3, 1]);
    world.leave(3);
    assert_eq!(named(&mut world), [1]);
    assert_eq!(locate(&mut world, file).chunks[0].members, 3, "those that are away count");
    let Ok(Response::Status(status)) = world.query(Query::Status) else { panic!() };
    assert_eq!((status.chunks, status.chunks_below_goal, status.chunks_missing), (1, 1, 1));
}

#[test]
fn a_silent_chunkserver_is_not_offered() {
    let (mut world, file, _) = World::with_chunk();
    world.after_ms(limits::CHUNKSERVER_SILENT_MS.0 - 1);
    assert_eq!(locate(&mut world, file).chunks[0].replicas.len(), 3);
    world.heartbeat(1, &[]);
    world.after_ms(1);
    let left = locate(&mut world, file).chunks[0].replicas.clone();
    assert_eq!(left.iter().map(|one| one.chunkserver.0).collect::<Vec<_>>(), [1]);
    world.heartbeat(2, &[]);
    assert_eq!(locate(&mut world, file).chunks[0].replicas.len(), 2);
}

#[test]
fn an_accused_replica_is_named_behind_the_others_until_its_server_or_time_says_otherwise() {
    let (mut world, file, grant) = World::with_chunk();
    let (handle, version) = (grant.handle, grant.version);
    let accuse = |world: &mut World| {
        let (chunkserver, evidence) = (ServerUid(1), "block 0".to_owned());
        let report = Request::ReportCorrupt { handle, version, chunkserver, evidence };
        let (_, out) = world.send(report);
        out.iter().any(|effect| matches!(effect, Effect::Accused { .. }))
    };
    let named = |world: &mut World| -> Vec<u128> {
        let replicas = locate(world, file).chunks[0].replicas.clone();
        replicas.iter().map(|one| one.chunkserver.0).collect()
    };
    assert!(accuse(&mut world), "it is news");
    assert!(!accuse(&mut world), "known: every reader comes with it");
    assert_eq!(named(&mut world), [2, 3, 1]);
    assert!(sent(&world.after_ms(50)).is_empty(), "a client's word makes no replica a learner");
    world.page(1, &[holds(handle, 1, 0)]);
    assert_eq!(named(&mut world), [1, 2, 3], "its server looked, and it is good");
    assert!(accuse(&mut world), "news again");
    for _ in 0..4 {
        world.after_ms(2_500);
        (1..=3).for_each(|uid| drop(world.heartbeat(uid, &[(handle, 1)])));
    }
    assert_eq!(named(&mut world), [1, 2, 3], "its server never confirmed it");
}

#[test]
fn a_purged_file_frees_its_replicas_and_nothing_else_is_deleted() {
    let (mut world, file, grant) = World::with_chunk();
    let handle = grant.handle;
    world.delete("/f", false).unwrap();
    assert!(sent(&world.after_ms(50)).is_empty(), "in the trash its chunks stay");
    assert!(world.undelete("/f").is_ok());
    let purge = Mutation::Delete { path: "/f".to_owned(), recursive: false, purge: true };
    world.mutate(purge).unwrap();
    let out = world.after_ms(50);
    assert!(matches!(&records(&out)[..], [Change::Purged { entries }] if entries == &[file]));
    let position = world.master.position();
    let deletes = sent(&out);
    assert_eq!(deletes.len(), 3);
    let version = ChunkVersion(1);
    assert!(
        deletes.iter().all(|(_, command)| *command == Command::DeleteReplica { handle, version })
    );
    assert!(out[1..].iter().all(|effect| effect.after() == Some(position)));
    world.tell(1, FromChunkserver::ReplicaDeleted { handle, version, result: Ok(()) });
    // One that was away hears of it when it is back; what the log does not explain is left alone.
    let newer = gfs_types::ids::ChunkHandle(handle.0 + 1);
    let out = world.join(2, 2, &[holds(handle, 1, 0), holds(newer, 1, 0)]);
    let deletes: Vec<_> = sent(&out)
        .into_iter()
        .filter(|(_, command)| matches!(command, Command::DeleteReplica { .. }))
        .collect();
    assert_eq!(deletes, [(world.link(2), Command::DeleteReplica { handle, version })]);
    assert_eq!(kind(world.query(Query::Locate { file, first: ChunkIndex(0), count: 1 })), NotFound);
    world.check_digests();
}

#[test]
fn replicas_go_to_different_zones() {
    let mut world = World::new();
    for (uid, topology) in
        [(1, "a/h1/d"), (2, "a/h2/d"), (3, "a/h1/d2"), (4, "b/h4/d"), (5, "c/h5/d")]
    {
        let mut who = registration(uid, 1);
        who.topology = topology.parse().unwrap();
        let message = FromChunkserver::Register(who);
        let link = Link(100 + u64::try_from(uid).unwrap());
        world.step(Input::Chunkserver { link, message });
    }
    let file = world.file("/f");
    let (_, out) = world.ask_lease(file, None);
    let [Change::ChunkAllocated { members, .. }] = &records(&out)[..] else { panic!() };
    assert!(members.contains(&ServerUid(4)) && members.contains(&ServerUid(5)), "{members:?}");
}
