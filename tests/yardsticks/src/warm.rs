//! Memory that the host has really given to this machine.
//!
//! Virtual machines may hand free pages back to the host, and pay again for the next first touch of each: two or three
//! processor seconds for a GiB were seen, more than a whole write through three replicas takes.

use std::time::Instant;

use anyhow::{Context, Result};
use memmap2::{Advice, MmapMut};

const PAGE_BYTES: usize = 4096;

pub(crate) fn touch(gib: usize) -> Result<()> {
    let begin = Instant::now();
    let mut memory = MmapMut::map_anon(gib << 30).with_context(|| format!("no {gib} GiB free"))?;
    // Fewer and larger pages are quicker to touch; a system without them does the same more slowly.
    let _ = memory.advise(Advice::HugePage);
    for page in memory.chunks_mut(PAGE_BYTES) {
        page[0] = 1;
    }
    // Without this the writes could be left out.
    std::hint::black_box(&memory);
    println!(
        "{}",
        serde_json::json!({"warmed_gib": gib, "seconds": begin.elapsed().as_secs_f64()})
    );
    Ok(())
}
