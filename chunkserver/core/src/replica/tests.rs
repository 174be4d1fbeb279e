//! What a replica answers to the master and to a primary, by the names of the rules.

use gfs_types::ErrorKind::{Busy, Internal, Invalid, NeedData, Stale};
use gfs_types::fence::{ChunkVersion, MasterEpoch, SerialNumber};
use gfs_types::message::control::{FromChunkserver, LeaseStart, RaisedReplica, ReplicaState};
use gfs_types::message::data::{DataResponse, OrderKind, ReplicaInfo};

use super::*;
use crate::input::Peer;
use crate::secondary::GAP_MAX;
use crate::testing::bench::{Bench, CHUNK, LEASE, PRIMARY, append, bytes, order, settings, target};

mod equalising;

fn found(state: ReplicaState, overwritten: bool) -> Bench {
    let found = Recovered {
        version: ChunkVersion(3),
        length: 100,
        committed_length: 60,
        overwritten,
        state,
    };
    let mut out = Vec::new();
    Bench::of(Replica::recovered(CHUNK, settings(1), found, &mut out))
}

fn raised(bench: &Bench) -> Option<Result<RaisedReplica, gfs_types::ErrorKind>> {
    bench.told_master().into_iter().find_map(|message| match message {
        FromChunkserver::Raised { result, .. } => Some(result.map_err(|error| error.kind)),
        _ => None,
    })
}

fn applied(serial: u64) -> Option<Result<DataResponse, gfs_types::ErrorKind>> {
    Some(Ok(DataResponse::Applied { serial: SerialNumber(serial), short_of_space: false }))
}

#[test]
fn birth_is_durable_before_it_is_answered_and_may_come_twice() {
    let mut bench = Bench::absent(1);
    let create = Input::Create {
        version: ChunkVersion(1),
        epoch: MasterEpoch(1),
        chunk_size: settings(1).chunk_size,
    };
    bench.step(create.clone());
    bench.step(create.clone());
    assert_eq!(bench.told_master(), []);
    assert_eq!(bench.replica.report(), None, "never reported while it is being made");
    bench.durable();
    bench.step(create.clone());
    assert_eq!(bench.told_master().len(), 2);
    assert_eq!(bench.replica.report().unwrap().state, ReplicaState::Unclean);
    bench.take();
    bench.order(order(1, bytes(0, 10), 0, 0));
    bench.step(create);
    let told = bench.told_master();
    assert!(matches!(told[..], [FromChunkserver::ReplicaCreated { result: Err(_), .. }]));
}

#[test]
fn raise_2_a_version_is_on_disk_before_it_is_answered() {
    let mut bench = found(ReplicaState::Clean, false);
    bench.raise(5, 3);
    assert_eq!(raised(&bench), None);
    assert!(matches!(bench.waiting[..], [(_, StoreOp::SetVersion { version: ChunkVersion(5) })]));
    bench.durable();
    let state = ReplicaState::Clean;
    assert_eq!(raised(&bench), Some(Ok(RaisedReplica { length: 100, digest: 0xd1, state })));
    assert_eq!(bench.replica.condition(), Condition::Unclean, "before the first change of a lease");
}

#[test]
fn raise_2_its_own_number_is_answered_again_as_the_replica_is_by_then() {
    let mut bench = found(ReplicaState::Clean, false);
    bench.raise(5, 3);
    bench.durable();
    bench.take();
    bench.raise(5, 3);
    let state = ReplicaState::Unclean;
    let again = RaisedReplica { length: 100, digest: 0xd1, state };
    assert_eq!(raised(&bench), Some(Ok(again)), "it was clean before the raise, and is not now");
    bench.grant_as(5, &[2], LeaseStart::Equal, false);
    bench.mutate_as(target(5), append(10));
    bench.take();
    bench.raise(5, 3);
    assert_eq!(raised(&bench), Some(Ok(RaisedReplica { length: 110, ..again })));
}

#[test]
fn raise_7_a_lease_counts_from_the_first_answer() {
    let mut bench = found(ReplicaState::Clean, false);
    bench.raise(5, 3);
    bench.durable();
    let first = bench.now;
    bench.after(4_000);
    bench.raise(5, 3);
    bench.grant_as(5, &[2], LeaseStart::Equal, false);
    assert_eq!(bench.replica.lease().map(|lease| lease.until), Some(first + LEASE));
}

