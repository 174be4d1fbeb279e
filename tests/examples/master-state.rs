//! `gfs_tests::master_state` from the command line, for `cargo xtask bench`.
//!
//! `make` writes a checkpoint of many files into the data directory of a master that is not running; `memory` counts
//! the live bytes of a master's core that holds them. Each prints one JSON line.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail, ensure};
use gfs_durable::data_dir::Opened;
use gfs_durable::fs::Fs;
use gfs_durable::fs::real::RealFs;
use gfs_durable::log::{Log, LogOptions};
use gfs_master::oplog::{CHECKPOINT_DIR, LOG_DIR};
use gfs_master::{checkpoint, lifecycle, oplog};
use gfs_tests::master_state::{self, Names};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| -> Result<&String> {
        let place = arguments.iter().position(|argument| argument == name);
        place
            .and_then(|place| arguments.get(place + 1))
            .with_context(|| format!("{name} is missing"))
    };
    let files: u64 = option("--files")?.parse()?;
    match arguments.first().map(String::as_str) {
        Some("make") => make(files, &PathBuf::from(option("--data")?)),
        Some("memory") => memory(files),
        _ => bail!("master-state make|memory --files N [--data DIR]"),
    }
}

/// The checkpoint takes the place of the log, which begins anew behind it.
fn make(files: u64, dir: &Path) -> Result<()> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let Opened::Formatted(data) = lifecycle::open(fs.clone(), dir)? else {
        bail!("{} is not formatted", dir.display());
    };
    let options = LogOptions::new(data.format().cluster_uid);
    let recovered = oplog::recover(&fs, dir, options.clone(), &AtomicBool::new(false))?;
    let mut state = recovered.state;
    drop(recovered.log);
    master_state::fill(&mut state, files, Names::Counted)?;
    let first = state.position().next();
    checkpoint::file::write(&fs, &dir.join(CHECKPOINT_DIR), &state)?;
    std::fs::remove_dir_all(dir.join(LOG_DIR))?;
    drop(Log::create(fs, &dir.join(LOG_DIR), options, first)?);
    println!("{}", serde_json::json!({"files": files, "position": first.0 - 1}));
    Ok(())
}

fn memory(files: u64) -> Result<()> {
    let counted = bytes_each(files, Names::Counted)?;
    let scattered = bytes_each(files, Names::Scattered)?;
    let line = serde_json::json!({
        "files": files,
        "bytes_per_file": scattered.served,
        "durable_bytes_per_file": scattered.durable,
        "counted_bytes_per_file": counted.served,
    });
    println!("{line}");
    Ok(())
}

/// What a file costs, in bytes.
struct Each {
    /// Before any server reported its replica.
    durable: f64,
    /// With all replicas reported.
    served: f64,
}

fn bytes_each(files: u64, names: Names) -> Result<Each> {
    let mut state = master_state::formatted()?;
    let before = live_bytes()?;
    master_state::fill(&mut state, files, names)?;
    let durable = live_bytes()?.saturating_sub(before);
    let master = master_state::serve(state, files);
    let counts = master.durable().counts();
    ensure!(counts.files == files && counts.chunks == files, "{counts:?}");
    let served = live_bytes()?.saturating_sub(before);
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let each = |bytes: u64| bytes as f64 / files as f64;
    Ok(Each { durable: each(durable), served: each(served) })
}

/// What the allocator has given out.
fn live_bytes() -> Result<u64> {
    tikv_jemalloc_ctl::epoch::advance().ok().context("jemalloc has no statistics")?;
    let bytes = tikv_jemalloc_ctl::stats::allocated::read().ok();
    Ok(u64::try_from(bytes.context("jemalloc has no statistics")?)?)
}
