//! Directories, names, the trash.
//!
//! ```sh
//! gfs dev -- cargo run --profile ci --package gfs-client --example namespace
//! ```

use futures::StreamExt;
use gfs_client::{Client, CreateOptions, DeleteOptions, EntryKind, ErrorKind};

#[tokio::main]
async fn main() -> gfs_client::Result<()> {
    let client = Client::from_env().await?;
    let directory = format!("/example/names-{}", std::process::id());
    client.mkdir(&directory, true).await?;
    for name in ["b", "a", "c"] {
        client.create(format!("{directory}/{name}"), CreateOptions::default()).await?;
    }

    let mut entries = client.list(&directory);
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        let mark = if entry.kind == EntryKind::Directory { "/" } else { "" };
        println!("{}{mark}", entry.path);
    }

    let (a, b, d) = (format!("{directory}/a"), format!("{directory}/b"), format!("{directory}/d"));
    client.rename(&a, &d, false).await?;
    let taken = client.rename(&b, &d, false).await;
    assert_eq!(taken.map_err(|error| error.kind()), Err(ErrorKind::AlreadyExists));
    client.rename(&b, &d, true).await?;

    // Into the trash and back.
    client.delete(&d, DeleteOptions::default()).await?;
    assert_eq!(client.stat(&d).await.map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    println!("{} in the trash", client.trash().count().await);
    client.undelete(&d).await?;
    client.stat(&d).await?;

    client.delete(&directory, DeleteOptions { recursive: true, purge: true }).await?;
    client.close().await;
    Ok(())
}
