//! Running the `gfs` command as a person or a script would.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The binary under test: `GFS_BIN`, or the one built beside this test.
///
/// # Panics
/// When neither is there: the test cannot run without.
#[must_use]
pub fn gfs_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("GFS_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a running test has a path");
    let beside = test.ancestors().nth(2).expect("tests stand in deps/ of a profile").join("gfs");
    assert!(
        beside.exists(),
        "{} is not there: build it first (cargo build --profile ci --bin gfs), or name one in GFS_BIN",
        beside.display()
    );
    beside
}

/// `gfs` with these arguments against these masters, not started yet.
pub fn gfs<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(masters: &str, arguments: I) -> Command {
    let mut command = Command::new(gfs_binary());
    command.args(arguments).env("GFS_MASTERS", masters).stdin(Stdio::null());
    command
}

/// Runs it to its end and gives all it said.
///
/// # Panics
/// When the binary cannot be started.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("starting {command:?}: {error}"))
}

/// Runs it; it must succeed. Gives its stdout.
///
/// # Panics
/// When it fails; with all it said.
pub fn ok(command: &mut Command) -> String {
    let output = run(command);
    assert!(
        output.status.success(),
        "{command:?} ended with {}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("gfs prints UTF-8")
}

/// Runs it; it must end with this status. Gives its stderr.
///
/// # Panics
/// When it ends otherwise; with all it said.
pub fn fails(command: &mut Command, status: i32) -> String {
    let output = run(command);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        output.status.code(),
        Some(status),
        "{command:?}\nstdout: {}\nstderr: {stderr}",
        String::from_utf8_lossy(&output.stdout)
    );
    stderr
}
