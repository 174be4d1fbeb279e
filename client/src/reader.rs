//! Reading a file from front to back, ahead of the caller.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, Stream, StreamExt};
use gfs_types::ids::FileId;
use gfs_types::limits::FRAME_BYTES_MAX;
use gfs_types::region::{ChunkPart, ChunkSize};
use tokio::io::{AsyncRead, ReadBuf};

use crate::engine::Engine;
use crate::error::Result;

/// Gives the bytes of a range in order; also a [`Stream`] and an [`AsyncRead`].
///
/// Up to [`crate::Options::read_window`] pieces are on their way while the caller works on one. Dropping it gives
/// them up.
pub struct Reader {
    source: Source,
    /// The range that is left to ask for; its end is that of the file once it is known.
    range: Range<u64>,
    /// Finding out where the file ends, if that has to be done.
    ending: Option<BoxFuture<'static, Result<u64>>>,
    pieces: FuturesOrdered<BoxFuture<'static, Result<Bytes>>>,
    /// What a caller of `AsyncRead` did not take yet.
    rest: Bytes,
    failed: bool,
}

#[derive(Clone)]
struct Source {
    engine: Arc<Engine>,
    file: FileId,
    doing: Arc<str>,
}

impl Reader {
    pub(crate) fn new(engine: Arc<Engine>, file: FileId, range: Range<u64>, doing: String) -> Self {
        let known = engine.known_length(file);
        let source = Source { engine, file, doing: doing.into() };
        let ending = (range.start < range.end && range.end > known).then(|| source.length());
        let pieces = FuturesOrdered::new();
        Self { source, range, ending, pieces, rest: Bytes::new(), failed: false }
    }

    /// The next bytes, at most 1 MiB; `None` at the end. After an error it ends.
    ///
    /// Cancel safe: nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        poll_fn(|cx| self.poll_piece(cx)).await
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.rest))));
        }
        if self.failed {
            return Poll::Ready(None);
        }
        let piece = match ready!(self.poll_end(cx)) {
            Err(error) => Some(Err(error)),
            Ok(()) => {
                self.ask_ahead();
                ready!(self.pieces.poll_next_unpin(cx))
            }
        };
        if let Some(Err(_)) = &piece {
            self.failed = true;
            self.pieces = FuturesOrdered::new();
        }
        Poll::Ready(piece)
    }

    /// Resolves when it is known where to stop.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some(ending) = &mut self.ending {
            let length = ready!(ending.poll_unpin(cx));
            self.ending = None;
            self.range.end = self.range.end.min(length?);
        }
        Poll::Ready(Ok(()))
    }

    fn ask_ahead(&mut self) {
        while self.pieces.len() < self.source.engine.options.read_window {
            let Some(part) = first_piece(self.source.engine.chunk_size, &self.range) else {
                return;
            };
            self.range.start += part.length;
            self.pieces.push_back(self.source.read(part));
        }
    }
}

impl Source {
    fn length(&self) -> BoxFuture<'static, Result<u64>> {
        let source = self.clone();
        Box::pin(async move { source.engine.file_length(source.file, &source.doing).await })
    }

    fn read(&self, part: ChunkPart) -> BoxFuture<'static, Result<Bytes>> {
        let source = self.clone();
        Box::pin(async move { source.engine.read_part(source.file, part, &source.doing).await })
    }
}

/// The first piece of a range: within one chunk, and up to the next multiple of a frame in it, so that all pieces but
/// the first begin at block borders.
fn first_piece(chunk_size: ChunkSize, range: &Range<u64>) -> Option<ChunkPart> {
    let part = chunk_size.split(range.clone()).next()?;
    let length = part.length.min(FRAME_BYTES_MAX - part.offset % FRAME_BYTES_MAX);
    Some(ChunkPart { length, ..part })
}

impl Stream for Reader {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        self.poll_piece(cx)
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            match ready!(self.poll_piece(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                Some(Ok(bytes)) => self.rest = bytes,
            }
        }
        let count = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest[..count]);
        self.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("file", &self.source.file)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfs_types::limits::CHUNK_BYTES_MIN;

    fn pieces(chunk_bytes: u64, mut range: Range<u64>) -> Vec<(u64, u64, u64)> {
        let size = ChunkSize::new(chunk_bytes).unwrap();
        std::iter::from_fn(|| {
            let part = first_piece(size, &range)?;
            range.start += part.length;
            Some((part.index.0, part.offset, part.length))
        })
        .collect()
    }

    #[test]
    fn pieces_end_at_frames_and_at_chunks() {
        let mib = 1 << 20;
        assert_eq!(
            pieces(4 * mib, mib - 10..2 * mib + 5),
            [(0, mib - 10, 10), (0, mib, mib), (0, 2 * mib, 5)]
        );
        let c = CHUNK_BYTES_MIN;
        assert_eq!(pieces(c, c - 1..2 * c + 1), [(0, c - 1, 1), (1, 0, c), (2, 0, 1)]);
        assert!(pieces(c, 9..9).is_empty());
    }
}
