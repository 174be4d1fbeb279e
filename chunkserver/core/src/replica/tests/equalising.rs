//! What a replica lets be done to it to become equal (equal-1, equal-4, raise-2).

use gfs_types::ErrorKind::{Corrupt, NotFound};
use gfs_types::message::control::LeaseStart;

use super::*;
use crate::StoreOp;
use crate::testing::bench::uid;

/// The digest of whatever is durable on the bench.
const SAME: u32 = 0xd1;
const OTHER: Peer = Peer { chunkserver: ServerUid(8), session: ProcessSession(4) };

/// Raised to 4 and told to be equal, in one copy, the first.
fn member(state: ReplicaState) -> (Bench, crate::Token) {
    let mut bench = found(state, false);
    bench.raise(4, 3);
    bench.durable();
    bench.take();
    let token = bench.equalise(PRIMARY, target(4), true);
    (bench, token)
}

/// Stale, and learning version 5 in its last pass.
fn learner() -> (Bench, crate::Token) {
    let mut bench = found(ReplicaState::Unclean, false);
    let token = bench.equalise(PRIMARY, target(5), true);
    (bench, token)
}

/// ... which is equal.
fn taught() -> Bench {
    let (mut bench, _) = learner();
    bench.copied(Job(1), 200, SAME, 0);
    bench.durable();
    bench.take();
    bench
}

fn equalised(copied_bytes: u64) -> Option<Result<DataResponse, gfs_types::ErrorKind>> {
    Some(Ok(DataResponse::Equalised { copied_bytes }))
}

#[test]
fn equal_1_a_member_shows_nothing_while_it_is_made_equal_nor_before_all_are() {
    let (mut bench, token) = member(ReplicaState::Unclean);
    let hidden = bench.position(|effect| matches!(effect, Effect::Publish(view) if !view.readable));
    assert!(hidden < bench.position(|effect| matches!(effect, Effect::Copy { .. })));
    let piece = bench.piece(Job(1), 0, 200);
    assert!(bench.effects.contains(&Effect::Repair { token: piece, offset: 0, length: 200 }));
    assert_eq!(bench.replica.report().unwrap().state, ReplicaState::Suspect, "half a copy");
    bench.copied(Job(1), 200, SAME, 200);
    assert_eq!(bench.reply(token), None, "not on this disk yet");
    let op = StoreOp::Equalised { length: 200 };
    assert_eq!(bench.waiting.iter().map(|(_, op)| *op).collect::<Vec<_>>(), [op]);
    bench.durable();
    assert_eq!(bench.reply(token), equalised(200));
    assert_eq!(bench.replica.condition(), Condition::Unclean);
    assert!(!bench.shown().0, "other members may lack it still");
    assert_eq!(bench.replica.report().unwrap().length, 60, "nor is it called committed");
    bench.step(Input::Committed {
        token: crate::Token(90),
        target: target(4),
        from: PRIMARY,
        serial: SerialNumber(0),
        length: 200,
    });
    assert_eq!(bench.shown(), (true, 200));
}

#[test]
fn equal_1_the_first_order_says_that_all_are_equal_and_must_begin_at_that_length() {
    let (mut bench, _) = member(ReplicaState::Unclean);
    bench.copied(Job(1), 80, SAME, 0);
    bench.durable();
    for (committed, length) in [(0, 79), (0, 81), (1, 80)] {
        let wrong = order(committed + 1, bytes(80, 1), committed, length);
        let token = bench.order_from(PRIMARY, target(4), wrong, true);
        assert_eq!(bench.reply(token), Some(Err(Internal)), "{committed} {length}");
    }
    let token = bench.order_from(OTHER, target(4), order(1, bytes(80, 1), 0, 80), true);
    assert_eq!(bench.reply(token), Some(Err(Stale)), "another primary");
    let token = bench.order_from(PRIMARY, target(4), order(1, bytes(80, 1), 0, 80), true);
    assert_eq!(bench.reply(token), applied(1), "it was cut to the primary's length");
    assert_eq!(bench.shown(), (true, 80));
}

