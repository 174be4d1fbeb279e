//! FULL-1: a mutation that needs space waits while a member has none, and the client is told which.
//!
//! A member that is short of space has room for what is in flight, so nothing that was ordered finds the disk full. Whether it
//! still is short is learned from its acknowledgements; where none are under way a sync is ordered for that: it needs no
//! space, and is a mutation like any other.

use gfs_types::Error;
use gfs_types::ids::ServerUid;
use gfs_types::limits::SPACE_PROBE_MS;
use gfs_types::message::data::OrderKind;
use gfs_types::time::Instant;

use super::admit::Placed;
use super::{Outcome, Phase};
use crate::effect::Effect;
use crate::replica::{Replica, Role};

impl Replica {
    /// Whether every member has space for more than is in flight, and none waits for some.
    ///
    /// # Errors
    /// `Busy`, naming one that has not.
    pub(super) fn check_space(&self) -> Result<(), Error> {
        self.wants_space().map_or(Ok(()), Err)
    }

    fn wants_space(&self) -> Option<Error> {
        let Role::Primary(primary) = &self.role else { return None };
        if self.short_of_space {
            return Some(self.no_space_on(self.settings.chunkserver, &primary.source));
        }
        primary.links.values().find_map(|link| match link.waits_for() {
            Some(busy) => Some(busy.clone()),
            None if link.short_of_space => {
                Some(self.no_space_on(link.member.chunkserver, &link.member.address))
            }
            None => None,
        })
    }

    fn no_space_on(&self, server: ServerUid, address: &str) -> Error {
        let text = format!(
            "chunkserver {server} at {address} has no space left for chunk {}; free space there or add a \
             chunkserver, then it goes on by itself",
            self.handle
        );
        let retry_after_ms = u32::try_from(SPACE_PROBE_MS.0).unwrap_or(u32::MAX);
        Error { retry_after_ms, ..Error::busy(text) }
    }

    /// Somebody was refused for want of space: the lease is in use, and the members are asked whether there is some now.
    pub(super) fn ask_for_space(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.wants_space().is_none() {
            return;
        }
        let own = self.short_of_space;
        let Role::Primary(primary) = &mut self.role else { return };
        if primary.phase != Phase::Serving || primary.is_frozen() {
            return;
        }
        primary.used = now;
        let asked = primary.asked_for_space.is_some_and(|at| now < at + SPACE_PROBE_MS);
        // This server's own space is known; what is in flight will be answered.
        if own || asked || !primary.flight.is_empty() {
            return;
        }
        primary.asked_for_space = Some(now);
        primary.sync_in_flight = true;
        let placed = Placed { kind: OrderKind::Sync, end: primary.end, outcome: Outcome::Done };
        self.give_serial(now, placed, Vec::new(), out);
    }
}
