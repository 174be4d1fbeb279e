//! A promised value never goes back, whatever crashes or rots.

use proptest::prelude::*;

use super::*;
use crate::fs::sim::{CrashMode, Operation, SimFs};
use crate::testing::{SUBSETS, every_crash, every_failed_sync, on_both};

const PATH: &str = "/promise";

fn open(disk: &SimFs) -> Result<Slots, SlotsError> {
    Slots::open(disk, Path::new(PATH))
}

fn made(value: &[u8]) -> SimFs {
    let disk = SimFs::new(1);
    Slots::create(&disk, Path::new(PATH), value).expect("the disk is fine");
    disk
}

#[test]
fn values_come_back_on_both_disks() {
    on_both(|fs, dir| {
        let path = dir.join("slots");
        let mut slots = Slots::create(&*fs, &path, b"one").expect("the disk is fine");
        assert_eq!(slots.value(), b"one");
        for value in [&b"two"[..], b"", &[7; VALUE_BYTES_MAX]] {
            slots.write(value).expect("the disk is fine");
            assert_eq!(slots.value(), value);
            assert_eq!(Slots::open(&*fs, &path).expect("good").value(), value);
        }
        let error = slots.write(&[0; VALUE_BYTES_MAX + 1]).expect_err("one past the limit");
        assert!(matches!(error, SlotsError::TooLong { bytes: 481 }), "{error}");
        slots.write(b"on it goes").expect("a refusal harms nothing");
    });
}

/// Two writes, each of which may be cut anywhere, and a start that may be cut as well.
#[test]
fn every_crash_keeps_the_last_finished_write() {
    let values: [&[u8]; 3] = [b"0", b"the first", b"the second"];
    let work = |disk: &SimFs| {
        let Ok(mut slots) = open(disk) else { return 0 };
        values[1..].iter().take_while(|value| slots.write(value).is_ok()).count()
    };
    every_crash(&made(values[0]), SUBSETS, work, |disk, done, context| {
        let allowed = &values[*done..values.len().min(done + 2)];
        let again = disk.kill();
        let found = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert!(allowed.contains(&found.value()), "{context}: {:?}", found.value());
        let kept = open(&disk.crash(CrashMode::Nothing)).expect("it was opened before");
        assert_eq!(kept.value(), found.value(), "{context}: what was shown is durable");
        every_crash(
            &again,
            2,
            |disk| drop(open(disk)),
            |disk, (), inner| {
                let found = open(&disk).unwrap_or_else(|e| panic!("{context}; {inner}: {e}"));
                assert!(allowed.contains(&found.value()), "{context}; {inner}");
            },
        );
    });
}

#[test]
fn one_rotten_copy_never_takes_the_value_back() {
    let disk = made(b"old");
    open(&disk).expect("good").write(b"promised").expect("the disk is fine");
    for at in 0..FILE_BYTES as u64 {
        let rotten = disk.kill();
        rotten.flip(Path::new(PATH), at, 0x20).expect("the byte is there");
        assert_eq!(open(&rotten).expect("the other copy is good").value(), b"promised", "{at}");
        // The repair makes the file bear the loss of either copy again.
        for other in [40, 4096 + 40] {
            let twice = rotten.kill();
            twice.flip(Path::new(PATH), other, 0x40).expect("the byte is there");
            assert_eq!(open(&twice).expect("repaired").value(), b"promised", "{at}, {other}");
        }
    }
}

#[test]
fn two_rotten_copies_are_told_not_guessed() {
    let disk = made(b"promised");
    disk.flip(Path::new(PATH), 40, 1).expect("the byte is there");
    disk.flip(Path::new(PATH), 4096 + 33, 1).expect("the byte is there");
    let error = open(&disk).expect_err("nothing verifies");
    assert!(matches!(error, SlotsError::Damaged { .. }), "{error}");
    let file = disk.open(Path::new(PATH), Open::Write).expect("the file is there");
    file.set_len(0).expect("the disk is fine");
    assert!(matches!(open(&disk), Err(SlotsError::Damaged { .. })));
}

#[test]
fn a_missing_file_is_an_error_not_a_first_value() {
    assert!(matches!(open(&SimFs::new(1)), Err(SlotsError::Io(_))));
}

#[test]
fn after_a_failed_sync_nothing_more_is_taken() {
    let disk = made(b"old");
    let mut slots = open(&disk).expect("good");
    disk.fail_nth(Operation::Sync, 0);
    assert!(matches!(slots.write(b"new"), Err(SlotsError::Io(_))));
    assert!(matches!(slots.write(b"new"), Err(SlotsError::Poisoned { .. })));
}

#[test]
fn what_is_read_after_a_failed_sync_is_durable() {
    let work = |disk: &SimFs| {
        let mut slots = open(disk).ok()?;
        slots.write(b"new").ok()
    };
    every_failed_sync(&made(b"old"), work, |disk, _, context| {
        let found = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
        let kept = open(&disk.crash(CrashMode::Nothing)).expect("it was opened before");
        assert_eq!(kept.value(), found.value(), "{context}");
    });
}

#[test]
fn a_newer_version_is_named() {
    let mut bytes = Slot::new(1, b"x").expect("short").encode();
    bytes[4] = 2;
    let crc = checksum(&bytes);
    bytes[28..32].copy_from_slice(&crc.to_le_bytes());
    let error = decode(&bytes, Path::new(PATH)).expect_err("newer");
    assert!(matches!(error, SlotsError::Newer { found: 2, .. }), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
        prop_assert!(decode(&bytes, Path::new(PATH)).is_err());
    }

    #[test]
    fn any_value_comes_back(value in prop::collection::vec(any::<u8>(), 0..=VALUE_BYTES_MAX)) {
        let disk = made(&value);
        let bytes = disk.read(Path::new(PATH), 1 << 20).expect("the file is there");
        prop_assert_eq!(decode(&bytes, Path::new(PATH)).expect("good"), value);
    }
}

#[test]
fn a_file_cut_within_its_second_copy_is_decoded_as_it_is_opened() {
    let disk = SimFs::new(1);
    let path = Path::new("/slots");
    drop(Slots::create(&disk, path, b"value").unwrap());
    let whole = disk.read(path, 1 << 20).unwrap();
    for cut in (4096..=whole.len()).step_by(16) {
        let mut bytes = whole[..cut].to_vec();
        bytes[..SLOT_BYTES].fill(0);
        let disk = SimFs::new(1);
        disk.open(path, Open::Create).unwrap().write_all_at(&bytes, 0).unwrap();
        let opened = Slots::open(&disk, path).ok().map(|slots| slots.value().to_vec());
        assert_eq!(decode(&bytes, path).ok(), opened, "cut at {cut}");
    }
}
