//! `pids` and `addresses`: a line `ROLE VALUE` each, replaced as a whole, changed by several processes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use gfs_durable::atomic;
use gfs_durable::fs::real::RealFs;

use super::role::Role;
use crate::failure::{Context, Result};

/// Values by role.
pub(crate) type Table = BTreeMap<Role, String>;

/// Reads a table; one that does not exist is empty, and lines of unknown roles are skipped.
pub(crate) fn read(path: &Path) -> Result<Table> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Table::new()),
        Err(error) => Err(error).during(|| format!("cannot read {}", path.display())),
    }
}

/// Replaces a table. The caller holds the lock of the tables.
pub(crate) fn write(path: &Path, table: &Table) -> Result<()> {
    atomic::replace(&RealFs, path, print(table).as_bytes())
        .during(|| format!("cannot write {}", path.display()))
}

fn parse(text: &str) -> Table {
    let entry = |line: &str| {
        let (role, value) = line.split_once(' ')?;
        Some((role.parse().ok()?, value.trim().to_owned()))
    };
    text.lines().filter_map(entry).collect()
}

fn print(table: &Table) -> String {
    table.iter().map(|(role, value)| format!("{role} {value}\n")).collect()
}

/// Keeps others from what it guards, until dropped. Freed by the kernel however the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock at `path`.
    pub(crate) fn wait(path: &Path) -> Result<Self> {
        Self::take(path, rustix::fs::FlockOperation::LockExclusive)
            .during(|| format!("cannot lock {}", path.display()))
    }

    /// Takes the lock at `path` if nobody holds it.
    pub(crate) fn attempt(path: &Path) -> Result<Option<Self>> {
        match Self::take(path, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).during(|| format!("cannot lock {}", path.display())),
        }
    }

    fn take(path: &Path, how: rustix::fs::FlockOperation) -> io::Result<Self> {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        rustix::fs::flock(&file, how)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back_and_the_rest_is_skipped() {
        let table = Table::from([
            (Role::Chunkserver(2), "127.0.0.1:7502".to_owned()),
            (Role::Master, "127.0.0.1:7400".to_owned()),
        ]);
        assert_eq!(print(&table), "master1 127.0.0.1:7400\ncs2 127.0.0.1:7502\n");
        assert_eq!(parse(&print(&table)), table);
        assert_eq!(parse("nobody 5\n\ncs1\ncs3 7\n").len(), 1);
    }

    #[test]
    fn a_lock_is_held_once_and_freed_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::attempt(&path).unwrap();
        assert!(first.is_some());
        assert!(Lock::attempt(&path).unwrap().is_none());
        drop(first);
        assert!(Lock::attempt(&path).unwrap().is_some());
    }
}