#[test]
fn raise_2_lower_versions_and_stale_replicas_refuse() {
    let mut bench = found(ReplicaState::Clean, false);
    bench.raise(2, 1);
    assert_eq!(raised(&bench), Some(Err(Stale)), "below its own");
    bench.take();
    bench.raise(6, 4);
    assert_eq!(raised(&bench), Some(Err(Stale)), "it missed version 4");
    bench.take();
    bench.raise(6, 3);
    bench.raise(5, 3);
    assert_eq!(raised(&bench), Some(Err(Stale)), "6 was accepted, on disk or not");
}

#[test]
fn raise_2_orders_of_a_lower_version_are_refused_before_the_new_one_is_on_disk() {
    let mut bench = Bench::newborn(1);
    bench.order(order(1, bytes(0, 10), 0, 0));
    bench.raise(2, 1);
    let token = bench.order(order(2, bytes(10, 10), 1, 10));
    assert_eq!(bench.reply(token), Some(Err(Stale)));
}

#[test]
fn mut_2_orders_are_applied_in_serial_order_whatever_order_they_come_in() {
    let mut bench = Bench::newborn(1);
    let third = bench.order(order(3, bytes(20, 10), 0, 0));
    let second = bench.order(order(2, bytes(10, 10), 0, 0));
    assert!(!bench.effects.iter().any(|effect| matches!(effect, Effect::Apply { .. })));
    let first = bench.order(order(1, bytes(0, 10), 0, 0));
    let serials: Vec<_> = bench
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Apply { serial, .. } => Some(serial.0),
            _ => None,
        })
        .collect();
    assert_eq!(serials, [1, 2, 3]);
    for (token, serial) in [(first, 1), (second, 2), (third, 3)] {
        assert_eq!(bench.reply(token), applied(serial));
    }
}

#[test]
fn an_order_that_was_applied_is_acknowledged_again_and_applied_once() {
    let mut bench = Bench::newborn(1);
    bench.order(order(1, bytes(0, 10), 0, 0));
    bench.take();
    let token = bench.order(order(1, bytes(0, 10), 0, 0));
    assert_eq!(bench.reply(token), applied(1));
    assert!(!bench.effects.iter().any(|effect| matches!(effect, Effect::Apply { .. })));
}

#[test]
fn only_one_run_of_one_primary_is_obeyed() {
    let mut bench = Bench::newborn(1);
    bench.order(order(1, bytes(0, 10), 0, 0));
    let others = [
        Peer { chunkserver: ServerUid(8), ..PRIMARY },
        Peer { session: ProcessSession(5), ..PRIMARY },
    ];
    for other in others {
        let token = bench.order_from(other, target(1), order(2, bytes(10, 10), 1, 10), true);
        assert_eq!(bench.reply(token), Some(Err(Stale)));
    }
}

#[test]
fn other_versions_and_older_epochs_are_refused() {
    let mut bench = Bench::newborn(1);
    for version in [0, 2] {
        let token = bench.order_from(PRIMARY, target(version), order(1, bytes(0, 1), 0, 0), true);
        assert_eq!(bench.reply(token), Some(Err(Stale)));
    }
    let mut old = target(1);
    old.epoch = MasterEpoch(0);
    let token = bench.order_from(PRIMARY, old, order(1, bytes(0, 1), 0, 0), true);
    assert_eq!(bench.reply(token), Some(Err(Stale)));
}

#[test]
fn equal_3_a_replica_that_restarted_takes_no_orders_of_its_version() {
    let mut bench = found(ReplicaState::Unclean, false);
    let token = bench.order_from(PRIMARY, target(3), order(1, bytes(100, 1), 0, 100), true);
    assert_eq!(bench.reply(token), Some(Err(Stale)));
}

