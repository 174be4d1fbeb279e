//! Small disks for tests that fill them: each a tmpfs, in a mount namespace of its own.
//!
//! The test runs itself once more inside of the namespace. Whatever becomes of it, the mounts and all that is on them are gone
//! with its last process.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::command::ok;

/// Names the place of the namespace's temporary files, for the second run.
const INSIDE: &str = "GFS_TEST_DISKS";

/// Runs `act`, the body of the test `name`, where it may mount disks; one such test at a time. Where this machine does not
/// allow that, the test is skipped, which fails it in CI.
///
/// # Panics
/// When the test fails.
pub fn with_own_mounts(name: &str, act: impl FnOnce()) {
    static TURN: Mutex<()> = Mutex::new(());
    if let Some(place) = std::env::var_os(INSIDE) {
        mount(Path::new(&place), "4g");
        return act();
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let unshare = || {
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command
    };
    if !unshare().arg("true").output().is_ok_and(|output| output.status.success()) {
        let strict = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(
            !strict,
            "{name}: `unshare --mount` is not allowed here, and in CI nothing is skipped"
        );
        eprintln!("{name}: skipped, `unshare --mount` is not allowed here");
        return;
    }
    let place = tempfile::Builder::new().prefix("gfs-test-").tempdir().expect("a directory");
    let test = std::env::current_exe().expect("a running test has a path");
    let mut command = unshare();
    command.arg(test).args(["--exact", name, "--nocapture"]);
    command.env(INSIDE, place.path()).env("TMPDIR", place.path());
    let output = command.output().expect("unshare starts");
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: failed in its own mount namespace, see above");
    let ran = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    assert!(ran, "{name}: there is no test of this name");
}

/// A disk of its own for what is in a directory.
pub struct Disk(PathBuf);

impl Disk {
    /// Puts the directory, with what it holds, on a disk of so many bytes.
    ///
    /// # Panics
    /// When it does not fit, or no disk can be mounted.
    #[must_use]
    pub fn under(dir: &Path, bytes: u64) -> Self {
        let mut before: OsString = dir.as_os_str().to_owned();
        before.push(".before");
        fs::rename(dir, &before).expect("a directory that nobody uses");
        fs::create_dir(dir).expect("an empty directory");
        mount(dir, &bytes.to_string());
        let before = PathBuf::from(before);
        ok(Command::new("cp").arg("-a").arg(before.join(".")).arg(dir));
        fs::remove_dir_all(&before).expect("what was copied can go");
        Self(dir.to_owned())
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Bytes free.
    ///
    /// # Panics
    /// When the system does not tell.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        let stat = statvfs(&self.0).expect("it is mounted");
        stat.f_bavail * stat.f_frsize
    }

    /// Takes every byte that is left, however many are written meanwhile.
    ///
    /// # Panics
    /// When that is refused for another reason than a full disk.
    pub fn fill(&self) {
        let mut file =
            File::options().create(true).append(true).open(self.ballast()).expect("a file");
        let mut step = 64 << 20;
        while step > 0 {
            let at = file.metadata().expect("an open file").len();
            match fallocate(&file, FallocateFlags::empty(), at, step) {
                Ok(()) => {}
                Err(rustix::io::Errno::NOSPC) => step /= 2,
                Err(error) => panic!("filling {}: {error}", self.0.display()),
            }
        }
        // Pages that a failed attempt has left in the file.
        loop {
            match file.write(&[7; 512]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("filling {}: {error}", self.0.display()),
            }
        }
    }

    /// Gives back what [`Disk::fill`] took.
    ///
    /// # Panics
    /// When there is no ballast.
    pub fn empty(&self) {
        fs::remove_file(self.ballast()).expect("there is ballast");
    }
}

fn mount(dir: &Path, size: &str) {
    ok(Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
        .arg(dir));
}
