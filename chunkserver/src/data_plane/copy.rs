//! Copying what differs from a primary (ADR 0034): a few threads that ask, compare, and hand pieces to the driver.
//!
//! One piece of a copy is in memory at a time: the next is asked for when the driver answered for the last one. A source
//! that does not answer costs one copy, which the core begins anew when it still wants it.

pub(super) mod course;

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use gfs_chunkserver_core::{Copied, Input, Job};
use gfs_protocol::frame::blocking::read_head;
use gfs_protocol::frame::{Head, encode_request, offset_of};
use gfs_types::Error;
use gfs_types::ids::ChunkHandle;
use gfs_types::limits::{COPIES_MAX, FRAME_BYTES_MAX};
use gfs_types::message::data::{DataRequest, DataResponse};
use tracing::{debug, warn};

use super::receive::receive;
use super::socket::connect;
use super::{Bounds, Identity, handshake};
use crate::driver::{CopyWork, DriverHandle, Request};
use crate::metrics::Metrics;
use crate::store::{Part, Store};
use course::{Course, Next};

const STACK_BYTES: usize = 256 << 10;
/// A source that sends nothing for this long is given up: it may have stopped, and others wait for the thread.
const ANSWER: Duration = Duration::from_secs(5);
/// The driver answers for a piece when it is in the page cache.
const PIECE: Duration = Duration::from_secs(30);

/// The copies of this server; cheap to clone.
#[derive(Clone)]
pub(super) struct Copiers(Arc<Inner>);

struct Inner {
    identity: Identity,
    bounds: Bounds,
    store: Arc<Store>,
    driver: DriverHandle,
    metrics: Arc<Metrics>,
    queue: Mutex<Queue>,
}

type Name = (ChunkHandle, Job);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<CopyWork>,
    /// Set: nobody wants it any more.
    running: BTreeMap<Name, Arc<AtomicBool>>,
    threads: usize,
}

impl Queue {
    /// The next copy, or the end of the thread that asks.
    fn next(&mut self) -> Option<(CopyWork, Arc<AtomicBool>)> {
        let Some(work) = self.waiting.pop_front() else {
            self.threads -= 1;
            return None;
        };
        let stopped = Arc::<AtomicBool>::default();
        self.running.insert(work.name(), stopped.clone());
        Some((work, stopped))
    }
}

impl CopyWork {
    fn name(&self) -> Name {
        (self.target.handle, self.job)
    }
}

impl Copiers {
    pub(super) fn new(
        identity: Identity,
        bounds: Bounds,
        driver: DriverHandle,
        store: Arc<Store>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let queue = Mutex::default();
        Self(Arc::new(Inner { identity, bounds, store, driver, metrics, queue }))
    }

    /// Begins a copy, or queues it while there are [`COPIES_MAX`] others.
    pub(super) fn start(&self, work: CopyWork) {
        let mut queue = lock(&self.0.queue);
        let name = work.name();
        queue.waiting.push_back(work);
        if queue.threads >= COPIES_MAX {
            return;
        }
        let inner = self.0.clone();
        let thread = thread::Builder::new().name("data-copy".into()).stack_size(STACK_BYTES);
        match thread.spawn(move || inner.run()) {
            Ok(_) => queue.threads += 1,
            Err(error) => {
                queue.waiting.retain(|work| work.name() != name);
                drop(queue);
                let error = Error::unknown(format!("no thread for a copy: {error}"));
                self.0.done(name, Err(error));
            }
        }
    }

    /// Nobody wants that copy any more.
    pub(super) fn stop(&self, handle: ChunkHandle, job: Job) {
        let mut queue = lock(&self.0.queue);
        queue.waiting.retain(|work| work.name() != (handle, job));
        if let Some(stopped) = queue.running.get(&(handle, job)) {
            stopped.store(true, Ordering::Relaxed);
        }
    }
}

