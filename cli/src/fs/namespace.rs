//! `mkdir`, `mv`, `rm`, `undelete`, `sync`, `create`: one call each, and nothing on stdout.

use clap::Args;
use gfs_client::{Client, CreateOptions, DeleteOptions, Entry, EntryKind, ErrorKind};

use crate::failure::{Failure, Result};

/// `gfs mkdir`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gfs mkdir /logs
  gfs mkdir -p /logs/2026/11")]
pub(crate) struct MkdirArgs {
    /// Make missing parents too, and be content with a directory that is there
    #[arg(short, long)]
    parents: bool,
    /// The new directories
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
}

/// `gfs mv`
#[derive(Debug, Args)]
#[command(after_help = "\
Atomic: at no moment do both names, or neither, stand for it. TO is the new path itself, never a directory to move into.

Examples:
  gfs mv /logs/today /logs/yesterday
  gfs mv --replace /config.new /config")]
pub(crate) struct MvArgs {
    /// Let a file that has the new name go to the trash; otherwise that is an error
    #[arg(long)]
    replace: bool,
    /// The old path
    from: String,
    /// The new path
    to: String,
}

/// `gfs rm`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gfs rm /logs/old              `gfs undelete` brings it back until the grace period ends
  gfs rm -r --purge /scratch    gone at once")]
pub(crate) struct RmArgs {
    /// Remove directories with all that is in them
    #[arg(short, long)]
    recursive: bool,
    /// Skip the grace period: it cannot be brought back
    #[arg(long)]
    purge: bool,
    /// What to remove
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
}

/// `gfs undelete`
#[derive(Debug, Args)]
#[command(after_help = "\
`gfs trash` lists what can be brought back.

Examples:
  gfs undelete /logs/old")]
pub(crate) struct UndeleteArgs {
    /// Where it was, and will be again
    path: String,
}

/// `gfs sync`
#[derive(Debug, Args)]
#[command(after_help = "\
Returns when every acknowledged byte of the file is on the disk of every replica: then it survives a power loss.

Examples:
  gfs sync /logs/today")]
pub(crate) struct SyncArgs {
    /// The file
    path: String,
}

/// `gfs create`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gfs create /queue
  gfs create --replication 2 /scratch/tmp")]
pub(crate) struct CreateArgs {
    /// Replicas of its chunks [default: that of the cluster]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=7))]
    replication: Option<u8>,
    /// The new file; its directory must exist
    path: String,
}

pub(crate) async fn mkdir(args: &MkdirArgs, client: &Client) -> Result<()> {
    for path in &args.paths {
        client.mkdir(path, args.parents).await?;
    }
    Ok(())
}

pub(crate) async fn mv(args: &MvArgs, client: &Client) -> Result<Entry> {
    Ok(client.rename(&args.from, &args.to, args.replace).await?)
}

pub(crate) async fn rm(args: &RmArgs, client: &Client) -> Result<()> {
    let options = DeleteOptions { recursive: args.recursive, purge: args.purge };
    for path in &args.paths {
        if let Err(error) = client.delete(path, options).await {
            return Err(hinted(error.into(), args, path, client).await);
        }
    }
    Ok(())
}

/// A directory that is not empty needs an option of this command, which no server can know.
async fn hinted(failure: Failure, args: &RmArgs, path: &str, client: &Client) -> Failure {
    let may_help = !args.recursive && failure.kind == ErrorKind::Invalid && path != "/";
    let is_directory =
        || async { client.stat(path).await.is_ok_and(|entry| entry.kind == EntryKind::Directory) };
    if !may_help || !is_directory().await {
        return failure;
    }
    let message = format!("{}; `gfs rm -r` removes all that is in it", failure.message);
    Failure { message, ..failure }
}

pub(crate) async fn undelete(args: &UndeleteArgs, client: &Client) -> Result<Entry> {
    Ok(client.undelete(&args.path).await?)
}

pub(crate) async fn sync(args: &SyncArgs, client: &Client) -> Result<()> {
    Ok(client.sync(&args.path).await?)
}

pub(crate) async fn create(args: &CreateArgs, client: &Client) -> Result<Entry> {
    let options = CreateOptions {
        replication: args.replication.unwrap_or_default(),
        ..CreateOptions::default()
    };
    Ok(client.create(&args.path, options).await?.entry().clone())
}
