//! What a primary does, by the effects it emits.

use gfs_types::Error;
use gfs_types::ErrorKind::{Busy, ChunkFull, Invalid, Stale, Unknown};
use gfs_types::fence::{ChunkVersion, SerialNumber};
use gfs_types::limits::{
    CHUNK_BYTES_MIN, CHUNK_FLIGHT_BYTES_MAX, CHUNK_MUTATIONS_MAX, GRANT_WAIT_MS, LEASE_CLOSE_MS,
    LEASE_IDLE_MS, MEMBER_SILENT_MS, ORDER_RESEND_MAX, ORDER_RESEND_MS,
};
use gfs_types::message::control::{FromChunkserver, LeaseStart, ReplicaState};
use gfs_types::message::data::{DataResponse, OrderKind};

use crate::testing::bench::{Bench, CHUNK, LEASE, append, target, uid, write};
use crate::{Condition, Effect, Input, MessageBody, Mutation, StoreOp};

mod alone;
mod carried;
mod equalising;
mod space;
mod teaching;

const CHUNK_BYTES: u64 = CHUNK_BYTES_MIN;

fn appended(offset: u64, length: u64) -> Option<Result<DataResponse, gfs_types::ErrorKind>> {
    Some(Ok(DataResponse::Appended { offset, length, version: ChunkVersion(1) }))
}

fn committed(length: u64) -> DataResponse {
    DataResponse::Committed { length, version: ChunkVersion(1) }
}

fn given_up(bench: &Bench) -> Option<u64> {
    bench.told_master().into_iter().find_map(|message| match message {
        FromChunkserver::LeaseGivenUp { length, .. } => Some(length),
        _ => None,
    })
}

#[test]
fn mut_2_appends_get_serials_and_offsets_at_once_and_all_are_in_flight() {
    let mut bench = Bench::primary(&[2, 3]);
    for _ in 0..3 {
        bench.mutate(append(100));
    }
    assert_eq!(bench.ordered(2), [1, 2, 3]);
    assert_eq!(bench.ordered(3), [1, 2, 3]);
    let offsets: Vec<_> = bench
        .sent()
        .into_iter()
        .filter_map(|message| match message.body {
            MessageBody::Order { order, .. } => match order.kind {
                OrderKind::Write { offset, .. } => Some(offset),
                _ => None,
            },
            MessageBody::Committed { .. } | MessageBody::Equalise { .. } => None,
        })
        .collect();
    assert_eq!(offsets, [0, 0, 100, 100, 200, 200]);
}

#[test]
fn mut_3_a_client_is_answered_when_all_members_acknowledged_and_readers_see_it_first() {
    let mut bench = Bench::primary(&[2, 3]);
    let first = bench.mutate(append(100));
    let second = bench.mutate(append(50));
    bench.acknowledges(2, 2);
    bench.acknowledges(3, 1);
    assert_eq!(bench.reply(first), appended(0, 100));
    assert_eq!(bench.reply(second), None, "member 3 did not acknowledge it");
    assert_eq!(bench.shown(), (true, 100));
    bench.take();
    bench.acknowledges(3, 2);
    assert_eq!(bench.reply(second), appended(100, 150));
    let publish = bench.position(|effect| matches!(effect, Effect::Publish(_)));
    assert!(publish < bench.position(|effect| matches!(effect, Effect::Reply { .. })));
}

#[test]
fn mut_4_nothing_is_published_before_it_is_committed() {
    let mut bench = Bench::primary(&[2]);
    bench.mutate(append(100));
    assert_eq!(bench.published(), None);
    assert_eq!(bench.shown(), (true, 0));
    bench.acknowledges(2, 1);
    assert_eq!(bench.shown(), (true, 100));
}

#[test]
fn mut_4_an_overwrite_is_hidden_before_it_changes_anything_until_it_is_committed() {
    let mut bench = Bench::primary(&[2]);
    bench.mutate(append(1_000));
    bench.acknowledges(2, 1);
    bench.take();
    bench.mutate(write(10, 20));
    let hide =
        bench.position(|effect| matches!(effect, Effect::Publish(view) if !view.hidden.is_empty()));
    assert!(hide < bench.position(|effect| matches!(effect, Effect::Apply { .. })));
    assert!(bench.replica.view().admit(CHUNK, &target(1), 0..5, 0).is_err(), "same block");
    bench.acknowledges(2, 2);
    assert_eq!(bench.replica.view().admit(CHUNK, &target(1), 0..5, 0), Ok(0..5));
}

