//! `put`: local files and trees into the cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use gfs_client::{Client, EntryKind, ErrorKind, UploadOptions};
use tokio::sync::Semaphore;

use super::copy::destination::{Destination, Place as To, There, means_contents};
use super::copy::local::{Pieces, utf8};
use super::copy::tally::Tally;
use super::copy::tree::{self, Links, Place, Step};
use super::copy::{JOBS_DEFAULT, JOBS_MAX, SMALL_JOBS_DEFAULT};
use super::entry::join;
use crate::failure::{Context, Failure, Result};
use crate::progress::Progress;

/// `gfs put`
#[derive(Debug, Args)]
#[command(override_usage = "gfs put [OPTIONS] SRC... DST")]
#[command(after_help = "\
As cp: DST is an existing directory, or the new name. Each file appears under its name whole or not at all, whatever \
kills the command, and is on the disk of all its replicas when the command returns. A file that had the name goes to \
the trash. Modification times and executable bits are kept. `-` is stdin; names that begin with a dash go after `--`.

Examples:
  gfs put report.pdf /docs/
  gfs put -r --jobs 32 project /backup
  mysqldump shop | gfs put - /backup/shop.sql
  gfs put -- -odd-name- /docs")]
pub(crate) struct PutArgs {
    /// Copy directories with all that is in them
    #[arg(short, long)]
    recursive: bool,
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=JOBS_MAX))]
    #[arg(help = format!("Files in flight [default: {JOBS_DEFAULT}, {SMALL_JOBS_DEFAULT} of small ones]"))]
    jobs: Option<u16>,
    /// What to do with symbolic links in trees
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    links: Links,
    /// Replicas of the new chunks [default: that of the cluster]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=7))]
    replication: Option<u8>,
    /// Local files, or directories with -r (`-` is stdin), and where to, in the cluster
    // One list: with two, clap would not share it out behind `--`.
    #[arg(required = true, num_args = 2.., value_names = ["SRC", "DST"])]
    paths: Vec<PathBuf>,
}

/// What every upload of one command shares. Cheap to clone.
#[derive(Clone)]
struct Shop {
    client: Client,
    replication: u8,
    progress: Progress,
    /// Files that are not small take turns: each may hold a few MiB.
    large: Arc<Semaphore>,
}

pub(crate) async fn run(args: &PutArgs, client: &Client) -> Result<()> {
    let Some((target, sources)) = args.paths.split_last() else {
        return Err(Failure::usage("SRC and DST are needed"));
    };
    let target = utf8(target.as_os_str(), target)?;
    let destination = Destination {
        there: look(client, target).await?,
        trailing_slash: target.ends_with('/'),
        sources: sources.len(),
    };
    let progress = Progress::begin(total(sources));
    let mut tally = Tally::new(args.jobs.unwrap_or(SMALL_JOBS_DEFAULT), progress.clone());
    let shop = Shop {
        client: client.clone(),
        replication: args.replication.unwrap_or(0),
        progress,
        large: Arc::new(Semaphore::new(usize::from(args.jobs.unwrap_or(JOBS_DEFAULT)))),
    };
    for source in sources {
        if let Err(failure) = put(args, source, target, &destination, &shop, &mut tally).await {
            tally.problem(&failure.during(source.display()))?;
        }
    }
    tally.end().await
}

async fn put(
    args: &PutArgs,
    source: &Path,
    target: &str,
    destination: &Destination,
    shop: &Shop,
    tally: &mut Tally,
) -> Result<()> {
    let to = |place, name: &str| match place {
        To::Itself => target.to_owned(),
        To::Inside => join(target, name),
    };
    let place = |is_directory, named| {
        let wrong = |problem| Failure::new(format!("cannot put it at {target}: {problem}"));
        destination.place(is_directory, named).map_err(wrong)
    };
    if source.as_os_str() == "-" {
        return match place(false, false)? {
            To::Itself if destination.there != There::Directory => {
                tally.start(upload(shop.clone(), None, target.to_owned())).await
            }
            _ => Err(Failure::new("stdin has no name: write the whole path of the new file")),
        };
    }
    let metadata = std::fs::metadata(source).during(|| "cannot read it")?;
    let named = !means_contents(&source.to_string_lossy());
    let name = match source.file_name().filter(|_| named) {
        Some(name) => utf8(name, source)?,
        None => "",
    };
    if !metadata.is_dir() {
        let target = to(place(false, true)?, name);
        return tally.start(upload(shop.clone(), Some(source.to_owned()), target)).await;
    }
    if !args.recursive {
        return Err(Failure::new("is a directory: copy it with -r"));
    }
    put_tree(shop, source, &to(place(true, named)?, name), args.links, tally).await
}

