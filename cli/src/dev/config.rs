//! The configuration files that `gfs dev` writes for its roles.
//!
//! A file that is there keeps what a person wrote into it; only what `gfs dev` decides is set anew.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::Path;

use gfs_durable::atomic;
use gfs_durable::fs::real::RealFs;
use gfs_types::ByteSize;
use gfs_types::config::{ChunkserverConfig, ListenConfig, MasterConfig};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::layout::Layout;
use super::plan::Plan;
use super::role::Role;
use crate::failure::{Context, Failure, Result};

/// Whatever port is free.
pub(crate) const ANY_PORT: &str = "127.0.0.1:0";
/// Kept free by each chunkserver of a cluster that is only for trying things out.
const RESERVE: ByteSize = ByteSize(64 << 20);

/// Writes the file of the master, which will listen at `listen`.
pub(crate) fn write_master(layout: &Layout, plan: &Plan, listen: &str) -> Result<()> {
    let path = layout.config(Role::Master);
    let old = load(&path)?.unwrap_or_else(|| new_master(plan));
    let config = MasterConfig {
        dir: utf8(&layout.data(Role::Master))?,
        net: ListenConfig { listen: listen.to_owned(), ..old.net },
        // Never for a cluster that was formatted: its blank master would be data lost.
        format: (!plan.formatted).then_some(plan.cluster),
        chunk_size: plan.chunk_size,
        ..old
    };
    config.validate().map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    save(&path, &config)
}

/// Writes the file of chunkserver `number`, which will listen at `listen` and follow `master`.
pub(crate) fn write_chunkserver(
    layout: &Layout,
    plan: &Plan,
    role: Role,
    listen: &str,
    master: &str,
) -> Result<()> {
    let path = layout.config(role);
    let old = match load(&path)? {
        Some(config) => config,
        None => new_chunkserver(role)?,
    };
    let config = ChunkserverConfig {
        dir: utf8(&layout.data(role))?,
        net: ListenConfig { listen: listen.to_owned(), ..old.net },
        masters: vec![master.to_owned()],
        cluster: Some(plan.cluster),
        ..old
    };
    config.validate().map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    save(&path, &config)
}

/// `wanted` if nobody listens there, else any free port of the same host.
pub(crate) fn free_or_any(wanted: &str) -> String {
    if is_free(wanted) {
        return wanted.to_owned();
    }
    wanted.rsplit_once(':').map_or_else(|| ANY_PORT.to_owned(), |(host, _)| format!("{host}:0"))
}

/// Whether this machine can listen there now.
pub(crate) fn is_free(address: &str) -> bool {
    TcpListener::bind(address).is_ok()
}

fn new_master(plan: &Plan) -> MasterConfig {
    MasterConfig { chunk_size: plan.chunk_size, ..MasterConfig::new(String::new(), new_net()) }
}

fn new_chunkserver(role: Role) -> Result<ChunkserverConfig> {
    // Each stands for a machine of its own, so that replicas are spread as they would be.
    let topology = format!("local/{role}/d1")
        .parse()
        .map_err(|error| Failure::new(format!("topology of {role}: {error}")))?;
    let plain = ChunkserverConfig::new(String::new(), new_net(), Vec::new());
    Ok(ChunkserverConfig { topology, reserve: RESERVE, ..plain })
}

fn new_net() -> ListenConfig {
    ListenConfig { listen: ANY_PORT.to_owned(), http_listen: ANY_PORT.to_owned(), advertise: None }
}

fn utf8(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::new(format!("{} is not UTF-8: name another folder", path.display()))
    })
}

fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.during(|| format!("cannot read {}", path.display()))?,
    };
    let config = serde_yaml::from_str(&text);
    config.map(Some).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

fn save(path: &Path, config: &impl Serialize) -> Result<()> {
    serde_yaml::to_string(config)
        .map_err(io::Error::other)
        .and_then(|text| atomic::replace(&RealFs, path, text.as_bytes()))
        .during(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::plan::Wishes;
    use gfs_types::DurationMs;

    fn made() -> (tempfile::TempDir, Layout, Plan) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        let plan = Plan::load_or_make(&layout, Wishes::default()).unwrap();
        (dir, layout, plan)
    }

    fn master(layout: &Layout) -> MasterConfig {
        load(&layout.config(Role::Master)).unwrap().unwrap()
    }

    #[test]
    fn only_a_cluster_that_was_never_formatted_may_be_formatted() {
        let (_dir, layout, plan) = made();
        write_master(&layout, &plan, ANY_PORT).unwrap();
        assert_eq!(master(&layout).format, Some(plan.cluster));
        let formatted = Plan { formatted: true, ..plan };
        write_master(&layout, &formatted, ANY_PORT).unwrap();
        assert_eq!(master(&layout).format, None);
    }

    #[test]
    fn what_a_person_wrote_is_kept() {
        let (_dir, layout, plan) = made();
        write_master(&layout, &plan, ANY_PORT).unwrap();
        let short = MasterConfig { trash_grace: DurationMs(7), ..master(&layout) };
        save(&layout.config(Role::Master), &short).unwrap();
        write_master(&layout, &plan, "127.0.0.1:7400").unwrap();
        assert_eq!(master(&layout).trash_grace, DurationMs(7));
        assert_eq!(master(&layout).net.listen, "127.0.0.1:7400");
    }

    #[test]
    fn chunkservers_stand_on_machines_of_their_own() {
        let (_dir, layout, plan) = made();
        let config = |number| {
            let role = Role::Chunkserver(number);
            write_chunkserver(&layout, &plan, role, ANY_PORT, "127.0.0.1:7400").unwrap();
            load::<ChunkserverConfig>(&layout.config(role)).unwrap().unwrap()
        };
        assert_eq!(config(1).topology.shared_labels(&config(2).topology), 1);
        assert_eq!(config(1).cluster, Some(plan.cluster));
    }

    #[test]
    fn a_port_in_use_is_avoided() {
        let taken = TcpListener::bind(ANY_PORT).unwrap();
        let address = taken.local_addr().unwrap().to_string();
        assert_eq!(free_or_any(&address), ANY_PORT);
        drop(taken);
        assert_eq!(free_or_any(&address), address);
    }
}