impl Inner {
    fn run(&self) {
        loop {
            let Some((work, stopped)) = lock(&self.queue).next() else { return };
            self.metrics.copies().inc();
            let result = self.copy(&work, &stopped);
            self.metrics.copies().dec();
            lock(&self.queue).running.remove(&work.name());
            match &result {
                Ok(copied) => {
                    debug!(chunk = %work.target.handle, bytes = copied.copied_bytes, "compared and copied")
                }
                Err(error) if stopped.load(Ordering::Relaxed) => {
                    debug!(chunk = %work.target.handle, %error, "copy stopped");
                }
                Err(error) => {
                    warn!(chunk = %work.target.handle, chunkserver = %work.from.chunkserver, %error, "a copy failed");
                }
            }
            self.done(work.name(), result);
        }
    }

    fn done(&self, (handle, job): Name, result: Result<Copied, Error>) {
        self.driver.command(handle, Input::Copied { job, result });
    }

    fn copy(&self, work: &CopyWork, stopped: &AtomicBool) -> Result<Copied, Error> {
        if stopped.load(Ordering::Relaxed) {
            return Err(unwanted());
        }
        let stall = self.bounds.stall.min(ANSWER);
        let socket = connect(&work.source, stall).map_err(|error| lost(&error))?;
        let (peer, session) = (work.from.chunkserver, work.from.session);
        handshake::introduce(&socket, &self.identity, peer, session, self.bounds.handshake)?;
        socket.set_read_timeout(Some(stall)).map_err(|error| lost(&error))?;
        let mut source =
            Source { course: Course::new(work.clone()), reader: BufReader::new(&socket), next: 0 };
        loop {
            if stopped.load(Ordering::Relaxed) {
                return Err(unwanted());
            }
            let request = match source.course.next() {
                Next::Ask(request) => request,
                Next::Done(copied) => return Ok(copied),
            };
            let answer = source.ask(&request)?;
            if let Some((offset, part)) = source.course.answered(&self.store, answer)? {
                self.hand_in(work, offset, part)?;
            }
        }
    }

    /// Waits until the driver took the piece.
    fn hand_in(&self, work: &CopyWork, offset: u64, part: Part) -> Result<(), Error> {
        let length = part.length();
        let (sender, answer) = channel();
        // Nobody listens any more when this copy was given up.
        let reply = move |answer| {
            drop(sender.send(answer));
            None
        };
        let request = Request::Piece { job: work.job, offset, data: part.into() };
        self.driver.submit(work.target, request, Box::new(reply));
        match answer.recv_timeout(PIECE) {
            Ok(answer) => answer.reply.result.map(|_| self.metrics.copied(length)),
            Err(_) => Err(Error::unknown("the driver did not answer for a piece of a copy")),
        }
    }
}

/// The other end.
struct Source<'a> {
    course: Course,
    reader: BufReader<&'a TcpStream>,
    next: u64,
}

impl Source<'_> {
    /// Its answer, verified; an error outside when there is none.
    fn ask(&mut self, request: &DataRequest) -> Result<Result<(DataResponse, Part), Error>, Error> {
        self.next += 1;
        let frame = encode_request(self.next, &self.course.work().target, request, 0, &[])?;
        let mut socket: &TcpStream = self.reader.get_ref();
        socket.write_all(&frame).map_err(|error| lost(&error))?;
        let head = match read_head(&mut self.reader) {
            Ok(Some((_, Head::Reply(head)))) if head.id == self.next => head,
            Ok(Some(_)) => return Err(self.course.nonsense("sent no answer to the request")),
            Ok(None) => return Err(Error::unknown("the source closed the connection")),
            Err(error) => return Err(lost(&error)),
        };
        let length = u64::from(head.payload_bytes).min(FRAME_BYTES_MAX);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        let offset = offset_of(request);
        let came = receive(&mut self.reader, &mut bytes, offset, &head.checksums, |_| ());
        let response = match head.reply.result {
            Ok(response) => response,
            Err(error) => return Ok(Err(error)),
        };
        if came.map_err(|error| lost(&error))?.is_err() {
            return Err(self.course.nonsense("sent bytes that do not match their checksum"));
        }
        Ok(Ok((response, Part::new(Bytes::from(bytes), offset, head.checksums)?)))
    }
}

fn lost(error: &dyn std::error::Error) -> Error {
    Error::unknown(format!("the connection to the source was lost: {error}"))
}

fn unwanted() -> Error {
    Error::stale("nobody wants this copy any more")
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
