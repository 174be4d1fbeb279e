//! The log on both disks, in good days. Crashes and damage have files of their own.

mod crash;
mod damage;
mod properties;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};

use gfs_types::fence::{LogPosition, MasterEpoch};
use gfs_types::ids::ClusterUid;

use super::record::frame_bytes;
use super::{Expected, Log, LogError, LogOptions, OpenError, Record};
use crate::fs::sim::{Operation, SimFs};
use crate::fs::{Fs, Open};
use crate::testing::on_both;

const CLUSTER: ClusterUid = ClusterUid(0xc1);
const SEGMENT_BYTES: u64 = 2048;
const EPOCH: MasterEpoch = MasterEpoch(3);

/// Another handle of a simulated disk.
fn shared(disk: &SimFs) -> Arc<dyn Fs> {
    Arc::new(disk.clone())
}

fn options() -> LogOptions {
    LogOptions { cluster_uid: CLUSTER, segment_bytes: SEGMENT_BYTES, record_bytes_max: 512 }
}

/// The record at a position, recognisable, of a length of its own.
fn record(position: u64, bytes: usize) -> Vec<u8> {
    let text = format!("record {position} ");
    text.bytes().cycle().take(bytes).collect()
}

fn create(fs: &Arc<dyn Fs>, dir: &Path) -> Log {
    Log::create(fs.clone(), dir, options(), LogPosition(1)).expect("an empty directory")
}

/// Opens the log and collects what it delivers.
fn open(fs: &Arc<dyn Fs>, dir: &Path, expected: Expected) -> Result<(Log, Vec<Record>), OpenError> {
    let mut records = Vec::new();
    let log = Log::open(fs.clone(), dir, options(), expected, &mut |position, epoch, bytes| {
        records.push((position, epoch, bytes.to_owned()));
        Ok::<(), Infallible>(())
    })?;
    Ok((log, records))
}

/// Appends records of these lengths after the last one.
fn append(log: &mut Log, lengths: &[usize]) -> Result<LogPosition, LogError> {
    let next = log.positions().last.0 + 1;
    let records: Vec<_> = (next..).zip(lengths).map(|(p, bytes)| record(p, *bytes)).collect();
    log.append(EPOCH, &records)
}

/// What the log must deliver: the records from `from` with these lengths.
fn records(from: u64, lengths: &[usize]) -> Vec<Record> {
    (from..).zip(lengths).map(|(p, b)| (LogPosition(p), EPOCH, record(p, *b))).collect()
}

