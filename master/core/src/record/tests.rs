use gfs_types::limits::{NAME_BYTES_MAX, PATH_DEPTH_MAX};
use proptest::prelude::*;

use super::*;

fn ids() -> impl Strategy<Value = FileId> {
    any::<u64>().prop_map(FileId)
}

fn attributes() -> impl Strategy<Value = Attributes> {
    (any::<u64>(), any::<bool>())
        .prop_map(|(ms, executable)| Attributes { modified: WallTime { ms }, executable })
}

fn changes() -> impl Strategy<Value = Change> {
    let namespace = prop_oneof![
        (ids(), ids(), ".{0,20}", 0..8_u8, attributes()).prop_map(
            |(file, parent, name, replication, attributes)| Change::Created {
                file,
                parent,
                name,
                replication,
                attributes
            }
        ),
        (ids(), prop::collection::vec((ids(), ".{0,9}"), 0..9))
            .prop_map(|(parent, made)| Change::DirectoriesMade { parent, made }),
        (ids(), ids(), ".{0,20}", prop::option::of((ids(), ".{0,20}"))).prop_map(
            |(entry, parent, name, replaced)| Change::Renamed { entry, parent, name, replaced }
        ),
        (ids(), ".{0,40}", any::<bool>()).prop_map(|(entry, path, purge)| Change::Deleted {
            entry,
            path,
            purge
        }),
        (ids(), ids(), ".{0,20}").prop_map(|(entry, parent, name)| Change::Undeleted {
            entry,
            parent,
            name
        }),
        (ids(), any::<u64>(), prop::option::of(attributes()))
            .prop_map(|(file, length, attributes)| Change::LengthSet { file, length, attributes }),
        prop::collection::vec(ids(), 0..50).prop_map(|entries| Change::Purged { entries }),
    ];
    let chunks = prop_oneof![
        (ids(), 0..100_u64, any::<u64>(), prop::collection::vec(any::<u128>(), 0..8)).prop_map(
            |(file, index, handle, members)| Change::ChunkAllocated {
                file,
                index: ChunkIndex(index),
                handle: ChunkHandle(handle),
                members: members.into_iter().map(ServerUid).collect(),
            }
        ),
        any::<u64>().prop_map(|handle| Change::ChunkBorn { handle: ChunkHandle(handle) }),
        (any::<u64>(), any::<u64>()).prop_map(|(handle, number)| Change::RaiseStarted {
            handle: ChunkHandle(handle),
            number: ChunkVersion(number)
        }),
        (any::<u64>(), any::<u64>(), 0..8_u8).prop_map(|(handle, version, members)| {
            Change::Raised { handle: ChunkHandle(handle), version: ChunkVersion(version), members }
        }),
    ];
    let others = prop_oneof![
        any::<u128>().prop_map(|cluster| Change::Formatted {
            cluster: ClusterUid(cluster),
            chunk_size: ChunkSize::default()
        }),
        any::<u64>().prop_map(|session| Change::EpochStarted { session: ProcessSession(session) }),
        any::<u64>().prop_map(|session| Change::SessionOpened { session: SessionId(session) }),
        any::<u64>().prop_map(|session| Change::SessionClosed { session: SessionId(session) }),
        prop::collection::vec(any::<u64>(), 0..50).prop_map(|sessions| Change::SessionsExpired {
            sessions: sessions.into_iter().map(SessionId).collect()
        }),
    ];
    prop_oneof![namespace, chunks, others]
}

fn marks() -> impl Strategy<Value = RequestMark> {
    (any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>()).prop_map(
        |(session, seq, answered_below, fingerprint)| RequestMark {
            id: RequestId { session: SessionId(session), seq: RequestSeq(seq) },
            answered_below: RequestSeq(answered_below),
            fingerprint,
        },
    )
}

fn records() -> impl Strategy<Value = Record> {
    (any::<u64>(), prop::option::of(marks()), changes()).prop_map(|(ms, request, change)| Record {
        wall: WallTime { ms },
        request,
        change,
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(record in records()) {
        prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn a_cut_record_and_one_with_more_behind_are_refused(record in records(), cut in any::<prop::sample::Index>()) {
        let mut bytes = record.encode();
        prop_assert!(Record::decode(&bytes[..cut.index(bytes.len())]).is_err());
        bytes.push(0);
        prop_assert!(Record::decode(&bytes).is_err());
    }

    #[test]
    fn any_bytes_give_an_answer_and_every_record_has_one_form(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert_eq!(record.encode(), bytes);
        }
    }

    #[test]
    fn flipped_bits_never_panic(record in records(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut bytes = record.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        if let Ok(other) = Record::decode(&bytes) {
            prop_assert_eq!(other.encode(), bytes);
        }
    }
}

fn record(change: Change) -> Record {
    Record { wall: WallTime { ms: 1 }, request: None, change }
}

fn comes_back(change: Change) -> bool {
    let record = record(change);
    Record::decode(&record.encode()) == Ok(record)
}

#[test]
fn limits_hold_at_the_limit_and_one_past_it() {
    let purged = |n: usize| Change::Purged { entries: vec![FileId(u64::MAX); n] };
    assert!(comes_back(purged(PURGED_MAX)) && !comes_back(purged(PURGED_MAX + 1)));
    let expired = |n: usize| Change::SessionsExpired { sessions: vec![SessionId(u64::MAX); n] };
    assert!(comes_back(expired(EXPIRED_MAX)) && !comes_back(expired(EXPIRED_MAX + 1)));
    let named =
        |n: usize| Change::Undeleted { entry: FileId(9), parent: FileId(1), name: "n".repeat(n) };
    assert!(comes_back(named(NAME_BYTES_MAX)) && !comes_back(named(NAME_BYTES_MAX + 1)));
    let deep = |n: usize| Change::DirectoriesMade {
        parent: FileId(1),
        made: vec![(FileId(9), "d".to_owned()); n],
    };
    assert!(comes_back(deep(PATH_DEPTH_MAX)) && !comes_back(deep(PATH_DEPTH_MAX + 1)));
    let raised =
        |members| Change::Raised { handle: ChunkHandle(1), version: ChunkVersion(2), members };
    assert!(comes_back(raised(7)) && !comes_back(raised(8)));
}

/// A change of these bytes is a change of the format: give it another version.
#[test]
fn the_bytes_are_frozen() {
    let mark = RequestMark {
        id: RequestId { session: SessionId(0x0102), seq: RequestSeq(300) },
        answered_below: RequestSeq(299),
        fingerprint: 0xaabb_ccdd,
    };
    let created = Record {
        wall: WallTime { ms: 1000 },
        request: Some(mark),
        change: Change::Created {
            file: FileId(5),
            parent: FileId(1),
            name: "a".to_owned(),
            replication: 3,
            attributes: Attributes { modified: WallTime { ms: 7 }, executable: true },
        },
    };
    assert_eq!(
        created.encode(),
        [
            1, 0xe8, 7, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0xac, 2, 0xab, 2, 0xdd, 0xcc, 0xbb, 0xaa, 6, 5,
            1, 1, b'a', 3, 7, 1
        ]
    );
    let raised =
        record(Change::Raised { handle: ChunkHandle(200), version: ChunkVersion(4), members: 3 });
    assert_eq!(raised.encode(), [1, 1, 0, 15, 0xc8, 1, 4, 3]);
}
