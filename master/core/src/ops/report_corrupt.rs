//! `ReportCorrupt`: a client saw bytes that do not match their checksum.

use gfs_types::Error;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ServerUid};
use gfs_types::message::client::Response;

use crate::master::Step;
use crate::registry::Replica;
use crate::{Effect, Master};

impl Master {
    /// The replica is named behind the others for a while; its server's own report has the last word. Every reader that meets it
    /// comes here until it is repaired: only what is new is told.
    pub(super) fn report_corrupt(
        &mut self,
        step: &mut Step<'_>,
        (handle, version): (ChunkHandle, ChunkVersion),
        chunkserver: ServerUid,
        evidence: String,
    ) -> Result<Response, Error> {
        let Some(server) = self.soft.registry.by_uid(chunkserver) else {
            return Err(Error::not_found(format!("chunkserver {chunkserver} is not known")));
        };
        let its = |replica: Replica| replica.server == server && replica.version == version;
        if self.current(handle).any(its) {
            if !self.soft.registry.is_accused(step.now, server, handle) {
                step.out.push(Effect::Accused { handle, version, chunkserver, evidence });
            }
            self.soft.registry.accuse(step.now, server, handle);
        }
        Ok(Response::Done)
    }
}
