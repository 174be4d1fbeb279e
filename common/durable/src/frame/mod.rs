//! A stream of sections, each with type, length and checksum, and a trailer over the whole: the
//! shape of a checkpoint. A cut or a flipped bit anywhere is found, and no length is believed
//! before that many bytes have come. Layout: `docs/formats/frame.md`.

mod error;
mod reader;
mod writer;

pub use error::FrameError;
pub use reader::{Reader, decode};
pub use writer::Writer;

use crate::crc::crc32c;

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
    /// What it holds; the meaning is the caller's. [`TRAILER_TAG`] is taken.
    pub tag: u32,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// The tag of the trailer.
pub const TRAILER_TAG: u32 = u32::MAX;

const MAGIC: [u8; 4] = *b"GFSF";
const CONTAINER_VERSION: u32 = 1;
const HEAD_BYTES: usize = 20;
const SECTION_HEAD_BYTES: usize = 12;
const TRAILER_BYTES: u32 = 20;

/// Of one section. Its number is covered too, so that two sections cannot change places.
fn section_crc(index: u64, tag: u32, payload: &[u8]) -> u32 {
    let length = payload.len() as u64;
    crc32c(&[&index.to_le_bytes(), &tag.to_le_bytes(), &length.to_le_bytes(), payload])
}

#[cfg(test)]
mod tests;
