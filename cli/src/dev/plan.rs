//! What cluster a DIR holds: written down before anything is started, so that no start ever makes a second one.

use std::fs;
use std::io;

use gfs_durable::atomic;
use gfs_durable::fs::real::RealFs;
use gfs_types::ByteSize;
use gfs_types::ids::ClusterUid;
use gfs_types::limits::CHUNK_BYTES_DEFAULT;
use gfs_types::region::ChunkSize;
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::role::{CHUNKSERVERS_MAX, Role};
use crate::failure::{Context, Failure, Result};

/// Chunkservers of a new cluster unless asked otherwise: as many as a chunk has replicas.
pub(crate) const CHUNKSERVERS_DEFAULT: u16 = 3;

/// The file `cluster.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// The cluster's identity, drawn once.
    pub(crate) cluster: ClusterUid,
    /// Bytes of a chunk, fixed when the cluster was made.
    pub(crate) chunk_size: ByteSize,
    /// How many chunkservers have a folder.
    pub(crate) chunkservers: u16,
    /// The master was formatted once: from then on a blank one is data lost, never a new cluster.
    pub(crate) formatted: bool,
}

/// What the command line asks of a cluster; `None` takes what is there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wishes {
    pub(crate) chunkservers: Option<u16>,
    pub(crate) chunk_size: Option<ByteSize>,
}

impl Plan {
    /// The plan of the cluster in DIR.
    pub(crate) fn load(layout: &Layout) -> Result<Self> {
        let path = layout.cluster();
        let text =
            fs::read_to_string(&path).during(|| format!("cannot read {}", path.display()))?;
        serde_yaml::from_str(&text)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display())))
    }

    /// The plan of DIR with the wishes fulfilled, on disk; a new one where there is none.
    pub(crate) fn load_or_make(layout: &Layout, wishes: Wishes) -> Result<Self> {
        let exists =
            layout.cluster().try_exists().during(|| "cannot look for cluster.yaml".to_owned())?;
        let old = if exists { Some(Self::load(layout)?) } else { None };
        let plan = match &old {
            Some(plan) if plan.is_made(layout) => plan.changed(wishes)?,
            // A first start that never came to the master binds nobody.
            _ => Self::new(wishes)?,
        };
        if old.as_ref() != Some(&plan) {
            plan.save(layout)?;
        }
        Ok(plan)
    }

    /// Writes the plan, durably.
    pub(crate) fn save(&self, layout: &Layout) -> Result<()> {
        let path = layout.cluster();
        let text = serde_yaml::to_string(self).map_err(io::Error::other);
        text.and_then(|text| atomic::replace(&RealFs, &path, text.as_bytes()))
            .during(|| format!("cannot write {}", path.display()))
    }

    /// Whether there may be a cluster: some role once began to write.
    fn is_made(&self, layout: &Layout) -> bool {
        self.formatted || Role::all(self.chunkservers).any(|role| layout.data(role).exists())
    }

    /// Refuses a role that this cluster does not have.
    pub(crate) fn expect_role(&self, role: Role) -> Result<()> {
        if Role::all(self.chunkservers).any(|known| known == role) {
            return Ok(());
        }
        let last = self.chunkservers;
        Err(Failure::new(format!("there is no {role}: the roles are master1 and cs1 to cs{last}")))
    }

    fn new(wishes: Wishes) -> Result<Self> {
        let mut uid = [0; 16];
        getrandom::fill(&mut uid)
            .map_err(|error| Failure::new(format!("cannot draw a cluster uid: {error}")))?;
        let plan = Self {
            cluster: ClusterUid(u128::from_le_bytes(uid)),
            chunk_size: wishes.chunk_size.unwrap_or(ByteSize(CHUNK_BYTES_DEFAULT)),
            chunkservers: wishes.chunkservers.unwrap_or(CHUNKSERVERS_DEFAULT),
            formatted: false,
        };
        plan.check()
    }

    fn changed(&self, wishes: Wishes) -> Result<Self> {
        let size = wishes.chunk_size.unwrap_or(self.chunk_size);
        if size != self.chunk_size {
            return Err(Failure::usage(format!(
                "--chunk-size {size}: this cluster was made with {}, and that cannot change; leave the option \
                 out or name another DIR",
                self.chunk_size
            )));
        }
        let chunkservers = wishes.chunkservers.unwrap_or(self.chunkservers);
        if chunkservers < self.chunkservers {
            return Err(Failure::usage(format!(
                "--chunkservers {chunkservers}: this cluster has {}, and their chunks would be missing; leave \
                 the option out or ask for more",
                self.chunkservers
            )));
        }
        Self { chunkservers, ..self.clone() }.check()
    }

    fn check(self) -> Result<Self> {
        ChunkSize::new(self.chunk_size.0)
            .map_err(|error| Failure::usage(format!("--chunk-size: {error}")))?;
        if !(1..=CHUNKSERVERS_MAX).contains(&self.chunkservers) {
            let message = format!("--chunkservers: from 1 to {CHUNKSERVERS_MAX} are possible");
            return Err(Failure::usage(message));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(chunkservers: u16, mib: u64) -> Wishes {
        Wishes { chunkservers: Some(chunkservers), chunk_size: Some(ByteSize(mib << 20)) }
    }

    #[test]
    fn a_cluster_keeps_its_identity_and_may_only_grow() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        assert!(!Plan::load_or_make(&layout, wishes(5, 64)).unwrap().formatted);
        let made = Plan::load_or_make(&layout, wishes(2, 1)).unwrap();
        assert_eq!((made.chunkservers, made.chunk_size.0), (2, 1 << 20), "nothing began before");
        fs::create_dir(layout.data(Role::Master)).unwrap();
        assert_eq!(Plan::load_or_make(&layout, Wishes::default()), Ok(made.clone()));
        let grown = Plan::load_or_make(&layout, wishes(4, 1)).unwrap();
        assert_eq!(grown, Plan { chunkservers: 4, ..made });
        assert_eq!(Plan::load(&layout), Ok(grown));
        for wrong in [wishes(3, 1), wishes(4, 2), wishes(CHUNKSERVERS_MAX + 1, 1)] {
            let error = Plan::load_or_make(&layout, wrong).unwrap_err();
            assert_eq!(error.exit_status(), 2, "{error}");
        }
    }

    #[test]
    fn a_role_that_is_not_there_is_refused_with_those_that_are() {
        let plan = Plan::new(wishes(2, 1)).unwrap();
        assert_eq!(plan.expect_role(Role::Chunkserver(2)), Ok(()));
        let failure = plan.expect_role(Role::Chunkserver(3)).unwrap_err();
        assert!(failure.message.contains("cs3") && failure.message.contains("cs1 to cs2"));
    }

    #[test]
    fn what_cannot_work_is_refused_before_anything_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        for wrong in [wishes(0, 1), wishes(3, 513), wishes(3, 0)] {
            assert!(Plan::load_or_make(&layout, wrong).is_err());
            assert!(!layout.cluster().exists());
        }
    }
}
