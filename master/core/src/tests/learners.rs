//! equal-4: stale and damaged replicas come back as learners.

use gfs_types::Error;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, FileId, ProcessSession, ServerUid};
use gfs_types::message::control::{
    Command, FromChunkserver, HeldLease, ReplicaReport, ReplicaState,
};

use super::world::{World, grants, holds, lessons, raises, sent};

/// A chunk on 1 and 2 under version 2, which was raised while 3 was away; a client has the lease. Its primary.
pub(super) fn without_3() -> (World, FileId, ChunkHandle, u128) {
    let (mut world, file, grant) = World::with_chunk();
    let (handle, version) = (grant.handle, ChunkVersion(1));
    world.tell(grant.primary.0, FromChunkserver::LeaseGivenUp { handle, version, length: 10 });
    world.leave(3);
    world.after_ms(10_000);
    world.ask_lease(file, None);
    world.raised(1, handle, 2);
    let out = world.raised(2, handle, 2);
    let [(primary, ..)] = grants(&world, &out)[..] else { panic!("{out:?}") };
    (world, file, handle, primary)
}

pub(super) fn taught(
    handle: ChunkHandle,
    learner: u128,
    session: u64,
    good: bool,
) -> FromChunkserver {
    FromChunkserver::LearnerTaught {
        handle,
        version: ChunkVersion(2),
        learner: ServerUid(learner),
        session: ProcessSession(session),
        result: if good { Ok(()) } else { Err(Error::busy("it took too long")) },
    }
}

/// 3 came back, and its lesson has begun.
fn teaching() -> (World, FileId, ChunkHandle, u128) {
    let (mut world, file, handle, primary) = without_3();
    let out = world.join(3, 2, &[holds(handle, 1, 10)]);
    assert!(raises(&world, &out).is_empty(), "it is stale");
    let out = world.after_ms(50);
    assert_eq!(lessons(&world, &out), [(primary, 3, 2)]);
    (world, file, handle, primary)
}

#[test]
fn equal_4_a_stale_replica_learns_and_is_raised_with_the_members() {
    let (mut world, _, handle, primary) = teaching();
    let out = world.after_ms(4_000);
    assert!(lessons(&world, &out).is_empty(), "told once");
    let out = world.tell(primary, taught(handle, 3, 2, true));
    assert_eq!(raises(&world, &out), [(1, 3, 2), (2, 3, 2), (3, 3, 2)], "from the version learned");
    world.raised(1, handle, 3);
    world.raised(2, handle, 3);
    let out = world.raised(3, handle, 3);
    assert_eq!(grants(&world, &out)[0].0, primary);
    assert!(world.master.durable.chunks.get(handle).unwrap().members == 3);
    let out = world.after_ms(1_000);
    assert!(lessons(&world, &out).is_empty());
}

#[test]
fn equal_4_without_a_good_lesson_it_is_no_member() {
    let (mut world, _, handle, primary) = teaching();
    let other = 3 - primary;
    assert!(world.tell(other, taught(handle, 3, 2, true)).is_empty(), "not the primary's word");
    let mut old = taught(handle, 3, 2, true);
    let FromChunkserver::LearnerTaught { version, .. } = &mut old else { panic!() };
    *version = ChunkVersion(1);
    assert!(world.tell(primary, old).is_empty(), "not of this version");
    let out = world.tell(primary, taught(handle, 3, 2, false));
    assert!(raises(&world, &out).is_empty());
    let out = world.after_ms(4_000);
    assert!(lessons(&world, &out).is_empty(), "it rests");
    world.heartbeat(3, &[]);
    let out = world.after_ms(2_000);
    assert_eq!(lessons(&world, &out), [(primary, 3, 2)]);
}

#[test]
fn equal_4_another_run_of_the_learner_has_learned_nothing() {
    let (mut world, _, handle, primary) = teaching();
    world.join(3, 3, &[holds(handle, 1, 10)]);
    let out = world.tell(primary, taught(handle, 3, 2, true));
    assert_eq!(
        raises(&world, &out),
        [(1, 3, 2), (2, 3, 2)],
        "the primary takes no mutation any more, so a raise there is"
    );
    world.raised(1, handle, 3);
    let out = world.raised(2, handle, 3);
    assert_eq!(grants(&world, &out).len(), 1);
    let out = world.after_ms(50);
    assert_eq!(lessons(&world, &out), [(primary, 3, 3)], "the new run learns");
}

