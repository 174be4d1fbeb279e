//! The next server of a push chain (§3.2): one connection onward for each connection that pushes here.
//!
//! A push is acknowledged when it is here and the next server acknowledged it too. A next server that fails does not
//! fail the push: its replica gets the data from the primary when it misses it.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use gfs_protocol::frame::blocking::read_head;
use gfs_protocol::frame::{Head, Op, ReplyHead, RequestHead, encode_request};
use gfs_types::Error;
use gfs_types::ids::{DataId, ProcessSession};
use gfs_types::message::data::{DataRequest, DataResponse, Hop};
use tracing::warn;

use super::accept::Shared;
use super::handshake;
use super::replies::Replies;
use super::socket::{connect, timed_out};

const STACK_BYTES: usize = 128 << 10;
/// A next server that failed is not tried again for this long.
const PAUSE: Duration = Duration::from_secs(1);

/// The way onward of one connection.
#[derive(Default)]
pub(super) struct Downstream {
    link: Option<Link>,
    pause_until: Option<Instant>,
}

/// A push that is acknowledged when both are true.
#[derive(Debug, Clone, Copy, Default)]
struct Wait {
    here: bool,
    beyond: bool,
}

struct Link {
    hop: Hop,
    socket: Arc<TcpStream>,
    waits: Arc<Waits>,
}

/// Pushes that are not acknowledged yet, by their request id, which is the same on both connections.
struct Waits {
    open: Mutex<Option<BTreeMap<u64, Wait>>>,
    replies: Arc<Replies>,
}

impl Downstream {
    /// Begins to pass a push on. False: it cannot be, and that was logged.
    pub(super) fn begin(
        &mut self,
        shared: &Shared,
        replies: &Arc<Replies>,
        head: &RequestHead,
        (data, chain, offset): (DataId, &[Hop], u64),
    ) -> bool {
        let Some((hop, rest)) = chain.split_first() else { return false };
        let began = self.link_to(shared, replies, hop).and_then(|link| {
            let request = DataRequest::Push { data, chain: rest.to_vec(), offset };
            let frame = encode_request(
                head.id,
                &head.target,
                &request,
                head.payload_bytes,
                &head.checksums,
            )?;
            if !link.waits.add(head.id) {
                return Err(Error::unknown("the connection ended"));
            }
            link.write(&frame)
        });
        if let Err(error) = &began {
            warn!(chunkserver = %hop.chunkserver, address = hop.address, %error, "a push goes no further");
            self.drop_link();
        }
        began.is_ok()
    }

    /// Passes a piece on. False: the link is gone.
    pub(super) fn write(&mut self, piece: &[u8]) -> bool {
        let Some(link) = &self.link else { return false };
        if let Err(error) = link.write(piece) {
            warn!(chunkserver = %link.hop.chunkserver, %error, "a push goes no further");
            self.drop_link();
            return false;
        }
        true
    }

    /// The push is here: acknowledged as soon as the next server has it too. False: that will not be, answer now.
    pub(super) fn arrived(&self, id: u64) -> bool {
        self.link.as_ref().is_some_and(|link| link.waits.note(id, |wait| wait.here = true))
    }

    /// The push broke off in the middle: so does its frame, and with it the link.
    pub(super) fn abort(&mut self, id: u64) {
        if let Some(link) = &self.link {
            link.waits.forget(id);
        }
        self.drop_link();
    }

    fn link_to(
        &mut self,
        shared: &Shared,
        replies: &Arc<Replies>,
        hop: &Hop,
    ) -> Result<&Link, Error> {
        if self.link.as_ref().is_some_and(|link| link.hop != *hop || link.waits.is_over()) {
            self.drop_link();
        }
        if self.link.is_none() {
            if self.pause_until.is_some_and(|until| Instant::now() < until) {
                return Err(Error::unknown("it failed a moment ago"));
            }
            self.pause_until = Some(Instant::now() + PAUSE);
            self.link = Some(Link::open(shared, replies, hop)?);
            self.pause_until = None;
        }
        self.link.as_ref().ok_or_else(|| Error::internal("a link that was just made is not there"))
    }

    fn drop_link(&mut self) {
        if let Some(link) = self.link.take() {
            // It may be closed already; its reader acknowledges what is open.
            let _ = link.socket.shutdown(Shutdown::Both);
            link.waits.end();
        }
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        self.drop_link();
    }
}

impl Link {
    fn open(shared: &Shared, replies: &Arc<Replies>, hop: &Hop) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::unknown(format!("connecting: {error}"));
        let bounds = &shared.bounds;
        let socket = connect(&hop.address, bounds.stall).map_err(failed)?;
        let any = ProcessSession(0);
        let peer = hop.chunkserver;
        handshake::introduce(&socket, &shared.identity, peer, any, bounds.handshake)?;
        socket.set_read_timeout(Some(bounds.stall)).map_err(failed)?;
        let socket = Arc::new(socket);
        let open = Mutex::new(Some(BTreeMap::new()));
        let waits = Arc::new(Waits { open, replies: replies.clone() });
        let reader = (socket.clone(), waits.clone());
        let thread = thread::Builder::new().name("data-forward".into()).stack_size(STACK_BYTES);
        thread.spawn(move || listen(&reader.0, &reader.1)).map_err(failed)?;
        Ok(Self { hop: hop.clone(), socket, waits })
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        (&*self.socket)
            .write_all(bytes)
            .map_err(|error| Error::unknown(format!("sending: {error}")))
    }
}

/// Takes acknowledgements until the connection ends.
fn listen(socket: &TcpStream, waits: &Waits) {
    let mut reader = BufReader::new(socket);
    loop {
        match std::io::BufRead::fill_buf(&mut reader) {
            Err(error) if timed_out(&error) && waits.is_idle() => continue,
            Err(_) => break,
            Ok(_) => {}
        }
        let Ok(Some((_, Head::Reply(reply)))) = read_head(&mut reader) else { break };
        let ReplyHead { id, reply, .. } = reply;
        if let Err(error) = reply.result {
            warn!(%error, "the next server did not take a push");
        }
        waits.note(id, |wait| wait.beyond = true);
    }
    let _ = socket.shutdown(Shutdown::Both);
    waits.end();
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, Option<BTreeMap<u64, Wait>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.lock().is_none()
    }

    fn is_idle(&self) -> bool {
        self.lock().as_ref().is_some_and(BTreeMap::is_empty)
    }

    fn add(&self, id: u64) -> bool {
        self.lock().as_mut().map(|open| open.insert(id, Wait::default())).is_some()
    }

    /// Notes one half, and acknowledges with the other. False: the push does not wait here.
    fn note(&self, id: u64, half: impl FnOnce(&mut Wait)) -> bool {
        let mut guard = self.lock();
        let Some(open) = guard.as_mut() else { return false };
        let Some(wait) = open.get_mut(&id) else { return false };
        half(wait);
        if wait.here && wait.beyond {
            open.remove(&id);
            drop(guard);
            self.replies.put_plain(id, Op::Push, Ok(DataResponse::Done));
        }
        true
    }

    fn forget(&self, id: u64) {
        if let Some(open) = self.lock().as_mut() {
            open.remove(&id);
        }
    }

    /// Nothing more comes from beyond: what is here is acknowledged; what is still on its way is on its own.
    fn end(&self) {
        let open = self.lock().take().unwrap_or_default();
        for (id, _) in open.into_iter().filter(|(_, wait)| wait.here) {
            self.replies.put_plain(id, Op::Push, Ok(DataResponse::Done));
        }
    }
}
