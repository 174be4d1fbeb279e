//! The frame around a record (`docs/formats/record.md`).

use std::fmt;

use bytes::Bytes;

/// Who wrote a record: 128 random bits, drawn by each writer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId(pub u128);

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriterId({self})")
    }
}

/// A whole record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where its frame begins in the file.
    pub offset: u64,
    /// Who wrote it.
    pub writer: WriterId,
    /// Its number within its writer, from 1.
    pub seq: u64,
    /// What was written.
    pub payload: Bytes,
}