#[test]
fn m17_a_record_that_does_not_fit_pads_the_chunk_on_every_member() {
    let mut bench = Bench::primary(&[2, 3]);
    let record = CHUNK_BYTES / 4;
    for serial in 1..=3 {
        bench.mutate(append(record));
        bench.acknowledges(2, serial);
        bench.acknowledges(3, serial);
    }
    bench.mutate(append(1));
    bench.acknowledges(2, 4);
    bench.acknowledges(3, 4);
    bench.take();
    let token = bench.mutate(append(record));
    let pads = bench.sent().into_iter().filter(|message| {
        matches!(message.body, MessageBody::Order { order, .. } if order.kind == OrderKind::Pad)
    });
    assert_eq!(pads.count(), 2);
    assert_eq!(bench.reply(token), None, "the client waits until all are padded");
    bench.take();
    let second = bench.mutate(append(1));
    assert_eq!(bench.reply(second), None, "who comes meanwhile waits too");
    assert_eq!(bench.sent().len(), 0, "nothing has to be done for him");
    bench.acknowledges(2, 5);
    assert_eq!((bench.reply(token), bench.reply(second)), (None, None));
    bench.acknowledges(3, 5);
    assert_eq!(bench.reply(token), Some(Err(ChunkFull)));
    assert_eq!(bench.reply(second), Some(Err(ChunkFull)));
    assert_eq!(bench.shown(), (true, CHUNK_BYTES));
    let later = bench.mutate(append(1));
    assert_eq!(bench.reply(later), Some(Err(ChunkFull)));
}

#[test]
fn a_record_of_a_quarter_chunk_is_taken_and_one_byte_more_is_not() {
    let mut bench = Bench::primary(&[]);
    let quarter = CHUNK_BYTES / 4;
    let token = bench.mutate(append(quarter));
    assert_eq!(bench.reply(token), appended(0, quarter));
    for length in [0, quarter + 1] {
        let token = bench.mutate(append(length));
        assert_eq!(bench.reply(token), Some(Err(Invalid)));
    }
}

#[test]
fn a_write_may_end_where_the_chunk_ends_and_not_behind() {
    let mut bench = Bench::primary(&[]);
    let token = bench.mutate(write(CHUNK_BYTES - 1, 1));
    assert_eq!(bench.reply(token), Some(Ok(committed(CHUNK_BYTES))));
    for (offset, length) in [(CHUNK_BYTES, 1), (CHUNK_BYTES - 1, 2), (u64::MAX, 2), (0, 0)] {
        let token = bench.mutate(write(offset, length));
        assert_eq!(bench.reply(token), Some(Err(Invalid)), "{length} at {offset}");
    }
}

#[test]
fn mutations_above_the_limit_are_told_to_come_back() {
    let mut bench = Bench::primary(&[2]);
    for _ in 0..CHUNK_MUTATIONS_MAX {
        bench.mutate(write(0, 1));
    }
    let token = bench.mutate(write(0, 1));
    assert_eq!(bench.reply(token), Some(Err(Busy)));
    bench.acknowledges(2, 1);
    let token = bench.mutate(write(0, 1));
    assert_eq!(bench.reply(token), None);
}

#[test]
fn bytes_in_flight_above_the_limit_are_told_to_come_back() {
    let mut bench = Bench::primary(&[2]);
    let fits = CHUNK_FLIGHT_BYTES_MAX / CHUNK_BYTES;
    for _ in 0..fits {
        let token = bench.mutate(write(0, CHUNK_BYTES));
        assert_eq!(bench.reply(token), None);
    }
    let token = bench.mutate(write(0, 1));
    assert_eq!(bench.reply(token), Some(Err(Busy)));
}

