//! A learner is made equal beside the mutations, then for good (equal-4).

use gfs_types::limits::{
    EQUALISE_MS, FREEZE_MS, LEARNERS_WAITING_MAX, SEALED_MS, TEACH_PASSES_MAX, TEACH_REST_BYTES,
};

use super::*;
use crate::ReadOut;

/// Primary of itself and 2, that teaches 3.
fn teaching() -> Bench {
    let mut bench = Bench::primary(&[2]);
    bench.teach(1, 3);
    bench
}

/// ... whose learner is in its last pass, number 3.
fn last_pass() -> Bench {
    let mut bench = teaching();
    bench.equalised(3, 1, 2, Ok(0));
    bench
}

/// ... and is equal.
fn sealed() -> Bench {
    let mut bench = last_pass();
    bench.reads_out(3, 1, ReadOut::Checksums);
    bench.equalised(3, 1, 3, Ok(0));
    bench
}

#[test]
fn equal_4_mutations_go_on_while_a_learner_copies_until_little_is_left() {
    let mut bench = teaching();
    assert_eq!(bench.passes(3), [(2, false)]);
    for pass in 2..2 + u64::from(TEACH_PASSES_MAX) {
        let token = bench.mutate(append(10));
        let serial = pass - 1;
        assert_eq!(bench.ordered(2).last(), Some(&serial));
        bench.acknowledges(2, serial);
        assert!(matches!(bench.reply(token), Some(Ok(_))));
        bench.equalised(3, 1, pass, Ok(TEACH_REST_BYTES + 1));
    }
    let last = 2 + u64::from(TEACH_PASSES_MAX);
    assert_eq!(bench.passes(3).last(), Some(&(last, true)), "it never gets to less");
    let mut little = teaching();
    little.equalised(3, 1, 2, Ok(TEACH_REST_BYTES));
    assert_eq!(little.passes(3), [(2, false), (3, true)]);
    let mut more = teaching();
    more.equalised(3, 1, 2, Ok(TEACH_REST_BYTES + 1));
    assert_eq!(more.passes(3), [(2, false), (3, false)]);
}

#[test]
fn equal_4_the_last_pass_begins_when_nothing_is_under_way_and_nothing_is_taken_since() {
    let mut bench = teaching();
    let before = bench.mutate(append(10));
    let sync = bench.mutate(Mutation::Sync);
    bench.equalised(3, 1, 2, Ok(0));
    let token = bench.mutate(append(10));
    assert_eq!(bench.reply(token), Some(Err(Busy)));
    assert_eq!(bench.passes(3), [(2, false)], "two mutations are in flight");
    bench.acknowledges(2, 1);
    assert!(matches!(bench.reply(before), Some(Ok(_))));
    assert_eq!(bench.passes(3), [(2, false)], "a sync is in flight");
    bench.acknowledges(2, 2);
    bench.durable();
    assert!(matches!(bench.reply(sync), Some(Ok(_))));
    assert_eq!(bench.passes(3), [(2, false), (3, true)]);
    let token = bench.mutate(Mutation::Sync);
    assert_eq!(bench.reply(token), Some(Err(Busy)));
}

#[test]
fn equal_4_a_sealed_primary_never_takes_a_mutation_of_this_version_again() {
    let mut bench = sealed();
    assert_eq!(bench.taught(), [(3, Ok(()))]);
    assert!(!bench.replica.lease().unwrap().wanted, "there is nothing to extend it for");
    for mutation in [append(1), write(0, 1), Mutation::Sync] {
        let token = bench.mutate(mutation);
        assert_eq!(bench.reply(token), Some(Err(Busy)));
    }
    bench.after(FREEZE_MS.0);
    let token = bench.mutate(append(1));
    assert_eq!(bench.reply(token), Some(Err(Busy)), "it is no matter of time");
    assert_eq!(bench.ordered(2), [] as [u64; 0]);
}

#[test]
fn equal_4_a_sealed_lease_ends_in_order_when_no_raise_comes() {
    let mut bench = sealed();
    bench.after(SEALED_MS.0 - 1);
    assert_eq!(bench.ordered(2), [] as [u64; 0]);
    bench.after(1);
    assert_eq!(bench.ordered(2), [1], "the last order");
    let token = bench.mutate(append(1));
    assert_eq!(bench.reply(token), Some(Err(Stale)));
    bench.acknowledges(2, 1);
    bench.durable();
    assert_eq!(given_up(&bench), Some(0));
}

#[test]
fn equal_4_an_answer_of_an_earlier_pass_is_no_more_than_a_sign_of_life() {
    let mut bench = last_pass();
    bench.reads_out(3, 1, ReadOut::Checksums);
    bench.equalised(3, 1, 2, Ok(0));
    assert_eq!(bench.taught(), []);
    bench.equalised(3, 1, 4, Ok(0));
    assert_eq!(bench.taught(), []);
    bench.equalised(3, 1, 3, Ok(0));
    assert_eq!(bench.taught(), [(3, Ok(()))]);
}

#[test]
fn equal_4_a_last_pass_that_compared_nothing_since_it_began_is_made_again() {
    let mut bench = teaching();
    bench.reads_out(3, 1, ReadOut::Checksums);
    bench.equalised(3, 1, 2, Ok(0));
    let bytes = ReadOut::Bytes { offset: 0, length: 10 };
    bench.reads_out(3, 1, bytes);
    bench.equalised(3, 1, 3, Ok(0));
    assert_eq!(bench.taught(), [], "a request that came late began an older copy");
    assert_eq!(bench.passes(3), [(2, false), (3, true), (4, true)]);
    bench.reads_out(3, 1, ReadOut::Checksums);
    bench.equalised(3, 1, 4, Ok(0));
    assert_eq!(bench.taught(), [(3, Ok(()))]);
}