#[test]
fn a_primary_that_begins_at_another_length_is_not_obeyed() {
    let mut bench = found(ReplicaState::Clean, false);
    bench.raise(4, 3);
    bench.durable();
    for (committed, length) in [(0, 99), (0, 101), (1, 100)] {
        let first = order(2, bytes(100, 1), committed, length);
        let token = bench.order_from(PRIMARY, target(4), first, true);
        assert_eq!(bench.reply(token), Some(Err(Internal)), "{committed} {length}");
    }
    let token = bench.order_from(PRIMARY, target(4), order(1, bytes(100, 1), 0, 100), true);
    assert_eq!(bench.reply(token), applied(1));
}

#[test]
fn an_order_without_its_bytes_asks_for_them() {
    let mut bench = Bench::newborn(1);
    let token = bench.order_from(PRIMARY, target(1), order(1, bytes(0, 10), 0, 0), false);
    assert_eq!(bench.reply(token), Some(Err(NeedData)));
    let token = bench.order_from(PRIMARY, target(1), order(1, bytes(0, 10), 0, 0), true);
    assert_eq!(bench.reply(token), applied(1));
}

#[test]
fn orders_that_cannot_be_are_refused() {
    let chunk = settings(1).chunk_size.bytes();
    let mut bench = Bench::newborn(1);
    let wrong = [
        order(1, bytes(chunk, 1), 0, 0),
        order(1, bytes(u64::MAX, 2), 0, 0),
        order(1, bytes(0, 0), 0, 0),
        order(0, OrderKind::Sync, 0, 0),
        order(2, OrderKind::End, 0, 0),
    ];
    for order in wrong {
        let token = bench.order(order);
        assert_eq!(bench.reply(token), Some(Err(Invalid)), "{order:?}");
    }
    let token = bench.order(order(2, bytes(0, 1), 1, 0));
    assert_eq!(bench.reply(token), Some(Err(Internal)), "committed, but never acknowledged here");
}

#[test]
fn the_gap_that_is_kept_is_bounded() {
    let mut bench = Bench::newborn(1);
    let token = bench.order(order(GAP_MAX, bytes(0, 1), 0, 0));
    assert_eq!(bench.reply(token), None);
    let token = bench.order(order(GAP_MAX + 1, bytes(0, 1), 0, 0));
    assert_eq!(bench.reply(token), Some(Err(Busy)));
}

#[test]
fn mut_5_a_sync_is_acknowledged_when_it_is_on_disk_with_the_committed_length() {
    let mut bench = Bench::newborn(1);
    bench.order(order(1, bytes(0, 10), 0, 0));
    let sync = bench.order(order(2, OrderKind::Sync, 1, 10));
    let again = bench.order(order(2, OrderKind::Sync, 1, 10));
    assert_eq!(bench.reply(sync), Some(Err(Busy)), "the newer request gets the answer");
    let op = StoreOp::Flush { committed_length: 10, clean: false };
    assert_eq!(bench.waiting.iter().map(|(_, op)| *op).collect::<Vec<_>>(), [op]);
    assert_eq!(bench.reply(again), None);
    bench.durable();
    assert_eq!(bench.reply(again), applied(2));
}

#[test]
fn the_end_of_a_lease_makes_clean_after_the_flush_and_nothing_follows_it() {
    let mut bench = Bench::newborn(1);
    bench.order(order(1, bytes(0, 10), 0, 0));
    let end = bench.order(order(2, OrderKind::End, 1, 10));
    assert_eq!(bench.replica.condition(), Condition::Unclean);
    bench.durable();
    assert_eq!(bench.reply(end), applied(2));
    assert_eq!(bench.replica.condition(), Condition::Clean);
    let token = bench.order(order(3, bytes(10, 10), 2, 10));
    assert_eq!(bench.reply(token), Some(Err(Stale)), "clean stays clean");
    let token = bench.order(order(2, OrderKind::End, 1, 10));
    assert_eq!(bench.reply(token), applied(2), "but the end is acknowledged again");
}

#[test]
fn a_flush_of_the_end_that_comes_after_a_raise_does_not_make_clean() {
    let mut bench = Bench::newborn(1);
    bench.order(order(1, OrderKind::End, 0, 0));
    bench.raise(2, 1);
    bench.durable();
    assert_eq!(bench.replica.condition(), Condition::Unclean);
}

