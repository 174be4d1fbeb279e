//! The DIR of a cluster in the foreground, which may be for this one run only.

use std::path::PathBuf;

use crate::failure::{Context, Failure, Result};
use crate::output::note;

/// DIR, and whether it goes when the cluster does.
pub(super) struct Home {
    pub(super) dir: PathBuf,
    temporary: bool,
}

impl Home {
    pub(super) fn of(dir: Option<PathBuf>) -> Result<Self> {
        if let Some(dir) = dir {
            return Ok(Self { dir, temporary: false });
        }
        let mut random = [0; 6];
        getrandom::fill(&mut random)
            .map_err(|error| Failure::new(format!("cannot draw a folder's name: {error}")))?;
        let suffix: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let dir = std::env::temp_dir().join(format!("gfs-dev-{suffix}"));
        std::fs::create_dir(&dir).during(|| format!("cannot make {}", dir.display()))?;
        Ok(Self { dir, temporary: true })
    }

    /// Removes a temporary folder.
    pub(super) fn leave(&self) -> Result<()> {
        if !self.temporary {
            return Ok(());
        }
        std::fs::remove_dir_all(&self.dir)
            .during(|| format!("cannot remove {}", self.dir.display()))
    }

    /// Something went wrong: the logs of a temporary folder are worth more than the space.
    pub(super) fn keep(&self) {
        if self.temporary {
            note(format_args!("logs and data are kept in {}", self.dir.display()));
        }
    }
}
