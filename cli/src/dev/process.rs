//! Roles as processes: starting them, telling whether they live, ending them.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::layout::Layout;
use super::role::Role;
use super::tables;
use crate::failure::{Context, Failure, Result};
use crate::server::{ADVERTISE_VARIABLE, TOPOLOGY_VARIABLE};

/// The command that plays `role`. It reads nothing, writes to its log, and stands in a process group of its own, so
/// that Ctrl-C reaches only `gfs dev`, which ends the cluster in order.
pub(crate) fn command(layout: &Layout, role: Role, die_with_parent: bool) -> Result<Command> {
    let path = layout.log(role);
    let failed = || format!("cannot open {}", path.display());
    let log = File::options().create(true).append(true).open(&path).during(failed)?;
    let binary = std::env::current_exe().during(|| "cannot find this program's own file")?;
    let mut command = Command::new(binary);
    command.arg(role.command()).arg("--config").arg(layout.config(role));
    if die_with_parent {
        command.arg(format!("--die-with-parent={}", std::process::id()));
    }
    command
        // Said of this machine's clients, it would put all chunkservers into one place.
        .env_remove(TOPOLOGY_VARIABLE)
        .env_remove(ADVERTISE_VARIABLE)
        .stdin(Stdio::null())
        .stdout(log.try_clone().during(failed)?)
        .stderr(log)
        .process_group(0);
    Ok(command)
}

/// Forgets where an earlier run of the role listened, so that only the new one's word is taken.
pub(crate) fn forget_address(layout: &Layout, role: Role) -> Result<()> {
    let path = layout.address(role);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).during(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Where a server said it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// Of its own protocol.
    pub(crate) data: String,
    /// Of its health and metrics.
    pub(crate) http: String,
}

/// What the role wrote once it listened.
pub(crate) fn addresses(layout: &Layout, role: Role) -> Option<Addresses> {
    parse_addresses(&fs::read_to_string(layout.address(role)).ok()?)
}

fn parse_addresses(text: &str) -> Option<Addresses> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        line.map(|value| value.trim().to_owned())
    };
    Some(Addresses { data: value("data")?, http: value("http")? })
}

/// The process that plays `role` now, if one lives.
pub(crate) fn living(layout: &Layout, role: Role) -> Result<Option<Pid>> {
    Ok(recorded(layout, role)?.filter(|pid| plays(*pid, &layout.config(role))))
}

/// The process that played `role` last, if it was killed and still holds files: its arguments go first.
pub(crate) fn dying(layout: &Layout, role: Role) -> Result<Option<Pid>> {
    let has_no_arguments = |pid| fs::read(cmdline(pid)).is_ok_and(|bytes| bytes.is_empty());
    Ok(recorded(layout, role)?.filter(|pid| has_no_arguments(*pid) && !has_ended(*pid)))
}

/// The process that `pids` names for `role`, whatever became of it.
fn recorded(layout: &Layout, role: Role) -> Result<Option<Pid>> {
    let pids = tables::read(&layout.pids())?;
    Ok(pids.get(&role).and_then(|text| Pid::from_raw(text.parse().ok()?)))
}

/// All roles that live, by `pids`.
pub(crate) fn all_living(layout: &Layout) -> Result<Vec<(Role, Pid)>> {
    let mut found = Vec::new();
    for role in tables::read(&layout.pids())?.into_keys() {
        found.extend(living(layout, role)?.map(|pid| (role, pid)));
    }
    Ok(found)
}

/// Whether `pid` is the process of the role with this configuration file. Pids are reused: a stranger that got the
/// number, or a dead process that nobody asked about yet, is not.
fn plays(pid: Pid, config: &Path) -> bool {
    fs::read(cmdline(pid)).is_ok_and(|bytes| has_argument(&bytes, config))
}

fn cmdline(pid: Pid) -> String {
    format!("/proc/{}/cmdline", pid.as_raw_nonzero())
}

/// `/proc/PID/cmdline` ends each argument with a NUL, and is empty for a process that ended.
fn has_argument(cmdline: &[u8], path: &Path) -> bool {
    cmdline.split(|byte| *byte == 0).any(|argument| argument == path.as_os_str().as_bytes())
}

/// Whether it has let go of its files and ports. Its arguments are gone sooner: who starts the role again on their word may find its
/// directory in use.
pub(crate) fn has_ended(pid: Pid) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) else {
        return true;
    };
    is_gone(&stat)
}

