//! The directory of one bench: taken, filled with what the load needs to find, and removed.

use futures::future::join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use gfs_client::{Client, CreateOptions, DeleteOptions, ErrorKind};

use super::Kind;
use super::plan::Plan;
use super::work::{self, Caller};
use crate::failure::{Failure, Result};
use crate::output::note;

/// Files that `stat` asks for.
pub(super) const STAT_FILES: u64 = 1000;
/// Requests in flight while preparing.
const PREPARE_AT_ONCE: usize = 64;

/// A directory, and whether it may go at the end.
pub(super) struct Place {
    pub(super) dir: String,
    /// By this bench; otherwise an earlier one left what is needed.
    pub(super) made: bool,
}

/// The path of a caller's file.
pub(super) fn file_path(dir: &str, caller: u32) -> String {
    format!("{dir}/file-{caller}")
}

/// The one file of `append`.
pub(super) fn log_path(dir: &str) -> String {
    format!("{dir}/log")
}

/// A file of `stat`.
pub(super) fn stat_path(dir: &str, number: u64) -> String {
    format!("{dir}/stat-{number}")
}

/// A file of `list`: a name of twenty bytes.
fn listed_path(dir: &str, number: u64) -> String {
    format!("{dir}/listed-{number:013}")
}

pub(super) async fn take(plan: &Plan, client: &Client) -> Result<Place> {
    let fresh = || -> Result<String> {
        let mut random = [0; 6];
        getrandom::fill(&mut random)
            .map_err(|error| Failure::new(format!("cannot draw a name: {error}")))?;
        let suffix: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("gfs-bench-{suffix}"))
    };
    let dir = match plan.path.as_deref().map(|path| path.trim_end_matches('/')) {
        None => format!("/{}", fresh()?),
        Some(path) if !exists(client, path).await? => path.to_owned(),
        Some(path) if fits(plan, client, path).await? => {
            return Ok(Place { dir: path.to_owned(), made: false });
        }
        Some(path) => format!("{path}/{}", fresh()?),
    };
    client.mkdir(&dir, true).await?;
    Ok(Place { dir, made: true })
}

async fn exists(client: &Client, path: &str) -> Result<bool> {
    length(client, if path.is_empty() { "/" } else { path }).await.map(|length| length.is_some())
}

async fn length(client: &Client, path: &str) -> Result<Option<u64>> {
    match client.stat(path).await {
        Ok(entry) => Ok(Some(entry.length)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether an earlier bench left there what this one needs.
async fn fits(plan: &Plan, client: &Client, dir: &str) -> Result<bool> {
    match plan.kind {
        Kind::Read => {
            for caller in 0..plan.clients {
                let length = length(client, &file_path(dir, caller)).await?;
                if length.is_none_or(|length| length < plan.file_bytes()) {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Kind::List => {
            let last = listed_path(dir, plan.files.saturating_sub(1));
            Ok(length(client, &last).await?.is_some())
        }
        _ => Ok(false),
    }
}

/// Makes what the load needs to find.
pub(super) async fn prepare(
    plan: &Plan,
    place: &Place,
    client: &Client,
    callers: &[Caller],
) -> Result<()> {
    match plan.kind {
        _ if !place.made => Ok(()),
        _ if plan.needs_files() => {
            let fill = callers.iter().cloned().map(|caller| tokio::spawn(work::fill(caller)));
            for filled in join_all(fill).await {
                filled.map_err(|error| Failure::new(error.to_string()))??;
            }
            Ok(())
        }
        Kind::Append => make(client, 1, |_| log_path(&place.dir)).await,
        Kind::Stat => make(client, STAT_FILES, |number| stat_path(&place.dir, number)).await,
        Kind::List => make(client, plan.files, |number| listed_path(&place.dir, number)).await,
        Kind::Idle => work::fill(callers[0].clone()).await,
        Kind::Write | Kind::Read | Kind::Create | Kind::Mixed => Ok(()),
    }
}

/// Makes empty files.
async fn make(client: &Client, files: u64, path: impl Fn(u64) -> String) -> Result<()> {
    let create =
        |path: String| async move { client.create(path, CreateOptions::default()).await.map(drop) };
    let all = stream::iter(0..files).map(|number| create(path(number)));
    Ok(all.buffer_unordered(PREPARE_AT_ONCE).try_collect::<()>().await?)
}

pub(super) async fn clean(plan: &Plan, place: &Place, client: &Client) -> Result<()> {
    if plan.keep {
        note(format_args!("files are kept in {}", place.dir));
        return Ok(());
    }
    if !place.made {
        return Ok(());
    }
    let all = DeleteOptions { recursive: true, purge: true };
    Ok(client.delete(&place.dir, all).await?)
}
