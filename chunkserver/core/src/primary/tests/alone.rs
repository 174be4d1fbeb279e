//! mut-6: a primary without another member acknowledges nothing, and teaches.

use super::*;
use crate::Token;

/// An append that 2 never acknowledged, applied here, and then a raise without 2.
fn raised_without_2() -> (Bench, [Token; 2]) {
    let mut bench = Bench::primary(&[2]);
    let tokens = [bench.mutate(append(100)), bench.mutate(Mutation::Sync)];
    bench.raise(2, 1);
    bench.durable();
    bench.take();
    (bench, tokens)
}

#[test]
fn mut_6_one_alone_takes_no_mutation_and_no_sync_and_teaches() {
    let mut bench = Bench::newborn(1);
    bench.grant_alone(1);
    for mutation in [append(10), write(0, 10), Mutation::Sync] {
        let token = bench.mutate(mutation);
        assert_eq!(bench.reply(token), Some(Err(Busy)));
    }
    bench.teach(1, 3);
    assert_eq!(bench.passes(3), [(2, false)]);
    bench.equalised(3, 1, 2, Ok(0));
    bench.reads_out(3, 1, crate::ReadOut::Checksums);
    bench.equalised(3, 1, 3, Ok(0));
    assert_eq!(bench.taught(), [(3, Ok(()))]);
}

#[test]
fn mut_6_what_came_before_the_grant_is_not_taken_either() {
    let mut bench = Bench::newborn(1);
    let held = bench.mutate(append(10));
    assert_eq!(bench.reply(held), None);
    bench.grant_alone(1);
    assert_eq!(bench.reply(held), Some(Err(Busy)));
}

#[test]
fn mut_6_who_waits_across_a_raise_waits_until_there_are_two() {
    let (mut bench, [appends, syncs]) = raised_without_2();
    bench.grant_alone(2);
    assert_eq!((bench.reply(appends), bench.reply(syncs)), (None, None), "it exists once");
    bench.raise(3, 2);
    bench.durable();
    bench.grant(3, &[3]);
    let version = ChunkVersion(3);
    let appended = DataResponse::Appended { offset: 0, length: 100, version };
    assert_eq!(bench.reply(appends), Some(Ok(appended)));
    assert_eq!(bench.reply(syncs), None, "a sync of this lease");
    assert_eq!(bench.ordered(3), [1]);
}

#[test]
fn mut_6_a_lease_of_one_ends_in_order_and_who_waits_is_told_when_time_is_out() {
    let (mut bench, [appends, syncs]) = raised_without_2();
    bench.grant_alone(2);
    bench.after(1_000);
    assert_eq!(
        (bench.reply(appends), bench.reply(syncs)),
        (Some(Err(Unknown)), Some(Err(Unknown)))
    );
    bench.after(LEASE_IDLE_MS.0);
    bench.durable();
    assert_eq!(given_up(&bench), Some(100));
    assert_eq!(bench.replica.condition(), Condition::Clean);
}
