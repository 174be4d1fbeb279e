//! `records`: each whole record once, in the order of their offsets.

use clap::Args;
use futures::FutureExt;
use gfs_client::Client;
use gfs_client::record::Record;

use crate::failure::{Failure, Result};
use crate::output::Out;

/// `gfs records`
#[derive(Debug, Args)]
#[command(after_help = "\
Each whole record once, by (writer, sequence): its bytes and a newline. Padding, fragments and repetitions are \
skipped. With --offsets the offset of its frame and a tab come first; with --ids, then, the writer, a tab, the \
sequence and a tab.

Examples:
  gfs records /logs/app
  gfs records --offsets /logs/app | head
  gfs records --length-prefixed /queue | gfs append --length-prefixed /copy
  gfs records --follow /logs/app")]
pub(crate) struct RecordsArgs {
    /// The file
    path: String,
    /// Put the offset of each record's frame before it
    #[arg(long)]
    offsets: bool,
    /// Put who wrote it, and as which of its records, before each
    #[arg(long)]
    ids: bool,
    /// Put the length, 4 bytes, big-endian, before each record instead of a newline behind it
    #[arg(long)]
    length_prefixed: bool,
    /// At the end wait for more
    #[arg(long)]
    follow: bool,
}

pub(crate) async fn run(args: &RecordsArgs, client: &Client) -> Result<()> {
    let mut out = Out::stdout()?;
    let mut records = client.open(&args.path).await?.record_reader().follow(args.follow);
    loop {
        // What was printed is handed on before there is a wait for more.
        let next = match records.next().now_or_never() {
            Some(next) => next,
            None => {
                out.flush()?;
                records.next().await
            }
        };
        match next {
            Some(record) => print(args, &record?, &mut out)?,
            None => return out.flush(),
        }
    }
}

fn print(args: &RecordsArgs, record: &Record, out: &mut Out) -> Result<()> {
    if args.offsets {
        out.bytes(format!("{}\t", record.offset).as_bytes())?;
    }
    if args.ids {
        out.bytes(format!("{:032x}\t{}\t", record.writer.0, record.seq).as_bytes())?;
    }
    if args.length_prefixed {
        let length = u32::try_from(record.payload.len())
            .map_err(|_| Failure::new("a record of more than 4 GiB cannot be"))?;
        out.bytes(&length.to_be_bytes())?;
        return out.bytes(&record.payload);
    }
    out.bytes(&record.payload)?;
    out.bytes(b"\n")
}
