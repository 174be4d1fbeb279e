//! `get`: files and trees of the cluster into local ones.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use gfs_client::{Client, Entry, EntryKind};
use gfs_types::path::GfsPath;

use super::cat;
use super::copy::destination::{Destination, Place as To, There, means_contents};
use super::copy::local::{Draft, utf8};
use super::copy::tally::Tally;
use super::copy::{JOBS_DEFAULT, JOBS_MAX};
use super::ls::Walk;
use crate::failure::{Context, Failure, Result};
use crate::output::Out;
use crate::progress::Progress;

/// `gfs get`
#[derive(Debug, Args)]
#[command(override_usage = "gfs get [OPTIONS] SRC... DST")]
#[command(after_help = "\
As cp: DST is an existing directory, or the new name. Each file appears under its name whole or not at all. \
Modification times and executable bits are restored. `-` is stdout; names that begin with a dash go after `--`.

Examples:
  gfs get /docs/report.pdf .
  gfs get -r /backup/project restored
  gfs get /backup/shop.sql - | mysql shop")]
pub(crate) struct GetArgs {
    /// Copy directories with all that is in them
    #[arg(short, long)]
    recursive: bool,
    /// Files in flight
    #[arg(long, value_name = "N", default_value_t = JOBS_DEFAULT)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=JOBS_MAX))]
    jobs: u16,
    /// Files of the cluster, or directories with -r, and where to, on this machine (`-` is stdout)
    #[arg(required = true, num_args = 2.., value_names = ["SRC", "DST"])]
    paths: Vec<PathBuf>,
}

pub(crate) async fn run(args: &GetArgs, client: &Client) -> Result<()> {
    let (target, sources) = args.split()?;
    if target.as_os_str() != "-" {
        return run_to_files(args, client).await;
    }
    let mut out = Out::stdout()?;
    for source in sources {
        cat::copy(client, source, 0, u64::MAX, &mut out).await?;
    }
    out.flush()
}

impl GetArgs {
    /// Destination and sources.
    fn split(&self) -> Result<(&Path, Vec<&str>)> {
        let Some((target, sources)) = self.paths.split_last() else {
            return Err(Failure::usage("SRC and DST are needed"));
        };
        let sources = sources.iter().map(|path| utf8(path.as_os_str(), path));
        Ok((target, sources.collect::<Result<_>>()?))
    }
}

/// Without a stdout to write to: `-` is a file like any other.
pub(crate) async fn run_to_files(args: &GetArgs, client: &Client) -> Result<()> {
    let (target, sources) = args.split()?;
    let destination = Destination {
        there: look(target).during(|| target.display())?,
        trailing_slash: target.to_string_lossy().ends_with('/'),
        sources: sources.len(),
    };
    let progress = Progress::begin(None);
    let mut tally = Tally::new(args.jobs, progress.clone());
    for source in sources {
        let copy = Copy { source, target, destination, recursive: args.recursive };
        if let Err(failure) = get(&copy, client, &progress, &mut tally).await {
            tally.problem(&failure)?;
        }
    }
    tally.end().await
}

/// One source and where it goes.
struct Copy<'a> {
    source: &'a str,
    target: &'a Path,
    destination: Destination,
    recursive: bool,
}

async fn get(
    copy: &Copy<'_>,
    client: &Client,
    progress: &Progress,
    tally: &mut Tally,
) -> Result<()> {
    let Copy { source, target, destination, recursive } = *copy;
    let entry = client.stat(source).await?;
    let is_directory = entry.kind == EntryKind::Directory;
    if is_directory && !recursive {
        return Err(Failure::new(format!("{source} is a directory: copy it with -r")));
    }
    let path = GfsPath::parse(source)?;
    let named = !means_contents(source);
    let place = destination.place(is_directory, named).map_err(|problem| {
        let to = target.display();
        Failure::new(format!("cannot put {source} at {to}: {problem}"))
    })?;
    let target = match (place, path.name()) {
        (To::Inside, Some(name)) => target.join(name),
        _ => target.to_owned(),
    };
    if is_directory {
        return get_tree(client, &path, &target, progress, tally).await;
    }
    tally.start(download(client.clone(), progress.clone(), entry, target)).await
}

/// Downloads a tree: directories as they are found, files beside one another.
async fn get_tree(
    client: &Client,
    root: &GfsPath,
    target: &Path,
    progress: &Progress,
    tally: &mut Tally,
) -> Result<()> {
    make_directory(target)?;
    let mut walk = Walk::begin(client, root.as_str(), true).await?;
    while let Some(found) = walk.next().await? {
        let is_system = !root.is_reserved() && GfsPath::parse(&found.path())?.is_reserved();
        if is_system {
            continue;
        }
        // Names come from elsewhere: none may lead out of the target.
        let local = target.join(&*found.name());
        if found.name().split('/').any(|name| matches!(name, "" | "." | "..")) {
            let failure =
                Failure::new(format!("{}: no local file can have this name", found.path()));
            tally.problem(&failure)?;
        } else if found.entry.kind == EntryKind::Directory {
            make_directory(&local)?;
        } else {
            let entry = Entry { path: found.path(), ..found.entry };
            tally.start(download(client.clone(), progress.clone(), entry, local)).await?;
        }
    }
    Ok(())
}

fn make_directory(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.during(|| format!("cannot make {}", path.display())),
    }
}

/// Downloads one file.
async fn download(client: Client, progress: Progress, entry: Entry, target: PathBuf) -> Result<()> {
    if target.is_dir() {
        return Err(Failure::new(format!("{} is a directory: it stays", target.display())));
    }
    progress.at(&entry.path);
    let getting = || format!("cannot get {}", entry.path);
    let file = client.open(&entry.path).await.during(getting)?;
    let attributes = file.entry().attributes;
    let mut draft = Draft::begin(&target, attributes.executable)?;
    let mut reader = file.reader(..);
    while let Some(bytes) = reader.next().await {
        let bytes = bytes.during(getting)?;
        progress.advance(bytes.len());
        draft.write(&bytes)?;
    }
    draft.finish(attributes.modified)
}

fn look(path: &Path) -> io::Result<There> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(There::Directory),
        Ok(_) => Ok(There::File),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(There::Nothing),
        Err(error) => Err(error),
    }
}