#[test]
fn only_the_lease_that_is_held_takes_mutations() {
    let mut secondary = Bench::newborn(1);
    secondary.order(crate::testing::bench::order(1, OrderKind::Sync, 0, 0));
    let token = secondary.mutate(append(1));
    assert_eq!(secondary.reply(token), Some(Err(Stale)), "another server leads");
    let mut bench = Bench::primary(&[]);
    for version in [0, 2] {
        let token = bench.mutate_as(target(version), append(1));
        assert_eq!(bench.reply(token), Some(Err(Stale)), "version {version}");
    }
    let mut old = target(1);
    old.epoch = gfs_types::fence::MasterEpoch(0);
    let token = bench.mutate_as(old, append(1));
    assert_eq!(bench.reply(token), Some(Err(Stale)), "an older epoch");
}

#[test]
fn a_mutation_that_is_faster_than_the_grant_waits_for_it_a_moment() {
    let mut bench = Bench::newborn(1);
    let first = bench.mutate(append(10));
    let second = bench.mutate(append(10));
    assert_eq!(bench.reply(first), None);
    bench.grant(1, &[]);
    assert_eq!(bench.reply(first), appended(0, 10));
    assert_eq!(bench.reply(second), appended(10, 20), "in the order in which they came");
    let mut never = Bench::newborn(1);
    let token = never.mutate(append(10));
    never.after(GRANT_WAIT_MS.0 - 1);
    assert_eq!(never.reply(token), None);
    never.after(1);
    assert_eq!(never.reply(token), Some(Err(Stale)));
    let mut other = Bench::newborn(1);
    let token = other.mutate(append(10));
    other.order(crate::testing::bench::order(1, OrderKind::Sync, 0, 0));
    assert_eq!(other.reply(token), Some(Err(Stale)), "another server leads");
    let mut full = Bench::newborn(1);
    for _ in 0..CHUNK_MUTATIONS_MAX {
        let token = full.mutate(append(1));
        assert_eq!(full.reply(token), None);
    }
    let token = full.mutate(append(1));
    assert_eq!(full.reply(token), Some(Err(Busy)));
}

#[test]
fn raise_7_the_lease_counts_from_the_last_answer_and_from_when_a_heartbeat_was_sent() {
    let mut bench = Bench::newborn(1);
    let answered = bench.now;
    bench.now = bench.now + gfs_types::DurationMs(4_000);
    bench.grant(1, &[2]);
    assert_eq!(bench.replica.lease().unwrap().until, answered + LEASE);
    let until = answered + gfs_types::DurationMs(12_000);
    bench.step(Input::Extended { version: ChunkVersion(1), until });
    bench.step(Input::Extended { version: ChunkVersion(1), until: answered });
    assert_eq!(bench.replica.lease().unwrap().until, until, "never shortened");
    bench.step(Input::Extended { version: ChunkVersion(2), until: until + LEASE });
    assert_eq!(bench.replica.lease().unwrap().until, until, "another lease");
}

#[test]
fn raise_7_a_grant_that_comes_when_its_time_is_over_is_not_taken() {
    for (late_ms, taken) in [(LEASE.0 - 1, true), (LEASE.0, false)] {
        let mut bench = Bench::newborn(1);
        bench.after(late_ms);
        bench.grant(1, &[]);
        assert_eq!(bench.replica.lease().is_some(), taken, "{late_ms} ms after the answer");
        assert_eq!(given_up(&bench).is_some(), !taken);
    }
}

#[test]
fn a_lease_that_is_being_ended_is_not_made_longer() {
    let mut bench = Bench::primary(&[2]);
    bench.mutate(append(10));
    let version = ChunkVersion(1);
    bench.step(Input::Revoke { version });
    let before = bench.replica.lease().unwrap();
    bench.step(Input::Extended { version, until: before.until + LEASE });
    assert_eq!(bench.replica.lease(), Some(before));
}

#[test]
fn raise_7_a_lease_that_ended_takes_no_mutation() {
    let mut bench = Bench::primary(&[2]);
    let waiting = bench.mutate(append(1));
    bench.now = bench.now + LEASE;
    let token = bench.mutate(append(1));
    assert_eq!(bench.reply(token), Some(Err(Stale)));
    bench.acknowledges(2, 1);
    assert_eq!(bench.reply(waiting), appended(0, 1), "versions keep it safe, not the clock");
}

#[test]
fn a_version_is_granted_once() {
    let mut bench = Bench::primary(&[]);
    bench.step(Input::Revoke { version: ChunkVersion(1) });
    bench.durable();
    assert_eq!(given_up(&bench), Some(0));
    bench.take();
    bench.grant(1, &[]);
    assert!(bench.replica.lease().is_none());
    assert_eq!(given_up(&bench), Some(0), "the master need not wait");
}

