//! Properties over random histories and random bytes.

use proptest::prelude::*;

use super::*;
use crate::fs::sim::CrashMode;
use crate::log::recover_bytes;
use crate::log::segment::Header;

#[derive(Debug, Clone)]
enum Act {
    Append(Vec<usize>),
    Flush,
    Mark,
    Remove,
    Crash(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => prop::collection::vec(0usize..=512, 1..6).prop_map(Act::Append),
        3 => Just(Act::Flush),
        1 => Just(Act::Mark),
        1 => Just(Act::Remove),
        2 => any::<u64>().prop_map(Act::Crash),
    ]
}

/// A segment with a right header and whatever follows.
fn segment_with(tail: &[u8]) -> Vec<u8> {
    let header = Header {
        cluster_uid: CLUSTER,
        first: 1,
        segment_bytes: 512 + tail.len() as u64,
        previous_crc: 0,
        epoch: 0,
    };
    let mut bytes = header.encode().0.to_vec();
    bytes.extend_from_slice(tail);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_long_life_with_many_crashes(acts in prop::collection::vec(act(), 1..60)) {
        let dir = Path::new("/log");
        let mut disk = SimFs::new(7);
        let mut log = create(&(Arc::new(disk.clone()) as Arc<dyn Fs>), dir);
        let mut lengths: Vec<usize> = Vec::new();
        let mut from = 1;
        for act in acts {
            match act {
                Act::Append(more) => {
                    append(&mut log, &more).expect("the disk is fine");
                    lengths.extend(more);
                }
                Act::Flush => {
                    log.flush().expect("the disk is fine");
                }
                Act::Mark => log.mark_durable().expect("the disk is fine"),
                Act::Remove => {
                    from = log.positions().durable.0.max(1);
                    log.remove_before(LogPosition(from)).expect("the disk is fine");
                }
                Act::Crash(seed) => {
                    let durable = log.positions().durable.0;
                    disk = disk.crash(CrashMode::Subset(seed));
                    let expected = Expected {
                        from: LogPosition(from),
                        durable_at_least: LogPosition(durable),
                    };
                    let (opened, found) =
                        open(&(Arc::new(disk.clone()) as Arc<dyn Fs>), dir, expected).expect("good");
                    let last = usize::try_from(opened.positions().last.0).expect("small");
                    prop_assert!(last as u64 >= durable && last <= lengths.len());
                    lengths.truncate(last);
                    let skip = usize::try_from(from - 1).expect("small");
                    prop_assert_eq!(found, records(from, &lengths[skip..]));
                    log = opened;
                }
            }
        }
    }

    #[test]
    fn random_bytes_are_no_log_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        prop_assert!(recover_bytes(CLUSTER, &bytes).is_err());
        let found = recover_bytes(CLUSTER, &segment_with(&bytes)).expect("nothing was durable");
        prop_assert!(found.is_empty());
    }

    #[test]
    fn mutated_segments_give_no_wrong_record(
        changes in prop::collection::vec((512u64..2048, any::<u8>()), 1..20),
    ) {
        let sim = SimFs::new(1);
        let mut log = create(&(Arc::new(sim.clone()) as Arc<dyn Fs>), Path::new("/log"));
        let lengths = [20, 100, 7, 300, 64];
        append(&mut log, &lengths).expect("the disk is fine");
        let path = crate::log::segment::path(Path::new("/log"), 1);
        let mut bytes = sim.read(&path, SEGMENT_BYTES).expect("the file is there");
        for (at, byte) in changes {
            bytes[usize::try_from(at).expect("small")] = byte;
        }
        if let Ok(found) = recover_bytes(CLUSTER, &bytes) {
            prop_assert_eq!(&found, &records(1, &lengths[..found.len()]));
        }
    }
}
