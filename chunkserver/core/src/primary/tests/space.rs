//! FULL-1: mutations wait while a member has no space, clients are told which, and it ends by itself.

use gfs_types::limits::SPACE_PROBE_MS;

use super::*;
use crate::input::{MemberAnswer, Peer, Said};
use crate::{Token, testing::bench};

/// What a request was told.
fn told(bench: &Bench, token: Token) -> Option<Error> {
    bench.effects.iter().find_map(|effect| match effect {
        Effect::Reply { token: to, result: Err(error) } if *to == token => Some(error.clone()),
        _ => None,
    })
}

/// The member's answer to an order, and whether its disk is short of space.
fn answers(bench: &mut Bench, number: u128, serial: u64, short_of_space: bool) {
    let member = Peer { chunkserver: uid(number), session: bench::member(number).session };
    let serial = SerialNumber(serial);
    bench.step(Input::MemberAnswered(MemberAnswer {
        member,
        version: ChunkVersion(1),
        said: Said::Order(serial),
        result: Ok(DataResponse::Applied { serial, short_of_space }),
    }));
}

/// What was ordered.
fn kinds(bench: &Bench) -> Vec<OrderKind> {
    let kind = |message: crate::Message| match message.body {
        MessageBody::Order { order, .. } => Some(order.kind),
        _ => None,
    };
    bench.sent().into_iter().filter_map(kind).collect()
}

/// Primary of itself and 2, which is short of space.
fn short() -> Bench {
    let mut bench = Bench::primary(&[2]);
    bench.mutate(append(100));
    answers(&mut bench, 2, 1, true);
    bench.take();
    bench
}

fn refused_naming(bench: &mut Bench, mutation: Mutation, number: u128) {
    let token = bench.mutate(mutation);
    let error = told(bench, token).expect("it is answered at once");
    assert_eq!(error.kind, Busy);
    assert!(u64::from(error.retry_after_ms) >= SPACE_PROBE_MS.0);
    let name = format!("{} at {}", uid(number), bench::member(number).address);
    assert!(error.message.contains(&name), "{name}: {error}");
    assert!(error.message.contains("no space left"), "{error}");
}

#[test]
fn full_1_a_member_that_is_short_of_space_is_named_and_nothing_is_ordered_that_needs_some() {
    let mut bench = short();
    refused_naming(&mut bench, append(1), 2);
    refused_naming(&mut bench, write(0, 1), 2);
    assert_eq!(kinds(&bench), [OrderKind::Sync], "it is asked once, by what needs no space");
}

#[test]
fn full_1_syncs_and_padding_need_no_space() {
    let mut bench = Bench::primary(&[2]);
    bench.mutate(write(0, CHUNK_BYTES - 10));
    answers(&mut bench, 2, 1, true);
    bench.take();
    bench.mutate(Mutation::Sync);
    assert_eq!(kinds(&bench), [OrderKind::Sync]);
    answers(&mut bench, 2, 2, true);
    bench.durable();
    bench.take();
    let token = bench.mutate(append(11));
    assert_eq!(kinds(&bench), [OrderKind::Pad]);
    answers(&mut bench, 2, 3, true);
    assert_eq!(bench.reply(token), Some(Err(ChunkFull)), "the next chunk may be elsewhere");
}

#[test]
fn full_1_a_member_is_asked_again_and_again_until_it_has_space() {
    let mut bench = short();
    for (serial, still) in [(2, true), (3, true), (4, false)] {
        refused_naming(&mut bench, append(1), 2);
        assert_eq!(bench.ordered(2), [serial]);
        bench.durable();
        answers(&mut bench, 2, serial, still);
        bench.take();
        if still {
            refused_naming(&mut bench, append(1), 2);
            assert_eq!(bench.ordered(2), [] as [u64; 0], "not before its time");
            bench.take();
            bench.after(SPACE_PROBE_MS.0);
            bench.take();
        }
    }
    let token = bench.mutate(append(10));
    assert_eq!(bench.ordered(2), [5]);
    answers(&mut bench, 2, 5, false);
    assert_eq!(bench.reply(token), appended(100, 110));
}

#[test]
fn full_1_a_primary_that_is_short_of_space_names_itself_and_asks_nobody() {
    let mut bench = Bench::primary(&[2]);
    bench.step(Input::Space { short: true });
    refused_naming(&mut bench, append(1), 1);
    assert_eq!(bench.ordered(2), [] as [u64; 0]);
    bench.step(Input::Space { short: false });
    bench.take();
    bench.mutate(append(1));
    assert_eq!(bench.ordered(2), [1]);
}

