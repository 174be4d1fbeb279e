//! Members are made equal before the first mutation (equal-1, equal-2).

use gfs_types::limits::EQUALISE_MS;

use super::*;
use crate::testing::bench::{member, settings};
use crate::{Recovered, Replica};

/// Raised to version 2, and granted with replicas that may differ.
fn equalising(others: &[u128]) -> Bench {
    let mut bench = Bench::newborn(1);
    bench.raise(2, 1);
    bench.durable();
    bench.take();
    bench.grant_as(2, others, LeaseStart::Unequal, false);
    bench
}

fn failed(bench: &Bench) -> Vec<u128> {
    let told = bench.told_master().into_iter().filter_map(|message| match message {
        FromChunkserver::MemberFailed { member, .. } => Some(member.0),
        _ => None,
    });
    told.collect()
}

fn suspect() -> Bench {
    let found = Recovered {
        version: ChunkVersion(3),
        length: 100,
        committed_length: 60,
        overwritten: false,
        state: ReplicaState::Suspect,
    };
    let mut bench = Bench::of(Replica::recovered(CHUNK, settings(1), found, &mut Vec::new()));
    bench.raise(4, 3);
    bench.durable();
    bench.take();
    bench
}

#[test]
fn equal_1_no_mutation_is_taken_before_every_member_is_equal() {
    let mut bench = equalising(&[2, 3]);
    assert_eq!((bench.passes(2), bench.passes(3)), (vec![(1, true)], vec![(1, true)]));
    assert!(bench.sent().iter().all(|message| matches!(&message.body,
        MessageBody::Equalise { equalise, .. } if equalise.source == member(1).address)));
    assert!(bench.replica.lease().unwrap().wanted, "it is in use");
    let token = bench.mutate_as(target(2), append(10));
    bench.equalised(2, 2, 1, Ok(0));
    assert_eq!(bench.ordered(2), [] as [u64; 0]);
    assert_eq!(bench.reply(token), None, "it is held for a moment");
    bench.equalised(3, 2, 1, Ok(0));
    assert_eq!(bench.ordered(2), [1]);
    assert_eq!(bench.ordered(3), [1]);
}

#[test]
fn equal_1_no_length_is_told_before_every_member_is_equal() {
    let mut bench = equalising(&[2]);
    let token = crate::Token(90);
    bench.step(Input::Inspect { token, target: target(2) });
    assert_eq!(bench.reply(token), Some(Err(Busy)), "it may know of less than was acknowledged");
    bench.equalised(2, 2, 1, Ok(0));
    let token = crate::Token(91);
    bench.step(Input::Inspect { token, target: target(2) });
    let Some(Ok(DataResponse::Replica(info))) = bench.reply(token) else { panic!("no answer") };
    assert!(info.primary);
}

#[test]
fn equal_1_no_length_is_told_when_a_member_failed_before_all_were_equal() {
    let mut bench = equalising(&[2]);
    bench.equalised(2, 2, 1, Err(Error::stale("another run of it is here")));
    let token = crate::Token(90);
    bench.step(Input::Inspect { token, target: target(2) });
    assert_eq!(bench.reply(token), Some(Err(Busy)));
}

