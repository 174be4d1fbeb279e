use std::path::Path;
use std::sync::Arc;

use gfs_durable::fs::Open;
use gfs_durable::fs::sim::{Operation, SimFs};
use gfs_types::fence::{Incarnation, MasterEpoch};
use gfs_types::ids::{ClusterUid, ServerUid};
use proptest::prelude::*;

use super::*;
use crate::record::{first, rank};

const DIR: &str = "/data";

fn disk() -> SimFs {
    let fs = SimFs::new(1);
    fs.create_dir_all(Path::new(DIR)).expect("an empty disk takes a directory");
    fs
}

fn open(fs: &SimFs) -> Result<FileStore, OpenError> {
    FileStore::open(Arc::new(fs.clone()), Path::new(DIR))
}

fn a_record() -> ConfigRecord {
    first(ClusterUid(0xc1), ServerUid(0x5e))
}

fn with_first(fs: &SimFs) -> (FileStore, Token) {
    let store = open(fs).unwrap();
    let (stored, token) = store.read().unwrap();
    assert_eq!(stored, None);
    let Ok(Swap::Done(token)) = store.compare_and_swap(&token, &a_record()) else {
        panic!("an empty store takes the first record");
    };
    (store, token)
}

fn promoted() -> ConfigRecord {
    let mut record = a_record();
    record.version = 2;
    record.epoch = MasterEpoch(2);
    record
}

#[test]
fn a_record_is_kept_and_can_be_changed_with_the_token_that_was_read() {
    let fs = disk();
    let (store, token) = with_first(&fs);
    assert_eq!(store.read().unwrap(), (Some(a_record()), token.clone()));
    assert!(matches!(store.compare_and_swap(&token, &promoted()).unwrap(), Swap::Done(_)));
    drop(store);
    let (stored, _) = open(&fs).unwrap().read().unwrap();
    assert_eq!(stored, Some(promoted()));
}

#[test]
fn an_old_token_meets_a_conflict_that_tells_what_is_stored() {
    let fs = disk();
    let (store, token) = with_first(&fs);
    store.compare_and_swap(&token, &promoted()).unwrap();
    let mut late = a_record();
    late.version = 2;
    let swap = store.compare_and_swap(&token, &late).unwrap();
    let (_, current) = store.read().unwrap();
    assert_eq!(swap, Swap::Conflict(Some(promoted()), current));
}

#[test]
fn a_record_that_goes_back_is_not_stored() {
    let fs = disk();
    let (store, token) = with_first(&fs);
    let mut back = promoted();
    back.epoch = MasterEpoch(0);
    assert!(matches!(
        store.compare_and_swap(&token, &back),
        Err(StoreError::NotSuccessor(record::NotSuccessor::GoesBack { .. }))
    ));
    assert_eq!(store.read().unwrap().0, Some(a_record()));
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let fs = disk();
    let store = open(&fs).unwrap();
    let refused = open(&fs).unwrap_err();
    assert!(refused.to_string().contains("config-record.lock is in use"), "{refused}");
    drop(store);
    open(&fs).unwrap();
}

#[test]
fn a_failing_disk_leaves_the_outcome_unknown_and_one_of_both_records() {
    for nth in 0..2 {
        let fs = disk();
        let (store, token) = with_first(&fs);
        fs.fail_nth(Operation::Sync, nth);
        assert!(matches!(store.compare_and_swap(&token, &promoted()).unwrap(), Swap::Unknown(_)));
        drop(store);
        for mode in fs.crash_modes(8) {
            let (stored, _) = open(&fs.crash(mode)).unwrap().read().unwrap();
            assert!([Some(a_record()), Some(promoted())].contains(&stored), "{mode:?}: {stored:?}");
        }
    }
}

#[test]
fn what_is_read_after_a_failing_sync_survives_every_power_loss() {
    for nth in 0..2 {
        let fs = disk();
        let (store, token) = with_first(&fs);
        fs.fail_nth(Operation::Sync, nth);
        assert!(matches!(store.compare_and_swap(&token, &promoted()).unwrap(), Swap::Unknown(_)));
        drop(store);
        let (read, _) = open(&fs).unwrap().read().unwrap();
        for mode in fs.crash_modes(8) {
            let (kept, _) = open(&fs.crash(mode)).unwrap().read().unwrap();
            assert_eq!(kept, read, "{mode:?}");
        }
    }
}

