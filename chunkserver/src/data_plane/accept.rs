//! Connections coming in: how many, and the threads that serve them.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gfs_types::Error;
use socket2::SockRef;
use tracing::{debug, warn};

use super::guests::Guests;
use super::pushes::Pushes;
use super::seldom::Seldom;
use super::socket::{prepare_accepted, timed_out};
use super::{Bounds, Identity, Parts, connection, handshake};
use crate::driver::DriverHandle;
use crate::metrics::Metrics;
use crate::store::Store;

/// Enough for what a connection does; most are idle.
const STACK_BYTES: usize = 256 << 10;
/// How often the accepting thread looks up from its wait.
const TICK: Duration = Duration::from_millis(500);
/// A connection that was refused stays open for this long, so that the refusal arrives.
const LINGER: Duration = Duration::from_millis(100);
/// Refused connections that linger; when more come, the oldest goes.
const REFUSED_MAX: usize = 256;

/// A stranger may try as often as it likes.
static REFUSALS: Seldom = Seldom::new();

/// What all connections share.
pub(super) struct Shared {
    pub identity: Identity,
    pub bounds: Bounds,
    pub store: Arc<Store>,
    pub driver: DriverHandle,
    pub pushes: Arc<Pushes>,
    pub guests: Arc<Guests>,
    pub metrics: Arc<Metrics>,
    ending: AtomicBool,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    sockets: BTreeMap<u64, Weak<TcpStream>>,
}

impl Shared {
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running data plane.
pub struct DataPlane {
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

impl DataPlane {
    /// Serves the connections of a listener, on threads of its own.
    ///
    /// # Errors
    /// When the first thread cannot be started.
    pub fn start(listener: TcpListener, parts: Parts) -> io::Result<Self> {
        let Parts { identity, bounds, store, driver, clock, metrics } = parts;
        let pushes = Arc::new(Pushes::new(bounds.pushed_bytes_max, clock, metrics.clone()));
        let shared = Arc::new(Shared {
            identity,
            bounds,
            store,
            driver,
            pushes,
            guests: Arc::default(),
            metrics,
            ending: AtomicBool::new(false),
            open: Mutex::default(),
        });
        // On Linux the timeout of reads is that of accept as well.
        SockRef::from(&listener).set_read_timeout(Some(TICK))?;
        let mine = shared.clone();
        let thread = thread::Builder::new().name("data-accept".into());
        let acceptor = thread.spawn(move || accept(&listener, &mine))?;
        Ok(Self { shared, acceptor })
    }

    /// Takes no more connections and ends those there are.
    pub fn stop(self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        let sockets: Vec<_> = self.shared.open().sockets.values().cloned().collect();
        for socket in sockets.iter().filter_map(Weak::upgrade) {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        if self.acceptor.join().is_err() {
            warn!("the accepting thread panicked");
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut refused = Refused::default();
    while !shared.is_ending() {
        let accepted = listener.accept();
        refused.let_go(Instant::now());
        match accepted {
            Ok((stream, from)) => {
                if let Err(error) = admit(shared, stream, &mut refused) {
                    debug!(%from, %error, "connection not served");
                }
            }
            Err(error) if timed_out(&error) => shared.pushes.tidy(),
            Err(error) => {
                warn!(%error, "accepting connections");
                thread::sleep(TICK);
            }
        }
    }
}

/// Starts a thread for a connection, if there may be one more.
fn admit(shared: &Arc<Shared>, stream: TcpStream, refused: &mut Refused) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    prepare_accepted(&stream, shared.bounds.stall)?;
    let max = shared.bounds.connections_max;
    let socket = Arc::new(stream);
    let number = {
        let mut open = shared.open();
        if open.sockets.len() >= max {
            drop(open);
            return refused.take(shared, socket, max);
        }
        open.next += 1;
        let number = open.next;
        open.sockets.insert(number, Arc::downgrade(&socket));
        number
    };
    let mine = Place { shared: shared.clone(), number };
    shared.metrics.connections().inc();
    let thread = thread::Builder::new().name("data-plane".into()).stack_size(STACK_BYTES);
    thread.spawn(move || serve(&mine.shared, socket)).map(drop)
}

fn serve(shared: &Shared, socket: Arc<TcpStream>) {
    match handshake::accept(&socket, shared) {
        Ok((peer, visit)) => {
            // The handshake shortened it.
            if socket.set_read_timeout(Some(shared.bounds.stall)).is_ok() {
                connection::serve(shared, &socket, peer, visit);
            }
        }
        Err(error) => {
            if let Some(unsaid) = REFUSALS.due(std::time::Instant::now()) {
                warn!(%error, unsaid, "connection refused");
            }
            linger(&socket);
        }
    }
}

/// Lets the refusal arrive: closing with unread bytes would take it back.
fn linger(socket: &TcpStream) {
    let read_away = || -> io::Result<()> {
        socket.shutdown(Shutdown::Write)?;
        socket.set_read_timeout(Some(LINGER))?;
        let mut bytes = [0; 4096];
        io::Read::read(&mut &*socket, &mut bytes)?;
        Ok(())
    };
    // Whoever it was may be gone.
    let _ = read_away();
}

/// Connections past the limit, until their refusal has arrived. Nobody waits for them: others want to be accepted.
#[derive(Default)]
struct Refused(VecDeque<(Instant, Arc<TcpStream>)>);

impl Refused {
    fn take(&mut self, shared: &Shared, socket: Arc<TcpStream>, max: usize) -> io::Result<()> {
        let me = shared.identity.me;
        let text = format!("chunkserver {me} has {max} connections, which is its limit");
        // The buffer of a fresh connection takes it at once.
        handshake::refuse(&socket, Error { retry_after_ms: 1_000, ..Error::busy(text) });
        socket.shutdown(Shutdown::Write)?;
        socket.set_nonblocking(true)?;
        if self.0.len() >= REFUSED_MAX {
            self.0.pop_front();
        }
        self.0.push_back((Instant::now() + LINGER, socket));
        Err(io::Error::other("the limit of connections is reached"))
    }

    fn let_go(&mut self, now: Instant) {
        while self.0.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, socket)) = self.0.pop_front() {
                let mut bytes = [0; 4096];
                // As in `linger`.
                let _ = io::Read::read(&mut &*socket, &mut bytes);
            }
        }
    }
}

/// A connection's place among the open ones; free again when dropped.
struct Place {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.open().sockets.remove(&self.number);
        self.shared.metrics.connections().dec();
    }
}
