//! Stored checksums against those that were noted when the pieces were made.
//!
//! A reader verifies what it reads against the checksums that each replica stores. Where those are the ones noted at
//! writing, what was read is what was written; no byte has to be compared while time is taken.

use gfs_client::ChunkLocation;

use super::payload::BLOCK_BYTES;
use super::place::file_path;
use super::plan::Plan;
use super::work::Caller;
use crate::failure::{Context, Failure, Result};

/// Whether every block of the files lies in one piece, so that its checksum is known.
pub(super) fn knows(plan: &Plan) -> bool {
    plan.op_bytes.is_multiple_of(BLOCK_BYTES)
}

/// Compares those of every replica of the caller's file.
pub(super) async fn compare(caller: &Caller) -> Result<()> {
    let path = file_path(&caller.dir, caller.index);
    let locations = caller.client.locate(&path).await?;
    for chunk in &locations.chunks {
        for location in &chunk.replicas {
            let replica = caller.client.replica(location);
            let asking = || format!("cannot compare the checksums of {path}");
            let found = replica.checksums(chunk.handle, chunk.version).await.during(asking)?;
            if let Some(block) = first_wrong(caller, chunk, &found.blocks) {
                let (index, address) = (chunk.index.0, &location.address);
                return Err(Failure::new(format!(
                    "{path}: block {block} of chunk {index} at {address} is not as written"
                )));
            }
        }
    }
    Ok(())
}

/// The first block of a replica that has another checksum, or none.
fn first_wrong(caller: &Caller, chunk: &ChunkLocation, found: &[u32]) -> Option<u64> {
    let chunk_bytes = caller.client.chunk_size().bytes();
    let start = chunk.index.0 * chunk_bytes;
    let bytes = caller.plan.file_bytes().saturating_sub(start).min(chunk_bytes);
    (0..bytes / BLOCK_BYTES).find(|block| {
        let expected = caller.payload.block_checksum(caller.index, start + block * BLOCK_BYTES);
        let found = usize::try_from(*block).ok().and_then(|block| found.get(block));
        found != Some(&expected)
    })
}
