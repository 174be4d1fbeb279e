//! `Lease`: who takes mutations of a chunk. The chunk is made, or its version raised, where there is no lease.

use gfs_types::Error;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, FileId};
use gfs_types::limits::FILE_CHUNKS_MAX;
use gfs_types::message::client::LeaseTarget;
use gfs_types::region::ChunkIndex;

use super::no_file;
use crate::Master;
use crate::master::{Caller, Step};
use crate::namespace::File;
use crate::raise::{Waiter, Work};

impl Master {
    pub(super) fn lease(
        &mut self,
        step: &mut Step<'_>,
        from: Caller,
        file: FileId,
        target: LeaseTarget,
        not_version: Option<ChunkVersion>,
    ) {
        let (index, handle, goal) = match self.target(file, target) {
            Ok(found) => found,
            Err(error) => return self.reply(step, from, Err(error)),
        };
        let waiter = Waiter { to: from, file, index, since: step.now };
        match handle {
            Some(handle) => {
                let granted = self.soft.leases.live(step.now, handle).is_some();
                match self.soft.room.may_log() {
                    Err(error) if !granted => self.reply(step, from, Err(error)),
                    _ => self.wait_for_lease(step, handle, waiter, not_version),
                }
            }
            None => {
                if let Err((error, _)) = self.begin_birth(step, file, index, goal, vec![waiter]) {
                    self.reply(step, from, Err(error));
                }
            }
        }
    }

    /// All who ask for one chunk share what goes on with it.
    fn wait_for_lease(
        &mut self,
        step: &mut Step<'_>,
        handle: ChunkHandle,
        waiter: Waiter,
        not_version: Option<ChunkVersion>,
    ) {
        let work = self.soft.works.entry(handle).or_insert_with(Work::new);
        work.waiters.push(waiter);
        if not_version.is_some() && work.spent.is_none() {
            work.spent = not_version;
        }
        self.advance(step, handle);
    }

    fn target(
        &self,
        file: FileId,
        target: LeaseTarget,
    ) -> Result<(ChunkIndex, Option<ChunkHandle>, u8), Error> {
        let node = self.durable.tree.get(file).ok_or_else(|| no_file(file))?;
        let path = || self.durable.tree.path_of(file);
        let Some(File { chunks, replication, .. }) = node.file() else {
            return Err(Error::invalid(format!(
                "`{}` is a directory: nothing is written to it",
                path()
            )));
        };
        let index = match target {
            LeaseTarget::Index(index) => index,
            LeaseTarget::Last => chunks.last().map_or(ChunkIndex(0), |(index, _)| index),
        };
        if index.0 >= FILE_CHUNKS_MAX {
            return Err(Error::invalid(format!(
                "`{}` cannot have a chunk {index}: a file has at most {FILE_CHUNKS_MAX}",
                path()
            )));
        }
        Ok((index, chunks.get(index), replication))
    }
}
