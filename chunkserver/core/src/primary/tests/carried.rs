//! Mutations in flight across a raise (raise-4, mut-3).

use gfs_types::limits::{CARRIED_MS, EQUALISE_MS};

use super::*;
use crate::Token;

/// Two appends and a write in flight that 2 has and 3 lacks, then a raise without 3.
fn raised() -> (Bench, [Token; 3]) {
    let mut bench = Bench::primary(&[2, 3]);
    let tokens = [bench.mutate(append(100)), bench.mutate(append(50)), bench.mutate(write(0, 10))];
    bench.acknowledges(2, 3);
    bench.raise(2, 1);
    bench.durable();
    bench.take();
    (bench, tokens)
}

/// Under the version that was raised meanwhile.
fn committed(length: u64) -> Option<Result<DataResponse, gfs_types::ErrorKind>> {
    Some(Ok(DataResponse::Committed { length, version: ChunkVersion(2) }))
}

fn appended(offset: u64, length: u64) -> Option<Result<DataResponse, gfs_types::ErrorKind>> {
    appended_under(2, offset, length)
}

fn appended_under(
    version: u64,
    offset: u64,
    length: u64,
) -> Option<Result<DataResponse, gfs_types::ErrorKind>> {
    Some(Ok(DataResponse::Appended { offset, length, version: ChunkVersion(version) }))
}

#[test]
fn raise_4_what_was_applied_is_answered_when_the_new_members_are_equal_and_never_ordered_again() {
    let (mut bench, [first, second, third]) = raised();
    bench.grant_as(2, &[2], LeaseStart::Unequal, false);
    for token in [first, second, third] {
        assert_eq!(bench.reply(token), None, "2 may lack it still");
    }
    bench.equalised(2, 2, 1, Ok(0));
    assert_eq!(bench.reply(first), appended(0, 150));
    assert_eq!(bench.reply(second), appended(100, 150));
    assert_eq!(bench.reply(third), committed(150));
    assert_eq!(bench.ordered(2), [] as [u64; 0]);
    let publish = bench.position(|effect| matches!(effect, Effect::Publish(_)));
    assert!(publish < bench.position(|effect| matches!(effect, Effect::Reply { .. })));
    let next = bench.mutate_as(target(2), append(1));
    assert_eq!(bench.ordered(2), [1]);
    assert_eq!(bench.reply(next), None);
}

#[test]
fn raise_4_members_that_answered_the_raise_equal_have_it_at_once() {
    let (mut bench, [first, ..]) = raised();
    bench.grant(2, &[2]);
    assert_eq!(bench.reply(first), appended(0, 150));
}

#[test]
fn raise_4_a_raise_that_is_abandoned_for_another_carries_on() {
    let (mut bench, [first, ..]) = raised();
    bench.grant_as(2, &[2], LeaseStart::Unequal, false);
    bench.raise(3, 1);
    bench.durable();
    bench.raise(4, 1);
    bench.durable();
    assert_eq!(bench.reply(first), None);
    bench.grant_as(4, &[], LeaseStart::Unequal, false);
    assert_eq!(bench.reply(first), appended_under(4, 0, 150));
}

/// A master that is out of reach raises the others without it; a client that waits has longer than that takes.
#[test]
fn raise_4_a_raise_without_a_lease_behind_it_does_not_keep_clients_waiting() {
    let mut bench = Bench::primary(&[2]);
    let patient = gfs_types::message::data::Target { left_ms: 60_000, ..target(1) };
    let waiting = [bench.mutate_as(patient, append(10)), bench.mutate_as(patient, Mutation::Sync)];
    bench.raise(2, 1);
    bench.durable();
    bench.after(CARRIED_MS.0 / 2);
    bench.raise(3, 1);
    bench.durable();
    bench.after(CARRIED_MS.0 / 2 - 1);
    assert_eq!(waiting.map(|token| bench.reply(token)), [None, None]);
    bench.after(1);
    assert_eq!(waiting.map(|token| bench.reply(token)), [Some(Err(Unknown)), Some(Err(Unknown))]);
}

#[test]
fn raise_4_who_waits_for_a_lesson_is_given_the_time_that_it_takes() {
    let mut bench = Bench::primary(&[2]);
    let patient = gfs_types::message::data::Target { left_ms: 60_000, ..target(1) };
    let waits = bench.mutate_as(patient, append(100));
    bench.raise(2, 1);
    bench.durable();
    bench.after(CARRIED_MS.0 - 1_000);
    bench.grant_alone(2);
    bench.after(2_000);
    assert_eq!(bench.reply(waits), None, "its lease is there to teach");
    bench.raise(3, 2);
    bench.durable();
    bench.grant(3, &[3]);
    assert_eq!(bench.reply(waits), appended_under(3, 0, 100));
}

