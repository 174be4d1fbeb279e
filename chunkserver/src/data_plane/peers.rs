//! A primary's orders on their way to its secondaries: one connection for each run of another server.
//!
//! A small order is given to the socket by whoever brings it, which does not wait. The thread of the link connects, and sends what is
//! large and what the socket does not take at once.

mod conn;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use gfs_chunkserver_core::Job;
use gfs_types::ids::{ChunkHandle, ProcessSession, ServerUid};
use gfs_types::message::control::Member;
use gfs_types::{Error, ErrorKind};
use tracing::warn;

use super::copy::Copiers;
use super::socket::connect;
use super::{Bounds, Identity, handshake};
use crate::driver::{CopyWork, DriverHandle, PeerBody, PeerMessage, PeerTicket, Peers};
use crate::metrics::Metrics;
use crate::store::Store;
use conn::Conn;

const STACK_BYTES: usize = 128 << 10;
/// A link that nobody used for this long ends.
const IDLE: Duration = Duration::from_secs(120);
/// Pauses between attempts to connect: doubled from the first to the last.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Small frames are sent together up to this many bytes, and a message with no more is sent by whoever brings it.
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
    /// Those that something was put in for since the last flush.
    unsent: Mutex<Vec<Arc<Link>>>,
    copiers: Copiers,
}

/// The way to one run of one server.
struct Link {
    name: Name,
    address: String,
    outgoing: Mutex<Outgoing>,
    filled: Condvar,
}

type Message = (PeerTicket, PeerMessage);

#[derive(Default)]
struct Outgoing {
    /// What the thread is to send, in order.
    queue: VecDeque<Message>,
    /// The connection, while the thread does not use it.
    conn: Option<Conn>,
    /// What is encoded and not sent: it goes before the queue.
    bytes: Vec<u8>,
    /// The socket did not take it at once: the thread is to send it.
    stuck: bool,
    /// Since the thread looked last.
    used: bool,
    /// The thread has ended: another link takes the place of this one.
    gone: bool,
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
        let (links, unsent) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { identity, bounds, driver, links, unsent, copiers }))
    }
}

impl Peers for PeerLinks {
    fn send(&self, to: &Member, ticket: PeerTicket, message: PeerMessage) {
        let mut message = (ticket, message);
        loop {
            let link = match self.0.link(to) {
                Ok(link) => link,
                Err(error) => {
                    let error = Error::unknown(format!("no thread for a link: {error}"));
                    return self.0.driver.peer_answered(ticket, Err(error));
                }
            };
            match link.put(message, &self.0.driver) {
                None => return self.0.is_unsent(link),
                Some(back) => message = back,
            }
        }
    }

    fn flush(&self) {
        let unsent = std::mem::take(&mut *lock(&self.0.unsent));
        unsent.iter().for_each(|link| link.flush(&self.0.driver));
    }

    fn copy(&self, work: CopyWork) {
        self.0.copiers.start(work);
    }

    fn stop_copy(&self, handle: ChunkHandle, job: Job) {
        self.0.copiers.stop(handle, job);
    }
}

impl Inner {
    fn is_unsent(&self, link: Arc<Link>) {
        let mut unsent = lock(&self.unsent);
        if !unsent.iter().any(|other| Arc::ptr_eq(other, &link)) {
            unsent.push(link);
        }
    }

    /// The link to a member; a new one where there is none.
    fn link(self: &Arc<Self>, to: &Member) -> std::io::Result<Arc<Link>> {
        let name = (to.chunkserver, to.session);
        match lock(&self.links).entry(name) {
            Entry::Occupied(link) => Ok(link.get().clone()),
            Entry::Vacant(place) => {
                Ok(place.insert(self.clone().start(name, &to.address)?).clone())
            }
        }
    }

