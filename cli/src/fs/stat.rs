//! `stat`: one file or directory.

use clap::Args;
use gfs_client::Client;

use super::entry::{self, Described};
use crate::failure::Result;
use crate::output::{Format, Out};
use crate::text;

/// `gfs stat`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gfs stat /logs/today
  gfs stat --output json /logs/today | jq .size")]
pub(crate) struct StatArgs {
    /// The file or directory
    path: String,
    /// How to print it
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

pub(crate) async fn run(args: &StatArgs, client: &Client) -> Result<()> {
    let entry = client.stat(&args.path).await?;
    let mut out = Out::stdout()?;
    if args.output == Format::Json {
        out.json(&Described::new(&entry))?;
        return out.flush();
    }
    out.line(format_args!("path         {}", entry.path))?;
    out.line(format_args!("kind         {}", entry::kind(entry.kind)))?;
    out.line(format_args!("size         {} ({})", entry.length, text::size(entry.length)))?;
    out.line(format_args!("chunks       {}", entry.chunks))?;
    out.line(format_args!("replication  {}", entry.replication))?;
    out.line(format_args!("modified     {}", text::time(entry.attributes.modified)))?;
    out.line(format_args!("executable   {}", entry.attributes.executable))?;
    out.line(format_args!("id           {}", entry.id))?;
    out.flush()
}

/// What `gfs batch` answers.
pub(crate) async fn describe(args: &StatArgs, client: &Client) -> Result<Described> {
    Ok(Described::new(&client.stat(&args.path).await?))
}
