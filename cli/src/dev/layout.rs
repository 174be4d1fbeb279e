//! What lies where in the DIR of `gfs dev`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::role::Role;
use crate::failure::{Context, Failure, Result};

/// The paths of one DIR, absolute.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    dir: PathBuf,
}

/// Says what cluster lives here; its presence makes the folder one of ours.
const CLUSTER: &str = "cluster.yaml";
const DEV_LOCK: &str = ".dev.lock";
const TABLES_LOCK: &str = ".tables.lock";
/// What an interrupted first start may leave before the cluster's file.
const EARLY: [&str; 4] = [DEV_LOCK, TABLES_LOCK, "logs", "cluster.yaml.tmp"];

impl Layout {
    /// Makes the folder if need be. A folder with other things in it is refused.
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        let failed = || format!("cannot use {}", dir.display());
        fs::create_dir_all(dir).during(failed)?;
        let layout = Self { dir: fs::canonicalize(dir).during(failed)? };
        layout.refuse_foreign().during(failed)?;
        fs::create_dir_all(layout.dir.join("logs")).during(failed)?;
        Ok(layout)
    }

    /// A folder that `gfs dev` made.
    pub(crate) fn existing(dir: &Path) -> Result<Self> {
        let layout =
            Self { dir: fs::canonicalize(dir).during(|| format!("cannot use {}", dir.display()))? };
        if !layout.cluster().exists() {
            let message = "holds no cluster: make one with `gfs dev --dir DIR`";
            return Err(Failure::new(format!("{} {message}", dir.display())));
        }
        Ok(layout)
    }

    fn refuse_foreign(&self) -> Result<()> {
        if self.cluster().exists() {
            return Ok(());
        }
        let entries = fs::read_dir(&self.dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let foreign = entries
            .during(|| "cannot list it")?
            .into_iter()
            .find(|entry| !EARLY.iter().any(|name| entry.file_name() == *name));
        match foreign {
            None => Ok(()),
            Some(entry) => Err(Failure::new(format!(
                "it holds `{}` and no cluster: name a new or empty folder",
                entry.file_name().to_string_lossy()
            ))),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn cluster(&self) -> PathBuf {
        self.dir.join(CLUSTER)
    }

    pub(crate) fn pids(&self) -> PathBuf {
        self.dir.join("pids")
    }

    pub(crate) fn addresses(&self) -> PathBuf {
        self.dir.join("addresses")
    }

    /// Held by the one `gfs dev` in the foreground.
    pub(crate) fn dev_lock(&self) -> PathBuf {
        self.dir.join(DEV_LOCK)
    }

    /// Held while roles are started or the tables changed.
    pub(crate) fn tables_lock(&self) -> PathBuf {
        self.dir.join(TABLES_LOCK)
    }

    pub(crate) fn log(&self, role: Role) -> PathBuf {
        self.dir.join("logs").join(format!("{role}.log"))
    }

    pub(crate) fn config(&self, role: Role) -> PathBuf {
        self.dir.join(format!("{role}.yaml"))
    }

    pub(crate) fn data(&self, role: Role) -> PathBuf {
        self.dir.join(role.to_string())
    }

    /// Where the server says where it listens.
    pub(crate) fn address(&self, role: Role) -> PathBuf {
        self.data(role).join("address")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_somebody_else_is_refused_and_a_half_made_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        for name in [DEV_LOCK, "cluster.yaml.tmp"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert!(Layout::create(dir.path()).is_ok());
        assert!(Layout::create(dir.path()).is_ok(), "the second time, with logs");
        fs::write(dir.path().join("thesis.txt"), "").unwrap();
        let error = Layout::create(dir.path()).unwrap_err();
        assert!(error.message.contains("thesis.txt"), "{error}");
        fs::write(dir.path().join(CLUSTER), "").unwrap();
        assert!(Layout::create(dir.path()).is_ok());
    }

    #[test]
    fn a_folder_without_a_cluster_has_no_roles_to_start() {
        let dir = tempfile::tempdir().unwrap();
        let error = Layout::existing(dir.path()).unwrap_err();
        assert!(error.message.contains("gfs dev --dir"), "{error}");
        assert!(Layout::existing(&dir.path().join("no")).is_err());
    }
}