#[test]
fn equal_4_a_learner_is_good_for_further_numbers_until_one_is_raised() {
    let (mut world, file, handle, primary) = teaching();
    let other = 3 - primary;
    world.tell(primary, taught(handle, 3, 2, true));
    world.raised(primary, handle, 3);
    world.raised(3, handle, 3);
    let out = world.leave(other);
    let mut asked = vec![(primary, 4, 2), (3, 4, 2)];
    asked.sort_unstable();
    assert_eq!(raises(&world, &out), asked, "without the silent member, with the learner");
    world.raised(primary, handle, 4);
    let out = world.raised(3, handle, 4);
    assert_eq!(grants(&world, &out).len(), 1);
    // What was learned under version 2 is of no use under 4.
    world.leave(3);
    world.join(3, 3, &[holds(handle, 2, 10)]);
    let (_, out) = world.ask_lease(file, Some(4));
    assert!(raises(&world, &out).iter().all(|(uid, ..)| *uid != 3));
}

#[test]
fn equal_4_what_was_learned_under_an_older_version_is_of_no_use() {
    let (mut world, file, handle, primary) = teaching();
    world.tell(primary, taught(handle, 3, 2, true));
    // Its stream ends, not its run; the others go on without it.
    world.leave(3);
    for number in [3, 4] {
        world.raised(1, handle, number);
        world.raised(2, handle, number);
    }
    assert_eq!(world.master.durable.chunks.get(handle).unwrap().version, ChunkVersion(4));
    world.register(3, 2, Vec::new());
    world.page(3, &[holds(handle, 1, 10)]);
    world.after_ms(200);
    let (_, out) = world.ask_lease(file, Some(4));
    let later = world.after_ms(200);
    let asked: Vec<_> = raises(&world, &out).into_iter().chain(raises(&world, &later)).collect();
    assert!(!asked.is_empty() && asked.iter().all(|(uid, ..)| *uid != 3), "{asked:?}");
}

#[test]
fn equal_4_a_learner_that_does_not_store_the_number_is_left_out_as_any_other() {
    let (mut world, _, handle, primary) = teaching();
    world.tell(primary, taught(handle, 3, 2, true));
    world.raised(1, handle, 3);
    world.raised(2, handle, 3);
    let (version, result) = (ChunkVersion(3), Err(Error::stale("not equal")));
    let out = world.tell(3, FromChunkserver::Raised { handle, version, result });
    assert_eq!(raises(&world, &out), [(1, 4, 2), (2, 4, 2)]);
    world.raised(1, handle, 4);
    let out = world.raised(2, handle, 4);
    assert_eq!(grants(&world, &out).len(), 1);
    let out = world.after_ms(1_000);
    assert!(lessons(&world, &out).is_empty(), "it rests first");
}

/// Its lesson would end with a raise that leaves it out again, and so on as fast as messages go.
#[test]
fn equal_4_who_is_left_out_of_raises_is_not_taught_meanwhile() {
    let (mut world, file, handle, primary) = without_3();
    let silent = 3 - primary;
    world.after_ms(1_000);
    let (_, out) = world.ask_lease(file, Some(2));
    assert_eq!(raises(&world, &out), [(1, 3, 2), (2, 3, 2)]);
    world.raised(primary, handle, 3);
    world.join(3, 2, &[holds(handle, 1, 10)]);
    let out = world.after_ms(2_000);
    assert_eq!(raises(&world, &out), [(primary, 4, 2)]);
    let out = world.raised(primary, handle, 4);
    assert_eq!(
        lessons(&world, &out),
        [(primary, 3, 4)],
        "not the silent one, though it knows more"
    );
    let failed = |learner: u128, session| FromChunkserver::LearnerTaught {
        handle,
        version: ChunkVersion(4),
        learner: ServerUid(learner),
        session: ProcessSession(session),
        result: Err(Error::busy("it took too long")),
    };
    let out = world.tell(primary, failed(3, 2));
    assert!(lessons(&world, &out).is_empty(), "{out:?}");
    world.heartbeat(silent, &[]);
    let out = world.after_ms(2_000);
    assert_eq!(lessons(&world, &out), [(primary, silent, 4)], "a while later");
}

