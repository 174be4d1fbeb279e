//! `cat`: the bytes of files.

use clap::Args;
use gfs_client::Client;

use crate::failure::Result;
use crate::output::Out;

/// `gfs cat`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gfs cat /logs/today | grep error
  gfs cat /part1 /part2 > whole
  gfs cat --offset 1000 --length 50 /data")]
pub(crate) struct CatArgs {
    /// The files, one after another
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    /// Begin at this byte of each file
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    offset: u64,
    /// At most so many bytes of each file
    #[arg(long, value_name = "BYTES")]
    length: Option<u64>,
}

pub(crate) async fn run(args: &CatArgs, client: &Client) -> Result<()> {
    let mut out = Out::stdout()?;
    let end = args.length.map_or(u64::MAX, |length| args.offset.saturating_add(length));
    for path in &args.paths {
        copy(client, path, args.offset, end, &mut out).await?;
    }
    out.flush()
}

/// Prints a range of a file; what lies behind its end is nothing.
pub(crate) async fn copy(
    client: &Client,
    path: &str,
    offset: u64,
    end: u64,
    out: &mut Out,
) -> Result<()> {
    let mut reader = client.open(path).await?.reader(offset..end);
    while let Some(bytes) = reader.next().await {
        out.bytes(&bytes?)?;
    }
    Ok(())
}
