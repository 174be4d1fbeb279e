//! `trash`: what can be brought back.

use clap::Args;
use futures::StreamExt;
use gfs_client::Client;
use serde_json::json;

use super::entry;
use crate::failure::Result;
use crate::output::{Format, Out};
use crate::text;

/// `gfs trash`
#[derive(Debug, Args)]
#[command(after_help = "\
Oldest first: when it was deleted, and where it was.

Examples:
  gfs trash
  gfs trash --output json | jq -r .path")]
pub(crate) struct TrashArgs {
    /// How to print it: json is one object a line
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

pub(crate) async fn run(args: &TrashArgs, client: &Client) -> Result<()> {
    let mut out = Out::stdout()?;
    let mut entries = client.trash();
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        let deleted = text::time(entry.deleted);
        match args.output {
            Format::Text => out.line(format_args!("{deleted} {}", entry.path))?,
            Format::Json => out.json(&json!({
                "path": entry.path,
                "kind": entry::kind(entry.kind),
                "id": entry.id.to_string(),
                "deleted": deleted,
            }))?,
        }
    }
    out.flush()
}