#[test]
fn equal_1_members_are_told_when_all_are_equal_so_that_they_may_show_what_they_have() {
    let mut bench = equalising(&[2, 3]);
    bench.equalised(2, 2, 1, Ok(0));
    bench.take();
    bench.equalised(3, 2, 1, Ok(0));
    let told = bench.sent().into_iter().filter(|message| {
        message.body == MessageBody::Committed { serial: SerialNumber(0), length: 0 }
    });
    assert_eq!(told.map(|message| message.to.chunkserver.0).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn equal_1_held_mutations_are_told_to_come_back_and_are_bounded() {
    let mut bench = equalising(&[2]);
    let token = bench.mutate_as(target(2), append(10));
    bench.after(GRANT_WAIT_MS.0);
    assert_eq!(bench.reply(token), Some(Err(Busy)));
    for _ in 0..CHUNK_MUTATIONS_MAX {
        let token = bench.mutate_as(target(2), append(1));
        assert_eq!(bench.reply(token), None);
    }
    let token = bench.mutate_as(target(2), append(1));
    assert_eq!(bench.reply(token), Some(Err(Busy)));
    let token = bench.mutate_as(target(1), append(1));
    assert_eq!(bench.reply(token), Some(Err(Stale)), "another version");
}

#[test]
fn equal_1_a_member_is_asked_again_until_it_answers_and_named_when_it_is_silent() {
    let mut bench = equalising(&[2, 3]);
    bench.equalised(2, 2, 1, Ok(0));
    bench.take();
    bench.after(ORDER_RESEND_MS.0);
    assert_eq!((bench.passes(2), bench.passes(3)), (vec![], vec![(1, true)]));
    bench.after(MEMBER_SILENT_MS.0);
    assert_eq!(failed(&bench), [3]);
    bench.take();
    bench.after(MEMBER_SILENT_MS.0);
    assert_eq!(failed(&bench), [3], "again: the master that was told may have died");
}

#[test]
fn equal_1_a_busy_member_is_alive_but_not_for_ever() {
    let mut bench = equalising(&[2]);
    let mut busy_ms = 0;
    while busy_ms < EQUALISE_MS.0 {
        assert_eq!(failed(&bench), [] as [u128; 0], "after {busy_ms} ms");
        bench.equalised(2, 2, 1, Err(Error::busy("it goes on")));
        let until = bench.now + LEASE;
        bench.step(Input::Extended { version: ChunkVersion(2), until });
        bench.after(ORDER_RESEND_MS.0);
        busy_ms += ORDER_RESEND_MS.0;
    }
    assert_eq!(failed(&bench), [2]);
}

#[test]
fn raise_4_a_member_that_cannot_be_made_equal_ends_the_version() {
    let mut bench = equalising(&[2, 3]);
    bench.equalised(2, 2, 1, Err(Error::stale("another session")));
    assert_eq!(failed(&bench), [2]);
    bench.equalised(3, 2, 1, Ok(0));
    let token = bench.mutate_as(target(2), append(1));
    assert_eq!(bench.reply(token), Some(Err(Stale)));
}

#[test]
fn equal_1_answers_of_another_run_version_or_pass_make_nobody_equal() {
    let mut bench = equalising(&[2]);
    bench.equalised(2, 1, 1, Ok(0));
    bench.equalised(2, 2, 2, Ok(0));
    bench.equalised(3, 2, 1, Ok(0));
    bench.step(Input::MemberAnswered(crate::MemberAnswer {
        member: crate::Peer { chunkserver: uid(2), session: gfs_types::ids::ProcessSession(2) },
        version: ChunkVersion(2),
        said: crate::Said::Equalise(1),
        result: Ok(DataResponse::Equalised { copied_bytes: 0 }),
    }));
    let token = bench.mutate_as(target(2), append(10));
    assert_eq!(bench.ordered(2), [] as [u64; 0]);
    assert_eq!(bench.reply(token), None);
}

#[test]
fn only_members_and_the_learner_read_out_what_is_here() {
    let mut bench = equalising(&[2]);
    let what = crate::ReadOut::Checksums;
    assert!(bench.reads_out(2, 2, what));
    assert!(!bench.reads_out(2, 1, what), "another version");
    assert!(!bench.reads_out(3, 2, what));
    bench.equalised(2, 2, 1, Ok(0));
    bench.teach(2, 3);
    assert!(bench.reads_out(3, 2, what));
    assert!(!Bench::newborn(1).reads_out(2, 1, what), "no primary");
}

#[test]
fn a_primary_that_finds_a_bad_block_while_others_copy_it_lets_another_lead() {
    let mut bench = equalising(&[2]);
    bench.step(Input::BlockMismatch);
    assert_eq!(failed(&bench), [1]);
    assert_eq!(given_up(&bench), Some(0));
    assert_eq!(bench.replica.lease(), None);
    let mut serving = Bench::primary(&[2]);
    serving.step(Input::BlockMismatch);
    assert!(serving.replica.lease().is_some(), "the master is told and decides");
    assert_eq!(serving.replica.condition(), Condition::Corrupt);
}

#[test]
fn equal_2_a_suspect_replica_leads_only_when_all_are_and_is_an_authority_on_disk_first() {
    for start in [LeaseStart::Equal, LeaseStart::Unequal] {
        let mut bench = suspect();
        bench.grant_as(4, &[2], start, false);
        assert!(bench.replica.lease().is_none(), "{start:?}");
    }
    let mut bench = suspect();
    bench.grant_as(4, &[2], LeaseStart::AllSuspect, false);
    assert_eq!(bench.sent(), []);
    let op = StoreOp::Equalised { length: 100 };
    assert_eq!(bench.waiting.iter().map(|(_, op)| *op).collect::<Vec<_>>(), [op]);
    bench.durable();
    assert_eq!(bench.replica.condition(), Condition::Unclean);
    assert!(!bench.shown().0, "the others may lack it");
    bench.equalised(2, 4, 1, Ok(0));
    assert_eq!(bench.shown(), (true, 100));
    let token = bench.mutate_as(target(4), append(1));
    assert_eq!(bench.ordered(2), [1]);
    assert_eq!(bench.reply(token), None);
}

#[test]
fn a_lease_that_ends_before_its_members_are_equal_is_given_up() {
    for revoked in [true, false] {
        let mut bench = equalising(&[2]);
        match revoked {
            true => bench.step(Input::Revoke { version: ChunkVersion(2) }),
            false => bench.after(LEASE.0),
        }
        assert_eq!(given_up(&bench), Some(0));
        assert_eq!(bench.replica.lease(), None);
        assert_eq!(bench.replica.condition(), Condition::Unclean);
    }
}

#[test]
fn equal_5_a_brief_lease_ends_in_order_unless_a_client_uses_it() {
    use gfs_types::limits::LEASE_BRIEF_MS;
    let brief = || {
        let mut bench = Bench::newborn(1);
        bench.raise(2, 1);
        bench.durable();
        bench.grant_as(2, &[], LeaseStart::Unequal, true);
        bench.take();
        bench
    };
    let mut bench = brief();
    bench.after(LEASE_BRIEF_MS.0 - 1);
    assert!(bench.replica.lease().unwrap().wanted);
    bench.after(1);
    bench.durable();
    assert_eq!(given_up(&bench), Some(0));
    assert_eq!(bench.replica.condition(), Condition::Clean);
    let mut used = brief();
    used.mutate_as(target(2), append(10));
    used.after(LEASE_BRIEF_MS.0);
    assert!(used.replica.lease().unwrap().wanted, "it is a lease like any other now");
    used.after(LEASE_IDLE_MS.0);
    used.durable();
    assert_eq!(given_up(&used), Some(10));
    let mut teaching = brief();
    teaching.teach(2, 3);
    teaching.after(LEASE_BRIEF_MS.0);
    assert!(teaching.replica.lease().unwrap().wanted, "somebody learns");
}
