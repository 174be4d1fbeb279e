//! Where effects go: the open streams of clients and chunkservers, and their queues.
//!
//! Nothing here waits. A client cannot have more replies in its queue than requests in flight, so
//! its queue never overflows; a chunkserver that does not take its commands loses its stream, and
//! nobody else is held up.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gfs_master_core::{Connection, Effect, Link};
use gfs_types::Error;
use gfs_types::fence::MasterEpoch;
use gfs_types::limits::CONNECTION_REQUESTS_MAX;
use gfs_types::message::client::Reply;
use gfs_types::message::control::ToChunkserver;
use tokio::sync::{mpsc, watch};
use tracing::error;

/// Commands that wait for one chunkserver: two for each chunk of a large burst of raises, far below
/// what memory minds.
pub const LINK_COMMANDS_MAX: usize = 16_384;

/// What comes down a client's stream.
pub type Replies = mpsc::Receiver<(u64, Reply)>;

/// What comes down a chunkserver's stream: commands, or why it ends.
pub type Commands = mpsc::Receiver<Result<ToChunkserver, Error>>;

/// The open streams.
#[derive(Debug)]
pub struct Outbox {
    streams: Mutex<Streams>,
    stepped_down: watch::Sender<Option<SteppedDown>>,
}

/// A newer epoch was obeyed somewhere: this process must not serve any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SteppedDown {
    /// The newer epoch.
    pub epoch: MasterEpoch,
    /// Who said so.
    pub reason: String,
}

#[derive(Debug, Default)]
struct Streams {
    last: u64,
    clients: BTreeMap<Connection, mpsc::Sender<(u64, Reply)>>,
    chunkservers: BTreeMap<Link, mpsc::Sender<Result<ToChunkserver, Error>>>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { streams: Mutex::default(), stepped_down: watch::Sender::new(None) }
    }
}

impl Outbox {
    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new client's stream.
    pub fn open_client(&self) -> (Connection, Replies) {
        let (sender, receiver) = mpsc::channel(CONNECTION_REQUESTS_MAX);
        let mut streams = self.streams();
        streams.last += 1;
        let connection = Connection(streams.last);
        streams.clients.insert(connection, sender);
        (connection, receiver)
    }

    /// A new chunkserver's stream.
    pub fn open_link(&self) -> (Link, Commands) {
        let (sender, receiver) = mpsc::channel(LINK_COMMANDS_MAX);
        let mut streams = self.streams();
        streams.last += 1;
        let link = Link(streams.last);
        streams.chunkservers.insert(link, sender);
        (link, receiver)
    }

    /// Nobody is at the other end of this stream any more.
    pub fn close_client(&self, connection: Connection) {
        self.streams().clients.remove(&connection);
    }

    /// Nobody is at the other end of this stream any more.
    pub fn close_link(&self, link: Link) {
        self.streams().chunkservers.remove(&link);
    }

    /// Clients' streams, and chunkservers' streams, that are open.
    #[must_use]
    pub fn open(&self) -> (usize, usize) {
        let streams = self.streams();
        (streams.clients.len(), streams.chunkservers.len())
    }

    /// Tells when this process has to stop serving.
    #[must_use]
    pub fn stepped_down(&self) -> watch::Receiver<Option<SteppedDown>> {
        self.stepped_down.subscribe()
    }

    /// Lets effects out, in order. Effects for streams that are gone are dropped: whoever asked
    /// does not know the outcome, and asks again with the same request id.
    ///
    /// # Panics
    /// On an append: records go to the log, not out.
    pub fn let_out(&self, effects: impl IntoIterator<Item = Effect>) {
        let mut streams = self.streams();
        for effect in effects {
            match effect {
                Effect::Append { position, .. } => panic!("record {position} among the effects"),
                Effect::Reply { connection, request, reply, .. } => {
                    streams.reply(connection, request, reply);
                }
                Effect::Send { link, message, .. } => streams.send(link, message),
                Effect::CloseLink { link, error, .. } => streams.end(link, error),
                Effect::Accused { handle, version, chunkserver, evidence } => {
                    error!(chunk = %handle, %version, %chunkserver, %evidence, "a replica is corrupt, its server and a reader agree; another replica serves");
                }
                Effect::StepDown { epoch, reason } => {
                    self.stepped_down.send_replace(Some(SteppedDown { epoch, reason }));
                }
            }
        }
    }
}

