//! Flushes: what was written to replicas, and their committed lengths, on the disk. Those that wait together share
//! their syncs.

use std::sync::Arc;

use gfs_durable::fs::File;
use gfs_types::ids::ChunkHandle;

use super::chunk::Chunk;
use super::flush::Written;
use super::{Store, StoreError, sync};

/// A replica that is to be flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flush {
    /// The chunk.
    pub handle: ChunkHandle,
    /// So much of it is committed, in bytes.
    pub committed_length: u64,
    /// Become clean behind the flush, as [`Store::mark_clean`].
    pub clean: bool,
}

type Opened = (Arc<Chunk>, Arc<dyn File>);

impl Store {
    /// Data, checksums and the committed length are on disk when this returns. Mutations go on meanwhile, from other
    /// threads; what they write may not be covered.
    ///
    /// # Errors
    /// `Fatal` when the disk's sync fails.
    pub fn flush(&self, handle: ChunkHandle, committed_length: u64) -> Result<(), StoreError> {
        self.flush_one(Flush { handle, committed_length, clean: false })
    }

    /// Flushes everything, then sets `clean`, durable when this returns. No mutation may run meanwhile.
    ///
    /// # Errors
    /// The disk's.
    pub fn mark_clean(&self, handle: ChunkHandle, committed_length: u64) -> Result<(), StoreError> {
        self.flush_one(Flush { handle, committed_length, clean: true })
    }

    fn flush_one(&self, flush: Flush) -> Result<(), StoreError> {
        self.flush_many(&[flush]).pop().unwrap_or(Err(StoreError::NotFound(flush.handle)))
    }

    /// As [`Store::flush`] and [`Store::mark_clean`] of each, which are of different chunks. Gives what came of each,
    /// in their order.
    ///
    /// # Errors
    /// `Fatal` when a sync fails.
    ///
    /// # Panics
    /// When a chunk is named twice: its second flush would wait for its first.
    pub fn flush_many(&self, flushes: &[Flush]) -> Vec<Result<(), StoreError>> {
        let mut handles: Vec<_> = flushes.iter().map(|flush| flush.handle).collect();
        handles.sort_unstable();
        assert!(handles.windows(2).all(|two| two[0] != two[1]), "a chunk is flushed twice at once");
        let mut results: Vec<_> = flushes
            .iter()
            .map(|flush| self.chunk(flush.handle).map(|open| (*flush, open)))
            .collect();
        write_all(&mut results, |flush, (chunk, file)| match flush.clean {
            true if chunk.is_flushed() => Ok(None),
            _ => chunk.begin_flush(&**file, flush.committed_length),
        });
        write_all(&mut results, |flush, (chunk, file)| match flush.clean {
            true => chunk.begin_clean(&**file, flush.committed_length),
            false => Ok(None),
        });
        results.into_iter().map(|result| result.map(drop)).collect()
    }
}

/// Writes a header of each that is good and wants one, then syncs all of them together.
fn write_all(
    all: &mut [Result<(Flush, Opened), StoreError>],
    begin: impl for<'a> Fn(&Flush, &'a Opened) -> Result<Option<Written<'a>>, StoreError>,
) {
    let mut failed = Vec::new();
    let mut written = Vec::new();
    for (index, one) in all.iter().enumerate() {
        let Ok((flush, opened)) = one else { continue };
        match begin(flush, opened) {
            Ok(header) => written.extend(header.map(|header| (index, header))),
            Err(error) => failed.push((index, error)),
        }
    }
    if written.len() > 1 {
        written.iter().for_each(|(_, header)| header.begin_sync());
    }
    let synced = sync::all(&written, |(_, header)| header.sync());
    for ((index, header), synced) in written.into_iter().zip(synced) {
        failed.extend(header.end(synced).err().map(|error| (index, error)));
    }
    for (index, error) in failed {
        all[index] = Err(error);
    }
}
