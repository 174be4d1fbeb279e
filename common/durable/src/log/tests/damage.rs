//! Rot, cuts, foreign and misplaced files: never a wrong record, never a durable one dropped.

use super::*;
use crate::fs::sim::CrashMode;
use crate::log::record::{FrameHead, FrameKind, frame_bytes};
use crate::log::segment::{self, Header};
use crate::log::{Proof, recover_bytes};

const DIR: &str = "/log";
const LENGTHS: [usize; 6] = [20, 100, 7, 300, 64, 40];

/// A log of one segment with three flushed batches of two, then marked as asked.
fn log_of_one_segment(marked: bool) -> SimFs {
    let sim = SimFs::new(1);
    let mut log = create(&(Arc::new(sim.clone()) as Arc<dyn Fs>), Path::new(DIR));
    for batch in LENGTHS.chunks(2) {
        append(&mut log, batch).expect("the disk is fine");
        log.flush().expect("the disk is fine");
    }
    if marked {
        log.mark_durable().expect("the disk is fine");
    }
    sim
}

fn opened(disk: &SimFs, expected: Expected) -> Result<Vec<Record>, OpenError> {
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    open(&fs, Path::new(DIR), expected).map(|(_, found)| found)
}

fn first_segment() -> std::path::PathBuf {
    segment::path(Path::new(DIR), 1)
}

