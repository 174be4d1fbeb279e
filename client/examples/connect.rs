//! Connects and tells what the cluster is.
//!
//! ```sh
//! gfs dev -- cargo run --profile ci --package gfs-client --example connect
//! ```

use gfs_client::{Client, Options};

#[tokio::main]
async fn main() -> gfs_client::Result<()> {
    // The short way: masters from GFS_MASTERS.
    let client = Client::from_env().await?;
    println!(
        "cluster {}, chunks of {} bytes",
        client.record().cluster,
        client.chunk_size().bytes()
    );
    let status = client.status().await?;
    println!("{} files on {} chunkservers", status.files, status.chunkservers.len());
    client.close().await;

    // With options: less time for an operation, and where this program stands.
    let mut options = Options::from_env()?;
    options.timeout = std::time::Duration::from_secs(10);
    options.topology = "zone-a/host-7".parse()?;
    let client = Client::connect_with(options).await?;
    println!("`/` is file {}", client.stat("/").await?.id);
    client.close().await;
    Ok(())
}
