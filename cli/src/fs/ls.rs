//! `ls`: what a directory holds.

use clap::Args;
use futures::StreamExt;
use futures::stream::BoxStream;
use gfs_client::{Client, Entry, EntryKind};

use super::entry::{self, Listed};
use crate::failure::{Context, Result};
use crate::output::{Format, Out};

/// `gfs ls`
#[derive(Debug, Args)]
#[command(after_help = "\
Names in byte order, one a line. With -R names are relative to PATH. With -l: `d` for a directory or `x` for an \
executable file, replicas, bytes, time of the last change, name.

Examples:
  gfs ls /
  gfs ls -l -R /logs
  gfs ls -R --output json / | jq -r 'select(.kind == \"file\") | .path'")]
pub(crate) struct LsArgs {
    /// A directory, or a file
    #[arg(default_value = "/")]
    path: String,
    /// Everything about each
    #[arg(short, long)]
    long: bool,
    /// All that is below, too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// How to print it: json is one object a line
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

pub(crate) async fn run(args: &LsArgs, client: &Client) -> Result<()> {
    let mut out = Out::stdout()?;
    let mut walk = Walk::begin(client, &args.path, args.recursive).await?;
    while let Some(found) = walk.next().await? {
        match args.output {
            Format::Json => out.json(&Listed::new(found.path, &found.entry))?,
            Format::Text if args.long => out.line(entry::long(&found.name, &found.entry))?,
            Format::Text => out.line(&found.name)?,
        }
    }
    out.flush()
}

/// What `gfs batch` answers.
pub(crate) async fn collect(args: &LsArgs, client: &Client) -> Result<Vec<Listed>> {
    let mut all = Vec::new();
    let mut walk = Walk::begin(client, &args.path, args.recursive).await?;
    while let Some(found) = walk.next().await? {
        all.push(Listed::new(found.path, &found.entry));
    }
    Ok(all)
}

/// One thing that was found.
pub(crate) struct Found {
    /// Its whole path.
    pub(crate) path: String,
    /// Its name; relative to where the walk began.
    pub(crate) name: String,
    pub(crate) entry: Entry,
}

/// Goes through a directory, or a tree with each directory before what is in it. Holds one page of each directory
/// above, whatever their sizes.
pub(crate) struct Walk {
    client: Client,
    recursive: bool,
    /// Directories on the way down: path, prefix of names in it, what is still to come of it.
    open: Vec<(String, String, BoxStream<'static, gfs_client::Result<Entry>>)>,
    /// The file the walk was asked for, when it is no directory.
    single: Option<Found>,
}

impl Walk {
    /// Begins at `path`; a file is all that is found then.
    pub(crate) async fn begin(client: &Client, path: &str, recursive: bool) -> Result<Self> {
        let entry = client.stat(path).await?;
        let mut walk = Self { client: client.clone(), recursive, open: Vec::new(), single: None };
        if entry.kind == EntryKind::Directory {
            walk.open.push((entry.path.clone(), String::new(), client.list(&entry.path)));
        } else {
            walk.single = Some(Found { path: entry.path.clone(), name: path.to_owned(), entry });
        }
        Ok(walk)
    }

    /// The next one; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Found>> {
        if let Some(found) = self.single.take() {
            return Ok(Some(found));
        }
        while let Some((dir, prefix, entries)) = self.open.last_mut() {
            let Some(next) = entries.next().await else {
                self.open.pop();
                continue;
            };
            let entry = next.during(|| format!("in {dir}"))?;
            let path = entry::join(dir, &entry.path);
            let name = format!("{prefix}{}", entry.path);
            if self.recursive && entry.kind == EntryKind::Directory {
                let entries = self.client.list(&path);
                self.open.push((path.clone(), format!("{name}/"), entries));
            }
            return Ok(Some(Found { path, name, entry }));
        }
        Ok(None)
    }
}
