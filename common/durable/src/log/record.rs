//! One frame of the log: its bytes, and whether they verify by themselves.

use crate::crc::crc32c;

/// What a frame is. The numbers are on disk: frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// A record.
    Record = 1,
    /// No record, only the durable mark; it has the position of the record to come.
    Mark = 2,
}

/// The fields of a frame but its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) kind: FrameKind,
    pub(super) previous_crc: u32,
    pub(super) position: u64,
    pub(super) epoch: u64,
    /// The durable mark.
    pub(super) committed: u64,
}

/// A frame whose checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) head: FrameHead,
    pub(super) crc: u32,
    pub(super) payload: &'a [u8],
}

/// Frames begin at multiples of this.
pub(super) const ALIGN_BYTES: usize = 8;

pub(super) const FRAME_HEAD_BYTES: usize = 48;
const MAGIC: [u8; 4] = *b"GFSR";
const CRC_AT: usize = 44;

/// Bytes of a frame with a payload of this length, padding included.
pub(super) const fn frame_bytes(payload_bytes: usize) -> usize {
    FRAME_HEAD_BYTES + payload_bytes.next_multiple_of(ALIGN_BYTES)
}

impl FrameHead {
    /// Puts the frame at the end of `out` and returns its checksum. `seed` is its segment's.
    pub(super) fn encode(&self, seed: u32, payload: &[u8], out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        let length = u32::try_from(payload.len()).expect("a record is below 4 GiB");
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&(self.kind as u32).to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.previous_crc.to_le_bytes());
        out.extend_from_slice(&self.position.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.committed.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(payload);
        out.resize(start + frame_bytes(payload.len()), 0);
        let crc = checksum(seed, &out[start..]);
        out[start + CRC_AT..start + CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        crc
    }
}

/// The frame at the beginning of `bytes`, if its checksum is right.
pub(super) fn decode(seed: u32, bytes: &[u8]) -> Option<Frame<'_>> {
    let head = bytes.first_chunk::<FRAME_HEAD_BYTES>()?;
    if head[..4] != MAGIC {
        return None;
    }
    let length = word(head, 8) as usize;
    if length > bytes.len() {
        return None;
    }
    let frame = bytes.get(..frame_bytes(length))?;
    let crc = checksum(seed, frame);
    if crc != word(head, CRC_AT) {
        return None;
    }
    let kind = match word(head, 4) {
        1 => FrameKind::Record,
        2 => FrameKind::Mark,
        _ => return None,
    };
    let head = FrameHead {
        kind,
        previous_crc: word(head, 12),
        position: long(head, 16),
        epoch: long(head, 24),
        committed: long(head, 32),
    };
    Some(Frame { head, crc, payload: &frame[FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + length] })
}

/// Of the segment's seed and the whole frame, padding too, but the checksum itself.
fn checksum(seed: u32, frame: &[u8]) -> u32 {
    crc32c(&[&seed.to_le_bytes(), &frame[..CRC_AT], &frame[FRAME_HEAD_BYTES..]])
}

fn word(head: &[u8; FRAME_HEAD_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

fn long(head: &[u8; FRAME_HEAD_BYTES], at: usize) -> u64 {
    u64::from(word(head, at)) | u64::from(word(head, at + 4)) << 32
}