#[test]
fn equal_4_a_freeze_that_takes_too_long_is_given_up_and_the_chunk_serves_on() {
    let mut bench = last_pass();
    bench.after(FREEZE_MS.0 - 1);
    assert_eq!(bench.taught(), []);
    bench.after(1);
    assert_eq!(bench.taught(), [(3, Err(Busy))]);
    let token = bench.mutate(append(10));
    bench.acknowledges(2, 1);
    assert_eq!(bench.reply(token), appended(0, 10));
    bench.reads_out(3, 1, ReadOut::Checksums);
    bench.equalised(3, 1, 3, Ok(0));
    assert_eq!(bench.taught().len(), 1, "too late");
    bench.teach(1, 3);
    assert_eq!(bench.passes(3).last(), Some(&(4, false)), "from the beginning");
}

#[test]
fn equal_4_a_freeze_begun_while_a_member_is_slow_ends_too() {
    let mut bench = teaching();
    bench.mutate(append(10));
    bench.equalised(3, 1, 2, Ok(0));
    bench.after(FREEZE_MS.0);
    assert_eq!(bench.taught(), [(3, Err(Busy))]);
    assert!(bench.replica.lease().unwrap().wanted);
}

#[test]
fn equal_4_a_learner_that_is_silent_or_refuses_or_never_ends_is_given_up() {
    let mut silent = teaching();
    silent.after(ORDER_RESEND_MS.0);
    assert_eq!(silent.passes(3), [(2, false), (2, false)]);
    silent.after(MEMBER_SILENT_MS.0);
    assert_eq!(silent.taught(), [(3, Err(Busy))]);
    let mut refused = teaching();
    refused.equalised(3, 1, 2, Err(Error::stale("it follows a higher version")));
    assert_eq!(refused.taught(), [(3, Err(Stale))]);
    assert!(refused.replica.lease().unwrap().wanted, "the lease goes on");
    let mut slow = teaching();
    let mut busy_ms = 0;
    while busy_ms < EQUALISE_MS.0 {
        assert_eq!(slow.taught(), [], "after {busy_ms} ms");
        slow.equalised(3, 1, 2, Err(Error::busy("it goes on")));
        let until = slow.now + LEASE;
        slow.step(Input::Extended { version: ChunkVersion(1), until });
        slow.after(ORDER_RESEND_MS.0);
        busy_ms += ORDER_RESEND_MS.0;
    }
    assert_eq!(slow.taught(), [(3, Err(Busy))]);
}

#[test]
fn a_teach_that_comes_twice_is_answered_again_only_when_it_is_done() {
    let mut bench = teaching();
    bench.teach(1, 3);
    assert_eq!((bench.passes(3).len(), bench.taught()), (1, vec![]));
    let mut bench = sealed();
    bench.teach(1, 3);
    assert_eq!(bench.taught(), [(3, Ok(())), (3, Ok(()))]);
    bench.teach(1, 4);
    assert_eq!(bench.taught().last(), Some(&(4, Err(Busy))), "a raise comes first");
}

#[test]
fn learners_wait_for_their_turn_and_no_more_than_the_limit() {
    let mut bench = teaching();
    for number in 0..LEARNERS_WAITING_MAX as u128 {
        bench.teach(1, 4 + number);
        bench.teach(1, 4 + number);
    }
    assert_eq!(bench.taught(), []);
    bench.teach(1, 99);
    assert_eq!(bench.taught(), [(99, Err(Busy))]);
    bench.take();
    bench.equalised(3, 1, 2, Err(Error::stale("gone")));
    assert_eq!(bench.passes(4), [(3, false)], "the next one");
    let mut waiting = last_pass();
    waiting.teach(1, 4);
    waiting.reads_out(3, 1, ReadOut::Checksums);
    waiting.equalised(3, 1, 3, Ok(0));
    assert_eq!(waiting.taught(), [(3, Ok(())), (4, Err(Busy))], "after the raise");
}

#[test]
fn who_cannot_learn_here_is_named_at_once() {
    let mut bench = Bench::primary(&[2]);
    bench.teach(1, 2);
    bench.teach(1, 1);
    bench.teach(2, 3);
    assert_eq!(bench.taught(), [(2, Err(Stale)), (1, Err(Stale)), (3, Err(Stale))]);
    let mut corrupt = Bench::primary(&[2]);
    corrupt.step(Input::BlockMismatch);
    corrupt.teach(1, 3);
    assert_eq!(corrupt.taught(), [(3, Err(gfs_types::ErrorKind::Corrupt))]);
    let mut idle = Bench::newborn(1);
    idle.teach(1, 3);
    assert_eq!(idle.taught(), [(3, Err(Stale))]);
}

#[test]
fn the_end_of_the_lease_ends_the_teaching() {
    let version = ChunkVersion(1);
    let ends: [&dyn Fn(&mut Bench); 4] = [
        &|bench| bench.step(Input::Revoke { version }),
        &|bench| bench.raise(2, 1),
        &|bench| {
            bench.mutate(append(1));
            bench.answers(2, 1, Err(Error::stale("another run")));
        },
        &|bench| bench.step(Input::BlockMismatch),
    ];
    for (number, end) in ends.iter().enumerate() {
        let mut bench = teaching();
        end(&mut bench);
        assert_eq!(bench.taught(), [(3, Err(Busy))], "{number}");
    }
    let mut bench = sealed();
    bench.take();
    bench.raise(2, 1);
    assert_eq!(bench.taught(), [], "it was taught, and stays so");
}
