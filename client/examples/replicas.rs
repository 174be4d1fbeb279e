//! Where a file is, and whether its replicas are equal.
//!
//! ```sh
//! gfs dev -- sh -c 'gfs put Cargo.toml /manifest && cargo run --profile ci --package gfs-client --example replicas /manifest'
//! ```

use gfs_client::Client;

#[tokio::main]
async fn main() -> gfs_client::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "/example/put".to_owned());
    let client = Client::from_env().await?;
    client.sync(&path).await?;
    for chunk in client.locate(&path).await?.chunks {
        let mut digests = Vec::new();
        for location in &chunk.replicas {
            let replica = client.replica(location);
            let sums = replica.checksums(chunk.handle, chunk.version).await?;
            let bytes = replica.read(chunk.handle, chunk.version, 0, sums.length).await?;
            assert_eq!(bytes.len() as u64, sums.length);
            digests.push(sums.digest);
        }
        digests.dedup();
        let equal = if digests.len() == 1 { "equal" } else { "NOT EQUAL" };
        println!("chunk {} {} v{}: {equal}", chunk.index, chunk.handle, chunk.version);
    }
    Ok(())
}