#[test]
fn full_1_a_lease_is_kept_while_somebody_waits_for_space() {
    let mut bench = Bench::primary(&[2]);
    bench.step(Input::Space { short: true });
    for _ in 0..10 {
        bench.after(LEASE_IDLE_MS.0 / 2);
        bench.step(Input::Extended { version: ChunkVersion(1), until: bench.now + LEASE });
        bench.take();
        refused_naming(&mut bench, append(1), 1);
    }
    assert!(bench.replica.lease().is_some_and(|lease| lease.wanted));
    bench.after(LEASE_IDLE_MS.0);
    assert!(bench.replica.lease().is_none_or(|lease| !lease.wanted), "nobody waits any more");
}

/// The disk was filled so fast that an ordered mutation found no byte: whoever waits is told so when time is out.
#[test]
fn full_1_who_waits_for_a_member_with_a_full_disk_is_told_which() {
    let mut bench = Bench::primary(&[2]);
    let token = bench.mutate(append(10));
    let waits = Error::busy("chunkserver 2 at x:1 has no space left");
    bench.answers(2, 1, Err(Error { retry_after_ms: 50, ..waits.clone() }));
    // Nobody else is made to wait so.
    bench.take();
    let refused = bench.mutate(append(10));
    assert_eq!(told(&bench, refused).map(|error| error.message), Some(waits.message));
    assert_eq!(bench.ordered(2), [] as [u64; 0]);
    let left = u64::from(target(1).left_ms);
    bench.after(left - 1);
    assert_eq!(bench.reply(token), None);
    bench.after(1);
    let error = told(&bench, token).expect("time is out");
    assert_eq!(error.kind, Unknown);
    assert!(error.message.contains("chunkserver 2 at x:1 has no space left"), "{error}");
    // When there is space it is committed all the same.
    bench.acknowledges(2, 1);
    assert_eq!(bench.replica.view().committed_length, 10);
    bench.take();
    bench.mutate(append(10));
    assert_eq!(bench.ordered(2), [2]);
    // One that is busy with an order, and says nothing more, keeps nobody waiting.
    bench.answers(2, 2, Err(Error::busy("order 2 is being carried out")));
    bench.take();
    bench.mutate(append(10));
    assert_eq!(bench.ordered(2), [3]);
}

#[test]
fn full_1_who_waits_for_a_primary_with_a_full_disk_is_told_so() {
    let mut bench = Bench::primary(&[]);
    let (token, mut out) = (Token(1), Vec::new());
    let mutate = Input::Mutate { token, target: target(1), mutation: append(100) };
    bench.replica.step(bench.now, mutate, &mut out);
    let (version, serial) = (ChunkVersion(1), SerialNumber(1));
    let full = || Input::Applied {
        version,
        serial,
        result: Err(Error::busy("chunkserver 1 at y:1 has no space left")),
        short_of_space: true,
    };
    bench.replica.step(bench.now, full(), &mut out);
    bench.now = bench.now + gfs_types::DurationMs(u64::from(target(1).left_ms));
    out.clear();
    bench.replica.step(bench.now, Input::Tick, &mut out);
    let error = out.iter().find_map(|effect| match effect {
        Effect::Reply { result: Err(error), .. } => Some(error.clone()),
        _ => None,
    });
    let error = error.expect("time is out");
    assert!(error.message.contains("1 at y:1 has no space left"), "{error}");
}

/// A member that is ordered again what it has no space for says what it waits for.
#[test]
fn full_1_a_member_with_a_full_disk_says_so_when_it_is_asked_again() {
    let mut bench = Bench::newborn(2);
    let from = Peer { chunkserver: uid(1), session: bench::member(1).session };
    let order = |token| Input::Order {
        token: Token(token),
        target: target(1),
        from,
        order: bench::order(1, bench::bytes(0, 10), 0, 0),
        has_data: true,
    };
    let mut out = Vec::new();
    bench.replica.step(bench.now, order(90), &mut out);
    let (version, serial) = (ChunkVersion(1), SerialNumber(1));
    let result = Err(Error::busy("chunkserver 2 at x:1 has no space left"));
    let full = Input::Applied { version, serial, result, short_of_space: true };
    bench.replica.step(bench.now, full, &mut bench.effects);
    bench.replica.step(bench.now, order(91), &mut bench.effects);
    let error = told(&bench, Token(90)).expect("the older request is answered");
    assert_eq!(error.kind, Busy);
    assert!(error.message.contains("2 at x:1 has no space left"), "{error}");
    assert!(error.retry_after_ms > 0, "so the primary knows that it waits for space");
    bench.after(50);
    let applied = DataResponse::Applied { serial, short_of_space: false };
    assert_eq!(bench.reply(Token(91)), Some(Ok(applied)), "when there is space");
}
