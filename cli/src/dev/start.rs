//! `gfs dev start ROLE`: a role that died comes back, apart from whoever asks.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::children::{Children, describe};
use super::config;
use super::layout::Layout;
use super::plan::Plan;
use super::process;
use super::ready::{poll_until, serves, until_ended};
use super::role::Role;
use super::tables::{self, Lock, Table};
use crate::failure::{Failure, Result};

/// Time for a role to serve.
const SERVE_TIME: Duration = Duration::from_secs(30);

pub(crate) async fn run(dir: &Path, role: Role) -> Result<()> {
    let layout = Layout::existing(dir)?;
    let plan = Plan::load(&layout)?;
    plan.expect_role(role)?;
    let addresses = tables::read(&layout.addresses())?;
    if process::living(&layout, role)?.is_none() {
        if let Some(pid) = process::dying(&layout, role)? {
            // Where it takes longer, the new one says whom the directory is in use by.
            let _ = until_ended(pid).await;
        }
        write_config(&layout, &plan, role, &addresses)?;
    }
    let mut children = Children::default();
    children.start(&layout, role, false)?;
    tokio::select! {
        (_, status) = children.ended() => {
            super::children::forget(&layout, role)?;
            Err(process::ended_early(&layout, role, describe(&status)))
        }
        served = until_it_serves(&layout, role) => served,
    }
}

fn write_config(layout: &Layout, plan: &Plan, role: Role, addresses: &Table) -> Result<()> {
    let known = addresses.get(&role);
    let master = addresses.get(&Role::Master).ok_or_else(|| {
        let dir = layout.dir().display();
        Failure::new(format!("this cluster never came up; start it with `gfs dev --dir {dir}`"))
    })?;
    match role {
        // Others know the master by this address: it comes back there or not at all.
        Role::Master => config::write_master(layout, plan, master),
        Role::Chunkserver(_) => {
            let listen = known.map_or_else(
                || config::ANY_PORT.to_owned(),
                |address| config::free_or_any(address),
            );
            config::write_chunkserver(layout, plan, role, &listen, master)
        }
    }
}

async fn until_it_serves(layout: &Layout, role: Role) -> Result<()> {
    let asked = || async {
        let addresses = process::addresses(layout, role);
        let addresses = addresses.ok_or_else(|| "it does not listen".to_owned())?;
        serves(&addresses.http).await.map(|()| addresses)
    };
    match poll_until(Instant::now() + SERVE_TIME, asked).await {
        Ok(addresses) => {
            let _lock = Lock::wait(&layout.tables_lock())?;
            let mut table = tables::read(&layout.addresses())?;
            table.insert(role, addresses.data);
            tables::write(&layout.addresses(), &table)
        }
        Err(last) => Err(Failure::new(format!(
            "{role} runs but does not serve after {SERVE_TIME:?} ({last}); its log is {}",
            layout.log(role).display()
        ))),
    }
}
