//! The line that a yardstick prints.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use crate::process::Spent;

#[derive(Serialize)]
struct Line {
    yardstick: &'static str,
    mib_per_s: f64,
    cpu_s_per_gib: f64,
    cpu_s_per_gib_of: BTreeMap<String, f64>,
}

/// Prints rates and processor seconds of moving so many MiB.
#[expect(clippy::cast_precision_loss, reason = "MiB stay below 2^53")]
pub(crate) fn print(
    yardstick: &'static str,
    mib: u64,
    seconds: f64,
    roles: &[(String, Spent)],
) -> Result<()> {
    let gib = mib as f64 / 1024.0;
    let each = roles.iter().map(|(name, spent)| (name.clone(), spent.cpu_s / gib));
    let cpu_s_per_gib_of: BTreeMap<_, _> = each.collect();
    let line = Line {
        yardstick,
        mib_per_s: mib as f64 / seconds,
        cpu_s_per_gib: cpu_s_per_gib_of.values().sum(),
        cpu_s_per_gib_of,
    };
    println!("{}", serde_json::to_string(&line)?);
    Ok(())
}
