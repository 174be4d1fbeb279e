//! Writes and reads at offsets; holes read as zeros.
//!
//! ```sh
//! gfs dev -- cargo run --profile ci --package gfs-client --example random_access
//! ```

use gfs_client::{Client, CreateOptions, DeleteOptions};

#[tokio::main]
async fn main() -> gfs_client::Result<()> {
    let client = Client::from_env().await?;
    client.mkdir("/example", true).await?;
    let path = format!("/example/random-{}", std::process::id());
    let file = client.create(&path, CreateOptions { replication: 3, ..Default::default() }).await?;

    file.write_at(10, "hello").await?;
    assert_eq!(file.read_at(8, 100).await?, "\0\0hello");
    assert_eq!(file.read_at(15, 100).await?, "", "nothing is behind the end");
    assert_eq!(file.length().await?, 15);
    // Until here the bytes are in the memory of every replica; now they are on disk everywhere.
    file.sync().await?;

    // Many pieces in flight.
    let mut writer = file.writer(1 << 20);
    for _ in 0..16 {
        writer.write(vec![7; 300_000]).await?;
    }
    let end = writer.close().await?;
    assert_eq!(client.stat(&path).await?.length, end);

    let purge = DeleteOptions { purge: true, ..DeleteOptions::default() };
    client.delete(&path, purge).await?;
    client.close().await;
    println!("{end} bytes written, read and removed");
    Ok(())
}