#[test]
fn raise_4_syncs_become_syncs_of_the_new_lease() {
    let mut bench = Bench::primary(&[2, 3]);
    bench.mutate(append(100));
    bench.acknowledges(2, 1);
    bench.acknowledges(3, 1);
    let ordered = bench.mutate(Mutation::Sync);
    bench.mutate(append(10));
    let waiting = bench.mutate(Mutation::Sync);
    bench.raise(2, 1);
    bench.durable();
    bench.grant_as(2, &[2], LeaseStart::Unequal, false);
    bench.take();
    bench.equalised(2, 2, 1, Ok(0));
    let orders = bench.sent().into_iter().filter_map(|message| match message.body {
        MessageBody::Order { order, .. } => Some((order.kind, order.committed_length)),
        _ => None,
    });
    assert_eq!(orders.collect::<Vec<_>>()[0], (OrderKind::Sync, 110));
    let op = StoreOp::Flush { committed_length: 110, clean: false };
    assert_eq!(bench.waiting.first().map(|(_, op)| *op), Some(op));
    assert_eq!((bench.reply(ordered), bench.reply(waiting)), (None, None), "on no disk yet");
    bench.durable();
    for serial in 1..=2 {
        bench.step(Input::MemberAnswered(crate::MemberAnswer {
            member: crate::Peer { chunkserver: uid(2), session: gfs_types::ids::ProcessSession(1) },
            version: ChunkVersion(2),
            said: crate::Said::Order(SerialNumber(serial)),
            result: Ok(DataResponse::Applied {
                serial: SerialNumber(serial),
                short_of_space: false,
            }),
        }));
        bench.durable();
    }
    assert_eq!((bench.reply(ordered), bench.reply(waiting)), (committed(110), committed(110)));
}

#[test]
fn raise_4_padding_that_was_applied_says_that_the_chunk_is_full() {
    let mut bench = Bench::primary(&[2]);
    for serial in 1..=3 {
        bench.mutate(append(CHUNK_BYTES / 4));
        bench.acknowledges(2, serial);
    }
    bench.mutate(append(1));
    let token = bench.mutate(append(CHUNK_BYTES / 4));
    bench.raise(2, 1);
    bench.durable();
    assert_eq!(bench.reply(token), None);
    bench.grant_as(2, &[], LeaseStart::Unequal, false);
    assert_eq!(bench.reply(token), Some(Err(ChunkFull)));
}

#[test]
fn mut_3_what_was_not_applied_here_is_unknown() {
    let mut bench = Bench::primary(&[2]);
    let mut out = Vec::new();
    let applied = bench.mutate(append(10));
    let token = Token(90);
    let mutate = Input::Mutate { token, target: target(1), mutation: append(100) };
    bench.replica.step(bench.now, mutate, &mut out);
    bench.step(Input::Applied {
        version: ChunkVersion(1),
        serial: SerialNumber(2),
        result: Err(Error::busy("no space")),
        short_of_space: true,
    });
    bench.raise(2, 1);
    assert_eq!(bench.reply(token), Some(Err(Unknown)), "it waited for space");
    bench.durable();
    bench.grant(2, &[]);
    assert_eq!(bench.reply(applied), appended(0, 10));
}

#[test]
fn mut_3_who_waits_is_told_when_its_time_is_out() {
    let (mut bench, tokens) = raised();
    let left_ms = bench.replica.wakeup().unwrap().ms_since(bench.now).0;
    assert!(left_ms < EQUALISE_MS.0);
    bench.after(left_ms);
    for token in tokens {
        assert_eq!(bench.reply(token), Some(Err(Unknown)));
    }
    bench.take();
    bench.grant(2, &[2]);
    assert!(tokens.iter().all(|token| bench.reply(*token).is_none()), "answered once");
}

#[test]
fn mut_3_nobody_is_answered_for_what_another_may_have_undone() {
    use crate::testing::bench::{PRIMARY, order};
    let ends: [&dyn Fn(&mut Bench); 5] = [
        &|bench| _ = bench.equalise(PRIMARY, target(2), true),
        &|bench| _ = bench.equalise(PRIMARY, target(3), false),
        &|bench| {
            _ = bench.order_from(PRIMARY, target(2), order(1, OrderKind::Sync, 0, 150), true);
        },
        &|bench| bench.step(Input::Delete { version: ChunkVersion(2) }),
        &|bench| bench.step(Input::BlockMismatch),
    ];
    for (number, end) in ends.iter().enumerate() {
        let (mut bench, [first, ..]) = raised();
        end(&mut bench);
        assert_eq!(bench.reply(first), Some(Err(Unknown)), "{number}");
    }
}

#[test]
fn raise_4_mutations_in_flight_wait_for_the_raise_when_a_member_refused() {
    let mut bench = Bench::primary(&[2, 3]);
    let token = bench.mutate(append(100));
    bench.acknowledges(2, 1);
    bench.answers(3, 1, Err(Error::stale("another run")));
    assert_eq!(bench.reply(token), None);
    bench.raise(2, 1);
    bench.durable();
    bench.grant(2, &[2]);
    assert_eq!(bench.reply(token), appended(0, 100));
}
