//! A development cluster for the time of a measurement: started, asked, and ended by the id of its process.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::guard::Guard;

/// `gfs dev` and its folder. Both go when this is dropped.
pub(crate) struct Cluster {
    program: PathBuf,
    dir: PathBuf,
    /// As the variable of the environment has it.
    masters: String,
    process: Option<Child>,
    guard: Option<Guard>,
    /// Kept open: it may have more to say.
    stdout: Option<BufReader<ChildStdout>>,
}

/// Time for all roles to end in order.
const END_TIME: Duration = Duration::from_secs(60);

impl Cluster {
    /// A new one in a folder that is not there yet.
    pub(crate) fn start(program: &Path, dir: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&dir)?;
        let program = program.to_owned();
        let mut cluster =
            Self { program, dir, masters: String::new(), process: None, guard: None, stdout: None };
        cluster.begin()?;
        Ok(cluster)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts all roles; returns when files can be stored.
    pub(crate) fn begin(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(["dev", "--listen", "127.0.0.1:0", "--dir"]).arg(&self.dir);
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdout = process.stdout.take().context("gfs dev has no standard output")?;
        self.guard = Some(Guard::over(&self.dir, Some(process.id()))?);
        self.process = Some(process);
        let stdout = self.stdout.insert(BufReader::new(stdout));
        let mut line = String::new();
        while stdout.read_line(&mut line)? > 0 {
            if let Some(masters) = line.strip_prefix("GFS_MASTERS=") {
                masters.trim_end().clone_into(&mut self.masters);
            }
            if line.trim_end() == "ready" {
                return Ok(());
            }
            line.clear();
        }
        anyhow::bail!("gfs dev ended before it was ready: see the logs in {}", self.dir.display())
    }

    /// Ends all roles in order; the folder stays.
    pub(crate) fn end(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        self.guard = None;
        let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("gfs dev has no process id")?, Signal::TERM)?;
        let begin = Instant::now();
        while process.try_wait()?.is_none() {
            if begin.elapsed() > END_TIME {
                // Its roles end with it.
                process.kill()?;
                process.wait()?;
                anyhow::bail!("gfs dev did not end in {END_TIME:?} and was killed");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// A command that talks to this cluster.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("GFS_MASTERS", &self.masters).env("GFS_DEV_DIR", &self.dir);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its end; what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String> {
        crate::process::output(&mut self.command(arguments))
    }

    /// The value of a metric of the master.
    pub(crate) fn master_metric(&self, name: &str) -> Result<f64> {
        metric(text(&self.status()?["master_http_address"])?, name)
    }

    /// What the longest of a histogram of the master's took at most, in seconds: the upper bound of its bucket.
    pub(crate) fn master_longest_s(&self, histogram: &str) -> Result<f64> {
        let metrics = http_get(text(&self.status()?["master_http_address"])?, "/metrics")?;
        longest(&metrics, histogram).with_context(|| format!("the master has no {histogram}"))
    }

    /// Processor seconds that all servers have used until now.
    pub(crate) fn servers_cpu_s(&self) -> Result<f64> {
        let status = self.status()?;
        let mut addresses = vec![text(&status["master_http_address"])?];
        for server in status["chunkservers"].as_array().context("no chunkservers")? {
            addresses.push(text(&server["http_address"])?);
        }
        addresses.iter().map(|address| metric(address, "process_cpu_seconds_total")).sum()
    }

    fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.run(&["status", "--output", "json"])?)?)
    }
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("{value} is no text"))
}

fn metric(address: &str, name: &str) -> Result<f64> {
    let metrics = http_get(address, "/metrics")?;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("{address} has no {name}"))?.trim().parse()?)
}

/// The bound of the first bucket that has all.
fn longest(metrics: &str, histogram: &str) -> Option<f64> {
    let all = format!("{histogram}_count ");
    let all = metrics.lines().find_map(|line| line.strip_prefix(&all))?.trim();
    let buckets = metrics.lines().filter_map(|line| {
        line.strip_prefix(histogram)?.strip_prefix("_bucket{le=\"")?.split_once("\"} ")
    });
    let mut full = buckets.filter(|(_, count)| count.trim() == all);
    full.find_map(|(bound, _)| bound.parse().ok())
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            println!("{error:#}");
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn http_get(address: &str, path: &str) -> Result<String> {
    let mut stream = std::net::TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.") && answer.contains(" 200 "), "{address}{path} failed");
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::longest;

    #[test]
    fn the_longest_lies_in_the_first_bucket_that_has_all() {
        let page = "a_seconds_bucket{le=\"0.5\"} 7\na_seconds_bucket{le=\"1\"} 9\n\
                    a_seconds_bucket{le=\"+Inf\"} 9\na_seconds_sum 3\na_seconds_count 9\n";
        assert_eq!(longest(page, "a_seconds"), Some(1.0));
        assert_eq!(
            longest(
                &page.replace(" 9\na_seconds_bucket{le=\"+", " 8\na_seconds_bucket{le=\"+"),
                "a_seconds"
            ),
            Some(f64::INFINITY)
        );
        assert_eq!(longest(page, "b_seconds"), None);
    }
}