impl Streams {
    fn reply(&mut self, connection: Connection, request: u64, reply: Reply) {
        let Some(client) = self.clients.get(&connection) else { return };
        if client.try_send((request, reply)).is_err() {
            // Gone, or it answers more than it was asked, which only a broken core would do.
            self.clients.remove(&connection);
        }
    }

    fn send(&mut self, link: Link, message: ToChunkserver) {
        let Some(chunkserver) = self.chunkservers.get(&link) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = chunkserver.try_send(Ok(message)) {
            tracing::warn!(
                link = link.0,
                commands = LINK_COMMANDS_MAX,
                "a chunkserver does not take its commands: its stream is closed, it must register anew"
            );
            self.chunkservers.remove(&link);
        }
    }

    /// The stream ends behind what is in its queue.
    fn end(&mut self, link: Link, error: Error) {
        tracing::info!(link = link.0, %error, "the stream of a chunkserver is closed");
        if let Some(chunkserver) = self.chunkservers.remove(&link) {
            // Full: then it ends without the reason, which stands in the log.
            let _ = chunkserver.try_send(Err(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use gfs_types::fence::LogPosition;
    use gfs_types::ids::ProcessSession;
    use gfs_types::message::client::Response;
    use gfs_types::message::control::Command;

    use super::*;

    const AFTER: LogPosition = LogPosition(1);

    fn reply(connection: Connection, request: u64) -> Effect {
        let reply =
            Reply { epoch: MasterEpoch(1), log_position: AFTER, result: Ok(Response::Done) };
        Effect::Reply { connection, request, reply, after: AFTER }
    }

    fn send(link: Link) -> Effect {
        let command = Command::HeartbeatAnswer { seq: 1, extended: Vec::new(), lease_ms: 1 };
        let message = ToChunkserver { epoch: MasterEpoch(1), session: ProcessSession(1), command };
        Effect::Send { link, message, after: AFTER }
    }

    #[test]
    fn replies_reach_their_own_stream_in_order_and_others_not() {
        let outbox = Outbox::default();
        let (a, mut from_a) = outbox.open_client();
        let (b, mut from_b) = outbox.open_client();
        assert_ne!(a, b);
        outbox.let_out([reply(a, 7), reply(b, 1), reply(a, 8)]);
        assert_eq!(from_a.try_recv().unwrap().0, 7);
        assert_eq!(from_a.try_recv().unwrap().0, 8);
        assert_eq!(from_b.try_recv().unwrap().0, 1);
        assert!(from_b.try_recv().is_err());
    }

    #[test]
    fn a_gone_stream_is_skipped() {
        let outbox = Outbox::default();
        let (client, _replies) = outbox.open_client();
        let (link, _commands) = outbox.open_link();
        outbox.close_client(client);
        outbox.close_link(link);
        outbox.let_out([reply(client, 1), send(link)]);
        assert_eq!(outbox.open(), (0, 0));
    }

    #[test]
    fn a_chunkserver_that_does_not_take_its_commands_loses_its_stream_and_no_other() {
        let outbox = Outbox::default();
        let (slow, mut queue) = outbox.open_link();
        let (other, mut others) = outbox.open_link();
        outbox.let_out((0..LINK_COMMANDS_MAX).map(|_| send(slow)));
        assert_eq!(outbox.open().1, 2, "the limit itself is allowed");
        outbox.let_out([send(slow), send(other)]);
        assert_eq!(outbox.open().1, 1);
        let queued = std::iter::from_fn(|| queue.try_recv().ok()).count();
        assert_eq!(queued, LINK_COMMANDS_MAX);
        assert!(others.try_recv().is_ok());
    }

    #[test]
    fn a_closed_link_tells_why_behind_what_was_sent() {
        let outbox = Outbox::default();
        let (link, mut commands) = outbox.open_link();
        let error = Error::denied("another cluster");
        outbox
            .let_out([send(link), Effect::CloseLink { link, error: error.clone(), after: AFTER }]);
        assert!(commands.try_recv().unwrap().is_ok());
        assert_eq!(commands.try_recv().unwrap(), Err(error));
        assert_eq!(commands.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn stepping_down_is_told() {
        let outbox = Outbox::default();
        let told = outbox.stepped_down();
        let down = SteppedDown { epoch: MasterEpoch(9), reason: "it said so".to_owned() };
        outbox.let_out([Effect::StepDown { epoch: down.epoch, reason: down.reason.clone() }]);
        assert_eq!(*told.borrow(), Some(down));
    }
}
