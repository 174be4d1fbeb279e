//! A mutation that failed half way is made once more, on the replica as a start would recover it.
//!
//! A failed write loses nothing that was applied before: the records in the file say where that ends. So one bad moment of a disk does not
//! cost the replica, which may be the only one of its version. A second failure closes it, until another replica repairs it or a start
//! recovers it.

use gfs_durable::fs::File;
use gfs_types::ids::ChunkHandle;
use tracing::warn;

use super::ahead::Ahead;
use super::chunk::Chunk;
use super::payload::Payload;
use super::recover::recover;
use super::{Store, StoreConfig, StoreError};

impl Store {
    /// Writes at `offset`: over bytes that are there, at the end, or beyond it (the hole reads as zeros). Not durable
    /// before a [`Store::flush`]. Gives the new length.
    ///
    /// # Errors
    /// `Invalid` beyond the chunk's end, `Full`, `Damaged` when a block cannot be merged with what is there.
    pub fn write(
        &self,
        handle: ChunkHandle,
        offset: u64,
        data: &Payload,
    ) -> Result<u64, StoreError> {
        self.once_more(handle, || self.write_once(handle, offset, data))
    }

    /// Fills with zeros from the applied length up to `length`: a hole, which takes no space. Gives the new length.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn pad(&self, handle: ChunkHandle, length: u64) -> Result<u64, StoreError> {
        self.once_more(handle, || self.pad_once(handle, length))
    }

    fn once_more(
        &self,
        handle: ChunkHandle,
        mutate: impl Fn() -> Result<u64, StoreError>,
    ) -> Result<u64, StoreError> {
        match mutate() {
            Err(error @ StoreError::Io { .. }) => match self.reopen(handle) {
                Ok(()) => {
                    warn!(chunk = %handle, %error, "a mutation failed half way and is made once more");
                    mutate()
                }
                Err(fatal) if fatal.is_fatal() => Err(fatal),
                Err(_) => Err(error),
            },
            result => result,
        }
    }

    /// Takes a replica up again that a failed write closed.
    fn reopen(&self, handle: ChunkHandle) -> Result<(), StoreError> {
        let (chunk, file) = self.chunk(handle)?;
        chunk.reopen(&*file, &self.config)
    }
}

impl Chunk {
    fn reopen(&self, file: &dyn File, config: &StoreConfig) -> Result<(), StoreError> {
        // A flush that is under way comes to its end first.
        let mut header = self.header();
        if self.state().closed.is_none() {
            return Ok(());
        }
        let applied = self.state().end;
        let recovered = recover(file, self.handle, config)?;
        if let Some(reason) = recovered.damaged {
            return Err(self.damaged(reason));
        }
        if recovered.found_seq < applied.seq {
            return Err(self.damaged("an earlier mutation is gone".to_owned()));
        }
        *header = recovered.header;
        let mut state = self.state();
        state.end = recovered.end;
        state.durable_length = header.base.length;
        state.pinned = None;
        state.ahead = Ahead::unknown();
        state.closed = None;
        self.set_ready(!header.clean, header.overwritten);
        self.advance(recovered.end, true);
        Ok(())
    }
}
