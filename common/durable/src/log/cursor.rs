//! Going through the frames of one segment in memory: a pure function of its bytes.

use gfs_types::mutants::{Mutant, runs};

use super::Proof;
use super::record::{ALIGN_BYTES, Frame, FrameKind, decode, frame_bytes};
use super::segment::{HEADER_BYTES, Header};

/// A place in the log: what the next frame must continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Where the next frame begins in its segment.
    pub(super) offset: usize,
    /// Its position.
    pub(super) next: u64,
    /// Checksum of the frame before it, or of the segment's header.
    pub(super) previous_crc: u32,
    /// Epoch of the last record.
    pub(super) epoch: u64,
    /// The highest durable mark so far.
    pub(super) committed: u64,
    /// Where the first frame begins that no mark shows to have been durable.
    pub(super) unproven: usize,
}

impl Place {
    /// The beginning of a segment. That it exists proves everything before it.
    pub(super) fn start(header: &Header, seed: u32) -> Self {
        Self {
            offset: HEADER_BYTES,
            next: header.first,
            previous_crc: seed,
            epoch: header.epoch,
            committed: header.first - 1,
            unproven: HEADER_BYTES,
        }
    }

    /// The frame that stands here, if it verifies and continues the log.
    pub(super) fn frame<'a>(&self, seed: u32, bytes: &'a [u8]) -> Option<Frame<'a>> {
        let frame = decode(seed, bytes.get(self.offset..)?)?;
        let head = &frame.head;
        let continues = head.previous_crc == self.previous_crc
            && head.position == self.next
            && head.epoch >= self.epoch
            && head.committed < self.next;
        continues.then_some(frame)
    }

    /// The place after a frame; `None` when positions run out.
    pub(super) fn after(&self, frame: &Frame<'_>) -> Option<Self> {
        let next = match frame.head.kind {
            FrameKind::Record => self.next.checked_add(1)?,
            FrameKind::Mark => self.next,
        };
        // A flush covers all that was written, so the first frame behind it proves all before itself.
        let proves_all =
            frame.head.committed > self.committed && frame.head.committed + 1 == self.next;
        Some(Self {
            offset: self.offset + frame_bytes(frame.payload.len()),
            next,
            previous_crc: frame.crc,
            epoch: frame.head.epoch,
            committed: self.committed.max(frame.head.committed),
            unproven: if proves_all { self.offset } else { self.unproven },
        })
    }
}

/// Why no frame stands at a place of the last segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing follows.
    Clean,
    /// Something follows that was never durable, up to this byte: to be zeroed.
    Torn(usize),
    /// What should stand here was durable.
    Rot(Proof),
}

/// Judges the place where the frames of the last segment end. `durable` is what the caller knows.
pub(super) fn judge_end(seed: u32, bytes: &[u8], place: &Place, durable: u64) -> End {
    let Some(last) = bytes[place.offset..].iter().rposition(|byte| *byte != 0) else {
        return End::Clean;
    };
    if runs(Mutant::LogCutWhereItRots) {
        return End::Torn(place.offset + last + 1);
    }
    if durable >= place.next {
        return End::Rot(Proof::Caller);
    }
    match find_proof(seed, bytes, place) {
        Some(offset) => End::Rot(Proof::LaterFrame(offset as u64)),
        None => End::Torn(place.offset + last + 1),
    }
}

/// The first later frame that verifies by itself and says that this place was durable.
fn find_proof(seed: u32, bytes: &[u8], place: &Place) -> Option<usize> {
    let start = place.offset.next_multiple_of(ALIGN_BYTES);
    (start..bytes.len()).step_by(ALIGN_BYTES).find(|offset| {
        decode(seed, &bytes[*offset..]).is_some_and(|frame| frame.head.committed >= place.next)
    })
}