#[test]
fn equal_1_a_request_that_comes_again_gets_the_answer_and_the_older_one_a_sign_of_life() {
    let (mut bench, first) = member(ReplicaState::Unclean);
    let second = bench.equalise(PRIMARY, target(4), true);
    assert_eq!(bench.reply(first), Some(Err(Busy)));
    assert_eq!(bench.copies().len(), 1, "one copy");
    bench.copied(Job(1), 100, SAME, 7);
    let third = bench.equalise(PRIMARY, target(4), true);
    assert_eq!(bench.reply(second), Some(Err(Busy)));
    bench.durable();
    assert_eq!(bench.reply(third), equalised(7));
    let again = bench.equalise(PRIMARY, target(4), true);
    assert_eq!(bench.reply(again), equalised(0), "it follows that primary since");
    let other = bench.equalise(OTHER, target(4), true);
    assert_eq!(bench.reply(other), Some(Err(Stale)));
}

#[test]
fn equal_1_orders_are_not_taken_while_it_is_made_equal() {
    let (mut bench, _) = member(ReplicaState::Unclean);
    let token = bench.order_from(PRIMARY, target(4), order(1, bytes(100, 1), 0, 100), true);
    assert_eq!(bench.reply(token), Some(Err(Stale)));
}

#[test]
fn equal_1_lower_versions_older_epochs_and_other_runs_are_refused() {
    let (mut bench, _) = member(ReplicaState::Unclean);
    let token = bench.equalise(OTHER, target(4), true);
    assert_eq!(bench.reply(token), Some(Err(Stale)), "another primary");
    let token = bench.equalise(PRIMARY, target(3), true);
    assert_eq!(bench.reply(token), Some(Err(Stale)), "a lower version");
    let mut old = target(4);
    old.epoch = MasterEpoch(0);
    let token = bench.equalise(PRIMARY, old, true);
    assert_eq!(bench.reply(token), Some(Err(Stale)), "an older epoch");
    let mut restarted = found(ReplicaState::Unclean, false);
    for state in [false, true] {
        if state {
            restarted.step(Input::BlockMismatch);
            restarted.durable();
        }
        let token = restarted.equalise(PRIMARY, target(3), true);
        assert_eq!(restarted.reply(token), Some(Err(Stale)), "equal-3: a raise comes first");
    }
    let mut absent = Bench::absent(1);
    let token = absent.equalise(PRIMARY, target(3), true);
    assert_eq!(absent.reply(token), Some(Err(NotFound)));
    let mut primary = Bench::primary(&[2]);
    let token = primary.equalise(PRIMARY, target(1), true);
    assert_eq!(primary.reply(token), Some(Err(Stale)), "it leads itself");
    let mut promised = found(ReplicaState::Unclean, false);
    promised.raise(4, 3);
    let token = promised.equalise(PRIMARY, target(3), true);
    assert_eq!(promised.reply(token), Some(Err(Stale)), "4 is accepted, on disk or not");
}

#[test]
fn equal_1_a_member_has_no_first_pass() {
    let mut bench = Bench::newborn(1);
    let token = bench.equalise(PRIMARY, target(1), false);
    assert_eq!(bench.reply(token), Some(Err(Invalid)));
}

#[test]
fn every_block_of_a_replica_that_is_in_doubt_is_read() {
    let copies = |state| member(state).0.copies();
    assert_eq!(copies(ReplicaState::Unclean), [(Job(1), false)]);
    assert_eq!(copies(ReplicaState::Clean), [(Job(1), false)]);
    assert_eq!(copies(ReplicaState::Suspect), [(Job(1), true)]);
    assert_eq!(copies(ReplicaState::Corrupt), [(Job(1), true)]);
    let mut bench = found(ReplicaState::Corrupt, false);
    bench.equalise(PRIMARY, target(5), false);
    bench.copied(Job(1), 100, 0, 0);
    bench.equalise(PRIMARY, target(5), true);
    assert_eq!(bench.copies(), [(Job(1), true), (Job(2), true)], "in every pass");
}