fn flip_bit(fs: &dyn Fs, path: &Path, offset: u64, mask: u8) {
    let file = fs.open(path, Open::Write).expect("the file is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("the byte is there");
    file.write_all_at(&[byte[0] ^ mask], offset).expect("the disk is fine");
}

#[test]
fn what_was_appended_comes_back_over_many_segments() {
    on_both(|fs, dir| {
        let dir = dir.join("log");
        let lengths = [0, 1, 7, 8, 9, 100, 512, 512, 512, 3, 400, 400, 400, 400, 5];
        let mut log = create(&fs, &dir);
        for batch in lengths.chunks(4) {
            append(&mut log, batch).expect("the disk is fine");
            log.flush().expect("the disk is fine");
        }
        assert!(fs.read_dir(&dir).expect("a directory").len() > 3, "segments were to be crossed");
        drop(log);
        let (log, found) = open(&fs, &dir, Expected::ALL).expect("a good log");
        assert_eq!(found, records(1, &lengths));
        assert_eq!(log.positions().last, LogPosition(15));
        assert_eq!(log.positions().durable, LogPosition(15));
        assert_eq!(log.last_epoch(), EPOCH);
    });
}

#[test]
fn a_checkpoint_spares_the_records_before_it() {
    on_both(|fs, dir| {
        let mut log = create(&fs, dir);
        append(&mut log, &[400; 10]).expect("the disk is fine");
        log.flush().expect("the disk is fine");
        log.remove_before(LogPosition(8)).expect("the disk is fine");
        assert_eq!(log.positions().first, LogPosition(7), "three records fit a segment");
        drop(log);
        let (_, found) = open(&fs, dir, Expected::after(LogPosition(7))).expect("a good log");
        assert_eq!(found, records(8, &[400; 3]));
        let late = open(&fs, dir, Expected::ALL).expect_err("records 1 to 6 are gone");
        assert!(matches!(late, OpenError::BeginsLate { first: LogPosition(7), .. }), "{late}");
        let early = open(&fs, dir, Expected::after(LogPosition(11))).expect_err("10 is the last");
        assert!(matches!(early, OpenError::EndsEarly { last: LogPosition(10), .. }), "{early}");
    });
}

#[test]
fn the_segment_of_the_last_record_is_never_removed() {
    on_both(|fs, dir| {
        let mut log = create(&fs, dir);
        append(&mut log, &[400; 6]).expect("the disk is fine");
        log.flush().expect("the disk is fine");
        log.remove_before(LogPosition(1000)).expect("the disk is fine");
        assert_eq!(log.positions().first, LogPosition(4));
    });
}

#[test]
fn durable_records_are_read_beside_the_appending_log() {
    on_both(|fs, dir| {
        let mut log = create(&fs, dir);
        let lengths = [300; 12];
        append(&mut log, &lengths).expect("the disk is fine");
        log.flush().expect("the disk is fine");
        append(&mut log, &[10]).expect("the disk is fine");
        let reader = log.reader();
        for (from, to) in [(1, 12), (1, 1), (5, 9), (12, 12), (4, 3)] {
            let mut found = Vec::new();
            let mut visit = |position, epoch, bytes: &[u8]| {
                found.push((position, epoch, bytes.to_owned()));
                Ok::<(), Infallible>(())
            };
            reader.read(LogPosition(from), LogPosition(to), &mut visit).expect("a good log");
            let count = usize::try_from((to + 1).saturating_sub(from)).expect("small");
            assert_eq!(found, records(from, &lengths[..count]), "{from} to {to}");
        }
        let mut none = |_, _, _: &[u8]| Ok::<(), Infallible>(());
        reader.read(LogPosition(0), LogPosition(0), &mut none).expect("0 rests on nothing");
        let beyond = reader.read(LogPosition(1), LogPosition(14), &mut none);
        assert!(matches!(beyond, Err(OpenError::Damaged { .. })), "{beyond:?}");
        log.remove_before(LogPosition(12)).expect("the disk is fine");
        let gone = reader.read(LogPosition(1), LogPosition(12), &mut none);
        assert!(matches!(gone, Err(OpenError::BeginsLate { .. })), "{gone:?}");
    });
}

/// Whatever the threads' order: the one that appends, one that prepares, one that reads.
#[test]
fn appending_preparing_and_reading_go_on_side_by_side() {
    on_both(|fs, dir| {
        let mut log = create(&fs, dir);
        let durable = AtomicU64::new(0);
        let done = AtomicBool::new(false);
        let (preparer, reader) = (log.preparer(), log.reader());
        let lengths = [300; 200];
        let (durable, done, lengths) = (&durable, &done, &lengths);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while !done.load(SeqCst) {
                    preparer.prepare().expect("there is room");
                }
            });
            scope.spawn(move || {
                while !done.load(SeqCst) {
                    let to = durable.load(SeqCst);
                    let mut found = Vec::new();
                    let mut visit = |position, epoch, bytes: &[u8]| {
                        found.push((position, epoch, bytes.to_owned()));
                        Ok::<(), Infallible>(())
                    };
                    reader.read(LogPosition(1), LogPosition(to), &mut visit).expect("a good log");
                    assert_eq!(found, records(1, &lengths[..found.len()]));
                    assert_eq!(found.len() as u64, to);
                }
            });
            let appended = lengths.chunks(7).try_for_each(|batch| {
                append(&mut log, batch)?;
                durable.store(log.flush()?.0, SeqCst);
                Ok::<(), LogError>(())
            });
            done.store(true, SeqCst);
            appended.expect("the disk is fine");
        });
        drop(log);
        let (_, found) = open(&fs, dir, Expected::ALL).expect("a good log");
        assert_eq!(found, records(1, lengths));
    });
}

#[test]
fn a_prepared_segment_is_used_without_zero_filling() {
    let sim = SimFs::new(1);
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let mut log = create(&fs, Path::new("/log"));
    append(&mut log, &[400; 3]).expect("the disk is fine");
    log.preparer().prepare().expect("there is room");
    log.preparer().prepare().expect("one that is ready is kept");
    let before = sim.operations();
    append(&mut log, &[400]).expect("the disk is fine");
    // Old segment synced; header written, synced, renamed, directory synced; record written.
    assert_eq!(sim.operations() - before, 6);
    log.flush().expect("the disk is fine");
    let (_, found) = open(&fs, Path::new("/log"), Expected::ALL).expect("a good log");
    assert_eq!(found, records(1, &[400; 4]));
}

