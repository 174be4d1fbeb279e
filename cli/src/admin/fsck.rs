//! `fsck`: the namespace against chunks, and replicas against one another.

mod compare;
mod finding;

use clap::Args;
use futures::stream::{self, StreamExt, TryStreamExt};
use gfs_client::{ChunkLocation, Client, EntryKind, FileLocations, ReplicaLocation};
use gfs_types::message::control::ReplicaState;
use gfs_types::path::GfsPath;

use crate::failure::{Failure, Result};
use crate::fs::ls::Walk;
use crate::output::{Format, Out, note};
use crate::progress::Progress;
use finding::{Finding, Place};

/// `gfs fsck`
#[derive(Debug, Args)]
#[command(after_help = "\
Without --replicas only what the master knows is compared: every chunk has as many replicas of its version as its file \
wants. With it every replica is read, checked against its checksums, and compared with the others. What differs \
is looked at again before it is reported: a chunk may be written to meanwhile. A server whose bytes are bad is told, and the \
replica is repaired from another one. Exit status 1 if there is a finding.

Examples:
  gfs fsck
  gfs fsck --replicas /important
  gfs fsck --replicas --output json / > findings")]
pub(crate) struct FsckArgs {
    /// A directory with all that is below, or a file
    #[arg(default_value = "/")]
    path: String,
    /// Read every replica of every chunk, and compare
    #[arg(long)]
    replicas: bool,
    /// How to print findings: json is one object a line
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

/// Chunks that are compared at once.
const CHUNKS_AT_ONCE: usize = 2;

/// What was looked at.
#[derive(Debug, Default)]
struct Counts {
    files: u64,
    chunks: u64,
    findings: u64,
}

pub(crate) async fn run(args: &FsckArgs, client: &Client) -> Result<()> {
    let mut out = Out::stdout()?;
    let mut counts = Counts::default();
    let progress = Progress::begin(None);
    let whole = !GfsPath::parse(&args.path)?.is_reserved();
    let mut walk = Walk::begin(client, &args.path, true).await?;
    while let Some(found) = walk.next().await? {
        let path = found.path();
        let hidden = whole && GfsPath::parse(&path)?.is_reserved();
        if hidden || found.entry.kind != EntryKind::File {
            continue;
        }
        progress.at(&path);
        let findings = check_file(args, client, &path, &progress, &mut counts).await?;
        for finding in findings {
            counts.findings += 1;
            match args.output {
                Format::Text => out.line(&finding)?,
                Format::Json => out.json(&finding.json())?,
            }
        }
        out.flush()?;
    }
    progress.end();
    let Counts { files, chunks, findings } = counts;
    note(format_args!("{files} files, {chunks} chunks, {findings} findings"));
    if findings == 0 { Ok(()) } else { Err(Failure::reported(1)) }
}

async fn check_file(
    args: &FsckArgs,
    client: &Client,
    path: &str,
    progress: &Progress,
    counts: &mut Counts,
) -> Result<Vec<Finding>> {
    let locations = match client.locate(path).await {
        Ok(locations) => locations,
        // Deleted since it was listed.
        Err(error) if error.kind() == gfs_client::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    counts.files += 1;
    counts.chunks += locations.chunks.len() as u64;
    let mut findings = known(path, &locations);
    if args.replicas {
        let compared = stream::iter(locations.chunks)
            .map(|chunk| compare::chunk(client, path, chunk, progress))
            .buffered(CHUNKS_AT_ONCE)
            .try_collect::<Vec<_>>();
        findings.extend(compared.await?.into_iter().flatten());
    }
    Ok(findings)
}

/// What the master's own answers tell.
fn known(path: &str, locations: &FileLocations) -> Vec<Finding> {
    let goal = usize::from(locations.entry.replication);
    locations.chunks.iter().filter_map(|chunk| below_goal(path, chunk, goal)).collect()
}

fn below_goal(path: &str, chunk: &ChunkLocation, goal: usize) -> Option<Finding> {
    let place = Place::of(path, chunk);
    let good = |replica: &&ReplicaLocation| replica.state != ReplicaState::Corrupt;
    match chunk.replicas.iter().filter(good).count() {
        0 => Some(Finding::new(place, "missing", "no replica of its version is in touch")),
        have if have < goal => {
            Some(Finding::new(place, "below goal", format!("{have} of {goal} replicas")))
        }
        _ => None,
    }
}