#[test]
fn equal_4_a_damaged_replica_learns_too_of_whatever_version() {
    for version in [0, 2] {
        let (mut world, _, handle, primary) = without_3();
        let report = holds(handle, version, 0);
        world.join(3, 2, &[ReplicaReport { state: ReplicaState::Corrupt, ..report }]);
        let out = world.after_ms(50);
        assert_eq!(lessons(&world, &out), [(primary, 3, 2)]);
        let out = world.tell(primary, taught(handle, 3, 2, true));
        assert_eq!(raises(&world, &out).len(), 3);
    }
}

#[test]
fn equal_4_replicas_of_another_history_and_those_too_many_are_left_alone() {
    let (mut world, _, handle, _) = without_3();
    world.join(3, 2, &[holds(handle, 9, 10)]);
    let out = world.after_ms(50);
    assert!(lessons(&world, &out).is_empty(), "that number was never started");
    let (mut world, _, grant) = World::with_chunk();
    world.join(4, 1, &[holds(grant.handle, 0, 10)]);
    let out = world.after_ms(50);
    assert!(lessons(&world, &out).is_empty(), "there are as many as are wanted");
    // ... until there are not.
    world.leave(grant.primary.0 % 3 + 1);
    world.after_ms(2_500);
    world.heartbeat(4, &[]);
    let out = world.after_ms(1_000);
    assert_eq!(lessons(&world, &out).len(), 0, "nothing asks for it while no report brings it up");
}

/// 3 has learned and stores the number of a raise that does not end; then the power takes what the members had (seed 22292).
#[test]
fn equal_2_who_learned_and_stored_a_number_is_waited_for_before_suspects_go_on_alone() {
    let (mut world, _, handle, primary) = teaching();
    world.tell(primary, taught(handle, 3, 2, true));
    world.raised(3, handle, 3);
    (1..=3).for_each(|uid| drop(world.leave(uid)));
    let suspect = ReplicaReport { state: ReplicaState::Suspect, ..holds(handle, 2, 9) };
    (1..=2).for_each(|uid| drop(world.join(uid, 2, &[suspect])));
    let out = a_while(&mut world, 20_000);
    assert_eq!((grants(&world, &out), raises(&world, &out)), (vec![], vec![]));
    world.join(3, 3, &[holds(handle, 3, 10)]);
    let out = world.after_ms(100);
    assert_eq!(raises(&world, &out), [(1, 4, 2), (2, 4, 2), (3, 4, 2)]);
}

/// The order, or the word that it is done, was lost with the stream (seeds 49920 and 53321).
#[test]
fn equal_4_a_primary_that_comes_back_on_another_stream_is_told_of_its_lesson_again() {
    let (mut world, _, handle, primary) = teaching();
    let held = || {
        let members = vec![ServerUid(1), ServerUid(2)];
        vec![HeldLease { handle, version: ChunkVersion(2), left_ms: 10_000, members }]
    };
    let out = world.register(primary, 1, held());
    assert_eq!(lessons(&world, &out), [(primary, 3, 2)]);
    world.page(primary, &[holds(handle, 2, 10)]);
    let out = world.tell(primary, taught(handle, 3, 2, true));
    assert_eq!(raises(&world, &out).len(), 3);
    let out = world.register(primary, 1, held());
    assert_eq!(lessons(&world, &out), [], "that one is over");
}

#[test]
fn a_lesson_of_which_nothing_is_heard_is_given_up() {
    let (mut world, _, handle, primary) = teaching();
    let mut told = Vec::new();
    for second in 0..80 {
        let out = world.after_ms(1_000);
        told.extend(lessons(&world, &out).into_iter().map(|_| second));
        (1..=3).for_each(|uid| drop(world.heartbeat(uid, &[(handle, 2)])));
    }
    assert_eq!((told.len(), primary), (1, primary), "{told:?}");
    assert!((60..75).contains(&told[0]), "{told:?}");
}

