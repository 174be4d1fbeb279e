//! A whole cluster on this machine, by `gfs dev`, in a directory of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::command::{gfs, gfs_binary, ok};

/// How long a cluster may take until files can be stored, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Set, the directory of a cluster whose test found a violation is kept: its logs tell what happened.
const KEEP_VARIABLE: &str = "GFS_TEST_KEEP";
/// A test of this process found one.
static VIOLATED: AtomicBool = AtomicBool::new(false);

/// A running cluster. Dropping it ends every process it started and removes its directory.
pub struct Cluster {
    /// There until the drop.
    dir: Option<TempDir>,
    dev: Child,
    /// What `GFS_MASTERS` must be.
    pub masters: String,
}

/// How a cluster is started; ports are always free ones.
#[derive(Default)]
pub struct Options {
    /// More arguments of `gfs dev`.
    pub arguments: Vec<String>,
}

impl Options {
    /// With these more arguments of `gfs dev`.
    #[must_use]
    pub fn with(arguments: &[&str]) -> Self {
        Self { arguments: arguments.iter().map(|&argument| argument.to_owned()).collect() }
    }
}

impl Cluster {
    /// A fresh cluster with three chunkservers and 64 MiB chunks.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&Options::default())
    }

    /// A fresh cluster.
    ///
    /// # Panics
    /// When files cannot be stored within a minute.
    #[must_use]
    pub fn start_with(options: &Options) -> Self {
        let dir = tempfile::Builder::new().prefix("gfs-test-").tempdir().expect("a directory");
        Self::start_in(dir, options)
    }

    /// A cluster on a directory that may hold one that ended.
    ///
    /// # Panics
    /// When files cannot be stored within a minute.
    #[must_use]
    pub fn start_in(dir: TempDir, options: &Options) -> Self {
        let mut dev = Command::new(gfs_binary())
            .arg("dev")
            .arg("--dir")
            .arg(dir.path().join("cluster"))
            .args(["--listen", "127.0.0.1:0"])
            .args(&options.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("gfs dev starts");
        let stdout = dev.stdout.take().expect("stdout is piped");
        let masters = match wait_until_ready(stdout) {
            Ok(masters) => masters,
            Err(why) => {
                let _ = dev.kill();
                let _ = dev.wait();
                let logs = read_logs(&dir.path().join("cluster"));
                panic!("the cluster did not become ready: {why}\n{logs}");
            }
        };
        Self { dir: Some(dir), dev, masters }
    }

    /// The cluster's directory.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.home().join("cluster")
    }

    fn home(&self) -> PathBuf {
        self.dir.as_ref().map(|dir| dir.path().to_owned()).unwrap_or_default()
    }

    /// A place for files of the test, removed with the cluster.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        let path = self.home().join("scratch");
        fs::create_dir_all(&path).expect("a directory for files of the test");
        path
    }

    /// `gfs` with these arguments, against this cluster.
    pub fn gfs(&self, arguments: &[&str]) -> Command {
        gfs(&self.masters, arguments)
    }

    /// Runs `gfs`, which must succeed, and gives its stdout.
    pub fn ok(&self, arguments: &[&str]) -> String {
        ok(&mut self.gfs(arguments))
    }

    /// Role to process id, as `DIR/pids` has it.
    ///
    /// # Panics
    /// When the file is not as documented.
    #[must_use]
    pub fn pids(&self) -> BTreeMap<String, i32> {
        let text = fs::read_to_string(self.dir().join("pids")).expect("DIR/pids");
        let line = |line: &str| {
            let (role, pid) = line.split_once(' ').expect("ROLE PID");
            (role.to_owned(), pid.parse().expect("a process id"))
        };
        text.lines().map(line).collect()
    }

    /// The address of a role, as `DIR/addresses` has it.
    ///
    /// # Panics
    /// When the file is not as documented.
    #[must_use]
    pub fn address(&self, role: &str) -> String {
        let text = fs::read_to_string(self.dir().join("addresses")).expect("DIR/addresses");
        let address = text.lines().find_map(|line| line.strip_prefix(role)?.strip_prefix(' '));
        address.unwrap_or_else(|| panic!("no {role} in {text}")).to_owned()
    }

    /// The role that listens at an address.
    #[must_use]
    pub fn role_at(&self, address: &str) -> Option<String> {
        let text = fs::read_to_string(self.dir().join("addresses")).ok()?;
        let roles = text.lines().filter_map(|line| line.split_once(' '));
        roles.into_iter().find(|(_, at)| *at == address).map(|(role, _)| role.to_owned())
    }

    /// SIGKILL to all of these at once; returns when they are gone.
    ///
    /// # Panics
    /// When one of them does not run, or does not end.
    pub fn kill_at_once(&self, roles: &[&str]) {
        let pids = self.pids();
        roles.iter().for_each(|role| self.signal(role, Signal::KILL));
        let deadline = Instant::now() + PATIENCE;
        for role in roles {
            // A process that ended and was not waited for has no command line any more.
            let path = format!("/proc/{}/cmdline", pids[*role]);
            while fs::read(&path).is_ok_and(|text| !text.is_empty()) {
                assert!(Instant::now() < deadline, "{role} is still there after SIGKILL");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Sends a signal to one role.
    ///
    /// # Panics
    /// When there is no such role.
    pub fn signal(&self, role: &str, signal: Signal) {
        let pid = self.pids()[role];
        kill_process(Pid::from_raw(pid).expect("a process id"), signal)
            .unwrap_or_else(|error| panic!("signal to {role} ({pid}): {error}"));
    }

    /// `gfs dev kill ROLE`: SIGKILL.
    pub fn kill(&self, role: &str) {
        self.dev_command("kill", role);
    }

    /// `gfs dev start ROLE`: returns when it serves.
    pub fn restart(&self, role: &str) {
        self.dev_command("start", role);
    }

    fn dev_command(&self, verb: &str, role: &str) {
        let dir = self.dir();
        let dir = dir.to_str().expect("a path in UTF-8");
        ok(&mut gfs(&self.masters, ["dev", verb, role, "--dir", dir]));
    }

    /// Ends the cluster in order and gives its directory, to start it again.
    ///
    /// # Panics
    /// When it does not end with status 0 in time.
    pub fn stop(mut self) -> TempDir {
        let status = end(&mut self.dev).expect("gfs dev ends in time on SIGTERM");
        assert!(status.success(), "gfs dev ended with {status}");
        // `Drop` finds an ended process and no directory.
        self.dir.take().expect("there until the drop")
    }

    /// All log files, for the message of a failed test.
    #[must_use]
    pub fn logs(&self) -> String {
        read_logs(&self.dir())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if end(&mut self.dev).is_none() {
            let _ = self.dev.kill();
            let _ = self.dev.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        keep_if_asked(&mut self.dir);
    }
}

/// Clusters have something to tell from now on.
pub(crate) fn note_violation() {
    VIOLATED.store(true, Ordering::Relaxed);
}

/// Keeps a directory that would go, if the environment asks for it and there is something to see.
pub(crate) fn keep_if_asked(dir: &mut Option<TempDir>) {
    let worth_keeping = VIOLATED.load(Ordering::Relaxed) || std::thread::panicking();
    if worth_keeping
        && std::env::var_os(KEEP_VARIABLE).is_some()
        && let Some(dir) = dir.take()
    {
        eprintln!("kept: {}", dir.keep().display());
    }
}

/// SIGTERM, then patience.
fn end(child: &mut Child) -> Option<std::process::ExitStatus> {
    if let Ok(Some(status)) = child.try_wait() {
        return Some(status);
    }
    let pid = Pid::from_child(child);
    let _ = kill_process(pid, Signal::TERM);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

/// Reads `GFS_MASTERS=…` and `ready`.
fn wait_until_ready(stdout: std::process::ChildStdout) -> Result<String, String> {
    let (lines, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // The test may be over: then nobody listens, and nothing is left to do but to drain the pipe.
            let _ = lines.send(line);
        }
    });
    let deadline = Instant::now() + PATIENCE;
    let mut masters = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = heard.recv_timeout(left).map_err(|error| error.to_string())?;
        if let Some(list) = line.strip_prefix("GFS_MASTERS=") {
            masters = Some(list.to_owned());
        }
        if line == "ready" {
            return masters.ok_or_else(|| "ready without GFS_MASTERS".to_owned());
        }
    }
}

/// The last lines of every log.
pub(crate) fn read_logs(dir: &Path) -> String {
    let mut text = String::new();
    let Ok(entries) = fs::read_dir(dir.join("logs")) else { return text };
    for entry in entries.flatten() {
        let log = fs::read_to_string(entry.path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        text += &format!("--- {}\n", entry.path().display());
        text += &lines[lines.len().saturating_sub(40)..].join("\n");
        text.push('\n');
    }
    text
}