#[test]
fn equal_1_a_raise_makes_the_copy_void() {
    let (mut bench, token) = member(ReplicaState::Unclean);
    bench.raise(5, 3);
    assert!(bench.effects.contains(&Effect::StopCopy { job: Job(1) }));
    assert_eq!(bench.reply(token), Some(Err(Stale)));
    let piece = bench.piece(Job(1), 0, 10);
    assert_eq!(bench.reply(piece), Some(Err(Stale)));
    bench.copied(Job(1), 10, SAME, 10);
    assert!(!bench.waiting.iter().any(|(_, op)| matches!(op, StoreOp::Equalised { .. })));
    bench.durable();
    assert_eq!(bench.replica.report().unwrap().version, ChunkVersion(5));
}

#[test]
fn a_copy_that_was_being_made_durable_when_a_raise_came_still_counts_for_the_disk() {
    let (mut bench, _) = member(ReplicaState::Suspect);
    bench.copied(Job(1), 40, SAME, 0);
    bench.raise(5, 3);
    bench.durable();
    let report = bench.replica.report().unwrap();
    assert_eq!((report.version, report.state), (ChunkVersion(5), ReplicaState::Unclean));
    let token = bench.order_from(PRIMARY, target(5), order(1, bytes(40, 1), 0, 40), true);
    assert_eq!(bench.reply(token), applied(1), "it was cut");
}

#[test]
fn a_copy_that_fails_is_asked_for_again_and_a_disk_that_fails_is_told() {
    let (mut bench, token) = member(ReplicaState::Unclean);
    bench.step(Input::Copied { job: Job(1), result: Err(gfs_types::Error::stale("no primary")) });
    assert_eq!(bench.reply(token), Some(Err(Busy)), "not its own refusal");
    let token = bench.equalise(PRIMARY, target(4), true);
    assert_eq!(bench.copies(), [(Job(1), false), (Job(2), true)]);
    bench.step(Input::Copied { job: Job(2), result: Err(gfs_types::Error::corrupt("disk")) });
    assert_eq!(bench.reply(token), Some(Err(Corrupt)));
    assert_eq!(bench.replica.condition(), Condition::Corrupt);
    let (mut bench, token) = member(ReplicaState::Unclean);
    bench.copied(Job(1), 100, SAME, 0);
    let (ticket, _) = bench.waiting.remove(0);
    bench.step(Input::StoreDone { ticket, result: Err(gfs_types::Error::corrupt("disk")) });
    assert_eq!(bench.reply(token), Some(Err(Corrupt)));
    assert_eq!(bench.replica.condition(), Condition::Corrupt);
}

#[test]
fn a_member_that_differs_after_its_copy_is_corrupt_since_nothing_changed_at_the_primary() {
    let (mut bench, token) = member(ReplicaState::Suspect);
    bench.copied(Job(1), 100, SAME + 1, 0);
    bench.durable();
    assert_eq!(bench.reply(token), Some(Err(Busy)));
    assert_eq!(bench.replica.condition(), Condition::Corrupt, "the disk called it good already");
    assert_eq!(bench.replica.report().unwrap().state, ReplicaState::Corrupt);
}

#[test]
fn a_bad_block_found_while_it_is_copied_begins_the_copy_again() {
    let (mut bench, token) = member(ReplicaState::Unclean);
    bench.step(Input::BlockMismatch);
    assert_eq!(bench.reply(token), Some(Err(Busy)));
    let busy = bench.equalise(PRIMARY, target(4), true);
    assert_eq!(bench.reply(busy), Some(Err(Busy)), "its mark is not on disk yet");
    bench.durable();
    bench.equalise(PRIMARY, target(4), true);
    assert_eq!(bench.copies().last(), Some(&(Job(2), true)));
    bench.copied(Job(2), 100, SAME, 0);
    bench.step(Input::BlockMismatch);
    bench.durable();
    assert_eq!(bench.replica.condition(), Condition::Corrupt, "marked behind what was copied");
}

