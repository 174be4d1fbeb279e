//! The frame around a record, and finding records again (§2.7.2). The format is a contract: `docs/formats/record.md`.
//!
//! A file of records may hold padding, copies of records whose append was repeated, and fragments of appends that
//! failed. [`scan`] gives whole records only; [`seen`] drops the copies.

pub mod frame;
pub mod scan;
pub mod seen;

use std::fmt;

use bytes::Bytes;

/// Who wrote a record: 128 bits, drawn at random by each client and counted by its writers.
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

/// For fuzzing: takes any bytes as a file of records and panics if an invariant breaks. However the bytes are cut into
/// pieces the same records come out, each of them stands in the bytes as it would be written, none overlap.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let chunk = gfs_types::region::ChunkSize::default();
    let all = scan::collect(chunk, data, data.len().max(1));
    let cut = data.first().map_or(1, |first| usize::from(*first) + 1);
    assert_eq!(all, scan::collect(chunk, data, cut), "the cut of the pieces shows");
    let mut end = 0;
    for record in &all {
        assert!(record.offset >= end, "records overlap");
        let mut frame = bytes::BytesMut::new();
        frame::encode(&mut frame, record.writer, record.seq, &record.payload);
        let at = usize::try_from(record.offset).unwrap_or(usize::MAX);
        let stands = &data[at..at + frame.len()];
        // The mask is the writer's choice; everything else is not.
        assert_eq!(frame::decode(stands), frame::decode(&frame), "not what was written");
        end = record.offset + frame.len() as u64;
    }
}
