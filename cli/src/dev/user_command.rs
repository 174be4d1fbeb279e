//! The COMMAND of `gfs dev -- COMMAND`.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};

use super::process;
use crate::failure::{Failure, Result};
use crate::output::note;

/// Time for COMMAND to end after it was told to.
const END_TIME: Duration = Duration::from_secs(3);
/// As shells have it: 128 and the number of the signal.
const SIGNALLED: i32 = 128;
/// As shells have it: there is no such command.
const NOT_FOUND: u8 = 127;

/// COMMAND while it runs.
pub(crate) struct UserCommand {
    child: Child,
}

impl UserCommand {
    /// Starts it in the same terminal, with the cluster in its environment.
    pub(crate) fn start(words: &[OsString], masters: &str, dir: &Path) -> Result<Self> {
        let [program, arguments @ ..] = words else {
            return Err(Failure::usage("no COMMAND after --"));
        };
        let mut command = Command::new(program);
        command.args(arguments).env("GFS_MASTERS", masters).env("GFS_DEV_DIR", dir);
        if let Some(path) = path_with_own_folder() {
            command.env("PATH", path);
        }
        match command.spawn() {
            Ok(child) => Ok(Self { child }),
            Err(error) => {
                note(format_args!("cannot run `{}`: {error}", program.to_string_lossy()));
                Err(Failure::reported(NOT_FOUND))
            }
        }
    }

    /// Waits for its end. Cancel safe.
    pub(crate) async fn ended(&mut self) -> u8 {
        exit_status(self.child.wait().await)
    }

    /// Passes a signal on and waits a little; then insists.
    pub(crate) async fn end(&mut self, with: Signal) -> u8 {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        if let Some(Err(failure)) = pid.map(|pid| process::signal(pid, with)) {
            note(failure);
        }
        if let Ok(status) = tokio::time::timeout(END_TIME, self.ended()).await {
            return status;
        }
        if let Err(error) = self.child.start_kill() {
            note(format_args!("cannot kill the command: {error}"));
        }
        self.ended().await
    }
}

/// This program's folder first, so that `gfs` in COMMAND is this very program.
fn path_with_own_folder() -> Option<OsString> {
    let own = env::current_exe().ok()?.parent()?.to_owned();
    let rest = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(own).chain(env::split_paths(&rest))).ok()
}

fn exit_status(ended: io::Result<ExitStatus>) -> u8 {
    let code = ended.ok().and_then(|status| {
        status.code().or_else(|| status.signal().map(|signal| SIGNALLED + signal))
    });
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_as_a_shell_would_say_it() {
        assert_eq!(exit_status(Ok(ExitStatus::from_raw(0))), 0);
        assert_eq!(exit_status(Ok(ExitStatus::from_raw(7 << 8))), 7);
        assert_eq!(exit_status(Ok(ExitStatus::from_raw(9))), 137);
        assert_eq!(exit_status(Err(io::ErrorKind::Other.into())), 1);
    }
}