#[test]
fn a_batch_costs_one_write_and_one_sync() {
    let sim = SimFs::new(1);
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let mut log = create(&fs, Path::new("/log"));
    let before = sim.operations();
    append(&mut log, &[50; 10]).expect("the disk is fine");
    log.flush().expect("the disk is fine");
    log.flush().expect("nothing to do");
    assert_eq!(sim.operations() - before, 2);
}

#[test]
fn records_at_the_limit_are_taken_and_one_past_it_refused_without_harm() {
    on_both(|fs, dir| {
        let mut log = create(&fs, dir);
        let error = log.append(EPOCH, &[vec![1; 5], vec![0; 513]]).expect_err("too long");
        assert!(matches!(error, LogError::TooLong { bytes: 513, bytes_max: 512 }), "{error}");
        assert_eq!(append(&mut log, &[512]).expect("at the limit"), LogPosition(1));
        let old = log.append(MasterEpoch(2), &[b"x"]).expect_err("an epoch that is over");
        assert!(matches!(old, LogError::OldEpoch { .. }), "{old}");
        assert_eq!(log.flush().expect("the disk is fine"), LogPosition(1));
    });
}

#[test]
fn segments_that_cannot_hold_a_record_are_refused() {
    let fs: Arc<dyn Fs> = Arc::new(SimFs::new(1));
    for (segment_bytes, fits) in [(1072, false), (1024, false), (1536, true), (1 << 31, false)] {
        let options = LogOptions { segment_bytes, ..options() };
        let made = Log::create(fs.clone(), Path::new("/log"), options, LogPosition(1));
        assert_eq!(made.is_ok(), fits, "{segment_bytes}: {made:?}");
    }
}

#[test]
fn after_a_failed_sync_nothing_more_is_taken() {
    for operation in [Operation::Sync, Operation::Write] {
        let sim = SimFs::new(1);
        let fs: Arc<dyn Fs> = Arc::new(sim.clone());
        let mut log = create(&fs, Path::new("/log"));
        append(&mut log, &[10]).expect("the disk is fine");
        log.flush().expect("the disk is fine");
        sim.fail_nth(operation, 0);
        let failed = append(&mut log, &[10]).and_then(|_| log.flush());
        assert!(matches!(failed, Err(LogError::Io(_))), "{failed:?}");
        let tried = [
            append(&mut log, &[10]).err(),
            log.flush().err(),
            log.mark_durable().err(),
            log.remove_before(LogPosition(1)).err(),
        ];
        for error in tried {
            assert!(matches!(error, Some(LogError::Poisoned { .. })), "{error:?}");
        }
        assert_eq!(log.positions().durable, LogPosition(1));
        let (_, found) = open(&shared(&sim.kill()), Path::new("/log"), Expected::ALL)
            .map(|(log, found)| (log.positions(), found))
            .expect("a good log");
        assert_eq!(found[0], records(1, &[10])[0]);
    }
}

#[test]
fn a_full_disk_is_noticed_ahead_and_harms_nothing() {
    let sim = SimFs::new(1);
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let mut log = create(&fs, Path::new("/log"));
    sim.set_capacity(SEGMENT_BYTES + 1024);
    let error = log.preparer().prepare().expect_err("no room for a second segment");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    append(&mut log, &[400; 3]).expect("the current segment has its room");
    log.flush().expect("the disk is fine");
    sim.set_capacity(3 * SEGMENT_BYTES);
    log.preparer().prepare().expect("there is room now");
    append(&mut log, &[400; 3]).expect("the disk is fine");
}