#[test]
fn a_lease_is_not_taken_by_who_is_no_member_or_has_another_version() {
    for (version, me) in [(1, false), (2, true)] {
        let mut bench = Bench::newborn(1);
        let members = if me { vec![1, 2] } else { vec![2, 3] };
        let members = members.into_iter().map(crate::testing::bench::member).collect();
        let (start, brief, alone) = (LeaseStart::Equal, false, false);
        let version = ChunkVersion(version);
        bench.step(Input::Grant { version, members, lease_ms: LEASE, start, brief, alone });
        assert!(bench.replica.lease().is_none());
        assert_eq!(given_up(&bench), Some(0));
    }
}

#[test]
fn an_idle_lease_is_given_up_and_every_member_becomes_clean() {
    let mut bench = Bench::primary(&[2]);
    bench.mutate(append(100));
    bench.acknowledges(2, 1);
    bench.after(1);
    bench.take();
    assert!(bench.replica.lease().unwrap().wanted);
    bench.after(LEASE_IDLE_MS.0);
    assert!(!bench.replica.lease().unwrap().wanted);
    let ends: Vec<_> = bench.sent();
    assert!(matches!(
        ends[..],
        [crate::Message { body: MessageBody::Order { order, .. }, .. }]
            if order.kind == OrderKind::End && order.committed == SerialNumber(1)
                && order.committed_length == 100
    ));
    let op = StoreOp::Flush { committed_length: 100, clean: true };
    assert_eq!(bench.waiting.iter().map(|(_, op)| *op).collect::<Vec<_>>(), [op]);
    bench.acknowledges(2, 2);
    assert_eq!(given_up(&bench), None, "not on this disk yet");
    bench.durable();
    assert_eq!(given_up(&bench), Some(100));
    assert_eq!(bench.replica.condition(), Condition::Clean);
    assert_eq!(bench.replica.report().unwrap().state, ReplicaState::Clean);
    let token = bench.mutate(append(1));
    assert_eq!(bench.reply(token), Some(Err(Stale)));
}

#[test]
fn the_last_order_waits_for_everything_in_flight() {
    let mut bench = Bench::primary(&[2]);
    let token = bench.mutate(append(100));
    bench.step(Input::Revoke { version: ChunkVersion(1) });
    assert_eq!(bench.ordered(2), [1], "the end must say that all is committed");
    bench.acknowledges(2, 1);
    assert_eq!(bench.reply(token), appended(0, 100));
    assert_eq!(bench.ordered(2), [1, 2]);
}

#[test]
fn an_end_that_a_member_does_not_answer_leaves_the_replica_unclean() {
    let mut bench = Bench::primary(&[2]);
    let token = bench.mutate(append(100));
    bench.step(Input::Shutdown);
    bench.after(LEASE_CLOSE_MS.0);
    assert_eq!(bench.reply(token), Some(Err(Unknown)));
    assert_eq!(given_up(&bench), Some(0));
    assert_eq!(bench.replica.condition(), Condition::Unclean);
}

#[test]
fn mut_5_a_sync_waits_for_what_came_before_and_is_flushed_on_every_member() {
    let mut bench = Bench::primary(&[2]);
    bench.mutate(append(100));
    let sync = bench.mutate(Mutation::Sync);
    let joined = bench.mutate(Mutation::Sync);
    assert_eq!(bench.ordered(2), [1], "the members must know the committed length they flush");
    bench.acknowledges(2, 1);
    assert_eq!(bench.ordered(2), [1, 2]);
    let op = StoreOp::Flush { committed_length: 100, clean: false };
    assert_eq!(bench.waiting.iter().map(|(_, op)| *op).collect::<Vec<_>>(), [op]);
    let later = bench.mutate(append(10));
    bench.acknowledges(2, 3);
    assert_eq!(bench.reply(sync), None, "not on this disk yet");
    assert_eq!(bench.reply(later), None, "an acknowledgement stands for all before it");
    bench.durable();
    assert_eq!(bench.reply(sync), Some(Ok(committed(110))));
    assert_eq!(bench.reply(joined), Some(Ok(committed(110))));
    assert_eq!(bench.reply(later), appended(100, 110));
}