#[test]
fn mut_4_a_secondary_shows_what_it_knows_to_be_committed() {
    let mut bench = Bench::newborn(1);
    bench.order(order(1, bytes(0, 10), 0, 0));
    assert_eq!(bench.shown(), (true, 0));
    bench.order(order(2, bytes(10, 10), 1, 10));
    assert_eq!(bench.shown(), (true, 10));
    let token = crate::Token(99);
    let (serial, length) = (SerialNumber(2), 20);
    bench.step(Input::Committed { token, target: target(1), from: PRIMARY, serial, length });
    assert_eq!(bench.reply(token), Some(Ok(DataResponse::Done)));
    assert_eq!(bench.shown(), (true, 20));
    bench.order(order(3, bytes(20, 10), 1, 10));
    assert_eq!(bench.shown(), (true, 20), "never less");
}

#[test]
fn mut_4_after_a_restart_only_what_is_sure_is_shown() {
    assert_eq!(found(ReplicaState::Clean, false).shown(), (true, 60));
    assert_eq!(found(ReplicaState::Unclean, false).shown(), (true, 60));
    assert!(!found(ReplicaState::Unclean, true).shown().0, "overwritten");
    assert!(!found(ReplicaState::Suspect, false).shown().0);
    assert_eq!(found(ReplicaState::Clean, true).shown(), (true, 60));
}

#[test]
fn mut_4_an_overwritten_chunk_shows_nothing_from_an_unclean_raise_until_members_are_equal() {
    let mut bench = Bench::newborn(1);
    bench.order(order(1, bytes(0, 10), 0, 0));
    bench.order(order(2, bytes(0, 5), 1, 10));
    bench.raise(2, 1);
    bench.durable();
    assert!(!bench.shown().0);
    bench.order_from(PRIMARY, target(2), order(1, bytes(10, 1), 0, 10), true);
    assert_eq!(bench.shown(), (true, 10), "the first order says that all are equal");
    let mut clean = found(ReplicaState::Clean, true);
    clean.raise(4, 3);
    clean.durable();
    assert!(clean.shown().0, "a clean raise hides nothing");
}

#[test]
fn equal_2_a_suspect_replica_may_be_raised_but_neither_leads_nor_follows() {
    let mut bench = found(ReplicaState::Suspect, false);
    bench.raise(4, 3);
    bench.durable();
    let state = ReplicaState::Suspect;
    assert_eq!(raised(&bench), Some(Ok(RaisedReplica { length: 100, digest: 0xd1, state })));
    bench.grant(4, &[2]);
    assert!(bench.replica.lease().is_none());
    let token = bench.order_from(PRIMARY, target(4), order(1, bytes(100, 1), 0, 100), true);
    assert_eq!(bench.reply(token), Some(Err(Stale)));
    assert_eq!(bench.replica.report().unwrap().state, ReplicaState::Suspect);
}

#[test]
fn collect_only_the_version_that_was_reported_is_deleted() {
    let mut bench = found(ReplicaState::Clean, false);
    bench.step(Input::Delete { version: ChunkVersion(2) });
    let told = bench.told_master();
    assert!(
        matches!(&told[..], [FromChunkserver::ReplicaDeleted { result: Err(error), .. }] if error.kind == Stale)
    );
    bench.take();
    bench.step(Input::Delete { version: ChunkVersion(3) });
    assert_eq!(bench.replica.report(), None);
    assert!(!bench.shown().0);
    bench.durable();
    assert!(bench.effects.contains(&Effect::Gone));
    assert!(bench.replica.is_forgettable());
    bench.take();
    bench.step(Input::Delete { version: ChunkVersion(3) });
    let told = bench.told_master();
    assert!(matches!(told[..], [FromChunkserver::ReplicaDeleted { result: Ok(()), .. }]));
}

