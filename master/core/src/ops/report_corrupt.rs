//! `ReportCorrupt`: a client saw bytes that do not match their checksum.

use gfs_types::Error;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ServerUid};
use gfs_types::message::client::Response;
use gfs_types::time::Instant;

use crate::Master;

impl Master {
    /// The replica is named behind the others for a while; its server's own report has the last word.
    pub(super) fn report_corrupt(
        &mut self,
        now: Instant,
        handle: ChunkHandle,
        version: ChunkVersion,
        chunkserver: ServerUid,
    ) -> Result<Response, Error> {
        let Some(server) = self.soft.registry.by_uid(chunkserver) else {
            return Err(Error::not_found(format!("chunkserver {chunkserver} is not known")));
        };
        let accused = self.current(handle).find(|replica| replica.server == server);
        if accused.is_some_and(|replica| replica.version == version) {
            self.soft.registry.accuse(now, server, handle);
        }
        Ok(Response::Done)
    }
}
