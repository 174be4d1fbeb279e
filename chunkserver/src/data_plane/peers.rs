//! A primary's orders on their way to its secondaries: one connection for each run of another server.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use gfs_chunkserver_core::Job;
use gfs_protocol::frame::blocking::read_head;
use gfs_protocol::frame::{Head, encode_request};
use gfs_types::ids::{ChunkHandle, DataId, ProcessSession, ServerUid};
use gfs_types::message::control::Member;
use gfs_types::message::data::{DataRequest, DataSource, Order, OrderKind, Target};
use gfs_types::{Error, ErrorKind};
use tracing::warn;

use super::copy::Copiers;
use super::socket::{connect, timed_out};
use super::{Bounds, Identity, handshake};
use crate::driver::{CopyWork, DriverHandle, PeerBody, PeerMessage, PeerTicket, Peers};
use crate::metrics::Metrics;
use crate::store::{Part, Payload, Store};

const STACK_BYTES: usize = 128 << 10;
/// A link that nobody used for this long ends.
const IDLE: Duration = Duration::from_secs(120);
/// Pauses between attempts to connect: doubled from the first to the last.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Small frames are sent together up to this many bytes.
const BATCH_BYTES: usize = 64 << 10;

type Name = (ServerUid, ProcessSession);

/// The way to other chunkservers; cheap to clone.
#[derive(Clone)]
pub struct PeerLinks(Arc<Inner>);

struct Inner {
    identity: Identity,
    bounds: Bounds,
    driver: DriverHandle,
    links: Mutex<BTreeMap<Name, Arc<Link>>>,
    copiers: Copiers,
}

/// Messages for one run of one server.
struct Link {
    name: Name,
    address: String,
    queue: Mutex<VecDeque<(PeerTicket, PeerMessage)>>,
    filled: Condvar,
}

/// Requests on the way, by their id; `None` for what nobody waits for. No map: the connection is over.
type Pending = Mutex<Option<BTreeMap<u64, Option<PeerTicket>>>>;

struct Conn {
    socket: Arc<TcpStream>,
    pending: Arc<Pending>,
    next: u64,
}

impl PeerLinks {
    /// No links yet.
    #[must_use]
    pub fn new(
        identity: Identity,
        bounds: Bounds,
        driver: DriverHandle,
        store: Arc<Store>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let copiers = Copiers::new(identity, bounds, driver.clone(), store, metrics);
        Self(Arc::new(Inner { identity, bounds, driver, links: Mutex::default(), copiers }))
    }
}

impl Peers for PeerLinks {
    fn send(&self, to: &Member, ticket: PeerTicket, message: PeerMessage) {
        let name = (to.chunkserver, to.session);
        let mut links = lock(&self.0.links);
        let link = match links.entry(name) {
            Entry::Occupied(link) => link.into_mut(),
            Entry::Vacant(place) => match self.0.clone().start(name, &to.address) {
                Ok(link) => place.insert(link),
                Err(error) => {
                    let error = Error::unknown(format!("no thread for a link: {error}"));
                    return self.0.driver.peer_answered(ticket, Err(error));
                }
            },
        };
        lock(&link.queue).push_back((ticket, message));
        link.filled.notify_one();
    }

    fn copy(&self, work: CopyWork) {
        self.0.copiers.start(work);
    }

    fn stop_copy(&self, handle: ChunkHandle, job: Job) {
        self.0.copiers.stop(handle, job);
    }
}

impl Inner {
    fn start(self: Arc<Self>, name: Name, address: &str) -> std::io::Result<Arc<Link>> {
        let link = Arc::new(Link {
            name,
            address: address.to_owned(),
            queue: Mutex::default(),
            filled: Condvar::new(),
        });
        let mine = link.clone();
        let thread = thread::Builder::new().name("data-peer".into()).stack_size(STACK_BYTES);
        thread.spawn(move || self.run(&mine))?;
        Ok(link)
    }

