//! Stores a file, reads it back, and compares: what `examples/kubernetes/job` runs in a pod.
//!
//! ```sh
//! gfs dev -- cargo run --profile ci --package gfs-client --example store_and_read /example/job 1048576
//! ```

use std::time::Instant;

use gfs_client::{Client, UploadOptions};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| "/example/job".to_owned());
    let length = arguments.next().map_or(Ok(1 << 20), |text| text.parse())?;
    // In a pod GFS_MASTERS comes from the ConfigMap that the operator writes.
    let client = Client::from_env().await?;
    if let Some((directory, _)) =
        path.rsplit_once('/').filter(|(directory, _)| !directory.is_empty())
    {
        client.mkdir(directory, true).await?;
    }
    let stored: Vec<u8> = (0..length).map(byte).collect();

    let begun = Instant::now();
    let mut upload = client.upload(&path, UploadOptions::default()).await?;
    upload.write(stored.clone()).await?;
    upload.finish().await?;
    println!("stored {length} bytes as {path} in {:.1?}", begun.elapsed());

    let begun = Instant::now();
    let file = client.open(&path).await?;
    let mut reader = file.reader(..);
    let mut read = Vec::with_capacity(stored.len());
    while let Some(bytes) = reader.next().await {
        read.extend_from_slice(&bytes?);
    }
    println!("read them back in {:.1?}", begun.elapsed());
    client.close().await;
    if read != stored {
        return Err(format!("{} bytes came back, and they differ", read.len()).into());
    }
    println!("identical: {path}");
    Ok(())
}

/// No two neighbouring kibibytes are alike.
fn byte(at: u64) -> u8 {
    let mixed = (at / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (8 * (at % 8));
    mixed.to_le_bytes()[0]
}