    fn start(self: Arc<Self>, name: Name, address: &str) -> std::io::Result<Arc<Link>> {
        let link = Arc::new(Link {
            name,
            address: address.to_owned(),
            outgoing: Mutex::default(),
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
        while let Some((mut bytes, batch)) = self.take(link, &mut conn) {
            if let Some(conn) = conn.as_ref().filter(|_| !bytes.is_empty()) {
                conn.write(&mut bytes, &self.driver);
            }
            if batch.is_empty() {
                continue;
            }
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

    /// What waits to be sent, and the connection; `None` after a long time without anything, and then the link is gone. While the
    /// thread waits others use the connection.
    fn take(&self, link: &Link, conn: &mut Option<Conn>) -> Option<(Vec<u8>, VecDeque<Message>)> {
        let mut outgoing = lock(&link.outgoing);
        let mut until = Instant::now() + IDLE;
        loop {
            if !outgoing.queue.is_empty() || outgoing.stuck {
                *conn = conn.take().or(outgoing.conn.take());
                outgoing.stuck = false;
                let Outgoing { bytes, queue, .. } = &mut *outgoing;
                return Some((std::mem::take(bytes), std::mem::take(queue)));
            }
            outgoing.conn = outgoing.conn.take().or(conn.take());
            if std::mem::take(&mut outgoing.used) {
                until = Instant::now() + IDLE;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                outgoing.gone = true;
                *conn = outgoing.conn.take();
                drop(outgoing);
                lock(&self.links).remove(&link.name);
                return None;
            }
            outgoing =
                link.filled.wait_timeout(outgoing, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn connect(self: &Arc<Self>, link: &Link) -> Result<Conn, Error> {
        let failed = |error: std::io::Error| Error::unknown(format!("connecting: {error}"));
        let socket = connect(&link.address, self.bounds.stall).map_err(failed)?;
        let (peer, session) = link.name;
        handshake::introduce(&socket, &self.identity, peer, session, self.bounds.handshake)?;
        socket.set_read_timeout(Some(self.bounds.stall)).map_err(failed)?;
        Conn::open(socket, &self.driver).map_err(failed)
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

impl Link {
    /// Sends a message if that needs no waiting, or leaves it to the thread; gives it back when the link is gone.
    fn put(&self, message: Message, driver: &DriverHandle) -> Option<Message> {
        let mut outgoing = lock(&self.outgoing);
        if outgoing.gone {
            return Some(message);
        }
        let Outgoing { queue, conn, bytes, stuck, used, .. } = &mut *outgoing;
        let free = queue.is_empty() && !*stuck && is_small(&message.1.body);
        let Some(conn) = conn.as_mut().filter(|conn| free && !conn.is_over()) else {
            queue.push_back(message);
            drop(outgoing);
            self.filled.notify_one();
            return None;
        };
        let (ticket, message) = message;
        let before = bytes.len();
        if let Err(error) = conn.encode(ticket, message, bytes) {
            bytes.truncate(before);
            driver.peer_answered(ticket, Err(error));
        }
        *used = true;
        if outgoing.bytes.len() >= BATCH_BYTES {
            self.send_now(outgoing, driver);
        }
        None
    }

    /// Sends what was put in, as far as that needs no waiting.
    fn flush(&self, driver: &DriverHandle) {
        self.send_now(lock(&self.outgoing), driver);
    }

    fn send_now(&self, mut outgoing: MutexGuard<'_, Outgoing>, driver: &DriverHandle) {
        let Outgoing { conn, bytes, stuck, .. } = &mut *outgoing;
        if let Some(conn) = conn.as_ref().filter(|_| !*stuck && !bytes.is_empty()) {
            conn.write_now(bytes, driver);
            *stuck = !bytes.is_empty();
            if *stuck {
                drop(outgoing);
                self.filled.notify_one();
            }
        }
    }
}

fn is_small(body: &PeerBody) -> bool {
    match body {
        PeerBody::Order { data, .. } => {
            data.as_ref().is_none_or(|data| data.length() <= BATCH_BYTES as u64)
        }
        PeerBody::Committed { .. } | PeerBody::Equalise(_) => true,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
