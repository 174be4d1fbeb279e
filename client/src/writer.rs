//! Writing a file from front to back, several pieces in flight.

use bytes::{Bytes, BytesMut};
use gfs_types::limits::{FRAME_BYTES_MAX, INLINE_BYTES_MAX};
use gfs_types::message::client::{Attributes, LeaseTarget};
use gfs_types::region::ChunkIndex;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::JoinSet;

use crate::engine::{MutationOf, Order};
use crate::error::{Error, Result};
use crate::file::File;
use crate::op::mutate::Wanted;

/// Takes bytes in order; up to [`crate::Options::write_window`] pieces of 1 MiB are on their way at once. What is
/// taken may wait here for more until the next [`Writer::flush`].
///
/// Dropped without [`Writer::close`], pieces on their way are given up: a part of the bytes is in the file.
#[derive(Debug)]
pub struct Writer {
    file: File,
    /// Where the next byte goes.
    offset: u64,
    /// Less than a piece; it ends at `offset`.
    buffer: BytesMut,
    pieces: JoinSet<Result<()>>,
    /// Resolves when the last piece's commit has its place behind the others.
    last: Option<oneshot::Receiver<()>>,
    failed: Option<Error>,
    /// The length the file will have, if it was said.
    expected: Option<u64>,
    /// The chunk whose lease was asked for ahead.
    asked_ahead: ChunkIndex,
}

impl Writer {
    pub(crate) fn new(file: File, offset: u64) -> Self {
        Self {
            file,
            offset,
            buffer: BytesMut::new(),
            pieces: JoinSet::new(),
            last: None,
            failed: None,
            expected: None,
            asked_ahead: ChunkIndex(0),
        }
    }

    /// Tells how long the file will be: while a chunk is written the next one is made ready, and the writer never waits at
    /// a border.
    ///
    /// A promise: a writer that ends before may leave one empty chunk, and so a file that reads as zeros up to the
    /// border between them.
    #[must_use]
    pub fn expect(mut self, length: u64) -> Self {
        self.expected = Some(length);
        self
    }

    /// Where the next byte goes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes these bytes; waits while the window is full. An error is that of any earlier piece, and final.
    ///
    /// Not cancel safe: dropped, a part of `data` may be taken.
    ///
    /// # Errors
    /// As [`File::write_at`].
    pub async fn write(&mut self, data: impl Into<Bytes>) -> Result<()> {
        let mut data = data.into();
        self.check()?;
        self.file.check_end(self.offset.saturating_add(data.len() as u64))?;
        while !data.is_empty() {
            let room = usize::try_from(self.room()).unwrap_or(usize::MAX);
            let part = data.split_to(room.min(data.len()));
            self.offset += part.len() as u64;
            let whole = part.len() == room;
            if whole && self.buffer.is_empty() {
                self.launch(part).await?;
                continue;
            }
            self.buffer.extend_from_slice(&part);
            if whole {
                let piece = self.buffer.split().freeze();
                self.launch(piece).await?;
            }
        }
        Ok(())
    }

    /// Returns when all that was taken is acknowledged by every replica. Cancel safe.
    ///
    /// # Errors
    /// As [`File::write_at`].
    pub async fn flush(&mut self) -> Result<()> {
        self.check()?;
        if !self.buffer.is_empty() {
            let place = self.place(self.buffer.len()).await?;
            let piece = self.buffer.split().freeze();
            self.start(piece, place);
        }
        self.wait_below(1).await
    }

    /// Flushes, has it on disk on every replica, has the master log the length; then gives the offset behind the last
    /// byte.
    ///
    /// # Errors
    /// As [`Writer::flush`] and [`File::sync`].
    pub async fn close(self) -> Result<u64> {
        self.close_with(None).await
    }

    pub(crate) async fn close_with(mut self, attributes: Option<Attributes>) -> Result<u64> {
        self.flush().await?;
        self.file.sync_with(attributes).await?;
        Ok(self.offset)
    }

    /// Bytes up to the end of the current piece: the next multiple of a frame in the chunk, or the chunk's end.
    fn room(&self) -> u64 {
        let size = self.file.engine().chunk_size;
        let (_, at) = size.locate(self.offset);
        (FRAME_BYTES_MAX - at % FRAME_BYTES_MAX).min(size.bytes() - at)
    }

    async fn launch(&mut self, piece: Bytes) -> Result<()> {
        let place = self.place(piece.len()).await?;
        self.start(piece, place);
        Ok(())
    }

    /// Waits until a piece of so many bytes may go on its way: while this writer's window is full, and from its second
    /// piece on while all writers of this client together have enough on their way.
    async fn place(&mut self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>> {
        let engine = std::sync::Arc::clone(self.file.engine());
        self.wait_below(engine.options.write_window).await?;
        if self.pieces.is_empty() || bytes as u64 <= INLINE_BYTES_MAX {
            return Ok(None);
        }
        tokio::select! {
            // In this order: the same run of a simulation takes the same way.
            biased;
            place = std::sync::Arc::clone(&engine.pieces).acquire_owned() => Ok(place.ok()),
            // The first of its pieces needs no place.
            done = self.wait_below(1) => done.map(|()| None),
        }
    }

    /// Sends a piece on its way; it ends at `offset`.
    fn start(&mut self, piece: Bytes, place: Option<OwnedSemaphorePermit>) {
        let engine = std::sync::Arc::clone(self.file.engine());
        let begin = self.offset - piece.len() as u64;
        let (index, offset) = engine.chunk_size.locate(begin);
        let (turn, next) = oneshot::channel();
        let order = Some(Order { before: self.last.replace(next), turn });
        let file = self.file.clone();
        self.pieces.spawn(async move {
            let doing = file.doing("write to");
            let of = MutationOf::Write { index, offset, order };
            let deadline = engine.deadline();
            let written = engine.mutate(file.id(), of, piece, deadline, &doing).await?;
            file.acknowledged(&written);
            drop(place);
            Ok(())
        });
        self.ask_ahead(index);
    }

    /// Asks for the next chunk's lease with the first piece of this one, so that nothing waits at the border: a chunk may be written in
    /// less time than another one takes to be born on a busy disk. Only when it is sure to be written: an empty chunk at the end would
    /// make the file longer than it is.
    fn ask_ahead(&mut self, index: ChunkIndex) {
        let next = ChunkIndex(index.0 + 1);
        let engine = std::sync::Arc::clone(self.file.engine());
        let begins = engine.chunk_size.file_offset(next);
        let sure = self.expected.is_some_and(|length| length > begins);
        if !sure || self.asked_ahead >= next {
            return;
        }
        self.asked_ahead = next;
        let file = self.file.id();
        tokio::spawn(async move {
            let target = LeaseTarget::Index(next);
            let wanted = Wanted { target, refused: None, not_version: None };
            // If it fails, the write that needs it asks again and tells.
            drop(engine.lease(file, wanted, engine.deadline()).await);
        });
    }

    /// Waits until fewer pieces than this are on their way.
    async fn wait_below(&mut self, count: usize) -> Result<()> {
        while self.pieces.len() >= count {
            let Some(joined) = self.pieces.join_next().await else { break };
            let result = joined.unwrap_or_else(|error| {
                let doing = self.file.doing("write to");
                Err(Error::Defect { doing, reason: error.to_string() })
            });
            if let Err(error) = result {
                self.pieces.abort_all();
                self.failed.get_or_insert(error);
            }
            self.check()?;
        }
        self.check()
    }

    fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}
