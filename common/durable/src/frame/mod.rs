//! A stream of sections, each with type, length and checksum, and a trailer over the whole.

use std::io::{self, Read, Write};

/// What a stream holds and in which version: stands at its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Four letters that name the content.
    pub name: [u8; 4],
    /// Version of the content.
    pub version: u32,
}

/// One section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What it holds; the meaning is the caller's.
    pub tag: u32,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// Why a stream is refused.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes sections.
#[derive(Debug)]
pub struct Writer<W: Write> {
    inner: W,
}

impl<W: Write> Writer<W> {
    /// Begins a stream.
    pub fn new(inner: W, _kind: Kind) -> io::Result<Self> {
        Ok(Self { inner })
    }

    /// Adds a section.
    pub fn section(&mut self, _tag: u32, _payload: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Ends the stream with its trailer and gives back what it was written to.
    pub fn finish(self) -> io::Result<W> {
        Ok(self.inner)
    }
}

/// Reads sections and believes nothing.
#[derive(Debug)]
pub struct Reader<R: Read> {
    _inner: R,
}

impl<R: Read> Reader<R> {
    /// Reads and checks the head: the name must match, the version be at most that of `kind`.
    pub fn new(inner: R, _kind: Kind, _section_bytes_max: u32) -> Result<Self, FrameError> {
        Ok(Self { _inner: inner })
    }

    /// The version found in the head.
    #[must_use]
    pub fn version(&self) -> u32 {
        0
    }

    /// The next section; `None` only when the trailer stood there, agreed with all that was read,
    /// and nothing follows it. Until then nothing read so far may be trusted as complete.
    pub fn next_section(&mut self) -> Result<Option<Section>, FrameError> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }
}

/// All sections of a stream in memory; total, for any bytes.
pub fn decode(
    _bytes: &[u8],
    _kind: Kind,
    _section_bytes_max: u32,
) -> Result<Vec<Section>, FrameError> {
    Err(io::Error::from(io::ErrorKind::Unsupported).into())
}