/// Whether this is the `/proc/PID/stat` of a process of which nothing is left but its exit status. A zombie has closed everything only when it
/// is alone: its first thread may be one while others are still giving back gigabytes of memory, and then the files.
fn is_gone(stat: &str) -> bool {
    // `PID (NAME) STATE …`, and the eighteenth from there is the number of threads.
    const THREADS: usize = 17;
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest.trim_start());
    let threads = fields.split(' ').nth(THREADS).and_then(|field| field.parse::<u32>().ok());
    fields.starts_with(['Z', 'X']) && threads.is_none_or(|threads| threads <= 1)
}

/// Sends a signal; a process that is gone already is no error.
pub(crate) fn signal(pid: Pid, signal: Signal) -> Result<()> {
    match kill_process(pid, signal) {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        sent => sent
            .map_err(io::Error::from)
            .during(|| format!("cannot signal process {}", pid.as_raw_nonzero())),
    }
}

/// The last lines of a role's log, for the message about its end.
pub(crate) fn log_tail(layout: &Layout, role: Role) -> String {
    const LINES: usize = 5;
    let text = fs::read(layout.log(role)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(4096)..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    last.iter().map(|line| format!("\n  {line}")).collect()
}

/// The error for a role that ended when it should have begun to serve.
pub(crate) fn ended_early(layout: &Layout, role: Role, how: impl std::fmt::Display) -> Failure {
    let log = layout.log(role);
    let tail = log_tail(layout, role);
    Failure::new(format!("{role} ended ({how}); its log is {}{tail}", log.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_first_thread_ended_has_not_ended() {
        let stat = |state: char, threads: u32| {
            format!("7 (a) b) {state} 1 7 7 0 -1 4228364 1 0 0 0 3 1 0 0 20 0 {threads} 0 99 0 0")
        };
        assert!(!is_gone(&stat('S', 1)) && !is_gone(&stat('R', 9)));
        assert!(!is_gone(&stat('Z', 2)), "its files are still open");
        assert!(is_gone(&stat('Z', 1)) && is_gone(&stat('Z', 0)) && is_gone(&stat('X', 0)));
    }

    #[test]
    fn a_process_is_known_by_its_configuration_file() {
        let cmdline = b"/usr/bin/gfs\0master\0--config\0/d/master1.yaml\0--die-with-parent=7\0";
        assert!(has_argument(cmdline, Path::new("/d/master1.yaml")));
        for other in ["/d/master1.yam", "/e/master1.yaml", "/d/master1.yaml2"] {
            assert!(!has_argument(cmdline, Path::new(other)));
        }
        assert!(!has_argument(b"", Path::new("/d/master1.yaml")));
    }

    #[test]
    fn both_addresses_are_needed() {
        let both = "data 127.0.0.1:7400\nhttp 127.0.0.1:7401\n";
        let addresses = parse_addresses(both).unwrap();
        assert_eq!((&*addresses.data, &*addresses.http), ("127.0.0.1:7400", "127.0.0.1:7401"));
        assert_eq!(parse_addresses("data 127.0.0.1:7400\n"), None);
        assert_eq!(parse_addresses("database x\nhttp y\n"), None);
    }

    #[test]
    fn a_process_of_which_only_the_exit_status_is_left_is_neither_living_nor_dying() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        let mut child = Command::new("true").spawn().unwrap();
        let table = tables::Table::from([(Role::Master, child.id().to_string())]);
        tables::write(&layout.pids(), &table).unwrap();
        let pid = recorded(&layout, Role::Master).unwrap().unwrap();
        while !has_ended(pid) {
            std::thread::yield_now();
        }
        assert_eq!(fs::read(cmdline(pid)).unwrap(), b"", "nobody has waited for it yet");
        assert_eq!(dying(&layout, Role::Master).unwrap(), None);
        assert_eq!(living(&layout, Role::Master).unwrap(), None);
        child.wait().unwrap();
        assert_eq!(dying(&layout, Role::Master).unwrap(), None);
    }

    #[test]
    fn a_stranger_with_the_number_of_a_role_is_not_the_role() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        let table = tables::Table::from([(Role::Master, std::process::id().to_string())]);
        tables::write(&layout.pids(), &table).unwrap();
        assert_eq!(living(&layout, Role::Master).unwrap(), None);
        assert_eq!(all_living(&layout).unwrap(), []);
    }
}
