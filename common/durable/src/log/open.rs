//! Making a log, and opening one after whatever happened to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gfs_types::fence::{LogPosition, MasterEpoch};
use gfs_types::ids::ClusterUid;
use gfs_types::marks::{Mark, hit};

use super::append::{Current, Tail};
use super::cursor::{End, Place, judge_end};
use super::prepare::Preparer;
use super::record::FrameKind;
use super::segment::{self, Header, Loaded};
use super::{BoxError, Expected, Log, LogOptions, OpenError, Proof, Visitor};
use crate::atomic;
use crate::fs::{File, Fs, Open};

/// Zeros are written in pieces of this size.
pub(super) const ZEROS_BYTES: usize = 1 << 20;

/// A record, as [`recover_bytes`] gives it.
pub type Record = (LogPosition, MasterEpoch, Vec<u8>);

impl Log {
    /// Makes an empty log whose first record will be `first`, durable when this returns. `dir` is
    /// made if need be, and must hold no segment.
    ///
    /// # Panics
    /// When `first` is 0, which rests on nothing.
    pub fn create(
        fs: Arc<dyn Fs>,
        dir: &Path,
        options: LogOptions,
        first: LogPosition,
    ) -> Result<Self, OpenError> {
        assert!(first.0 > 0, "positions of the log begin at 1");
        options.check()?;
        fs.create_dir_all(dir)?;
        if !segment::list(&*fs, dir)?.is_empty() {
            return Err(OpenError::AlreadyThere { dir: dir.to_owned() });
        }
        let header = Header {
            cluster_uid: options.cluster_uid,
            first: first.0,
            segment_bytes: options.segment_bytes,
            previous_crc: 0,
            epoch: 0,
        };
        let preparer = Preparer::new(fs.clone(), dir, options.segment_bytes);
        let (file, seed) = preparer.publish(&header).map_err(std::io::Error::from)?;
        let current = Current { file, seed, segment_bytes: header.segment_bytes };
        let tail = Tail::at(&Place::start(&header, seed));
        Ok(Self::new(fs, dir, options, preparer, vec![first.0], current, tail))
    }

    /// Verifies the whole log, gives every record from `expected.from` on to `visitor`, and makes
    /// the log ready to append. Everything delivered is durable when this returns. Unfinished files
    /// (`*.tmp`) in the directory are removed.
    pub fn open<E: Into<BoxError>>(
        fs: Arc<dyn Fs>,
        dir: &Path,
        options: LogOptions,
        expected: Expected,
        visitor: &mut Visitor<'_, E>,
    ) -> Result<Self, OpenError> {
        options.check()?;
        let firsts = list(&*fs, dir)?;
        check_begin(dir, firsts[0], expected)?;
        let scan = Scan { fs: &*fs, dir, cluster_uid: options.cluster_uid, expected };
        let (segment, place) = scan.all(&firsts, visitor)?;
        settle(dir, &segment, &place, expected)?;
        atomic::remove_leftovers(&*fs, dir)?;
        write_again(&segment, &place)?;
        segment.file.sync_data()?;
        fs.sync_dir(dir)?;
        let preparer = Preparer::new(fs.clone(), dir, options.segment_bytes);
        let segment_bytes = segment.header.segment_bytes;
        let current = Current { file: segment.file, seed: segment.seed, segment_bytes };
        Ok(Self::new(fs, dir, options, preparer, firsts, current, Tail::at(&place)))
    }
}

/// The records of one segment in memory, taken as the last of its log; total, for any bytes.
pub fn recover_bytes(cluster_uid: ClusterUid, bytes: &[u8]) -> Result<Vec<Record>, OpenError> {
    let path = PathBuf::from("segment");
    let (header, seed) = Header::decode(bytes, &path, cluster_uid)?;
    let mut records = Vec::new();
    let mut keep = |position, epoch, payload: &[u8]| -> Result<(), BoxError> {
        records.push((position, epoch, payload.to_owned()));
        Ok(())
    };
    let place = deliver(seed, bytes, Place::start(&header, seed), 0, &mut keep)?;
    match judge_end(seed, bytes, &place, 0) {
        End::Clean | End::Torn(_) => Ok(records),
        End::Rot(proof) => Err(damaged(&path, &place, proof)),
    }
}

fn list(fs: &dyn Fs, dir: &Path) -> Result<Vec<u64>, OpenError> {
    let no_log = || OpenError::NoLog { dir: dir.to_owned() };
    if !fs.exists(dir)? {
        return Err(no_log());
    }
    let firsts = segment::list(fs, dir)?;
    if firsts.is_empty() { Err(no_log()) } else { Ok(firsts) }
}

struct Scan<'a> {
    fs: &'a dyn Fs,
    dir: &'a Path,
    cluster_uid: ClusterUid,
    expected: Expected,
}