#[test]
fn a_silent_member_is_ordered_again_then_named_to_the_master_and_the_client_told_unknown() {
    let mut bench = Bench::primary(&[2, 3]);
    let token = bench.mutate(append(100));
    bench.acknowledges(3, 1);
    bench.take();
    bench.after(ORDER_RESEND_MS.0);
    assert_eq!((bench.ordered(2), bench.ordered(3)), (vec![1], vec![]));
    assert_eq!(bench.reply(token), None);
    bench.after(1_000 - ORDER_RESEND_MS.0);
    assert_eq!(bench.reply(token), Some(Err(Unknown)));
    assert_eq!(bench.told_master(), []);
    bench.after(MEMBER_SILENT_MS.0);
    bench.after(ORDER_RESEND_MS.0);
    let failed = bench.told_master();
    assert!(
        matches!(&failed[..], [FromChunkserver::MemberFailed { member, .. }] if *member == uid(2)),
        "once: {failed:?}"
    );
    bench.take();
    bench.after(MEMBER_SILENT_MS.0);
    assert_eq!(bench.told_master().len(), 1, "again: the master that was told may have died");
    bench.take();
    bench.acknowledges(2, 1);
    assert_eq!(bench.shown(), (true, 100), "it was never ordered twice, and is committed now");
}

#[test]
fn a_member_that_fell_behind_catches_up_a_few_orders_at_a_time() {
    let mut bench = Bench::primary(&[2]);
    let all = 3 * ORDER_RESEND_MAX as u64;
    for _ in 0..all {
        bench.mutate(append(1));
    }
    bench.take();
    bench.after(ORDER_RESEND_MS.0);
    let window: Vec<u64> = (1..=ORDER_RESEND_MAX as u64).collect();
    assert_eq!(bench.ordered(2), window);
    let token = bench.mutate(append(1));
    assert_eq!(bench.ordered(2), window, "a new order waits for the older ones");
    for serial in 1..=all + 1 {
        bench.acknowledges(2, serial);
    }
    assert_eq!(bench.ordered(2), (1..=all + 1).collect::<Vec<_>>());
    assert_eq!(bench.reply(token), appended(all, all + 1));
}

#[test]
fn a_member_that_lacks_the_bytes_gets_them_with_the_order() {
    let mut bench = Bench::primary(&[2]);
    let source = gfs_types::message::data::DataSource::Pushed(gfs_types::ids::DataId::default());
    bench.mutate(Mutation::Append { length: 100, source });
    let with_data = |bench: &Bench| match bench.sent().last().unwrap().body {
        MessageBody::Order { with_data, .. } => with_data,
        MessageBody::Committed { .. } | MessageBody::Equalise { .. } => false,
    };
    assert!(!with_data(&bench));
    bench.answers(2, 1, Err(Error::need_data("aged out")));
    assert!(with_data(&bench));
}

#[test]
fn a_member_that_refuses_for_good_ends_the_version() {
    let mut bench = Bench::primary(&[2]);
    let token = bench.mutate(append(100));
    bench.answers(2, 1, Err(Error::stale("another session")));
    bench.answers(2, 1, Err(Error::stale("another session")));
    assert_eq!(bench.reply(token), None, "it waits for the raise (raise-4)");
    assert_eq!(bench.told_master().len(), 1, "the master is told once (raise-4)");
    let token = bench.mutate(append(1));
    assert_eq!(bench.reply(token), Some(Err(Stale)));
    bench.take();
    bench.raise(2, 1);
    bench.durable();
    assert!(matches!(bench.told_master()[..], [FromChunkserver::Raised { result: Ok(_), .. }]));
}

#[test]
fn a_raise_leaves_what_is_in_flight_undecided_until_the_time_of_those_who_wait_is_out() {
    let mut bench = Bench::primary(&[2]);
    let token = bench.mutate(append(100));
    bench.raise(2, 1);
    assert_eq!(bench.reply(token), None);
    bench.acknowledges(2, 1);
    assert_eq!(bench.reply(token), None);
    let deadline = bench.replica.wakeup().unwrap().ms_since(bench.now).0;
    bench.after(deadline);
    assert_eq!(bench.reply(token), Some(Err(Unknown)));
    assert_eq!(bench.shown(), (true, 0), "an acknowledgement of the older version counts no more");
}

