//! Reading a stream of sections, which may be anything.

use std::fmt;
use std::io::{self, Read};

use super::{
    CONTAINER_VERSION, FrameError, HEAD_BYTES, Kind, MAGIC, SECTION_HEAD_BYTES, Section,
    TRAILER_BYTES, TRAILER_TAG, section_crc,
};
use crate::crc::{Running, crc32c};

/// A payload is read in pieces of this size, so that a length that lies costs no memory.
const PIECE_BYTES: usize = 64 << 10;

/// Reads sections and believes nothing.
pub struct Reader<R: Read> {
    inner: R,
    section_bytes_max: u32,
    version: u32,
    whole: Running,
    offset: u64,
    sections: u64,
    payload_bytes: u64,
    ended: bool,
}

impl<R: Read> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl<R: Read> Reader<R> {
    /// Reads and checks the head: the name must match, the version be at most that of `kind`.
    /// Sections above `section_bytes_max` are refused.
    pub fn new(inner: R, kind: Kind, section_bytes_max: u32) -> Result<Self, FrameError> {
        let mut reader = Self {
            inner,
            section_bytes_max,
            version: 0,
            whole: Running::default(),
            offset: 0,
            sections: 0,
            payload_bytes: 0,
            ended: false,
        };
        reader.version = reader.head(kind)?;
        Ok(reader)
    }

    /// The version found in the head.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The next section; `None` only when the trailer stood there, agreed with all that was read,
    /// and nothing follows it. Before that, what was read may be the beginning of a cut stream.
    pub fn next_section(&mut self) -> Result<Option<Section>, FrameError> {
        if self.ended {
            return Ok(None);
        }
        let offset = self.offset;
        let whole_before = self.whole.value();
        let section = self.section(offset)?;
        if section.tag == TRAILER_TAG {
            self.check_trailer(offset, &section.payload, whole_before)?;
            self.ended = true;
            return Ok(None);
        }
        self.sections += 1;
        self.payload_bytes += section.payload.len() as u64;
        Ok(Some(section))
    }

    fn head(&mut self, kind: Kind) -> Result<u32, FrameError> {
        let head = self.take(HEAD_BYTES, 0)?;
        if head[..4] != MAGIC || word(&head, 16) != crc32c(&[&head[..16]]) {
            return Err(FrameError::BadHead);
        }
        newer(word(&head, 4), CONTAINER_VERSION)?;
        if head[8..12] != kind.name {
            let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
            return Err(FrameError::OtherKind {
                found: text(&head[8..12]),
                expected: text(&kind.name),
            });
        }
        newer(word(&head, 12), kind.version)?;
        Ok(word(&head, 12))
    }

    fn section(&mut self, offset: u64) -> Result<Section, FrameError> {
        let head = self.take(SECTION_HEAD_BYTES, offset)?;
        let (tag, length, crc) = (word(&head, 0), word(&head, 4), word(&head, 8));
        let length_max = if tag == TRAILER_TAG { TRAILER_BYTES } else { self.section_bytes_max };
        if length > length_max {
            return Err(FrameError::TooLong { offset, length, length_max });
        }
        let payload = self.take(length as usize, offset)?;
        if section_crc(self.sections, tag, &payload) != crc {
            return Err(FrameError::Damaged { offset });
        }
        Ok(Section { tag, payload })
    }

    fn check_trailer(&mut self, offset: u64, trailer: &[u8], whole: u32) -> Result<(), FrameError> {
        let mut expected = Vec::new();
        expected.extend_from_slice(&self.sections.to_le_bytes());
        expected.extend_from_slice(&self.payload_bytes.to_le_bytes());
        expected.extend_from_slice(&whole.to_le_bytes());
        if trailer != expected {
            return Err(FrameError::Disagrees { offset });
        }
        let end = self.offset;
        match self.take(1, end) {
            Err(FrameError::Cut { .. }) => Ok(()),
            Ok(_) => Err(FrameError::TooMuch { offset: end }),
            Err(error) => Err(error),
        }
    }

    /// Exactly so many bytes of the section that begins at `offset`.
    fn take(&mut self, length: usize, offset: u64) -> Result<Vec<u8>, FrameError> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let start = bytes.len();
            bytes.resize((start + PIECE_BYTES).min(length), 0);
            self.inner.read_exact(&mut bytes[start..]).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => FrameError::Cut { offset },
                _ => FrameError::Io(error),
            })?;
        }
        self.whole.update(&bytes);
        self.offset += length as u64;
        Ok(bytes)
    }
}

/// All sections of a stream in memory; total, for any bytes.
pub fn decode(
    bytes: &[u8],
    kind: Kind,
    section_bytes_max: u32,
) -> Result<Vec<Section>, FrameError> {
    let mut reader = Reader::new(bytes, kind, section_bytes_max)?;
    let mut sections = Vec::new();
    while let Some(section) = reader.next_section()? {
        sections.push(section);
    }
    Ok(sections)
}

fn newer(found: u32, supported: u32) -> Result<(), FrameError> {
    if found > supported { Err(FrameError::Newer { found, supported }) } else { Ok(()) }
}

/// The little-endian word at a place of a head, which was read whole.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
