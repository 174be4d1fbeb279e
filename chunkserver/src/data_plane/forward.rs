//! The next server of a push chain (§3.2): for each connection that pushes here, one connection onward to each server
//! that comes next for some chunk.
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
use gfs_types::ids::{DataId, ProcessSession, ServerUid};
use gfs_types::limits::MEMBER_SILENT_MS;
use gfs_types::message::data::{DataRequest, DataResponse, Hop};
use gfs_types::{Error, ErrorKind};
use tracing::warn;

use super::accept::Shared;
use super::handshake;
use super::replies::Replies;
use super::socket::connect;

const STACK_BYTES: usize = 128 << 10;
/// A next server that failed is not tried again for this long.
const PAUSE: Duration = Duration::from_secs(1);
/// A next server that takes nothing for this long is given up: it must not hold up who pushes, and gets the data from the
/// primary.
const TAKES: Duration = Duration::from_millis(MEMBER_SILENT_MS.0);

/// Servers that one connection passes data on to; the links of others end first.
const LINKS_MAX: usize = 32;

/// The ways onward of one connection.
#[derive(Default)]
pub(super) struct Downstream {
    links: BTreeMap<ServerUid, Link>,
    pauses: BTreeMap<ServerUid, Instant>,
    /// Where the push goes that is coming in now.
    current: Option<ServerUid>,
}

/// A push that is acknowledged when both are true.
#[derive(Debug, Clone, Copy, Default)]
struct Wait {
    here: bool,
    beyond: bool,
}

struct Link {
    address: String,
    socket: Arc<TcpStream>,
    waits: Arc<Waits>,
}

/// Pushes that are not acknowledged yet, by their request id, which is the same on both connections.
struct Waits {
    open: Mutex<Option<BTreeMap<u64, Wait>>>,
    replies: Arc<Replies>,
}

impl Downstream {
    /// Begins to pass a push on, if there is a next server. That it cannot be is logged.
    pub(super) fn begin(
        &mut self,
        shared: &Shared,
        replies: &Arc<Replies>,
        head: &RequestHead,
        (data, chain, offset): (DataId, &[Hop], u64),
    ) {
        self.current = None;
        let Some((hop, rest)) = chain.split_first() else { return };
        let began = self.link_to(shared, replies, hop).and_then(|link| {
            let request = DataRequest::Push { data, chain: rest.to_vec(), offset };
            let sums = &head.checksums;
            let frame = encode_request(head.id, &head.target, &request, head.payload_bytes, sums)?;
            if !link.waits.add(head.id) {
                return Err(Error::unknown("the connection ended"));
            }
            link.write(&frame)
        });
        match began {
            Ok(()) => self.current = Some(hop.chunkserver),
            Err(error) => self.give_up(hop.chunkserver, &error),
        }
    }

    /// Passes a piece on, if the push goes further.
    pub(super) fn write(&mut self, piece: &[u8]) {
        let Some(server) = self.current else { return };
        let written = self.links.get(&server).map_or(Ok(()), |link| link.write(piece));
        if let Err(error) = written {
            self.give_up(server, &error);
        }
    }

    /// The push is here: acknowledged as soon as the next server has it too. False: that will not be, answer now.
    pub(super) fn arrived(&mut self, id: u64) -> bool {
        let link = self.current.take().and_then(|at| self.links.get(&at));
        link.is_some_and(|link| link.waits.note(id, |wait| wait.here = true))
    }

    /// The push broke off in the middle: so does its frame, and with it the link.
    pub(super) fn abort(&mut self, id: u64) {
        if let Some(link) = self.current.take().and_then(|at| self.links.remove(&at)) {
            link.waits.forget(id);
        }
    }

    fn give_up(&mut self, server: ServerUid, error: &Error) {
        warn!(chunkserver = %server, %error, "a push goes no further");
        self.current = None;
        self.links.remove(&server);
        self.pauses.insert(server, Instant::now() + PAUSE);
    }

    fn link_to(
        &mut self,
        shared: &Shared,
        replies: &Arc<Replies>,
        hop: &Hop,
    ) -> Result<&Link, Error> {
        let server = hop.chunkserver;
        self.pauses.retain(|_, until| Instant::now() < *until);
        self.links.retain(|_, link| !link.waits.is_over());
        if self.links.get(&server).is_some_and(|link| link.address != hop.address) {
            self.links.remove(&server);
        }
        if !self.links.contains_key(&server) {
            if self.pauses.contains_key(&server) {
                return Err(Error::unknown("it failed a moment ago"));
            }
            if self.links.len() >= LINKS_MAX {
                self.links.pop_first();
            }
            self.links.insert(server, Link::open(shared, replies, hop)?);
        }
        let link = self.links.get(&server);
        link.ok_or_else(|| Error::internal("a link that was just made is not there"))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // It may be closed already.
        let _ = self.socket.shutdown(Shutdown::Both);
        self.waits.end();
    }
}

impl Link {
    fn open(shared: &Shared, replies: &Arc<Replies>, hop: &Hop) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::unknown(format!("connecting: {error}"));
        let bounds = &shared.bounds;
        let socket = connect(&hop.address, bounds.stall).map_err(failed)?;
        let any = ProcessSession(0);
        let peer = hop.chunkserver;
        let limit = bounds.handshake.min(TAKES);
        handshake::introduce(&socket, &shared.identity, peer, any, limit)?;
        socket.set_read_timeout(Some(bounds.stall)).map_err(failed)?;
        socket.set_write_timeout(Some(bounds.stall.min(TAKES))).map_err(failed)?;
        let socket = Arc::new(socket);
        let open = Mutex::new(Some(BTreeMap::new()));
        let waits = Arc::new(Waits { open, replies: replies.clone() });
        let reader = (socket.clone(), waits.clone());
        let thread = thread::Builder::new().name("data-forward".into()).stack_size(STACK_BYTES);
        thread.spawn(move || listen(&reader.0, &reader.1)).map_err(failed)?;
        Ok(Self { address: hop.address.clone(), socket, waits })
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        (&*self.socket)
            .write_all(bytes)
            .map_err(|error| Error::unknown(format!("sending: {error}")))
    }
}

/// Takes acknowledgements until the connection ends, or nothing came on it for long.
fn listen(socket: &TcpStream, waits: &Waits) {
    let mut reader = BufReader::new(socket);
    while let Ok(Some((_, Head::Reply(reply)))) = read_head(&mut reader) {
        let ReplyHead { id, reply, .. } = reply;
        if let Err(error) = reply.result
            && error.kind != ErrorKind::Busy
        {
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
