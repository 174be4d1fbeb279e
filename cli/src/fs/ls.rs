//! `ls`: what a directory holds.

use std::borrow::Cow;
use std::sync::Arc;

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
            Format::Json => out.json(&Listed::new(found.path(), &found.entry))?,
            Format::Text if args.long => out.line(entry::long(&found.name(), &found.entry))?,
            Format::Text => out.line(found.name())?,
        }
    }
    out.flush()
}

/// What `gfs batch` answers.
pub(crate) async fn collect(args: &LsArgs, client: &Client) -> Result<Vec<Listed>> {
    let mut all = Vec::new();
    let mut walk = Walk::begin(client, &args.path, args.recursive).await?;
    while let Some(found) = walk.next().await? {
        all.push(Listed::new(found.path(), &found.entry));
    }
    Ok(all)
}

/// One thing that was found. Of a million only what is asked for is put together.
pub(crate) struct Found {
    /// What was asked for, when that is a file.
    single: Option<String>,
    dir: Arc<str>,
    prefix: Arc<str>,
    /// With its bare name.
    pub(crate) entry: Entry,
}

impl Found {
    /// Its whole path.
    pub(crate) fn path(&self) -> String {
        match &self.single {
            Some(_) => self.entry.path.clone(),
            None => entry::join(&self.dir, &self.entry.path),
        }
    }

    /// Its name; relative to where the walk began.
    pub(crate) fn name(&self) -> Cow<'_, str> {
        match (&self.single, &*self.prefix, &*self.entry.path) {
            (Some(asked), ..) => Cow::Borrowed(asked),
            (None, "", name) => Cow::Borrowed(name),
            (None, prefix, name) => Cow::Owned(format!("{prefix}{name}")),
        }
    }
}

/// Goes through a directory, or a tree with each directory before what is in it. Holds one page of each directory
/// above, whatever their sizes.
pub(crate) struct Walk {
    client: Client,
    recursive: bool,
    /// Directories on the way down.
    open: Vec<Directory>,
    /// The file the walk was asked for, when it is no directory.
    single: Option<Found>,
}

/// A directory's path, the prefix of names in it, and what is still to come of it.
type Directory = (Arc<str>, Arc<str>, BoxStream<'static, gfs_client::Result<Entry>>);

impl Walk {
    /// Begins at `path`; a file is all that is found then.
    pub(crate) async fn begin(client: &Client, path: &str, recursive: bool) -> Result<Self> {
        let entry = client.stat(path).await?;
        let mut walk = Self { client: client.clone(), recursive, open: Vec::new(), single: None };
        if entry.kind == EntryKind::Directory {
            walk.open.push((entry.path.as_str().into(), "".into(), client.list(&entry.path)));
        } else {
            let (single, nowhere) = (Some(path.to_owned()), Arc::<str>::from(""));
            walk.single = Some(Found { single, dir: nowhere.clone(), prefix: nowhere, entry });
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
            let found = Found { single: None, dir: dir.clone(), prefix: prefix.clone(), entry };
            if self.recursive && found.entry.kind == EntryKind::Directory {
                let (path, prefix) = (found.path(), format!("{}/", found.name()));
                let entries = self.client.list(&path);
                self.open.push((path.into(), prefix.into(), entries));
            }
            return Ok(Some(found));
        }
        Ok(None)
    }
}
