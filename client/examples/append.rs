//! Appends: raw, at an offset the system chooses, at least once; and framed records, read exactly once.
//!
//! ```sh
//! gfs dev -- cargo run --profile ci --package gfs-client --example append
//! ```

use gfs_client::{Client, CreateOptions, ErrorKind};

#[tokio::main]
async fn main() -> gfs_client::Result<()> {
    let client = Client::from_env().await?;
    client.mkdir("/example", true).await?;
    let raw = client.create(name("raw"), CreateOptions::default()).await?;
    match raw.append("a line\n").await {
        Ok(offset) => println!("the line stands at {offset}"),
        // It may stand there or not: whoever repeats it may find it twice.
        Err(error) if error.kind() == ErrorKind::Unknown => println!("who knows: {error}"),
        Err(error) => return Err(error),
    }

    let log = client.create(name("log"), CreateOptions::default()).await?;
    let writer = log.record_writer();
    // One after the other …
    let first = writer.append("the first record").await?;
    // … or many in flight, in the order in which they were submitted.
    let mut waiting = Vec::new();
    for n in 2..=100 {
        waiting.push(writer.submit(format!("record number {n}")).await?);
    }
    for submitted in waiting {
        assert!(submitted.await? > first);
    }
    log.sync().await?;

    let mut reader = log.record_reader();
    let mut count = 0;
    while let Some(record) = reader.next().await {
        let record = record?;
        count += 1;
        assert_eq!((record.writer, record.seq), (writer.id(), count));
    }
    println!("{count} records, each once");
    client.close().await;
    Ok(())
}

fn name(what: &str) -> String {
    format!("/example/{what}-{}", std::process::id())
}