/// Mutant M27: cutting the log at the first checksum that is wrong.
#[test]
fn a_flipped_bit_never_drops_a_record_that_was_provably_durable() {
    let disk = log_of_one_segment(true);
    let (mut refused, mut harmless) = (0, 0);
    for at in 0..SEGMENT_BYTES {
        for bit in 0..8 {
            let rotten = disk.kill();
            rotten.flip(&first_segment(), at, 1 << bit).expect("the byte is there");
            match opened(&rotten, Expected::ALL) {
                Ok(found) => {
                    assert_eq!(found, records(1, &LENGTHS), "byte {at} bit {bit}");
                    harmless += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    let frames: usize = LENGTHS.iter().map(|bytes| frame_bytes(*bytes)).sum();
    assert_eq!(refused, 8 * (512 + frames), "exactly header and records matter");
    assert_eq!(harmless, 8 * (2048 - 512 - frames));
}

#[test]
fn a_mark_survives_the_power_loss_right_after_it() {
    let disk = log_of_one_segment(true).crash(CrashMode::Nothing);
    let last = 512 + LENGTHS[..5].iter().map(|bytes| frame_bytes(*bytes)).sum::<usize>();
    disk.flip(&first_segment(), last as u64 + 50, 1).expect("the byte is there");
    let error = opened(&disk, Expected::ALL).expect_err("the last batch was proven durable");
    assert!(matches!(error, OpenError::Damaged { position: LogPosition(6), .. }), "{error}");
}

#[test]
fn rot_is_named_with_file_offset_position_and_proof_and_nothing_is_written() {
    let disk = log_of_one_segment(true);
    disk.flip(&first_segment(), 600, 4).expect("the byte is there");
    let before = disk.operations();
    let error = opened(&disk, Expected::ALL).expect_err("rot");
    let text = error.to_string();
    assert_eq!(disk.operations(), before, "nothing was to be written");
    assert!(
        matches!(error, OpenError::Damaged { position: LogPosition(2), offset: 584, .. }),
        "{error:?}"
    );
    assert!(text.contains("/log/log-0000000000000001") && text.contains("byte 584"), "{text}");
}

#[test]
fn without_a_mark_only_the_last_batch_can_be_taken_for_a_torn_tail() {
    let disk = log_of_one_segment(false);
    for at in 512..SEGMENT_BYTES {
        let rotten = disk.kill();
        rotten.flip(&first_segment(), at, 0x10).expect("the byte is there");
        if let Ok(found) = opened(&rotten, Expected::ALL) {
            assert!(found.len() >= 4, "byte {at}: only {} records are left", found.len());
            assert_eq!(found, records(1, &LENGTHS[..found.len()]), "byte {at}");
        }
        let known = Expected { from: LogPosition(1), durable_at_least: LogPosition(6) };
        let rotten = disk.kill();
        rotten.flip(&first_segment(), at, 0x10).expect("the byte is there");
        if let Ok(found) = opened(&rotten, known) {
            assert_eq!(found, records(1, &LENGTHS), "byte {at}: a checkpoint rests on all");
        }
    }
}

#[test]
fn a_tail_of_zeros_from_any_byte_is_a_prefix_or_refused() {
    let disk = log_of_one_segment(false);
    for at in 512..SEGMENT_BYTES {
        let cut = disk.kill();
        let file = cut.open(&first_segment(), Open::Write).expect("the file is there");
        let rest = usize::try_from(SEGMENT_BYTES - at).expect("small");
        file.write_all_at(&vec![0; rest], at).expect("the disk is fine");
        let found = opened(&cut, Expected::ALL).expect("a torn tail");
        assert_eq!(found, records(1, &LENGTHS[..found.len()]), "zeros from byte {at}");
        let known = Expected { from: LogPosition(1), durable_at_least: LogPosition(6) };
        let known = opened(&cut, known);
        assert_eq!(known.is_ok(), found.len() == 6, "zeros from byte {at}: {known:?}");
    }
}

#[test]
fn a_segment_cut_at_any_byte_is_refused() {
    let disk = log_of_one_segment(false);
    for len in 0..SEGMENT_BYTES {
        let cut = disk.kill();
        let file = cut.open(&first_segment(), Open::Write).expect("the file is there");
        file.set_len(len).expect("the disk is fine");
        let error = opened(&cut, Expected::ALL).expect_err("a segment has its full length");
        let short = matches!(error, OpenError::CutShort { .. } | OpenError::BadHeader { .. });
        assert!(short, "{len} bytes left: {error}");
    }
}

/// A torn tail is gone for good: what stood in it after the bad frame must not come back when the
/// bad frame is written again, byte for byte.
#[test]
fn records_of_a_torn_tail_do_not_come_back() {
    for damage in [&[0xff; 1][..], &[0; 72][..]] {
        let sim = SimFs::new(1);
        let mut log = create(&shared(&sim), Path::new(DIR));
        append(&mut log, &[20, 20]).expect("the disk is fine");
        let file = sim.open(&first_segment(), Open::Write).expect("the file is there");
        file.write_all_at(damage, 512).expect("the disk is fine");
        let (mut log, found) = open(&shared(&sim), Path::new(DIR), Expected::ALL).expect("torn");
        assert!(found.is_empty());
        append(&mut log, &[20]).expect("the disk is fine");
        log.flush().expect("the disk is fine");
        assert_eq!(opened(&sim, Expected::ALL).expect("good"), records(1, &[20]));
    }
}

/// A segment in memory with one good frame and one whose head is changed, its checksum right.
fn segment_with_frames(change: impl Fn(&mut FrameHead)) -> Vec<u8> {
    let header = Header {
        cluster_uid: CLUSTER,
        first: 5,
        segment_bytes: SEGMENT_BYTES,
        previous_crc: 9,
        epoch: 2,
    };
    let (head, seed) = header.encode();
    let mut bytes = head.to_vec();
    let first = FrameHead {
        kind: FrameKind::Record,
        previous_crc: seed,
        position: 5,
        epoch: EPOCH.0,
        committed: 4,
    };
    let previous_crc = first.encode(seed, &record(5, 10), &mut bytes);
    let mut second = FrameHead { previous_crc, position: 6, ..first };
    change(&mut second);
    second.encode(seed, &record(6, 10), &mut bytes);
    bytes.resize(2048, 0);
    bytes
}

#[test]
fn a_frame_that_does_not_continue_the_log_is_no_record_whatever_its_checksum() {
    let found = |change: &dyn Fn(&mut FrameHead)| {
        recover_bytes(CLUSTER, &segment_with_frames(change)).expect("nothing was durable").len()
    };
    assert_eq!(found(&|_| ()), 2);
    assert_eq!(found(&|second| second.committed = 5), 2);
    assert_eq!(found(&|second| second.previous_crc ^= 1), 1, "a stale tail");
    assert_eq!(found(&|second| second.position = 7), 1, "a gap");
    assert_eq!(found(&|second| second.position = 5), 1, "a repetition");
    assert_eq!(found(&|second| second.epoch = EPOCH.0 - 1), 1, "an older epoch");
    let claims_itself = segment_with_frames(|second| second.committed = 6);
    assert!(matches!(recover_bytes(CLUSTER, &claims_itself), Err(OpenError::Damaged { .. })));
}

#[test]
fn the_bytes_of_the_format_stay_as_they_are() {
    let bytes = segment_with_frames(|_| ());
    assert_eq!(&bytes[..8], b"GFSL\x01\0\0\0");
    assert_eq!(&bytes[8..10], &[0xc1, 0]);
    assert_eq!((bytes[24], bytes[33], bytes[40], bytes[48]), (5, 8, 9, 2));
    assert_eq!(&bytes[512..524], b"GFSR\x01\0\0\0\x0a\0\0\0");
    assert_eq!((bytes[528], bytes[536], bytes[544]), (5, 3, 4));
    assert_eq!(&bytes[560..570], b"record 5 r");
    assert_eq!(&bytes[576..580], b"GFSR");
    assert_eq!(crate::crc::crc32c(&[&bytes]), 0x78e6_0902);
}

/// Several segments, with 400-byte records: three to a segment.
fn log_of_segments(cluster_uid: ClusterUid) -> SimFs {
    let sim = SimFs::new(1);
    let options = LogOptions { cluster_uid, ..options() };
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let mut log = Log::create(fs, Path::new(DIR), options, LogPosition(1)).expect("empty");
    append(&mut log, &[400; 10]).expect("the disk is fine");
    log.flush().expect("the disk is fine");
    sim
}

#[test]
fn a_flipped_bit_in_an_older_segment_is_always_rot_or_harmless() {
    let disk = log_of_segments(CLUSTER);
    for first in [1, 4, 7] {
        for at in 0..SEGMENT_BYTES {
            let rotten = disk.kill();
            rotten.flip(&segment::path(Path::new(DIR), first), at, 1).expect("the byte is there");
            if let Ok(found) = opened(&rotten, Expected::ALL) {
                assert_eq!(found, records(1, &[400; 10]), "segment {first} byte {at}");
                assert!(at >= 512 + 3 * 448, "segment {first} byte {at} was not checked");
            }
        }
    }
}

#[test]
fn a_sector_that_reads_as_zeros_in_the_middle_is_rot() {
    let disk = log_of_segments(CLUSTER);
    let path = segment::path(Path::new(DIR), 4);
    let file = disk.open(&path, Open::Write).expect("the file is there");
    file.write_all_at(&[0; 512], 1024).expect("the disk is fine");
    let error = opened(&disk, Expected::ALL).expect_err("rot");
    assert!(matches!(error, OpenError::Damaged { proof: Proof::NextSegment, .. }), "{error}");
}

#[test]
fn missing_and_misplaced_segments_are_named() {
    let path = |first| segment::path(Path::new(DIR), first);
    let disk = log_of_segments(CLUSTER);
    disk.remove_file(&path(4)).expect("the file is there");
    let error = opened(&disk, Expected::ALL).expect_err("a gap");
    assert!(matches!(error, OpenError::Missing { expected: LogPosition(4), .. }), "{error}");

    let disk = log_of_segments(CLUSTER);
    disk.remove_file(&path(10)).expect("the file is there");
    let known = Expected::after(LogPosition(9));
    assert_eq!(opened(&disk, known).expect("the rest is a log").len(), 0);
    let error = opened(&disk, Expected::after(LogPosition(10))).expect_err("the end is gone");
    assert!(matches!(error, OpenError::EndsEarly { .. }), "{error}");

    let disk = log_of_segments(CLUSTER);
    disk.rename(&path(4), &path(5)).expect("the file is there");
    let error = opened(&disk, Expected::ALL).expect_err("another's name");
    assert!(matches!(error, OpenError::WrongFirst { found: LogPosition(4), .. }), "{error}");

    let disk = log_of_segments(CLUSTER);
    disk.rename(&path(4), Path::new("/log/log-4")).expect("the file is there");
    let error = opened(&disk, Expected::ALL).expect_err("no segment's name");
    assert!(matches!(error, OpenError::NotASegment { .. }), "{error}");
}

/// A segment of another history of the same cluster: the checksum chain tells.
#[test]
fn a_segment_of_another_history_is_refused() {
    let disk = log_of_segments(CLUSTER);
    let other = SimFs::new(1);
    let fs: Arc<dyn Fs> = Arc::new(other.clone());
    let mut log = create(&fs, Path::new(DIR));
    log.append(EPOCH, &vec![vec![9; 400]; 10]).expect("the disk is fine");
    log.flush().expect("the disk is fine");
    let path = segment::path(Path::new(DIR), 4);
    let bytes = other.read(&path, SEGMENT_BYTES).expect("the file is there");
    let file = disk.open(&path, Open::Write).expect("the file is there");
    file.write_all_at(&bytes, 0).expect("the disk is fine");
    let error = opened(&disk, Expected::ALL).expect_err("not ours");
    assert!(matches!(error, OpenError::NotChained { .. }), "{error}");
}

#[test]
fn a_foreign_cluster_and_a_newer_format_are_refused() {
    let disk = log_of_segments(ClusterUid(0xbad));
    let error = opened(&disk, Expected::ALL).expect_err("another cluster's");
    assert!(matches!(error, OpenError::ForeignCluster { .. }), "{error}");

    let disk = log_of_segments(CLUSTER);
    let mut head = disk.read(&first_segment(), SEGMENT_BYTES).expect("the file is there");
    head[4] = 2;
    let crc = crate::crc::crc32c(&[&head[..508]]);
    head[508..512].copy_from_slice(&crc.to_le_bytes());
    let file = disk.open(&first_segment(), Open::Write).expect("the file is there");
    file.write_all_at(&head, 0).expect("the disk is fine");
    let error = opened(&disk, Expected::ALL).expect_err("newer");
    assert!(matches!(error, OpenError::Newer { found: 2, supported: 1, .. }), "{error}");
}

#[test]
fn the_real_disk_refuses_rot_too() {
    on_both(|fs, dir| {
        let mut log = create(&fs, dir);
        append(&mut log, &[50, 50]).expect("the disk is fine");
        log.mark_durable().expect("the disk is fine");
        drop(log);
        flip_bit(&*fs, &segment::path(dir, 1), 700, 1);
        let error = open(&fs, dir, Expected::ALL).expect_err("rot");
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    });
}

#[test]
fn segments_in_memory_follow_the_same_rules() {
    let disk = log_of_one_segment(true);
    let good = disk.read(&first_segment(), SEGMENT_BYTES).expect("the file is there");
    assert_eq!(recover_bytes(CLUSTER, &good).expect("a good log"), records(1, &LENGTHS));
    let mut rotten = good;
    rotten[600] ^= 1;
    assert!(matches!(recover_bytes(CLUSTER, &rotten), Err(OpenError::Damaged { .. })));
}
