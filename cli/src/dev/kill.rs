//! `gfs dev kill ROLE`: a crash on demand.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use super::children;
use super::layout::Layout;
use super::plan::Plan;
use super::process;
use super::ready::poll_until;
use super::role::Role;
use crate::failure::{Failure, Result};

/// A killed process may first have to come back from the disk.
const GONE_TIME: Duration = Duration::from_secs(10);

pub(crate) async fn run(dir: &Path, role: Role) -> Result<()> {
    let layout = Layout::existing(dir)?;
    Plan::load(&layout)?.expect_role(role)?;
    let Some(pid) = process::living(&layout, role)? else {
        return Err(Failure::new(format!(
            "{role} is not running; start it with `gfs dev start {role} --dir {}`",
            dir.display()
        )));
    };
    process::signal(pid, Signal::KILL)?;
    let gone = || async { if process::has_ended(pid) { Ok(()) } else { Err(String::new()) } };
    poll_until(Instant::now() + GONE_TIME, gone).await.map_err(|_| {
        let pid = pid.as_raw_nonzero();
        Failure::new(format!("{role} (process {pid}) is still there {GONE_TIME:?} after SIGKILL"))
    })?;
    children::forget(&layout, role)
}
