//! Flushes: what was written to replicas, and their committed lengths, on the disk. Those that wait together share
//! their syncs.

use std::sync::Arc;

use gfs_durable::fs::File;
use gfs_types::ids::ChunkHandle;

use super::chunk::Chunk;
use super::flush::Written;
use super::sync::Syncers;
use super::{Store, StoreError};

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

/// At most so many share their syncs: the header of each is locked until its own sync is over.
const GROUP_MAX: usize = 64;
/// So much may be waiting to be written in a group of several, in bytes. Who waits for a little replica of it (an overwrite of
/// one that was only appended to does) waits for no more than that.
const GROUP_BYTES_MAX: u64 = 8 << 20;

/// One of a group, and its place in what was asked for.
struct Wanted {
    index: usize,
    flush: Flush,
    chunk: Arc<Chunk>,
    file: Arc<dyn File>,
    unsynced_bytes: u64,
}

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
        let mut flushed = Err(StoreError::NotFound(flush.handle));
        self.flush_many(&[flush], |_, result| flushed = result);
        flushed
    }

    /// As [`Store::flush`] and [`Store::mark_clean`] of each, which are of different chunks. `done` is told the place of each
    /// and what came of it, as soon as that is known: those with little to write come first. It must not wait for a
    /// replica: headers of others may be locked.
    ///
    /// # Errors
    /// `Fatal` when a sync fails.
    ///
    /// # Panics
    /// When a chunk is named twice: its second flush would wait for its first.
    pub fn flush_many(
        &self,
        flushes: &[Flush],
        mut done: impl FnMut(usize, Result<(), StoreError>),
    ) {
        let mut handles: Vec<_> = flushes.iter().map(|flush| flush.handle).collect();
        handles.sort_unstable();
        assert!(handles.windows(2).all(|two| two[0] != two[1]), "a chunk is flushed twice at once");
        let mut all = Vec::new();
        for (index, flush) in flushes.iter().enumerate() {
            match self.chunk(flush.handle) {
                Ok((chunk, file)) => {
                    let unsynced_bytes = chunk.unsynced_bytes();
                    all.push(Wanted { index, flush: *flush, chunk, file, unsynced_bytes });
                }
                Err(error) => done(index, Err(error)),
            }
        }
        all.sort_by_key(|wanted| wanted.unsynced_bytes);
        let mut rest = &all[..];
        while !rest.is_empty() {
            let (group, others) = rest.split_at(group_length(rest));
            flush_group(&self.syncers, group, &mut done);
            rest = others;
        }
    }
}

/// How many of the first ones are flushed together; one that is too large is so alone.
fn group_length(all: &[Wanted]) -> usize {
    let mut bytes = 0_u64;
    let fits = |wanted: &&Wanted| {
        bytes = bytes.saturating_add(wanted.unsynced_bytes);
        bytes <= GROUP_BYTES_MAX
    };
    all.iter().take(GROUP_MAX).take_while(fits).count().max(1)
}

fn flush_group(
    syncers: &Syncers,
    group: &[Wanted],
    done: &mut impl FnMut(usize, Result<(), StoreError>),
) {
    let mut flushed = Vec::new();
    write_all(syncers, group.iter(), Wanted::begin_flush, |wanted, result| match result {
        Ok(()) if wanted.flush.clean => flushed.push(wanted),
        result => done(wanted.index, result),
    });
    write_all(syncers, flushed.into_iter(), Wanted::begin_clean, |wanted, result| {
        done(wanted.index, result);
    });
}

impl Wanted {
    fn begin_flush(&self) -> Result<Option<Written<'_>>, StoreError> {
        if self.flush.clean && self.chunk.is_flushed() {
            return Ok(None);
        }
        self.chunk.begin_flush(&*self.file, self.flush.committed_length)
    }

    fn begin_clean(&self) -> Result<Option<Written<'_>>, StoreError> {
        self.chunk.begin_clean(&*self.file, self.flush.committed_length)
    }
}

/// Writes a header of each that wants one, then syncs all of them together. The header of each is free, and `done` told,
/// when its own sync is over.
fn write_all<'a>(
    syncers: &Syncers,
    group: impl Iterator<Item = &'a Wanted>,
    begin: impl Fn(&'a Wanted) -> Result<Option<Written<'a>>, StoreError>,
    mut done: impl FnMut(&'a Wanted, Result<(), StoreError>),
) {
    let mut written = Vec::new();
    for wanted in group {
        match begin(wanted) {
            Ok(Some(header)) => written.push(Some((wanted, header))),
            Ok(None) => done(wanted, Ok(())),
            Err(error) => done(wanted, Err(error)),
        }
    }
    if written.len() > 1 {
        written.iter().flatten().for_each(|(_, header)| header.begin_sync());
    }
    let files = written.iter().flatten().map(|(wanted, _)| Arc::clone(&wanted.file)).collect();
    syncers.each(
        files,
        |file: &Arc<dyn File>| file.sync_data(),
        |index, synced| {
            if let Some((wanted, header)) = written[index].take() {
                done(wanted, header.end(synced));
            }
        },
    );
}
