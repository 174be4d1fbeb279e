//! A server as a pod has it: an address of its own, process 1, user 65532, a read-only root, a volume with `lost+found`, and names
//! that are resolved by a file which may change under it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::command::gfs_binary;
use crate::network::Network;

/// User and group in all pods.
const USER: u32 = 65_532;
/// What Kubernetes waits after SIGTERM.
const GRACE: Duration = Duration::from_secs(30);

/// Becomes the pod: its own mounts first, then its user. `$1` is the scratch directory, `$2` the volume.
const ENTER: &str = r#"set -e
mount --bind "$1/hosts" /etc/hosts
mount --bind "$1/resolv.conf" /etc/resolv.conf
mount --bind "$2" "$2"
mount -o remount,bind,ro /
shift 2
exec setpriv --reuid 65532 --regid 65532 --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all "$@""#;

/// Where pods of one test live: the program, the volumes, the names.
pub struct Node {
    dir: TempDir,
}

/// A running pod. Dropped, it is killed.
pub struct Pod {
    outer: Child,
    log: PathBuf,
}

impl Node {
    /// An empty one. Names are resolved by `hosts` alone until [`Node::nameserver`].
    ///
    /// # Errors
    /// The disk.
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("gfs-test-").tempdir()?;
        // The user of the pods comes in, and the program is where that user can read it.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
        fs::copy(gfs_binary(), dir.path().join("gfs"))?;
        fs::set_permissions(dir.path().join("gfs"), Permissions::from_mode(0o755))?;
        let node = Self { dir };
        node.write("hosts", "")?;
        node.write("resolv.conf", "")?;
        Ok(node)
    }

    /// From now on this name has this address. The file is written in place: pods have it mounted.
    ///
    /// # Errors
    /// The disk.
    pub fn host(&self, name: &str, address: &str) -> Result<()> {
        self.write("hosts", &format!("127.0.0.1 localhost\n{address} {name}\n"))
    }

    /// Asks here for all other names, with much patience.
    ///
    /// # Errors
    /// The disk.
    pub fn nameserver(&self, address: &str) -> Result<()> {
        self.write("resolv.conf", &format!("nameserver {address}\noptions timeout:30 attempts:5\n"))
    }

    /// A configuration file.
    ///
    /// # Errors
    /// The disk.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.path().join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, Permissions::from_mode(0o644)).context("opening it to all")
    }

    /// The volume of this name; a new one is as ext4 leaves it, given to the group of the pods.
    ///
    /// # Errors
    /// The disk.
    pub fn volume(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.path().join(name);
        if !path.exists() {
            fs::create_dir_all(path.join("lost+found"))?;
            fs::set_permissions(path.join("lost+found"), Permissions::from_mode(0o700))?;
            chown(&path, None, Some(USER))?;
            fs::set_permissions(&path, Permissions::from_mode(0o2775))?;
        }
        Ok(path)
    }

    /// A file of this node.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts `gfs` as a pod at the address of `member`, with this volume.
    ///
    /// # Errors
    /// What the machine refuses.
    pub fn start(
        &self,
        network: &Network,
        member: &str,
        volume: &str,
        arguments: &[&str],
        stdio: (Stdio, Stdio),
    ) -> Result<Pod> {
        let (volume, log) = (self.volume(volume)?, self.path(&format!("{member}.log")));
        // It dies with this thread; `unshare` takes what it started with it.
        let outer = network
            .command(member, Path::new("setpriv"))
            .args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork"])
            .args(["--mount-proc", "--kill-child", "sh", "-c", ENTER, "sh"])
            .args([self.dir.path(), &volume, &self.path("gfs")])
            .args(arguments)
            .stdin(stdio.0)
            .stdout(stdio.1)
            .stderr(File::options().create(true).append(true).open(&log)?)
            .spawn()
            .with_context(|| format!("starting {member}"))?;
        Ok(Pod { outer, log })
    }

    /// Starts a server whose output is its log.
    ///
    /// # Errors
    /// What the machine refuses.
    pub fn serve(
        &self,
        network: &Network,
        member: &str,
        volume: &str,
        arguments: &[&str],
    ) -> Result<Pod> {
        self.start(network, member, volume, arguments, (Stdio::null(), Stdio::null()))
    }
}

impl Pod {
    /// The input and output of a pod that was started with pipes.
    ///
    /// # Errors
    /// It was not.
    pub fn pipes(&mut self) -> Result<(std::process::ChildStdin, std::process::ChildStdout)> {
        let stdin = self.outer.stdin.take().context("no pipe to it")?;
        Ok((stdin, self.outer.stdout.take().context("no pipe from it")?))
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string())
    }

    /// SIGTERM to process 1 of the pod, as the kubelet sends it; how long the end took. It must be in order.
    ///
    /// # Errors
    /// It was not, or not within the time that Kubernetes gives.
    pub fn terminate(mut self) -> Result<Duration> {
        let begun = Instant::now();
        kill_process(self.first().context("it has no process 1")?, Signal::TERM)?;
        while begun.elapsed() < GRACE {
            if let Some(status) = self.outer.try_wait()? {
                ensure!(status.success(), "it ended with {status}:\n{}", self.log());
                return Ok(begun.elapsed());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        anyhow::bail!("it did not end within {GRACE:?}:\n{}", self.log())
    }
}

impl Pod {
    /// Its process 1, as it is called outside.
    fn first(&self) -> Option<Pid> {
        let outer = self.outer.id();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).ok()?;
        children.trim().parse().ok().and_then(Pid::from_raw)
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // `unshare` waits for it: when that is gone, the volume is free. Gone already is as good.
        let _ = match self.first() {
            Some(first) => kill_process(first, Signal::KILL).map_err(Into::into),
            None => self.outer.kill(),
        };
        let _ = self.outer.wait();
    }
}
