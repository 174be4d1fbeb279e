//! The course of one copy, without I/O: what to ask of the source next, and what its answers are worth.

use std::collections::VecDeque;
use std::ops::Range;

use gfs_chunkserver_core::Copied;
use gfs_protocol::checksum::crc32c;
use gfs_types::limits::{BLOCK_BYTES, CHUNK_BYTES_MAX, FRAME_BYTES_MAX};
use gfs_types::message::data::{DataRequest, DataResponse};
use gfs_types::{Error, ErrorKind};

use crate::driver::CopyWork;
use crate::store::{Checksums, Part, Store};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Ask the source.
    Ask(DataRequest),
    /// It is done.
    Done(Copied),
}

/// A copy under way: one piece of it at a time.
#[derive(Debug)]
pub struct Course {
    work: CopyWork,
    /// Of the source.
    sums: Option<(u64, u32)>,
    /// What differs and was not asked for yet.
    runs: VecDeque<Range<u64>>,
    copied_bytes: u64,
}

impl Course {
    /// At its begin.
    #[must_use]
    pub fn new(work: CopyWork) -> Self {
        Self { work, sums: None, runs: VecDeque::new(), copied_bytes: 0 }
    }

    /// What is copied.
    #[must_use]
    pub fn work(&self) -> &CopyWork {
        &self.work
    }

    /// What to do next.
    #[must_use]
    pub fn next(&self) -> Next {
        let Some((length, digest)) = self.sums else { return Next::Ask(DataRequest::Compare) };
        match self.runs.front() {
            Some(run) => {
                let wanted = (run.end - run.start).min(FRAME_BYTES_MAX);
                Next::Ask(DataRequest::Copy { offset: run.start, length: wanted })
            }
            None => Next::Done(Copied { length, digest, copied_bytes: self.copied_bytes }),
        }
    }

    /// Takes the answer to what was asked, its bytes verified. Gives the piece that is to be handed to the driver, and where it
    /// belongs; the course goes on when the driver took it.
    ///
    /// # Errors
    /// The copy failed.
    pub fn answered(
        &mut self,
        store: &Store,
        answer: Result<(DataResponse, Part), Error>,
    ) -> Result<Option<(u64, Part)>, Error> {
        let (response, part) = answer.map_err(|error| self.refused(error))?;
        match self.next() {
            Next::Ask(DataRequest::Copy { offset, length }) => {
                self.piece(offset, length, &response, part)
            }
            _ => self.compare(store, &response, &part).map(|()| None),
        }
    }

    fn compare(
        &mut self,
        store: &Store,
        response: &DataResponse,
        part: &Part,
    ) -> Result<(), Error> {
        let DataResponse::Checksums { length, digest } = *response else {
            return Err(self.nonsense("answered no checksums"));
        };
        let bytes = part.bytes();
        let covered = CHUNK_BYTES_MAX.min(length) == length
            && bytes.len() as u64 == 4 * length.div_ceil(BLOCK_BYTES);
        let check = crc32c(&[&length.to_le_bytes(), &bytes[..]].concat());
        if !covered || check != digest {
            return Err(self.nonsense("sent a table of checksums that does not match its digest"));
        }
        let table = bytes.chunks_exact(4).map(|e| u32::from_le_bytes([e[0], e[1], e[2], e[3]]));
        let sums = Checksums { length, table: table.collect(), digest };
        let differing = store.differing(self.work.target.handle, &sums, self.work.check_all)?;
        self.runs = differing.into_iter().collect();
        self.sums = Some((length, digest));
        Ok(())
    }

    fn piece(
        &mut self,
        offset: u64,
        wanted: u64,
        response: &DataResponse,
        part: Part,
    ) -> Result<Option<(u64, Part)>, Error> {
        let length = part.length();
        let fits = matches!(
            *response,
            DataResponse::Bytes { offset: begins, length: came, own_checksum: false, .. }
                if begins == offset && came == length && came <= wanted
        );
        if !fits {
            return Err(self.nonsense("sent other bytes than were asked for"));
        }
        self.copied_bytes += length;
        if let Some(run) = self.runs.front_mut() {
            run.start += length;
            // With less than was asked for the source is shorter by now.
            if run.is_empty() || length < wanted {
                self.runs.pop_front();
            }
        }
        Ok((length > 0).then_some((offset, part)))
    }

    /// Only what is wrong with the replica here may be called corrupt: its core would call it damaged.
    fn refused(&self, error: Error) -> Error {
        match error.kind {
            ErrorKind::Corrupt => self.nonsense(&format!("cannot give its bytes: {error}")),
            _ => error,
        }
    }

    pub(super) fn nonsense(&self, what: &str) -> Error {
        let (handle, peer) = (self.work.target.handle, self.work.from.chunkserver);
        Error::unknown(format!("chunk {handle}: the source, chunkserver {peer}, {what}"))
    }
}
