//! Writing a stream of sections.

use std::fmt;
use std::io::{self, ErrorKind, Write};

use super::{CONTAINER_VERSION, Kind, MAGIC, TRAILER_TAG, section_crc};
use crate::crc::{Running, crc32c};

/// Writes sections, then a trailer. Without [`Writer::finish`] the stream counts as cut off.
pub struct Writer<W: Write> {
    inner: W,
    whole: Running,
    sections: u64,
    payload_bytes: u64,
}

impl<W: Write> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("sections", &self.sections).finish_non_exhaustive()
    }
}

impl<W: Write> Writer<W> {
    /// Begins a stream.
    pub fn new(inner: W, kind: Kind) -> io::Result<Self> {
        let mut writer = Self { inner, whole: Running::default(), sections: 0, payload_bytes: 0 };
        let mut head = Vec::new();
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&CONTAINER_VERSION.to_le_bytes());
        head.extend_from_slice(&kind.name);
        head.extend_from_slice(&kind.version.to_le_bytes());
        head.extend_from_slice(&crc32c(&[&head]).to_le_bytes());
        writer.put(&head)?;
        Ok(writer)
    }

    /// Adds a section. Fails with [`ErrorKind::InvalidInput`] for the trailer's tag or 4 GiB.
    pub fn section(&mut self, tag: u32, payload: &[u8]) -> io::Result<()> {
        if tag == TRAILER_TAG {
            return Err(io::Error::new(ErrorKind::InvalidInput, "this tag is the trailer's"));
        }
        self.put_section(tag, payload)?;
        self.sections += 1;
        self.payload_bytes += payload.len() as u64;
        Ok(())
    }

    /// Ends the stream with its trailer and gives back what it was written to, flushed.
    pub fn finish(mut self) -> io::Result<W> {
        let mut trailer = Vec::new();
        trailer.extend_from_slice(&self.sections.to_le_bytes());
        trailer.extend_from_slice(&self.payload_bytes.to_le_bytes());
        trailer.extend_from_slice(&self.whole.value().to_le_bytes());
        self.put_section(TRAILER_TAG, &trailer)?;
        self.inner.flush()?;
        Ok(self.inner)
    }

    fn put_section(&mut self, tag: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len())
            .map_err(|_| io::Error::new(ErrorKind::InvalidInput, "a section is below 4 GiB"))?;
        self.put(&tag.to_le_bytes())?;
        self.put(&length.to_le_bytes())?;
        self.put(&section_crc(self.sections, tag, payload).to_le_bytes())?;
        self.put(payload)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.whole.update(bytes);
        self.inner.write_all(bytes)
    }
}
