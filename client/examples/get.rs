//! Gets a file out of the file system, several pieces ahead, every block checked.
//!
//! ```sh
//! gfs dev -- sh -c 'gfs put Cargo.toml /manifest && cargo run --profile ci --package gfs-client --example get /manifest'
//! ```

use gfs_client::Client;
use tokio::io::AsyncWriteExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "/example/put".to_owned());
    let client = Client::from_env().await?;
    let file = client.open(&path).await?;
    let mut out = tokio::io::stdout();
    let mut reader = file.reader(..);
    while let Some(bytes) = reader.next().await {
        out.write_all(&bytes?).await?;
    }
    // The same as an `AsyncRead`, and only a part of the file.
    let mut part = file.reader(0..100);
    tokio::io::copy(&mut part, &mut tokio::io::sink()).await?;
    out.flush().await?;
    Ok(())
}