#[test]
fn equal_4_a_stale_replica_learns_in_passes_and_shows_nothing() {
    let mut bench = found(ReplicaState::Clean, false);
    let first = bench.equalise(PRIMARY, target(5), false);
    assert!(!bench.shown().0);
    bench.piece(Job(1), 0, 500);
    assert_eq!(bench.replica.report().unwrap().state, ReplicaState::Suspect);
    bench.copied(Job(1), 500, 0, 500);
    assert_eq!(bench.reply(first), equalised(500));
    assert_eq!(bench.waiting, [], "the next pass comes anyway");
    let last = bench.equalise(PRIMARY, target(5), true);
    bench.copied(Job(2), 600, SAME, 100);
    bench.durable();
    assert_eq!(bench.reply(last), equalised(100));
    assert!(!bench.shown().0, "not before it is a member");
    let report = bench.replica.report().unwrap();
    assert_eq!((report.version, report.state), (ChunkVersion(3), ReplicaState::Unclean));
}

#[test]
fn equal_4_a_learner_is_raised_from_the_version_it_was_made_equal_under_and_only_then() {
    let (mut bench, _) = learner();
    bench.raise(6, 5);
    assert_eq!(raised(&bench), Some(Err(Stale)), "not equal yet");
    bench.copied(Job(1), 200, SAME, 0);
    bench.durable();
    bench.take();
    for (version, from) in [(6, 4), (6, 3), (7, 6), (4, 3), (5, 5)] {
        let mut bench = taught();
        bench.raise(version, from);
        assert_eq!(raised(&bench), Some(Err(Stale)), "{version} from {from}");
    }
    bench.raise(6, 5);
    bench.durable();
    let state = ReplicaState::Unclean;
    assert_eq!(raised(&bench), Some(Ok(RaisedReplica { length: 200, digest: SAME, state })));
    let token = bench.order_from(PRIMARY, target(6), order(1, bytes(200, 1), 0, 200), true);
    assert_eq!(bench.reply(token), applied(1));
}

#[test]
fn equal_4_another_pass_or_a_restart_or_a_bad_block_makes_it_a_learner_again() {
    let mut bench = taught();
    bench.equalise(PRIMARY, target(5), false);
    bench.raise(6, 5);
    assert_eq!(raised(&bench), Some(Err(Stale)), "it may have met a mutation");
    let mut bench = taught();
    bench.equalise(PRIMARY, target(5), true);
    bench.copied(Job(2), 200, SAME, 0);
    bench.raise(6, 5);
    assert_eq!(raised(&bench), Some(Err(Stale)), "not on disk yet");
    let mut bench = taught();
    bench.step(Input::BlockMismatch);
    bench.durable();
    bench.raise(6, 5);
    assert_eq!(raised(&bench), Some(Err(Stale)));
    let mut restarted = found(ReplicaState::Unclean, false);
    restarted.raise(6, 5);
    assert_eq!(raised(&restarted), Some(Err(Stale)), "never stored");
}

#[test]
fn raise_2_a_learner_of_a_version_refuses_every_lower_one() {
    let mut bench = taught();
    for version in [3, 4] {
        let token = bench.equalise(PRIMARY, target(version), true);
        assert_eq!(bench.reply(token), Some(Err(Stale)), "equalise of {version}");
        let lower = order(1, bytes(200, 1), 0, 200);
        let token = bench.order_from(PRIMARY, target(version), lower, true);
        assert_eq!(bench.reply(token), Some(Err(Stale)), "order of {version}");
    }
    let token = bench.equalise(OTHER, target(5), true);
    assert_eq!(bench.reply(token), Some(Err(Stale)), "another primary");
    let token = bench.equalise(OTHER, target(7), true);
    assert_eq!(bench.reply(token), None, "a higher version is newer");
    bench.raise(8, 5);
    assert_eq!(raised(&bench), Some(Err(Stale)), "what it learned before counts no more");
}

