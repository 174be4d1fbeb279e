//! What clients ask of a replica, whatever its part.

use gfs_types::Error;
use gfs_types::message::control::{FromChunkserver, ReplicaState};
use gfs_types::message::data::{DataResponse, ReplicaInfo, Target};
use gfs_types::time::Instant;

use super::{Replica, Role};
use crate::effect::Effect;
use crate::input::Token;
use crate::primary::{Phase, paused};

impl Replica {
    /// What it is now. The primary's answer is the truth while its lease runs.
    pub(super) fn inspect(
        &self,
        now: Instant,
        token: Token,
        target: &Target,
        out: &mut Vec<Effect>,
    ) {
        let result = match self.condition.reported() {
            // What it knows to be committed may be less than what was: all of it counts when the members have it too.
            Some(_) if self.awaits_equal_members() => Err(paused(self.handle)),
            Some(state) if self.stored >= target.version => {
                Ok(DataResponse::Replica(self.info(now, state)))
            }
            Some(_) => {
                let (handle, stored) = (self.handle, self.stored);
                Err(Error::stale(format!("chunk {handle}: this replica has version {stored}")))
            }
            None => Err(self.not_here()),
        };
        out.push(Effect::Reply { token, result });
    }

    /// A member that failed may have done so before all were equal; then a raise without it comes first.
    fn awaits_equal_members(&self) -> bool {
        let Role::Primary(primary) = &self.role else { return false };
        matches!(primary.phase, Phase::Equalising { .. } | Phase::Broken)
    }

    fn info(&self, now: Instant, state: ReplicaState) -> ReplicaInfo {
        ReplicaInfo {
            version: self.stored,
            committed_length: self.committed.length,
            primary: matches!(&self.role, Role::Primary(primary) if now < primary.until),
            state,
        }
    }

    pub(crate) fn not_here(&self) -> Error {
        Error::not_found(format!("chunk {}: this server has no replica of it", self.handle))
    }

    pub(crate) fn not_primary(&self) -> Error {
        let handle = self.handle;
        Error::stale(format!(
            "chunk {handle}: this server does not hold its lease; ask the master who does"
        ))
    }

    /// raise-4: tells the master which member holds the others up, and why.
    pub(crate) fn tell_failed(
        &self,
        version: gfs_types::fence::ChunkVersion,
        member: crate::input::Peer,
        why: &str,
        out: &mut Vec<Effect>,
    ) {
        let (handle, reason) = (self.handle, why.to_owned());
        out.push(Effect::ToMaster(FromChunkserver::MemberFailed {
            handle,
            version,
            member: member.chunkserver,
            session: member.session,
            reason,
        }));
    }
}