/// Seed 3439 of the simulator: an old `Create` made an empty replica of the version of the lease, and an old order found it.
#[test]
fn collect_what_was_deleted_is_not_made_again_by_a_command_that_is_heard_late() {
    let create = || {
        let (version, epoch) = (ChunkVersion(1), MasterEpoch(1));
        Input::Create { version, epoch, chunk_size: settings(1).chunk_size }
    };
    let mut bench = Bench::newborn(1);
    bench.order(order(1, bytes(0, 10), 0, 0));
    bench.step(Input::Delete { version: ChunkVersion(1) });
    bench.durable();
    assert!(bench.replica.was_deleted());
    let forgotten = Bench::of(Replica::deleted_before(bench.replica.handle, settings(1)));
    let mut never_had = Bench::absent(1);
    never_had.step(Input::Delete { version: ChunkVersion(1) });
    for mut bench in [bench, forgotten, never_had] {
        bench.take();
        bench.step(create());
        let told = bench.told_master();
        assert!(
            matches!(&told[..], [FromChunkserver::ReplicaCreated { result: Err(error), .. }] if error.kind == Stale)
        );
        assert!(bench.replica.is_forgettable());
        let late = bench.order(order(2, OrderKind::End, 1, 10));
        assert_eq!(bench.reply(late), Some(Err(gfs_types::ErrorKind::NotFound)));
    }
}

#[test]
fn collect_a_version_that_is_being_raised_is_not_deleted() {
    let mut bench = found(ReplicaState::Clean, false);
    bench.raise(4, 3);
    bench.step(Input::Delete { version: ChunkVersion(3) });
    bench.durable();
    assert_eq!(bench.replica.report().unwrap().version, ChunkVersion(4));
}

#[test]
fn a_bad_block_is_reported_and_never_forgotten_by_a_raise_or_an_end() {
    let mut bench = Bench::newborn(1);
    bench.order(order(1, bytes(0, 10), 0, 0));
    bench.step(Input::BlockMismatch);
    assert_eq!(bench.replica.report().unwrap().state, ReplicaState::Corrupt);
    bench.order(order(2, OrderKind::End, 1, 10));
    bench.durable();
    assert_eq!(bench.replica.condition(), Condition::Corrupt);
    bench.raise(2, 1);
    bench.durable();
    assert_eq!(bench.replica.condition(), Condition::Corrupt);
}

#[test]
fn inspect_tells_who_leads() {
    let mut bench = Bench::primary(&[]);
    bench.mutate(append(10));
    let inspect = crate::Token(50);
    bench.step(Input::Inspect { token: inspect, target: target(1) });
    let info = ReplicaInfo {
        version: ChunkVersion(1),
        committed_length: 10,
        primary: true,
        state: ReplicaState::Unclean,
    };
    assert_eq!(bench.reply(inspect), Some(Ok(DataResponse::Replica(info))));
}

#[test]
fn a_committed_length_that_cannot_be_is_refused_whoever_names_it() {
    let started = || {
        let mut bench = Bench::newborn(1);
        bench.order(order(1, bytes(0, 10), 0, 0));
        bench.order(order(2, bytes(10, 10), 1, 10));
        bench.take();
        bench
    };
    for length in [9, 21, settings(1).chunk_size.bytes(), u64::MAX] {
        let mut bench = started();
        let token = bench.order(order(3, bytes(20, 10), 2, length));
        assert!(matches!(bench.reply(token), Some(Err(Internal | Invalid))), "{length}");
        assert_eq!(bench.shown(), (true, 10));
        let token = crate::Token(70);
        let (target, from) = (target(1), PRIMARY);
        let serial = SerialNumber(2);
        bench.step(Input::Committed { token, target, from, serial, length });
        assert_eq!(bench.reply(token), Some(Err(Internal)), "{length}");
        assert_eq!(bench.shown(), (true, 10));
    }
    let mut bench = started();
    let token = bench.order(order(3, bytes(20, 10), 2, 20));
    assert_eq!(bench.reply(token), applied(3));
    assert_eq!(bench.shown(), (true, 20));
}

#[test]
fn an_end_with_orders_behind_it_is_refused() {
    let mut bench = Bench::newborn(1);
    bench.order(order(2, bytes(0, 10), 0, 0));
    let end = bench.order(order(1, OrderKind::End, 0, 0));
    assert_eq!(bench.reply(end), Some(Err(Invalid)));
    assert_eq!(bench.waiting, [], "nothing becomes clean");
}