/// Servers 1 and 2 say that they are here, and what the master does then.
fn a_while(world: &mut World, ms: u64) -> Vec<crate::Effect> {
    let mut all = Vec::new();
    for _ in 0..ms / 500 {
        for uid in 1..=3 {
            if world
                .master
                .soft
                .registry
                .by_uid(ServerUid(uid))
                .is_some_and(|index| world.master.soft.registry.get(index).link.is_some())
            {
                world.heartbeat(uid, &[]);
            }
        }
        all.extend(world.after_ms(500));
    }
    all
}

fn empty_replicas(world: &World, out: &[crate::Effect]) -> Vec<(u128, u64)> {
    let told = sent(out).into_iter().filter_map(|(link, command)| match command {
        Command::CreateReplica { version, .. } => Some((world.at(link), version.0)),
        _ => None,
    });
    told.collect()
}

#[test]
fn equal_4_a_chunk_that_was_born_on_too_few_servers_gets_an_empty_replica_that_learns() {
    let mut world = World::new();
    (1..=3).for_each(|uid| drop(world.join(uid, 1, &[])));
    world.leave(3);
    a_while(&mut world, 10_000);
    let file = world.file("/f");
    world.ask_lease(file, None);
    let handle = world.only_handle();
    world.created(1, handle);
    let out = world.created(2, handle);
    let [(primary, ..)] = grants(&world, &out)[..] else { panic!("{out:?}") };
    let out = a_while(&mut world, 4_000);
    assert_eq!(empty_replicas(&world, &out), [], "nobody could take one");
    world.join(3, 2, &[]);
    let mut out = Vec::new();
    for _ in 0..30 {
        world.heartbeat(primary, &[(handle, 1)]);
        out.extend(a_while(&mut world, 500));
        if !empty_replicas(&world, &out).is_empty() {
            break;
        }
    }
    assert_eq!(empty_replicas(&world, &out), [(3, 0)], "of no version: it is stale");
    let (version, result) = (ChunkVersion(0), Ok(()));
    world.tell(3, FromChunkserver::ReplicaCreated { handle, version, result });
    let out = world.after_ms(50);
    assert_eq!(lessons(&world, &out), [(primary, 3, 1)]);
    let mut good = taught(handle, 3, 2, true);
    let FromChunkserver::LearnerTaught { version, .. } = &mut good else { panic!() };
    *version = ChunkVersion(1);
    let out = world.tell(primary, good);
    assert_eq!(raises(&world, &out), [(1, 2, 1), (2, 2, 1), (3, 2, 1)]);
    (1..=3).for_each(|uid| drop(world.raised(uid, handle, 2)));
    assert_eq!(world.master.durable.chunks.get(handle).unwrap().members, 3);
    let out = a_while(&mut world, 20_000);
    assert_eq!(empty_replicas(&world, &out), []);
}

#[test]
fn equal_4_a_server_that_came_back_without_its_replica_gets_an_empty_one() {
    for lost in [true, false] {
        let (mut world, _, grant) = World::with_chunk();
        let handle = grant.handle;
        a_while(&mut world, 10_000);
        world.after_ms(60_000);
        (1..=3).for_each(|uid| drop(world.leave(uid)));
        let has = [holds(handle, 1, 10)];
        (1..=3).for_each(|uid| drop(world.join(uid, 2, &has)));
        let out = a_while(&mut world, 10_000);
        assert_eq!(empty_replicas(&world, &out), []);
        world.leave(3);
        let out = a_while(&mut world, 20_000);
        assert_eq!(empty_replicas(&world, &out), [], "it is expected back");
        world.join(3, 3, if lost { &[] } else { &has });
        let out = a_while(&mut world, 1_000);
        let told = empty_replicas(&world, &out);
        match lost {
            true => assert_eq!(told.first(), Some(&(3, 0)), "of no version: it is stale"),
            false => assert_eq!(told, []),
        }
        assert_eq!(world.master.soft.registry.lacks_a_lost(handle), lost);
    }
}