impl Scan<'_> {
    /// Goes through every segment, and returns the last one with the place where its frames end.
    fn all<E: Into<BoxError>>(
        &self,
        firsts: &[u64],
        visitor: &mut Visitor<'_, E>,
    ) -> Result<(Loaded, Place), OpenError> {
        let mut last: Option<(Loaded, Place)> = None;
        for first in firsts {
            // Keeps what is needed of the segment before, and frees its bytes.
            let before = last.take().map(|(segment, place)| Ended::new(&segment, place));
            let how = if Some(first) == firsts.last() { Open::Write } else { Open::Read };
            let segment = segment::load(self.fs, self.dir, *first, self.cluster_uid, how)?;
            if let Some(before) = before {
                before.check_next(&segment)?;
            }
            let start = Place::start(&segment.header, segment.seed);
            let from = self.expected.from.0;
            let place = deliver(segment.seed, &segment.bytes, start, from, visitor)?;
            last = Some((segment, place));
        }
        last.ok_or_else(|| OpenError::NoLog { dir: self.dir.to_owned() })
    }
}

/// Gives the records from `from` on to the visitor, and returns the place of the first frame that
/// does not verify.
pub(super) fn deliver<E: Into<BoxError>>(
    seed: u32,
    bytes: &[u8],
    start: Place,
    from: u64,
    visitor: &mut Visitor<'_, E>,
) -> Result<Place, OpenError> {
    let mut place = start;
    while let Some(frame) = place.frame(seed, bytes) {
        let Some(after) = place.after(&frame) else { break };
        if frame.head.kind == FrameKind::Record && frame.head.position >= from {
            let position = LogPosition(frame.head.position);
            visitor(position, MasterEpoch(frame.head.epoch), frame.payload)
                .map_err(|error| OpenError::Refused { position, source: error.into() })?;
        }
        place = after;
    }
    Ok(place)
}

/// A segment that was gone through.
pub(super) struct Ended {
    pub(super) path: PathBuf,
    /// Where its frames end.
    pub(super) place: Place,
    /// Whether anything but zeros follows there.
    leftover: bool,
}

impl Ended {
    pub(super) fn new(segment: &Loaded, place: Place) -> Self {
        let leftover = segment.bytes[place.offset..].iter().any(|byte| *byte != 0);
        Self { path: segment.path.clone(), place, leftover }
    }

    /// Whether `next` goes on where this segment ended. Its existence proves all before it.
    pub(super) fn check_next(&self, next: &Loaded) -> Result<(), OpenError> {
        let (first, ended) = (next.header.first, self.place.next);
        let continues = first == ended && next.header.previous_crc == self.place.previous_crc;
        if continues {
            return Ok(());
        }
        if first >= ended && self.leftover {
            return Err(damaged(&self.path, &self.place, Proof::NextSegment));
        }
        let (path, expected) = (next.path.clone(), LogPosition(ended));
        Err(if first > ended {
            OpenError::Missing { path, expected }
        } else {
            OpenError::NotChained { path, expected }
        })
    }
}

/// Decides what the end of the last segment is, and zeroes a torn tail.
fn settle(
    dir: &Path,
    segment: &Loaded,
    place: &Place,
    expected: Expected,
) -> Result<(), OpenError> {
    match judge_end(segment.seed, &segment.bytes, place, expected.last()) {
        End::Clean if place.next <= expected.last() => Err(OpenError::EndsEarly {
            dir: dir.to_owned(),
            last: LogPosition(place.next - 1),
            durable: LogPosition(expected.last()),
        }),
        End::Clean => Ok(()),
        End::Torn(end) => {
            hit(Mark::TornTailCut);
            Ok(zero(&*segment.file, place.offset, end)?)
        }
        End::Rot(proof) => Err(damaged(&segment.path, place, proof)),
    }
}

/// The process before this one may have died between its writes and its syncs, or by a sync that failed: then the kernel has the
/// frames, the disk has not, and no later sync would bring them there.
fn write_again(segment: &Loaded, place: &Place) -> std::io::Result<()> {
    let unproven = &segment.bytes[place.unproven..place.offset];
    segment.file.write_all_at(unproven, place.unproven as u64)
}

/// Writes zeros from `start` to `end`.
pub(super) fn zero(file: &dyn File, start: usize, end: usize) -> std::io::Result<()> {
    let zeros = vec![0; ZEROS_BYTES.min(end - start)];
    let mut at = start;
    while at < end {
        let piece = zeros.len().min(end - at);
        file.write_all_at(&zeros[..piece], at as u64)?;
        at += piece;
    }
    Ok(())
}

fn check_begin(dir: &Path, first: u64, expected: Expected) -> Result<(), OpenError> {
    if expected.from.0.max(1) < first {
        let (first, needed) = (LogPosition(first), expected.from);
        return Err(OpenError::BeginsLate { dir: dir.to_owned(), first, needed });
    }
    Ok(())
}

pub(super) fn damaged(path: &Path, place: &Place, proof: Proof) -> OpenError {
    OpenError::Damaged {
        path: path.to_owned(),
        offset: place.offset as u64,
        position: LogPosition(place.next),
        proof,
    }
}
