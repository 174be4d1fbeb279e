//! The log, open to append.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gfs_types::fence::{LogPosition, MasterEpoch};
use gfs_types::marks::{Mark, hit};
use gfs_types::mutants::{Mutant, runs};

use super::cursor::Place;
use super::error::Trouble;
use super::record::{FrameHead, FrameKind, frame_bytes};
use super::segment::{self, Header};
use super::{LogError, LogOptions, Positions, Preparer, Reader};
use crate::fs::{File, Fs};

/// The log, open to append. One thread owns it.
///
/// A full disk is no failure: [`LogError::Full`] loses nothing, and the call may be repeated when there
/// is space. After any other error of the disk it is poisoned: what is there is unknown until the next
/// [`Log::open`], so every call fails and the process must end.
#[derive(Debug)]
pub struct Log {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    options: LogOptions,
    preparer: Preparer,
    /// First positions of the segments, the current one last.
    firsts: Vec<u64>,
    current: Current,
    tail: Tail,
    /// Frames that are not written yet: they go to `tail.offset`.
    buffer: Vec<u8>,
    poisoned: bool,
}

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) file: Arc<dyn File>,
    /// Checksum of its header.
    pub(super) seed: u32,
    pub(super) segment_bytes: u64,
}

/// Where the log stands.
#[derive(Debug)]
pub(super) struct Tail {
    /// Where the buffer goes in the current segment.
    offset: u64,
    /// Position of the next record.
    next: u64,
    previous_crc: u32,
    epoch: u64,
    /// Last durable position.
    durable: u64,
    /// The highest mark in a frame that was written, and in one that is durable.
    marked: u64,
    marked_durable: u64,
    /// Whether the current segment has writes that are not synced.
    unsynced: bool,
}

impl Tail {
    /// At a place where everything before is durable.
    pub(super) fn at(place: &Place) -> Self {
        Self {
            offset: place.offset as u64,
            next: place.next,
            previous_crc: place.previous_crc,
            epoch: place.epoch,
            durable: place.next - 1,
            marked: place.committed,
            marked_durable: place.committed,
            unsynced: false,
        }
    }
}

impl Log {
    pub(super) fn new(
        fs: Arc<dyn Fs>,
        dir: &Path,
        options: LogOptions,
        preparer: Preparer,
        firsts: Vec<u64>,
        current: Current,
        tail: Tail,
    ) -> Self {
        let dir = dir.to_owned();
        let buffer = Vec::new();
        Self { fs, dir, options, preparer, firsts, current, tail, buffer, poisoned: false }
    }

    /// Adds records after the last one and returns the position of the last. They are written with
    /// one write for each segment they touch, and durable after [`Log::flush`], not before. After a
    /// power loss any first part of a batch that was not flushed may be there.
    ///
    /// After [`LogError::Full`] the first of the records may be taken, up to
    /// [`Positions::last`](super::Positions): the rest is to be given again.
    pub fn append<R: AsRef<[u8]>>(
        &mut self,
        epoch: MasterEpoch,
        records: &[R],
    ) -> Result<LogPosition, LogError> {
        self.check(epoch, records)?;
        self.guarded(|log| {
            for record in records {
                log.make_room(record.as_ref().len())?;
                log.put(FrameKind::Record, epoch.0, record.as_ref());
            }
            log.write_buffer()
        })?;
        Ok(LogPosition(self.tail.next - 1))
    }

    /// Makes everything appended durable with one `fdatasync` and returns the durable position.
    pub fn flush(&mut self) -> Result<LogPosition, LogError> {
        self.guarded(Self::sync)?;
        Ok(LogPosition(self.tail.durable))
    }

    /// Flushes, and leaves a proof on disk that everything so far was durable: for a clean end, and
    /// when idle. The proof costs a second `fdatasync`; it does nothing when it is there.
    pub fn mark_durable(&mut self) -> Result<(), LogError> {
        self.guarded(|log| {
            log.sync()?;
            if log.tail.marked_durable < log.tail.durable {
                log.make_room(0)?;
            }
            // Going over to a new segment is a proof by itself.
            if log.tail.marked_durable < log.tail.durable {
                log.put(FrameKind::Mark, log.tail.epoch, &[]);
                log.write_buffer()?;
                log.sync()?;
            }
            Ok(())
        })
    }

    /// Removes the segments that hold only records before `position`, oldest first and each durably
    /// before the next, so that a crash leaves no gap.
    pub fn remove_before(&mut self, position: LogPosition) -> Result<(), LogError> {
        self.guarded(|log| {
            while log.firsts.len() > 1 && log.firsts[1] <= position.0 {
                let removed = log.fs.remove_file(&segment::path(&log.dir, log.firsts[0]));
                removed.map_err(Trouble::of)?;
                log.fs.sync_dir(&log.dir)?;
                log.firsts.remove(0);
            }
            Ok(())
        })
    }

