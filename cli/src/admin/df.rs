//! `df`: space, by chunkserver.

use clap::Args;
use gfs_client::{ChunkserverStatus, Client};
use serde_json::{Value, json};

use super::status::chunkserver;
use crate::failure::Result;
use crate::output::{Format, Out};
use crate::text::size;

/// `gfs df`
#[derive(Debug, Args)]
#[command(after_help = "\
Space of the disks under the chunkservers; a file takes its size times its replicas.

Examples:
  gfs df
  gfs df --output json | jq .free_bytes")]
pub(crate) struct DfArgs {
    /// How to print it
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

pub(crate) async fn run(args: &DfArgs, client: &Client) -> Result<()> {
    let servers = client.status().await?.chunkservers;
    let mut out = Out::stdout()?;
    match args.output {
        Format::Json => out.json(&describe(&servers))?,
        Format::Text => print(&servers, &mut out)?,
    }
    out.flush()
}

/// What `gfs batch` answers.
pub(crate) async fn answer(client: &Client) -> Result<Value> {
    Ok(describe(&client.status().await?.chunkservers))
}

/// Capacity and free space of those that are in touch, in bytes.
fn sums(servers: &[ChunkserverStatus]) -> (u64, u64) {
    let alive = servers.iter().filter(|server| server.alive);
    alive.fold((0, 0), |(capacity, free), server| {
        (capacity.saturating_add(server.capacity_bytes), free.saturating_add(server.free_bytes))
    })
}

fn describe(servers: &[ChunkserverStatus]) -> Value {
    let (capacity, free) = sums(servers);
    json!({
        "capacity_bytes": capacity,
        "used_bytes": capacity.saturating_sub(free),
        "free_bytes": free,
        "chunkservers": servers.iter().map(chunkserver).collect::<Vec<_>>(),
    })
}

fn print(servers: &[ChunkserverStatus], out: &mut Out) -> Result<()> {
    let mut row = |name: &str, capacity: u64, free: u64, note: &str| {
        let used = size(capacity.saturating_sub(free));
        let (capacity, free) = (size(capacity), size(free));
        out.line(format_args!("{name:<22} {capacity:>11} {used:>11} {free:>11}{note}"))
    };
    for server in servers {
        let note = if server.alive { "" } else { "  silent, not counted" };
        row(&server.address, server.capacity_bytes, server.free_bytes, note)?;
    }
    let (capacity, free) = sums(servers);
    row("total", capacity, free, "  (size, used, free)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfs_types::ids::ServerUid;
    use gfs_types::topology::Topology;

    #[test]
    fn silent_servers_have_no_space() {
        let server = |alive| ChunkserverStatus {
            uid: ServerUid(1),
            address: String::new(),
            http_address: String::new(),
            topology: Topology::default(),
            alive,
            capacity_bytes: 100,
            free_bytes: 40,
            replicas: 0,
        };
        let value = describe(&[server(true), server(false), server(true)]);
        assert_eq!((&value["capacity_bytes"], &value["used_bytes"]), (&200.into(), &120.into()));
        assert_eq!(value["chunkservers"].as_array().unwrap().len(), 3);
    }
}
