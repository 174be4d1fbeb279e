//! `locate`: where the chunks of a file are.

use clap::Args;
use gfs_client::{ChunkLocation, Client, FileLocations, ReplicaLocation};
use gfs_types::message::control::ReplicaState;
use serde_json::{Value, json};

use crate::failure::Result;
use crate::output::{Format, Out};

/// `gfs locate`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gfs locate /data
  gfs locate --output json /data | jq '.chunks[0].replicas[].address'")]
pub(crate) struct LocateArgs {
    /// The file
    path: String,
    /// How to print it
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

pub(crate) async fn run(args: &LocateArgs, client: &Client) -> Result<()> {
    let locations = client.locate(&args.path).await?;
    let mut out = Out::stdout()?;
    match args.output {
        Format::Json => out.json(&describe(&locations))?,
        Format::Text => print(&locations, &mut out)?,
    }
    out.flush()
}

/// What `gfs batch` answers.
pub(crate) async fn answer(args: &LocateArgs, client: &Client) -> Result<Value> {
    Ok(describe(&client.locate(&args.path).await?))
}

fn describe(locations: &FileLocations) -> Value {
    json!({
        "path": locations.entry.path,
        "size": locations.entry.length,
        "chunks": locations.chunks.iter().map(chunk).collect::<Vec<_>>(),
    })
}

fn chunk(chunk: &ChunkLocation) -> Value {
    json!({
        "index": chunk.index.0,
        "handle": chunk.handle.to_string(),
        "version": chunk.version.0,
        "length": chunk.length,
        "primary": chunk.primary.map(|uid| uid.to_string()),
        "replicas": chunk.replicas.iter().map(replica).collect::<Vec<_>>(),
    })
}

fn replica(replica: &ReplicaLocation) -> Value {
    json!({
        "chunkserver": replica.chunkserver.to_string(),
        "address": replica.address,
        "version": replica.version.0,
        "state": state(replica.state),
    })
}

/// The state's name in the replica table of the documents.
pub(crate) fn state(state: ReplicaState) -> &'static str {
    match state {
        ReplicaState::Clean => "clean",
        ReplicaState::Unclean => "unclean",
        ReplicaState::Suspect => "suspect",
        ReplicaState::Corrupt => "corrupt",
    }
}

fn print(locations: &FileLocations, out: &mut Out) -> Result<()> {
    for chunk in &locations.chunks {
        out.line(format_args!(
            "chunk {} {} version {} length {}",
            chunk.index, chunk.handle, chunk.version, chunk.length
        ))?;
        for replica in &chunk.replicas {
            let primary = if chunk.primary == Some(replica.chunkserver) { " primary" } else { "" };
            let state = state(replica.state);
            out.line(format_args!(
                "  {} {} version {} {state}{primary}",
                replica.chunkserver, replica.address, replica.version
            ))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfs_types::fence::ChunkVersion;
    use gfs_types::ids::{ChunkHandle, ProcessSession, ServerUid};
    use gfs_types::region::ChunkIndex;
    use gfs_types::topology::Topology;

    #[test]
    fn the_fields_are_those_promised() {
        let location = ChunkLocation {
            index: ChunkIndex(0),
            handle: ChunkHandle(0xab),
            version: ChunkVersion(3),
            length: 10,
            primary: None,
            replicas: vec![ReplicaLocation {
                chunkserver: ServerUid(1),
                session: ProcessSession(1),
                address: "127.0.0.1:7500".to_owned(),
                topology: Topology::default(),
                version: ChunkVersion(3),
                state: ReplicaState::Clean,
            }],
            members: 1,
        };
        let expected = json!({
            "index": 0, "handle": "00000000000000ab", "version": 3, "length": 10, "primary": null,
            "replicas": [{
                "chunkserver": "00000000000000000000000000000001", "address": "127.0.0.1:7500",
                "version": 3, "state": "clean",
            }],
        });
        assert_eq!(chunk(&location), expected);
    }
}
