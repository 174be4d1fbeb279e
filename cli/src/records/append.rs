//! `append`: records of stdin, in order, each with its offset as soon as it is acknowledged.

use std::collections::VecDeque;

use clap::Args;
use futures::FutureExt;
use gfs_client::{Client, CreateOptions, ErrorKind, File, RecordWriter, Submitted};
use gfs_types::limits::record_bytes_max;
use tokio::sync::mpsc;

use super::input::{self, Framing, Record};
use crate::failure::{Context, Failure, Result, Status};
use crate::output::Out;

/// `gfs append`
#[derive(Debug, Args)]
#[command(after_help = "\
Appends a record for each line of stdin, without its newline. On stdout, for each acknowledged record and in the \
order of the input: the offset of its frame, in decimal, a line each, written at once. At the first failure the \
command ends with status 1 or 3: a record without an offset may or may not be in the file. A record and its frame \
have at most a quarter of a chunk.

Examples:
  tail -F app.log | gfs append /logs/app > offsets
  echo hello | gfs append --no-create /queue")]
pub(crate) struct AppendArgs {
    /// The file
    path: String,
    /// It must exist; otherwise it is created
    #[arg(long)]
    no_create: bool,
    /// Records may hold any byte: each comes after its length, 4 bytes, big-endian
    #[arg(long)]
    length_prefixed: bool,
}

/// Records that wait for their offsets; the library bounds their bytes.
const WAITING_MAX: usize = 16 << 10;

pub(crate) async fn run(args: &AppendArgs, client: &Client) -> Result<()> {
    let file = open(args, client).await?;
    let framing = if args.length_prefixed { Framing::LengthPrefixed } else { Framing::Lines };
    let record_bytes = record_bytes_max(client.chunk_size().bytes());
    // A little below what the library refuses is refused by the library, with its own words.
    let bytes_max = usize::try_from(record_bytes).unwrap_or(usize::MAX);
    let records = input::read_stdin(framing, bytes_max);
    pump(records, &file.record_writer(), &args.path).await
}

async fn open(args: &AppendArgs, client: &Client) -> Result<File> {
    match client.open(&args.path).await {
        Err(error) if error.kind() == ErrorKind::NotFound && !args.no_create => {}
        opened => return Ok(opened?),
    }
    match client.create(&args.path, CreateOptions::default()).await {
        // Somebody else was quicker.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Ok(client.open(&args.path).await?)
        }
        created => Ok(created?),
    }
}

/// Keeps records on their way while offsets come back.
async fn pump(
    mut records: mpsc::Receiver<Result<Record>>,
    writer: &RecordWriter,
    path: &str,
) -> Result<()> {
    let mut out = Out::stdout()?;
    let mut waiting: VecDeque<Submitted> = VecDeque::new();
    let mut input_is_open = true;
    // The record that the writer has no room for yet.
    let mut entering = None;
    let mut refused = None;
    while input_is_open || entering.is_some() || !waiting.is_empty() {
        let may_take = input_is_open && entering.is_none() && waiting.len() < WAITING_MAX;
        tokio::select! {
            biased;
            offset = next_offset(&mut waiting), if !waiting.is_empty() => {
                print_offsets(offset, &mut waiting, &mut out, path)?;
            }
            taken = enter(&mut entering), if entering.is_some() => {
                entering = None;
                match taken {
                    Ok(submitted) => waiting.push_back(submitted),
                    Err(failure) => {
                        refused = Some(failure);
                        input_is_open = false;
                    }
                }
            }
            record = records.recv(), if may_take => match record {
                Some(Ok(record)) => {
                    let writer = writer.clone();
                    let Record { bytes, room } = record;
                    let taken = async move {
                        let taken = writer.submit(bytes).await;
                        drop(room);
                        Ok(taken?)
                    };
                    entering = Some(taken.boxed());
                }
                // Those before it still get their offsets.
                Some(Err(failure)) => {
                    refused = Some(failure);
                    input_is_open = false;
                }
                None => input_is_open = false,
            },
        }
    }
    match refused {
        Some(failure) => Err(failure.during(format_args!("cannot append to {path}"))),
        None => Ok(()),
    }
}

type Entering = futures::future::BoxFuture<'static, Result<Submitted>>;

async fn enter(entering: &mut Option<Entering>) -> Result<Submitted> {
    match entering {
        Some(entering) => entering.await,
        None => futures::future::pending().await,
    }
}

/// The offset of the record that has waited longest. Cancel safe.
async fn next_offset(waiting: &mut VecDeque<Submitted>) -> gfs_client::Result<u64> {
    match waiting.front_mut() {
        Some(first) => first.await,
        None => futures::future::pending().await,
    }
}

/// Prints this offset and all that have come behind it, and hands them to whoever reads.
fn print_offsets(
    first: gfs_client::Result<u64>,
    waiting: &mut VecDeque<Submitted>,
    out: &mut Out,
    path: &str,
) -> Result<()> {
    let mut next = Some(first);
    let mut failed = None;
    while let Some(offset) = next {
        waiting.pop_front();
        match offset.during(|| format!("cannot append to {path}")) {
            Ok(offset) => out.line(offset).map_err(told)?,
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
        next = waiting.front_mut().and_then(FutureExt::now_or_never);
    }
    out.flush().map_err(told)?;
    failed.map_or(Ok(()), Err)
}

/// A reader that leaves does not mean that the rest need not be appended: this is a failure.
fn told(failure: Failure) -> Failure {
    if failure.status == Status::ReaderGone {
        return Failure::new(
            "stdout was closed: records without an offset may or may not be there",
        );
    }
    failure
}
