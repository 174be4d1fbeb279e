//! What this machine is, and how much memory it has.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// One line about the machine.
pub(crate) fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&cpu, "model name").unwrap_or("processor unknown").to_owned();
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let gib = memory_gib("MemTotal:");
    format!("{model}, {cores} cores, {gib} GiB of memory, Linux {}", kernel.trim())
}

/// GiB of memory that a program could have now.
pub(crate) fn available_gib() -> u64 {
    memory_gib("MemAvailable:")
}

fn memory_gib(name: &str) -> u64 {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = memory.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() >> 20
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':')).map(|(_, v)| v.trim())
}

/// The commit that is measured, and whether the tree has changes of its own.
pub(crate) fn commit(workspace: &Workspace) -> Result<String> {
    let git = |arguments: &[&str]| {
        process::output(Command::new("git").current_dir(&workspace.root).args(arguments))
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Ok(format!("{}{}", commit.trim(), if changed { " and changes" } else { "" }))
}

/// In UTC.
pub(crate) fn date() -> Result<String> {
    Ok(process::output(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M"]))?.trim().to_owned())
}