    fn run(self: Arc<Self>, link: &Link) {
        let mut conn: Option<Conn> = None;
        let mut pause = PAUSE_MIN;
        while let Some(batch) = self.take(link) {
            if conn.as_ref().is_none_or(Conn::is_over) {
                match self.connect(link) {
                    Ok(new) => {
                        conn = Some(new);
                        pause = PAUSE_MIN;
                    }
                    Err(error) => {
                        if pause == PAUSE_MIN {
                            warn!(chunkserver = %link.name.0, address = link.address, %error, "no way to a member; trying on");
                        }
                        self.refuse(batch.into_iter().map(|(ticket, _)| ticket), &error);
                        conn = None;
                        // What comes meanwhile waits in the queue: a dead peer is not asked in a tight loop.
                        thread::sleep(pause);
                        pause = (pause * 2).min(PAUSE_MAX);
                        continue;
                    }
                }
            }
            if let Some(conn) = &mut conn {
                self.send_batch(conn, batch);
            }
        }
        if let Some(conn) = conn {
            conn.end(&self.driver);
        }
    }

    /// What waits to be sent; `None` after a long time without anything, and then the link is gone.
    fn take(&self, link: &Link) -> Option<VecDeque<(PeerTicket, PeerMessage)>> {
        let until = Instant::now() + IDLE;
        let mut queue = lock(&link.queue);
        loop {
            if !queue.is_empty() {
                return Some(std::mem::take(&mut queue));
            }
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                queue =
                    link.filled.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            drop(queue);
            // In this order, as in `send`, so that nothing is queued on a link that has gone.
            let mut links = lock(&self.links);
            queue = lock(&link.queue);
            if queue.is_empty() {
                links.remove(&link.name);
                return None;
            }
        }
    }

    fn connect(self: &Arc<Self>, link: &Link) -> Result<Conn, Error> {
        let failed = |error: std::io::Error| Error::unknown(format!("connecting: {error}"));
        let socket = connect(&link.address, self.bounds.stall).map_err(failed)?;
        let (peer, session) = link.name;
        handshake::introduce(&socket, &self.identity, peer, session, self.bounds.handshake)?;
        socket.set_read_timeout(Some(self.bounds.stall)).map_err(failed)?;
        let socket = Arc::new(socket);
        let pending: Arc<Pending> = Arc::new(Mutex::new(Some(BTreeMap::new())));
        let conn = Conn { socket, pending, next: 0 };
        let reader = (conn.socket.clone(), conn.pending.clone(), self.driver.clone());
        let thread =
            thread::Builder::new().name("data-peer-answers".into()).stack_size(STACK_BYTES);
        thread.spawn(move || listen(&reader.0, &reader.1, &reader.2)).map_err(failed)?;
        Ok(conn)
    }

    fn send_batch(&self, conn: &mut Conn, batch: VecDeque<(PeerTicket, PeerMessage)>) {
        let mut bytes = Vec::new();
        for (ticket, message) in batch {
            if let Err(error) = conn.encode(ticket, message, &mut bytes) {
                self.driver.peer_answered(ticket, Err(error));
            }
            if bytes.len() >= BATCH_BYTES {
                conn.write(&mut bytes, &self.driver);
            }
        }
        conn.write(&mut bytes, &self.driver);
    }

    fn refuse(&self, tickets: impl Iterator<Item = PeerTicket>, error: &Error) {
        // A full server is no verdict on the order.
        let busy = error.kind == ErrorKind::Busy;
        let error = if busy { Error::unknown(error.message.clone()) } else { error.clone() };
        tickets.for_each(|ticket| self.driver.peer_answered(ticket, Err(error.clone())));
    }
}

impl Conn {
    fn is_over(&self) -> bool {
        lock(&self.pending).is_none()
    }

    fn id(&mut self, ticket: Option<PeerTicket>) -> Result<u64, Error> {
        self.next += 1;
        let mut pending = lock(&self.pending);
        let open = pending.as_mut().ok_or_else(|| Error::unknown("the connection ended"))?;
        open.insert(self.next, ticket);
        Ok(self.next)
    }

