//! Processes of this program: started, heard, and summed up.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What a process says when its work is done.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spent {
    /// User and system.
    pub(crate) cpu_s: f64,
    /// From its first byte to its last.
    pub(crate) seconds: f64,
}

/// A child, by its name in the report.
pub(crate) struct Role {
    pub(crate) name: String,
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Role {
    pub(crate) fn start(name: impl Into<String>, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("a child without a pipe")?;
        Ok(Self { name: name.into(), child, stdout: BufReader::new(stdout) })
    }

    /// The next line it prints.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        ensure!(!line.is_empty(), "{} ended without a word", self.name);
        Ok(line.trim_end().to_owned())
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Result<(String, Spent)> {
        let spent = serde_json::from_str(&self.line()?)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "{} failed: {status}", self.name);
        Ok((std::mem::take(&mut self.name), spent))
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // Where another one failed; one that has ended is not harmed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What this process used until now.
pub(crate) fn own_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "seconds of processor time stay below 2^53")]
    let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    seconds
}

/// Prints what was spent, as the last word of a process.
pub(crate) fn say(spent: &Spent) -> Result<()> {
    println!("{}", serde_json::to_string(spent)?);
    Ok(())
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().context("--dir is not UTF-8")
}
