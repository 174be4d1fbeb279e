//! The roles that this process started: their pids on file, their ends noticed.

use std::pin::Pin;
use std::process::ExitStatus;

use futures::future;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::process::Command;

use super::layout::Layout;
use super::process;
use super::role::Role;
use super::tables::{self, Lock};
use crate::failure::{Context, Failure, Result};

/// How a role ended.
pub(crate) type Ended = (Role, std::io::Result<ExitStatus>);

/// Children that were not waited for yet.
#[derive(Default)]
pub(crate) struct Children {
    waiting: FuturesUnordered<Pin<Box<dyn Future<Output = Ended>>>>,
    /// Whether there ever was one, and so a log.
    any: bool,
}

impl Children {
    /// Starts a role and writes its pid down.
    pub(crate) fn start(
        &mut self,
        layout: &Layout,
        role: Role,
        die_with_parent: bool,
    ) -> Result<()> {
        let _lock = Lock::wait(&layout.tables_lock())?;
        if let Some(pid) = process::living(layout, role)? {
            let pid = pid.as_raw_nonzero();
            return Err(Failure::new(format!("{role} runs already, as process {pid}")));
        }
        process::forget_address(layout, role)?;
        let mut command = Command::from(process::command(layout, role, die_with_parent)?);
        let mut child = command.spawn().during(|| format!("cannot start {role}"))?;
        let mut pids = tables::read(&layout.pids())?;
        if let Some(pid) = child.id() {
            pids.insert(role, pid.to_string());
        }
        self.any = true;
        self.waiting.push(Box::pin(async move { (role, child.wait().await) }));
        tables::write(&layout.pids(), &pids)
    }

    /// Whether any role was started.
    pub(crate) fn any(&self) -> bool {
        self.any
    }

    /// The next child to end; waits for ever when there is none. Cancel safe.
    pub(crate) async fn ended(&mut self) -> Ended {
        match self.waiting.next().await {
            Some(ended) => ended,
            None => future::pending().await,
        }
    }
}

/// Takes a role that ended out of `pids`, unless somebody has started it again.
pub(crate) fn forget(layout: &Layout, role: Role) -> Result<()> {
    let _lock = Lock::wait(&layout.tables_lock())?;
    if process::living(layout, role)?.is_some() {
        return Ok(());
    }
    let mut pids = tables::read(&layout.pids())?;
    if pids.remove(&role).is_none() {
        return Ok(());
    }
    tables::write(&layout.pids(), &pids)
}

/// `exit status 1`, `signal 9 (SIGKILL)`: as a person says it.
pub(crate) fn describe(status: &std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => format!("its end could not be seen: {error}"),
    }
}
