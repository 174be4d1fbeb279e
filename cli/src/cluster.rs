//! Which cluster a command talks to, and how long it waits for it.

use std::time::Duration;

use clap::Args;
use gfs_client::{Client, Options};

use crate::failure::{Failure, Result};
use crate::text::parse_duration;

/// A person who waits this long for a master wants to know that there is none.
const SAY_SO_AFTER: Duration = Duration::from_secs(1);

/// Options of every command that talks to a cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterArgs {
    /// Masters of the cluster, HOST:PORT[,HOST:PORT…]
    #[arg(long, global = true, env = "GFS_MASTERS", value_name = "MASTERS")]
    #[arg(help_heading = "Cluster", hide_env_values = true)]
    masters: Option<String>,
    /// Time for one operation: 60s, 250ms, 2m
    #[arg(long, global = true, value_name = "TIME", default_value = "60s")]
    #[arg(help_heading = "Cluster", value_parser = parse_duration)]
    timeout: Duration,
}

impl ClusterArgs {
    /// Connects to the cluster; says on stderr when that takes long, and goes on trying until time is out.
    pub(crate) async fn connect(&self) -> Result<Client> {
        let options = self.options()?;
        let masters = options.masters.join(",");
        let connecting = Client::connect_with(options);
        tokio::pin!(connecting);
        tokio::select! {
            client = &mut connecting => return Ok(client?),
            () = tokio::time::sleep(SAY_SO_AFTER) => {}
        }
        eprintln!(
            "gfs: no master has answered at {masters} yet; trying on for {:?} in all (--timeout)",
            self.timeout
        );
        Ok(connecting.await?)
    }

    /// As on the command line of another command that shall talk to the same cluster.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let masters =
            self.masters.iter().flat_map(|masters| ["--masters".to_owned(), masters.clone()]);
        let timeout = ["--timeout".to_owned(), format!("{}ms", self.timeout.as_millis())];
        masters.chain(timeout).collect()
    }

    fn options(&self) -> Result<Options> {
        let masters = self.masters.as_deref().ok_or_else(|| {
            Failure::usage(
                "no cluster is named: set GFS_MASTERS or give --masters HOST:PORT; `gfs dev` starts \
                 a cluster on this machine and prints what to set",
            )
        })?;
        let options =
            Options::new(masters).map_err(|error| Failure::usage(format!("--masters: {error}")))?;
        Ok(Options { timeout: self.timeout, topology: topology()?, ..options })
    }
}

/// Where this machine stands, if the environment says so.
fn topology() -> Result<gfs_types::topology::Topology> {
    let text = std::env::var("GFS_TOPOLOGY").unwrap_or_default();
    text.parse().map_err(|error| Failure::usage(format!("GFS_TOPOLOGY: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(masters: Option<&str>) -> Result<Options> {
        let masters = masters.map(str::to_owned);
        ClusterArgs { masters, timeout: Duration::from_secs(1) }.options()
    }

    #[test]
    fn a_cluster_must_be_named_rightly() {
        assert!(options(Some("a:1,b:2")).is_ok());
        for wrong in [None, Some(""), Some("a")] {
            assert_eq!(options(wrong).unwrap_err().exit_status(), 2, "{wrong:?}");
        }
    }
}