#[test]
fn what_was_swapped_survives_every_power_loss() {
    let fs = disk();
    let (_store, _) = with_first(&fs);
    for mode in fs.crash_modes(8) {
        let (stored, _) = open(&fs.crash(mode)).unwrap().read().unwrap();
        assert_eq!(stored, Some(a_record()), "{mode:?}");
    }
}

#[test]
fn a_damaged_file_is_refused_by_name_and_never_taken_for_an_empty_store() {
    let fs = disk();
    drop(with_first(&fs));
    let path = Path::new(DIR).join(FILE_NAME);
    let file = fs.open(&path, Open::Write).unwrap();
    file.set_len(0).unwrap();
    let refused = open(&fs).unwrap_err();
    assert!(refused.to_string().contains(FILE_NAME), "{refused}");
}

#[test]
fn every_flipped_byte_is_found() {
    let bytes = encode(&a_record());
    for index in 0..bytes.len() {
        for mask in [1, 0x10, 0x20, 0x80] {
            let mut damaged = bytes.clone();
            damaged[index] ^= mask;
            // White space has no meaning: a change from one to another changes nothing.
            if let Ok(record) = decode(&damaged) {
                assert_eq!(record, a_record(), "byte {index} with {mask:#x}");
            }
        }
    }
    for len in 0..bytes.len() - 1 {
        assert!(decode(&bytes[..len]).is_err(), "cut at {len}");
    }
}

/// Frozen: what an earlier version of the program wrote is read by every later one.
#[test]
fn the_golden_file_is_read_and_written_as_ever() {
    let golden = include_bytes!("golden/config-record-1.json");
    assert_eq!(decode(golden).unwrap(), a_record());
    assert_eq!(encode(&a_record()), golden);
}

#[test]
fn a_newer_file_is_called_newer() {
    let text = String::from_utf8(encode(&a_record())).unwrap();
    let newer = text.replace("\"format_version\": 1", "\"format_version\": 2");
    assert!(matches!(decode(newer.as_bytes()), Err(DecodeError::Version { found: 2 })));
    let grown = newer.replace("\"record\"", "\"more\": 1, \"record\"");
    assert!(matches!(decode(grown.as_bytes()), Err(DecodeError::Version { found: 2 })));
}

#[test]
fn an_unknown_key_is_refused() {
    let text = String::from_utf8(encode(&a_record())).unwrap();
    let grown = text.replace("\"record\"", "\"more\": 1, \"record\"");
    assert!(matches!(decode(grown.as_bytes()), Err(DecodeError::Json(_))));
}

fn any_record() -> impl Strategy<Value = ConfigRecord> {
    let ids = proptest::collection::vec(any::<u128>(), 0..20);
    (any::<u128>(), any::<[u64; 3]>(), any::<u128>(), ids).prop_map(
        |(cluster, [incarnation, epoch, version], primary, in_sync)| ConfigRecord {
            cluster: ClusterUid(cluster),
            incarnation: Incarnation(incarnation),
            epoch: MasterEpoch(epoch),
            version,
            primary: ServerUid(primary),
            in_sync: in_sync.into_iter().map(ServerUid).collect(),
        },
    )
}

proptest! {
    #[test]
    fn what_is_encoded_decodes(record in any_record()) {
        prop_assert_eq!(decode(&encode(&record)).unwrap(), record);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(decode(&bytes).is_err());
    }

    /// The stored rank never falls, whatever is tried with whatever token.
    #[test]
    fn the_rank_never_falls(tries in proptest::collection::vec((0u64..4, 0u64..4, 0u64..4, any::<bool>()), 1..20)) {
        let fs = disk();
        let (store, _) = with_first(&fs);
        for (incarnation, epoch, version, fresh) in tries {
            let (before, token) = store.read().unwrap();
            let before = before.unwrap();
            let token = if fresh { token } else { Token::new(version.to_string()) };
            let mut new = before.clone();
            new.incarnation = Incarnation(incarnation);
            new.epoch = MasterEpoch(epoch);
            new.version = before.version + version;
            let swapped = matches!(store.compare_and_swap(&token, &new), Ok(Swap::Done(_)));
            let after = store.read().unwrap().0.unwrap();
            prop_assert!(rank(&after) >= rank(&before));
            prop_assert_eq!(&after, if swapped { &new } else { &before });
        }
    }
}
