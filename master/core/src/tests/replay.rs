//! Records that fit the log but not the state: reported, never a panic, and what is taken keeps the invariants.

use gfs_types::fence::{ChunkVersion, LogPosition, MasterEpoch};
use gfs_types::ids::{
    ChunkHandle, ClusterUid, FileId, ProcessSession, RequestId, RequestSeq, ServerUid, SessionId,
};
use gfs_types::message::client::Attributes;
use gfs_types::region::{ChunkIndex, ChunkSize};
use gfs_types::time::WallTime;
use proptest::prelude::*;

use super::world::through_image;
use crate::Durable;
use crate::invariants::check_durable;
use crate::record::{Change, Record, RequestMark};

fn record(change: Change) -> Record {
    Record { wall: WallTime { ms: 5 }, request: None, change }
}

fn formatted() -> Durable {
    let mut durable = Durable::blank();
    let (cluster, chunk_size) = (ClusterUid(7), ChunkSize::default());
    let change = Change::Formatted { cluster, chunk_size };
    durable.apply(LogPosition(1), MasterEpoch(1), &record(change)).unwrap();
    durable
}

fn ids() -> impl Strategy<Value = FileId> {
    prop_oneof![9 => 0..9_u64, 1 => (0..9_u64).prop_map(|id| id | 1 << 32)].prop_map(FileId)
}

fn changes() -> impl Strategy<Value = Change> {
    let handles = || (0..6_u64).prop_map(ChunkHandle);
    let versions = || (0..6_u64).prop_map(ChunkVersion);
    let sessions = || (0..3_u64).prop_map(SessionId);
    let named = || (ids(), ids(), "[abc/]{0,2}");
    let namespace = prop_oneof![
        (named(), 0..8_u8).prop_map(|((file, parent, name), replication)| Change::Created {
            file,
            parent,
            name,
            replication,
            attributes: Attributes::default(),
        }),
        named().prop_map(|(id, parent, name)| Change::DirectoriesMade {
            parent,
            made: vec![(id, name)]
        }),
        (named(), prop::option::of(ids())).prop_map(|((entry, parent, name), replaced)| {
            let replaced = replaced.map(|id| (id, "/r".to_owned()));
            Change::Renamed { entry, parent, name, replaced }
        }),
        (ids(), any::<bool>()).prop_map(|(entry, purge)| Change::Deleted {
            entry,
            path: "/d".to_owned(),
            purge,
        }),
        named().prop_map(|(entry, parent, name)| Change::Undeleted { entry, parent, name }),
        (ids(), any::<u64>()).prop_map(|(file, length)| Change::LengthSet {
            file,
            length,
            attributes: None
        }),
        prop::collection::vec(ids(), 0..3).prop_map(|entries| Change::Purged { entries }),
    ];
    let chunks =
        prop_oneof![
            (ids(), 0..3_u64, handles(), 0..8_usize).prop_map(|(file, index, handle, members)| {
                let index = ChunkIndex(index);
                Change::ChunkAllocated { file, index, handle, members: vec![ServerUid(1); members] }
            }),
            handles().prop_map(|handle| Change::ChunkBorn { handle }),
            (handles(), versions())
                .prop_map(|(handle, number)| Change::RaiseStarted { handle, number }),
            (handles(), versions(), 0..8_u8)
                .prop_map(|(handle, version, members)| Change::Raised { handle, version, members }),
        ];
    let sessions = prop_oneof![
        (0..5_u64).prop_map(|session| Change::EpochStarted { session: ProcessSession(session) }),
        sessions().prop_map(|session| Change::SessionOpened { session }),
        sessions().prop_map(|session| Change::SessionClosed { session }),
        sessions().prop_map(|session| Change::SessionsExpired { sessions: vec![session] }),
    ];
    prop_oneof![5 => namespace, 3 => chunks, 1 => sessions]
}

fn marks() -> impl Strategy<Value = Option<RequestMark>> {
    prop::option::of((0..3_u64, 0..200_u64, 0..200_u64).prop_map(|(session, seq, below)| {
        RequestMark {
            id: RequestId { session: SessionId(session), seq: RequestSeq(seq) },
            answered_below: RequestSeq(below),
            fingerprint: 0,
        }
    }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_records_are_applied_or_reported(records in prop::collection::vec((marks(), changes()), 1..120)) {
        let mut durable = formatted();
        for (request, change) in records {
            let record = Record { request, ..record(change) };
            let mut next = durable.clone();
            // What failed may be changed in part, and is thrown away.
            if next.apply(durable.position().next(), MasterEpoch(1), &record).is_ok() {
                check_durable(&next).unwrap();
                durable = next;
            }
        }
        prop_assert_eq!(through_image(&durable).digest(), durable.digest());
    }
}

#[test]
fn a_record_has_one_place_and_epochs_change_at_their_record_only() {
    let durable = formatted();
    let open = record(Change::SessionOpened { session: SessionId(1) });
    let apply = |position, epoch, record: &Record| {
        durable.clone().apply(LogPosition(position), MasterEpoch(epoch), record)
    };
    assert!(apply(2, 1, &open).is_ok());
    for (position, epoch) in [(1, 1), (3, 1), (2, 0), (2, 2)] {
        let error = apply(position, epoch, &open).unwrap_err();
        assert_eq!(error.position, LogPosition(position));
    }
    let start = record(Change::EpochStarted { session: ProcessSession(1) });
    assert!(apply(2, 2, &start).is_ok());
    let (cluster, chunk_size) = (ClusterUid(7), ChunkSize::default());
    assert!(apply(2, 1, &record(Change::Formatted { cluster, chunk_size })).is_err(), "once only");
    assert!(Durable::blank().apply(LogPosition(1), MasterEpoch(1), &open).is_err());
    let mut replayed = durable.clone();
    let error = replayed.replay(LogPosition(2), MasterEpoch(1), &[9, 9]).unwrap_err();
    assert!(error.to_string().contains("record 2"), "{error}");
}