#[test]
fn secondaries_learn_the_committed_length_after_an_idle_millisecond() {
    let mut bench = Bench::primary(&[2]);
    bench.mutate(append(100));
    bench.acknowledges(2, 1);
    bench.take();
    bench.after(1);
    assert!(matches!(
        bench.sent()[..],
        [crate::Message {
            body: MessageBody::Committed { serial: SerialNumber(1), length: 100 },
            ..
        }]
    ));
    bench.take();
    bench.after(1);
    assert_eq!(bench.sent(), [], "once");
}

#[test]
fn a_disk_without_space_is_tried_again_and_a_broken_one_ends_the_lease() {
    let mut bench = Bench::primary(&[]);
    let mut out = Vec::new();
    let mutate = |token| Input::Mutate {
        token: crate::Token(token),
        target: target(1),
        mutation: append(100),
    };
    bench.replica.step(bench.now, mutate(1), &mut out);
    let full = Input::Applied {
        version: ChunkVersion(1),
        serial: SerialNumber(1),
        result: Err(Error::busy("no space")),
        short_of_space: true,
    };
    bench.replica.step(bench.now, full, &mut out);
    bench.after(50);
    assert_eq!(bench.reply(crate::Token(1)), appended(0, 100), "when there is space again");
    bench.take();
    bench.replica.step(bench.now, mutate(2), &mut out);
    let broken = Input::Applied {
        version: ChunkVersion(1),
        serial: SerialNumber(2),
        result: Err(Error::corrupt("the disk failed")),
        short_of_space: false,
    };
    bench.step(broken);
    assert_eq!(bench.reply(crate::Token(2)), Some(Err(Unknown)));
    assert_eq!(bench.replica.condition(), Condition::Corrupt);
    assert_eq!(given_up(&bench), Some(100));
}

#[test]
fn a_lease_that_ends_while_the_disk_is_full_begins_no_write() {
    let mut bench = Bench::primary(&[]);
    let mut out = Vec::new();
    let token = crate::Token(1);
    let mutate = Input::Mutate { token, target: target(1), mutation: append(100) };
    bench.replica.step(bench.now, mutate, &mut out);
    let (version, serial) = (ChunkVersion(1), SerialNumber(1));
    let result = Err(Error::busy("no space"));
    let full = Input::Applied { version, serial, result, short_of_space: true };
    bench.step(full);
    bench.step(Input::Revoke { version });
    // The write would be tried again at the same moment.
    bench.after(LEASE_CLOSE_MS.0);
    assert!(!bench.effects.iter().any(|effect| matches!(effect, Effect::Apply { .. })));
    assert_eq!(given_up(&bench), Some(0));
    assert_eq!(bench.replica.report().unwrap().length, 0);
}

#[test]
fn a_primary_whose_own_sync_fails_leads_no_more() {
    for end in [false, true] {
        let mut bench = Bench::primary(&[2]);
        bench.mutate(append(100));
        bench.acknowledges(2, 1);
        match end {
            true => bench.step(Input::Revoke { version: ChunkVersion(1) }),
            false => drop(bench.mutate(Mutation::Sync)),
        }
        bench.take();
        let (ticket, _) = bench.waiting.remove(0);
        bench.step(Input::StoreDone { ticket, result: Err(Error::corrupt("the disk failed")) });
        assert_eq!(bench.replica.condition(), Condition::Corrupt);
        assert_eq!(bench.replica.lease(), None);
        assert_eq!(given_up(&bench), Some(100));
    }
}

#[test]
fn a_member_without_room_for_the_bytes_is_not_sent_them_again_and_again() {
    let mut bench = Bench::primary(&[2]);
    let source = gfs_types::message::data::DataSource::Pushed(gfs_types::ids::DataId::default());
    bench.mutate(Mutation::Append { length: 100, source });
    let sent = |bench: &mut Bench| {
        bench.take();
        bench.answers(2, 1, Err(Error::need_data("no room")));
        bench.ordered(2)
    };
    assert_eq!(sent(&mut bench), [1]);
    assert_eq!(sent(&mut bench), [] as [u64; 0]);
    bench.take();
    bench.after(ORDER_RESEND_MS.0);
    assert_eq!(bench.ordered(2), [1], "asked again");
    assert_eq!(sent(&mut bench), [1], "and given again");
}