    /// Appends the frames of a message.
    fn encode(
        &mut self,
        ticket: PeerTicket,
        message: PeerMessage,
        bytes: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let PeerMessage { target, body } = message;
        let (request, part) = match body {
            PeerBody::Committed { serial, length } => {
                (DataRequest::Committed { serial, length }, None)
            }
            PeerBody::Equalise(equalise) => (DataRequest::Equalise(equalise), None),
            PeerBody::Order { order, data } => {
                let part = match (source(&order), data) {
                    (Some((DataSource::Pushed(name), _)), Some(data)) => {
                        self.push_parts(&target, name, &data, bytes)?;
                        None
                    }
                    (Some((DataSource::Inline, offset)), Some(data)) => {
                        Some(data.in_one_part(offset)?)
                    }
                    _ => None,
                };
                (DataRequest::Order(order), part)
            }
        };
        let id = self.id(Some(ticket))?;
        let framed = frame(id, &target, &request, part.as_ref(), bytes);
        if framed.is_err()
            && let Some(open) = lock(&self.pending).as_mut()
        {
            open.remove(&id);
        }
        framed
    }

    /// Data that a member misses and that does not fit its order's frame goes ahead under its own names.
    fn push_parts(
        &mut self,
        target: &Target,
        name: DataId,
        data: &Payload,
        bytes: &mut Vec<u8>,
    ) -> Result<(), Error> {
        for (index, part) in data.parts().iter().enumerate() {
            let data = DataId { seq: name.seq.wrapping_add(index as u64), ..name };
            let request = DataRequest::Push { data, chain: Vec::new(), offset: part.offset() };
            let id = self.id(None)?;
            frame(id, target, &request, Some(part), bytes)?;
        }
        Ok(())
    }

    fn write(&self, bytes: &mut Vec<u8>, driver: &DriverHandle) {
        if (&*self.socket).write_all(bytes).is_err() {
            self.end(driver);
        }
        bytes.clear();
    }

    fn end(&self, driver: &DriverHandle) {
        end(&self.socket, &self.pending, driver);
    }
}

fn source(order: &Order) -> Option<(DataSource, u64)> {
    match order.kind {
        OrderKind::Write { offset, source, .. } => Some((source, offset)),
        OrderKind::Pad | OrderKind::Sync | OrderKind::End => None,
    }
}

fn frame(
    id: u64,
    target: &Target,
    request: &DataRequest,
    part: Option<&Part>,
    bytes: &mut Vec<u8>,
) -> Result<(), Error> {
    let (length, sums) = part.map_or((0, &[][..]), |part| (part.length(), part.checksums()));
    let length =
        u32::try_from(length).map_err(|_| Error::internal("a part longer than a frame"))?;
    bytes.extend(encode_request(id, target, request, length, sums)?);
    bytes.extend_from_slice(part.map_or(&[][..], |part| part.bytes()));
    Ok(())
}

/// Takes answers until the connection ends.
fn listen(socket: &TcpStream, pending: &Pending, driver: &DriverHandle) {
    let mut reader = BufReader::new(socket);
    loop {
        match std::io::BufRead::fill_buf(&mut reader) {
            Err(error) if timed_out(&error) && !lock(pending).is_none() => continue,
            Err(_) => break,
            Ok(_) => {}
        }
        let Ok(Some((_, Head::Reply(answer)))) = read_head(&mut reader) else { break };
        let ticket = lock(pending).as_mut().and_then(|open| open.remove(&answer.id)).flatten();
        if let Some(ticket) = ticket {
            driver.peer_answered(ticket, answer.reply.result);
        }
    }
    end(socket, pending, driver);
}

/// Nobody knows what became of what is still on the way.
fn end(socket: &TcpStream, pending: &Pending, driver: &DriverHandle) {
    // It may be closed already.
    let _ = socket.shutdown(Shutdown::Both);
    let open = lock(pending).take().unwrap_or_default();
    for ticket in open.into_values().flatten() {
        driver.peer_answered(ticket, Err(Error::unknown("the connection to the member was lost")));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
