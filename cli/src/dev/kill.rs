//! `gfs dev kill ROLE`: a crash on demand.

use std::path::Path;

use rustix::process::Signal;

use super::children;
use super::layout::Layout;
use super::plan::Plan;
use super::process;
use super::ready::{GONE_TIME, until_ended};
use super::role::Role;
use crate::failure::{Failure, Result};

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
    until_ended(pid).await.map_err(|_| {
        let pid = pid.as_raw_nonzero();
        Failure::new(format!("{role} (process {pid}) is still there {GONE_TIME:?} after SIGKILL"))
    })?;
    children::forget(&layout, role)
}
