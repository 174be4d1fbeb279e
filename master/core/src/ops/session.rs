//! `OpenSession`, `CloseSession`.

use gfs_types::Error;
use gfs_types::ids::SessionId;
use gfs_types::limits::SESSIONS_MAX;
use gfs_types::message::client::Response;

use crate::Master;
use crate::master::Step;
use crate::raise::busy;
use crate::record::Change;

impl Master {
    pub(super) fn open_session(&mut self, step: &mut Step<'_>) -> Result<Response, Error> {
        self.soft.room.may_log()?;
        if self.durable.sessions.len() >= SESSIONS_MAX {
            return Err(busy(
                format!(
                    "{SESSIONS_MAX} client sessions are open: try again when idle ones have expired"
                ),
                60_000,
            ));
        }
        // Log positions are never used twice, and so no session id is; the rest makes it hard to guess.
        let position = self.durable.position().next().0;
        let noise = self.settings.random.rotate_left((position % 64) as u32) & 0xf_ffff;
        let session = SessionId(position << 20 | noise);
        self.commit(step, None, Change::SessionOpened { session });
        self.soft.sessions.insert(session, step.now);
        Ok(Response::Session(session))
    }

    pub(super) fn close_session(
        &mut self,
        step: &mut Step<'_>,
        session: SessionId,
    ) -> Result<Response, Error> {
        if self.durable.sessions.contains(session) {
            self.soft.room.may_log()?;
            self.commit(step, None, Change::SessionClosed { session });
            self.soft.sessions.remove(&session);
        }
        Ok(Response::Done)
    }
}