/// The disk is full and no segment is ready: what fits is taken and durable, the rest waits for space, and nothing is
/// lost, doubled or out of order, whatever was tried meanwhile.
#[test]
fn a_log_that_cannot_grow_takes_what_fits_and_goes_on_when_there_is_space() {
    let sim = SimFs::new(1);
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let mut log = create(&fs, Path::new("/log"));
    sim.set_capacity(SEGMENT_BYTES + 1024);
    let lengths = [400; 6];
    let error = append(&mut log, &lengths).expect_err("three of six fit");
    assert!(matches!(error, LogError::Full { .. }), "{error}");
    assert!(error.to_string().contains("/log") && error.to_string().contains("free space"));
    assert_eq!(log.positions().last, LogPosition(3), "these are taken");
    assert_eq!(log.flush().expect("the disk is fine"), LogPosition(3));
    for _ in 0..3 {
        assert!(matches!(append(&mut log, &[400]), Err(LogError::Full { .. })), "still full");
        assert_eq!(log.positions().last, LogPosition(3));
        log.flush().expect("nothing to do");
        log.remove_before(LogPosition(1)).expect("nothing to do");
        assert!(!log.preparer().is_ready());
    }
    let (_, found) = open(&shared(&sim.kill()), Path::new("/log"), Expected::ALL).expect("good");
    assert_eq!(found, records(1, &lengths[..3]));
    sim.set_capacity(2 * SEGMENT_BYTES - 1);
    assert!(matches!(append(&mut log, &[400]), Err(LogError::Full { .. })), "one byte short");
    sim.set_capacity(2 * SEGMENT_BYTES);
    append(&mut log, &lengths[3..]).expect("there is space");
    log.flush().expect("the disk is fine");
    let (_, found) = open(&shared(&sim.kill()), Path::new("/log"), Expected::ALL).expect("good");
    assert_eq!(found, records(1, &lengths));
}

#[test]
fn a_proof_that_finds_no_space_is_left_later() {
    let sim = SimFs::new(1);
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let mut log = create(&fs, Path::new("/log"));
    append(&mut log, &[400; 3]).expect("the disk is fine");
    let left = usize::try_from(log.segment_bytes_left()).expect("small");
    append(&mut log, &[left - frame_bytes(0)]).expect("the disk is fine");
    assert_eq!(log.segment_bytes_left(), 0, "no room for a proof");
    sim.set_capacity(SEGMENT_BYTES);
    assert!(matches!(log.mark_durable(), Err(LogError::Full { .. })));
    assert_eq!(log.positions().durable, LogPosition(4), "the records themselves are durable");
    sim.set_capacity(3 * SEGMENT_BYTES);
    log.mark_durable().expect("there is space");
    append(&mut log, &[400]).expect("the disk is fine");
}

#[test]
fn a_log_goes_on_with_segments_and_records_of_other_sizes() {
    on_both(|fs, dir| {
        append(&mut create(&fs, dir), &[400; 2]).expect("the disk is fine");
        let small = LogOptions { segment_bytes: 1024, record_bytes_max: 100, ..options() };
        let ignore = &mut |_, _, _: &[u8]| Ok::<(), Infallible>(());
        let mut log = Log::open(fs.clone(), dir, small, Expected::ALL, ignore).expect("good");
        append(&mut log, &[100; 9]).expect("the disk is fine");
        log.flush().expect("the disk is fine");
        drop(log);
        let (_, found) = open(&fs, dir, Expected::ALL).expect("a good log");
        assert_eq!(found[2..], records(3, &[100; 9]));
    });
}

#[test]
fn an_existing_log_is_not_made_again_and_a_missing_one_is_not_opened() {
    on_both(|fs, dir| {
        let missing = open(&fs, &dir.join("log"), Expected::ALL).expect_err("nothing there");
        assert!(matches!(missing, OpenError::NoLog { .. }), "{missing}");
        drop(create(&fs, dir));
        let again = Log::create(fs.clone(), dir, options(), LogPosition(1));
        assert!(matches!(again, Err(OpenError::AlreadyThere { .. })), "{again:?}");
        let (log, found) = open(&fs, dir, Expected::ALL).expect("an empty log");
        assert_eq!((found.len(), log.positions().last), (0, LogPosition(0)));
    });
}

#[test]
fn a_visitor_ends_the_opening_with_its_own_error() {
    on_both(|fs, dir| {
        append(&mut create(&fs, dir), &[1, 2]).expect("the disk is fine");
        let error = Log::open(fs, dir, options(), Expected::ALL, &mut |position, _, _| {
            if position.0 == 2 { Err("not this one") } else { Ok(()) }
        })
        .expect_err("refused");
        assert!(matches!(error, OpenError::Refused { position: LogPosition(2), .. }), "{error}");
    });
}