#[test]
fn equal_4_learning_a_higher_version_ends_what_it_did_under_its_own() {
    let mut bench = Bench::newborn(1);
    bench.mutate(append(1));
    bench.grant_as(1, &[2], LeaseStart::Equal, false);
    let token = bench.mutate(append(1));
    bench.equalise(PRIMARY, target(2), false);
    assert_eq!(bench.replica.lease(), None);
    assert_eq!(bench.reply(token), Some(Err(gfs_types::ErrorKind::Unknown)));
    let mut follows = Bench::newborn(1);
    follows.order(order(1, bytes(0, 10), 0, 0));
    follows.equalise(OTHER, target(2), false);
    let token = follows.order(order(2, bytes(10, 10), 1, 10));
    assert_eq!(follows.reply(token), Some(Err(Stale)));
}

#[test]
fn equal_4_a_learner_that_met_a_change_copies_again() {
    let (mut bench, token) = learner();
    bench.copied(Job(1), 200, SAME + 1, 0);
    bench.durable();
    assert_eq!(bench.reply(token), Some(Err(Busy)));
    assert_eq!(bench.replica.condition(), Condition::Unclean, "stale, not bad");
    bench.raise(6, 5);
    assert_eq!(raised(&bench), Some(Err(Stale)));
}

#[test]
fn pieces_that_do_not_lie_in_the_chunk_are_refused() {
    let (mut bench, _) = member(ReplicaState::Unclean);
    let chunk = settings(1).chunk_size.bytes();
    for (offset, length) in [(chunk, 1), (chunk - 1, 2), (u64::MAX, 2)] {
        let piece = bench.piece(Job(1), offset, length);
        assert_eq!(bench.reply(piece), Some(Err(Stale)), "{length} at {offset}");
    }
    bench.piece(Job(1), chunk - 1, 1);
    assert!(bench.effects.iter().any(|effect| matches!(effect, Effect::Repair { .. })));
}

#[test]
fn mut_4_a_replica_whose_shown_bytes_were_replaced_shows_nothing_after_an_unclean_end() {
    let (mut bench, _) = member(ReplicaState::Unclean);
    bench.piece(Job(1), 59, 10);
    bench.copied(Job(1), 100, SAME, 10);
    bench.durable();
    let token = bench.order_from(PRIMARY, target(4), order(1, bytes(100, 1), 0, 100), true);
    assert_eq!(bench.reply(token), applied(1));
    bench.raise(5, 4);
    assert!(!bench.shown().0);
}

#[test]
fn deletion_ends_the_copy() {
    let (mut bench, _) = learner();
    bench.step(Input::Delete { version: ChunkVersion(3) });
    assert!(bench.effects.contains(&Effect::StopCopy { job: Job(1) }));
    bench.durable();
    assert!(bench.replica.is_forgettable());
}

#[test]
fn an_acknowledgement_says_whether_the_disk_is_short_of_space() {
    let mut bench = Bench::newborn(1);
    let mut out = Vec::new();
    let token = crate::Token(80);
    let first = Input::Order {
        token,
        target: target(1),
        from: PRIMARY,
        order: order(1, bytes(0, 10), 0, 0),
        has_data: true,
    };
    bench.replica.step(bench.now, first, &mut out);
    let (version, serial) = (ChunkVersion(1), SerialNumber(1));
    bench.step(Input::Applied { version, serial, result: Ok(()), short_of_space: true });
    let short = Some(Ok(DataResponse::Applied { serial, short_of_space: true }));
    assert_eq!(bench.reply(token), short);
    assert!(bench.replica.is_short_of_space());
    let mut primary = Bench::primary(&[2]);
    primary.mutate(append(1));
    assert!(!primary.replica.is_short_of_space());
    primary.step(Input::MemberAnswered(crate::MemberAnswer {
        member: Peer { chunkserver: uid(2), session: ProcessSession(1) },
        version,
        said: crate::Said::Order(serial),
        result: Ok(DataResponse::Applied { serial, short_of_space: true }),
    }));
    assert!(primary.replica.is_short_of_space());
}
