//! Puts a local file into the file system: it appears whole, on disk on every replica, or not at all.
//!
//! ```sh
//! gfs dev -- cargo run --profile ci --package gfs-client --example put Cargo.toml /manifest
//! ```

use gfs_client::{Client, UploadOptions};
use tokio::io::AsyncReadExt;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let local = arguments.next().unwrap_or_else(|| "Cargo.toml".to_owned());
    let path = arguments.next().unwrap_or_else(|| "/example/put".to_owned());
    let client = Client::from_env().await?;
    if let Some((directory, _)) =
        path.rsplit_once('/').filter(|(directory, _)| !directory.is_empty())
    {
        client.mkdir(directory, true).await?;
    }

    let mut source = tokio::fs::File::open(&local).await?;
    let length = source.metadata().await?.len();
    let options = UploadOptions { length: Some(length), ..UploadOptions::default() };
    let mut upload = client.upload(&path, options).await?;
    let mut buffer = bytes::BytesMut::with_capacity(1 << 20);
    while source.read_buf(&mut buffer).await? > 0 {
        upload.write(buffer.split().freeze()).await?;
        buffer.reserve(1 << 20);
    }
    let entry = upload.finish().await?;
    println!("{local} is {path} now: {} bytes", client.stat(&path).await?.length);
    println!("its id is {}", entry.id);
    client.close().await;
    Ok(())
}