    /// Where the log begins and ends.
    #[must_use]
    pub fn positions(&self) -> Positions {
        Positions {
            first: LogPosition(self.firsts[0]),
            last: LogPosition(self.tail.next - 1),
            durable: LogPosition(self.tail.durable),
        }
    }

    /// The epoch of the last record ever appended; 0 before the first.
    #[must_use]
    pub fn last_epoch(&self) -> MasterEpoch {
        MasterEpoch(self.tail.epoch)
    }

    /// Bytes that the current segment still takes: when few are left, it is time to prepare.
    #[must_use]
    pub fn segment_bytes_left(&self) -> u64 {
        self.current.segment_bytes - self.end()
    }

    /// A handle that makes the next segment ready, for a background thread.
    #[must_use]
    pub fn preparer(&self) -> Preparer {
        self.preparer.clone()
    }

    /// A handle that reads durable records while the log is appended to.
    #[must_use]
    pub fn reader(&self) -> Reader {
        let (fs, dir) = (self.fs.clone(), self.dir.clone());
        Reader { fs, dir, cluster_uid: self.options.cluster_uid }
    }

    fn check<R: AsRef<[u8]>>(&self, epoch: MasterEpoch, records: &[R]) -> Result<(), LogError> {
        let bytes_max = self.options.record_bytes_max;
        if let Some(record) = records.iter().find(|record| record.as_ref().len() > bytes_max) {
            return Err(LogError::TooLong { bytes: record.as_ref().len(), bytes_max });
        }
        let last = MasterEpoch(self.tail.epoch);
        if epoch < last {
            return Err(LogError::OldEpoch { given: epoch, last });
        }
        Ok(())
    }

    /// Runs what touches the disk; its first error is the last thing this log does.
    fn guarded(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<(), Trouble>,
    ) -> Result<(), LogError> {
        if self.poisoned {
            return Err(LogError::Poisoned { dir: self.dir.clone() });
        }
        self.poisoned = true;
        let done = act(self);
        self.poisoned = matches!(done, Err(Trouble::Disk(_)));
        done.map_err(|trouble| match trouble {
            Trouble::NoSpace(source) => LogError::Full { dir: self.dir.clone(), source },
            Trouble::Disk(error) => LogError::Io(error),
        })
    }

    /// The end of what is written and buffered in the current segment.
    fn end(&self) -> u64 {
        self.tail.offset + self.buffer.len() as u64
    }

    /// Goes over to a new segment unless the current one has room for a frame.
    fn make_room(&mut self, payload_bytes: usize) -> Result<(), Trouble> {
        if self.end() + frame_bytes(payload_bytes) as u64 <= self.current.segment_bytes {
            return Ok(());
        }
        self.roll_over()
    }

    fn put(&mut self, kind: FrameKind, epoch: u64, payload: &[u8]) {
        let tail = &mut self.tail;
        let head = FrameHead {
            kind,
            previous_crc: tail.previous_crc,
            position: tail.next,
            epoch,
            committed: tail.durable,
        };
        tail.previous_crc = head.encode(self.current.seed, payload, &mut self.buffer);
        tail.epoch = epoch;
        tail.marked = tail.durable;
        if kind == FrameKind::Record {
            tail.next += 1;
        }
    }

    /// For want of space (a file system that never writes in place) a part of the buffer may be written: the same
    /// bytes go to the same place again with the next call, and nothing was promised before.
    fn write_buffer(&mut self) -> Result<(), Trouble> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.tail.unsynced = true;
        let written = self.current.file.write_all_at(&self.buffer, self.tail.offset);
        written.map_err(Trouble::of)?;
        self.tail.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Trouble> {
        // Left over from a call that found no space.
        self.write_buffer()?;
        if self.tail.unsynced {
            if !runs(Mutant::LogNotFlushed) {
                self.current.file.sync_data()?;
            }
            self.tail.unsynced = false;
        }
        self.tail.durable = self.tail.next - 1;
        self.tail.marked_durable = self.tail.marked;
        Ok(())
    }

    /// Everything in the old segment is durable before the new one exists: its existence is the
    /// proof.
    fn roll_over(&mut self) -> Result<(), Trouble> {
        self.sync()?;
        let header = Header {
            cluster_uid: self.options.cluster_uid,
            first: self.tail.next,
            segment_bytes: self.options.segment_bytes,
            previous_crc: self.tail.previous_crc,
            epoch: self.tail.epoch,
        };
        let (file, seed) = self.preparer.publish(&header)?;
        self.current = Current { file, seed, segment_bytes: header.segment_bytes };
        self.tail = Tail::at(&Place::start(&header, seed));
        hit(Mark::SegmentBegun);
        self.firsts.push(header.first);
        Ok(())
    }
}
