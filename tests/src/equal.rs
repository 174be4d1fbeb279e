//! Whether all replicas of all chunks are there and hold the same, as their servers say.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::future::{BoxFuture, join_all};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use gfs_client::{ChunkLocation, Client, EntryKind, Options};
use gfs_types::message::control::ReplicaState;
use tokio::time::sleep;

const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Time for one question.
const QUESTION_TIME: Duration = Duration::from_secs(5);
const CHUNKS_AT_ONCE: usize = 8;

/// Waits until every chunk of the files below `dir` has all its replicas, current, neither suspect nor corrupt, with the
/// same lengths and checksums.
///
/// # Errors
/// What is still not so at the deadline.
pub async fn wait(masters: &str, dir: &str, deadline: Instant) -> Result<()> {
    let options = Options { timeout: QUESTION_TIME, ..Options::new(masters)? };
    let client = Client::connect_with(options).await?;
    loop {
        let differs = match look(&client, dir.to_owned()).await {
            Ok(differing) if differing.is_empty() => return Ok(()),
            Ok(differing) => differing,
            Err(error) => vec![format!("{error:#}")],
        };
        if Instant::now() >= deadline {
            let shown = differs.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
            bail!(
                "{} chunks are not as they should be after the time for it:\n{shown}",
                differs.len()
            );
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// A line for each chunk below `path` that is not as it should be.
fn look(client: &Client, path: String) -> BoxFuture<'_, Result<Vec<String>>> {
    async move {
        let mut differing = Vec::new();
        let mut entries = client.list(&path);
        while let Some(entry) = entries.try_next().await? {
            let below = format!("{}/{}", path.trim_end_matches('/'), entry.path);
            match entry.kind {
                EntryKind::Directory => differing.extend(look(client, below).await?),
                EntryKind::File if entry.chunks > 0 => {
                    differing.extend(look_at_file(client, &below).await?);
                }
                EntryKind::File => {}
            }
        }
        Ok(differing)
    }
    .boxed()
}

async fn look_at_file(client: &Client, path: &str) -> Result<Vec<String>> {
    let located = client.locate(path).await?;
    let goal = usize::from(located.entry.replication);
    let differing = stream::iter(located.chunks)
        .map(|chunk| async move {
            let why = look_at_chunk(client, &chunk, goal).await?;
            Some(format!(
                "{path} chunk {} ({}, version {}): {why}",
                chunk.index, chunk.handle, chunk.version
            ))
        })
        .buffered(CHUNKS_AT_ONCE)
        .filter_map(|line| async move { line });
    Ok(differing.collect().await)
}

/// Why the replicas of a chunk are not as they should be, if so.
async fn look_at_chunk(client: &Client, chunk: &ChunkLocation, goal: usize) -> Option<String> {
    if chunk.replicas.len() != goal {
        return Some(format!("{} of {goal} replicas", chunk.replicas.len()));
    }
    for replica in &chunk.replicas {
        if matches!(replica.state, ReplicaState::Suspect | ReplicaState::Corrupt) {
            return Some(format!("{:?} at {}", replica.state, replica.address));
        }
    }
    let tables = chunk.replicas.iter().map(|location| async move {
        let table = client.replica(location).checksums(chunk.handle, chunk.version).await;
        table.map_err(|error| error.to_string())
    });
    let tables: Result<Vec<_>, _> = join_all(tables).await.into_iter().collect();
    match tables {
        Err(why) => Some(why),
        Ok(tables) if tables.iter().all(|table| *table == tables[0]) => None,
        Ok(tables) => {
            let lengths: Vec<_> = tables.iter().map(|table| table.length).collect();
            Some(format!("lengths {lengths:?}, checksums differ"))
        }
    }
}
