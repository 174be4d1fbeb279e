//! `status`: masters, chunkservers, and how many chunks are as they should be.

use std::time::Duration;

use clap::Args;
use gfs_client::{ChunkserverStatus, Client, ClusterStatus};
use gfs_types::record::ConfigRecord;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::failure::Result;
use crate::output::{Format, Out};
use crate::text;

/// So long a master with millions of chunks may count them before what it found by then is shown.
const COUNTING_TIME: Duration = Duration::from_secs(10);
/// With each question it counts some.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// `gfs status`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gfs status
  gfs status --output json | jq '.chunkservers[] | select(.alive | not)'")]
pub(crate) struct StatusArgs {
    /// How to print it
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

pub(crate) async fn run(args: &StatusArgs, client: &Client) -> Result<()> {
    let status = counted(client).await?;
    let record = client.record();
    let mut out = Out::stdout()?;
    match args.output {
        Format::Json => out.json(&describe(&status, &record))?,
        Format::Text => print(&status, &record, &mut out)?,
    }
    out.flush()
}

/// What `gfs batch` answers.
pub(crate) async fn answer(client: &Client) -> Result<Value> {
    let status = counted(client).await?;
    Ok(describe(&status, &client.record()))
}

/// With all chunks counted, if that is a matter of seconds: right after a chunkserver came or went it may not be.
async fn counted(client: &Client) -> Result<ClusterStatus> {
    let until = Instant::now() + COUNTING_TIME;
    loop {
        let status = client.status().await?;
        if status.chunks_uncounted == 0 || Instant::now() >= until {
            return Ok(status);
        }
        sleep(ASK_AGAIN).await;
    }
}

fn describe(status: &ClusterStatus, record: &ConfigRecord) -> Value {
    json!({
        "cluster": record.cluster.to_string(),
        "epoch": record.epoch.0,
        "primary": record.primary.to_string(),
        "in_sync": record.in_sync.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "files": status.files,
        "directories": status.directories,
        "chunks": status.chunks,
        "chunks_below_goal": status.chunks_below_goal,
        "chunks_missing": status.chunks_missing,
        "chunks_uncounted": status.chunks_uncounted,
        "log_position": status.log_position.0,
        "checkpoint_position": status.checkpoint_position.0,
        "master_http_address": status.master_http_address,
        "chunkservers": status.chunkservers.iter().map(chunkserver).collect::<Vec<_>>(),
    })
}

/// One chunkserver, as `status` and `df` tell of it.
pub(crate) fn chunkserver(server: &ChunkserverStatus) -> Value {
    json!({
        "chunkserver": server.uid.to_string(),
        "address": server.address,
        "http_address": server.http_address,
        "topology": server.topology.to_string(),
        "alive": server.alive,
        "capacity_bytes": server.capacity_bytes,
        "free_bytes": server.free_bytes,
        "replicas": server.replicas,
    })
}

fn print(status: &ClusterStatus, record: &ConfigRecord, out: &mut Out) -> Result<()> {
    out.line(format_args!("cluster      {}", record.cluster))?;
    out.line(format_args!("master       {} (epoch {})", record.primary, record.epoch))?;
    out.line(format_args!("files        {}", status.files))?;
    out.line(format_args!("directories  {}", status.directories))?;
    out.line(format_args!("chunks       {}", chunks(status)))?;
    out.line(format_args!(
        "log          {} (checkpoint at {})",
        status.log_position, status.checkpoint_position
    ))?;
    for server in &status.chunkservers {
        let state = if server.alive { "alive" } else { "silent" };
        out.line(format_args!(
            "chunkserver  {} {state:<6} {:>8} replicas {:>10} free of {:<10} {}",
            server.address,
            server.replicas,
            text::size(server.free_bytes),
            text::size(server.capacity_bytes),
            server.topology
        ))?;
    }
    Ok(())
}

fn chunks(status: &ClusterStatus) -> String {
    let ClusterStatus { chunks, chunks_below_goal, chunks_missing, chunks_uncounted, .. } = status;
    let uncounted = match chunks_uncounted {
        0 => String::new(),
        some => format!("; {some} not looked at since a chunkserver came or went: ask again"),
    };
    format!("{chunks} ({chunks_below_goal} below their goal, {chunks_missing} missing{uncounted})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfs_types::fence::{Incarnation, LogPosition, MasterEpoch};
    use gfs_types::ids::{ClusterUid, ServerUid};

    #[test]
    fn a_count_that_goes_on_is_not_shown_as_a_whole_one() {
        let mut status = ClusterStatus { chunks: 7, chunks_below_goal: 2, ..Default::default() };
        assert_eq!(chunks(&status), "7 (2 below their goal, 0 missing)");
        status.chunks_uncounted = 3;
        assert!(chunks(&status).contains("0 missing; 3 not looked at"), "{}", chunks(&status));
    }

    #[test]
    fn the_json_names_what_scripts_look_for() {
        let record = ConfigRecord {
            cluster: ClusterUid(1),
            incarnation: Incarnation(1),
            epoch: MasterEpoch(2),
            version: 3,
            primary: ServerUid(4),
            in_sync: vec![ServerUid(4)],
        };
        let status =
            ClusterStatus { chunks: 7, log_position: LogPosition(9), ..ClusterStatus::default() };
        let value = describe(&status, &record);
        assert_eq!((&value["chunks"], &value["epoch"]), (&7.into(), &2.into()));
        assert_eq!(value["cluster"], "00000000000000000000000000000001");
        assert!(value["chunkservers"].is_array() && value["master_http_address"].is_string());
    }
}
