//! Syncing whole files, and the walk over all chunks that it needs.

use futures::{StreamExt, TryStreamExt};
use gfs_types::ids::FileId;
use gfs_types::limits::LOCATE_CHUNKS_MAX;
use gfs_types::message::client::{Attributes, FileLocations, Mutation};
use gfs_types::region::ChunkIndex;

use crate::engine::Engine;
use crate::error::Result;

/// Chunks that are synced at once.
pub(crate) const AT_ONCE: usize = 8;

/// Everything acknowledged of a file on disk, and its length logged.
pub(crate) async fn whole_file(engine: &Engine, file: FileId, doing: &str) -> Result<()> {
    let all = locate_all(engine, file, doing).await?;
    let mut length = all.entry.length;
    let mut syncs = futures::stream::iter(all.chunks)
        .map(|chunk| async move {
            let index = chunk.index;
            let in_chunk = engine.sync_chunk(file, index, Some(chunk), doing).await?;
            Ok::<_, crate::Error>(in_chunk.map(|l| engine.chunk_size.file_offset(index) + l))
        })
        .buffer_unordered(AT_ONCE);
    while let Some(end) = syncs.try_next().await? {
        length = length.max(end.unwrap_or(0));
    }
    // A last chunk without a lease tells its length only when asked.
    if !all.entry.length_is_final {
        length = length.max(engine.file_length(file, doing).await?);
    }
    set_length(engine, file, length, None, doing).await
}

/// Has the master log the length, and attributes if any.
pub(crate) async fn set_length(
    engine: &Engine,
    file: FileId,
    length: u64,
    attributes: Option<Attributes>,
    doing: &str,
) -> Result<()> {
    engine.change(&doing, Mutation::SetLength { file, length, attributes }).await.map(drop)
}

/// Where all chunks of a file are, page by page from the master itself.
pub(crate) async fn locate_all(
    engine: &Engine,
    file: FileId,
    doing: &str,
) -> Result<FileLocations> {
    let mut first = ChunkIndex(0);
    let mut all: Option<FileLocations> = None;
    loop {
        let page = engine.locate_page(file, first, LOCATE_CHUNKS_MAX, engine.deadline()).await;
        let page = page.map_err(|no| engine.no_good(doing, no))?;
        first = ChunkIndex(first.0 + u64::from(LOCATE_CHUNKS_MAX));
        let found = match &mut all {
            None => all.insert(page),
            Some(found) => {
                found.entry = page.entry;
                found.chunks.extend(page.chunks);
                found
            }
        };
        if first.0 >= found.entry.chunks {
            return Ok(found.clone());
        }
    }
}