/// The making of a directory, for all who wait for it.
type Making = Shared<BoxFuture<'static, std::result::Result<(), ()>>>;

/// Uploads a tree; each thing waits only for the directory it goes into.
async fn put_tree(
    shop: &Shop,
    root: &Path,
    target: &str,
    links: Links,
    tally: &mut Tally,
) -> Result<()> {
    let mut steps = tree::walk(root.to_owned(), links);
    // Of the directories on the way down to the current step, the root's first.
    let mut parents: Vec<Making> = Vec::new();
    while let Some(step) = steps.recv().await {
        match step {
            Step::SkippedLink => tally.skipped_link(),
            Step::Problem(failure) => tally.problem(&failure)?,
            Step::Directory(place) => {
                parents.truncate(place.depth);
                let (made, making) = make(shop, parents.last().cloned(), at(target, &place));
                parents.push(making);
                tally.start(made).await?;
            }
            Step::File(place) => {
                let parent = place.depth.checked_sub(1).and_then(|above| parents.get(above));
                let (parent, to) = (parent.cloned(), at(target, &place));
                let shop = shop.clone();
                let started = tally.start(async move {
                    match wait(parent).await {
                        Ok(()) => upload(shop, Some(place.path), to).await,
                        // Told once, for the directory.
                        Err(()) => Ok(()),
                    }
                });
                started.await?;
            }
        }
    }
    Ok(())
}

fn at(target: &str, place: &Place) -> String {
    if place.name.is_empty() { target.to_owned() } else { join(target, &place.name) }
}

async fn wait(parent: Option<Making>) -> std::result::Result<(), ()> {
    match parent {
        Some(making) => making.await,
        None => Ok(()),
    }
}

/// Makes a directory after its parent: the work itself, and what others wait for.
fn make(
    shop: &Shop,
    parent: Option<Making>,
    path: String,
) -> (BoxFuture<'static, Result<()>>, Making) {
    let (done, waiting) = tokio::sync::oneshot::channel();
    let client = shop.client.clone();
    let made = async move {
        if wait(parent).await.is_err() {
            return Ok(());
        }
        let made = client.mkdir(&path, true).await;
        if made.is_ok() {
            // Nobody waits when the directory is empty.
            let _ = done.send(());
        }
        Ok(made?)
    };
    (made.boxed(), waiting.map(|told| told.map_err(|_| ())).boxed().shared())
}

/// Uploads one file, or stdin.
async fn upload(shop: Shop, source: Option<PathBuf>, target: String) -> Result<()> {
    let name = source.as_ref().map_or_else(|| "stdin".into(), |path| path.display().to_string());
    let reading = || format!("cannot read {name}");
    shop.progress.at(&name);
    let mut pieces = match source {
        Some(path) => Pieces::of_file(path).await.during(reading)?,
        None => Pieces::of_stdin(),
    };
    // Nobody closes it.
    let _turn = if pieces.is_small() { None } else { shop.large.acquire().await.ok() };
    let options = UploadOptions {
        replication: shop.replication,
        attributes: pieces.attributes,
        replace: true,
        length: pieces.length,
    };
    let storing = || format!("cannot store {name} as {target}");
    let mut upload = shop.client.upload(&target, options).await.during(storing)?;
    while let Some(piece) = pieces.next().await {
        let piece = match piece.during(reading) {
            Ok(piece) => piece,
            Err(failure) => {
                // What is left of it goes by itself after a day, should this fail too.
                let _ = upload.abort().await;
                return Err(failure);
            }
        };
        shop.progress.advance(piece.len());
        upload.write(piece).await.during(storing)?;
    }
    upload.finish().await.during(storing)?;
    Ok(())
}

async fn look(client: &Client, path: &str) -> Result<There> {
    match client.stat(path).await {
        Ok(entry) if entry.kind == EntryKind::Directory => Ok(There::Directory),
        Ok(_) => Ok(There::File),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(There::Nothing),
        Err(error) => Err(error.into()),
    }
}

/// Bytes in all, where that is known without looking through a tree.
fn total(sources: &[PathBuf]) -> Option<u64> {
    let length = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        metadata.is_file().then_some(metadata.len())
    };
    sources.iter().map(length).sum()
}
