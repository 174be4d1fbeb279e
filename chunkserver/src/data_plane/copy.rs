//! Copying what differs from a primary (ADR 0034): a few threads that ask, compare, and hand pieces to the driver.
//!
//! One piece of a copy is in memory at a time: the next is asked for when the driver answered for the last one. A source
//! that does not answer costs one copy, which the core begins anew when it still wants it.

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
use gfs_protocol::checksum::crc32c;
use gfs_protocol::frame::blocking::read_head;
use gfs_protocol::frame::{Head, encode_request, offset_of};
use gfs_types::ids::ChunkHandle;
use gfs_types::limits::{BLOCK_BYTES, CHUNK_BYTES_MAX, COPIES_MAX, FRAME_BYTES_MAX};
use gfs_types::message::data::{DataRequest, DataResponse};
use gfs_types::{Error, ErrorKind};
use tracing::{debug, warn};

use super::receive::receive;
use super::socket::connect;
use super::{Bounds, Identity, handshake};
use crate::driver::{CopyWork, DriverHandle, Request};
use crate::metrics::Metrics;
use crate::store::{Checksums, Part, Store};

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
        let mut source = Source { work, reader: BufReader::new(&socket), next: 0 };
        let sums = source.checksums()?;
        let mut copied_bytes = 0;
        for run in self.store.differing(work.target.handle, &sums, work.check_all)? {
            let mut at = run.start;
            while at < run.end {
                if stopped.load(Ordering::Relaxed) {
                    return Err(unwanted());
                }
                let wanted = (run.end - at).min(FRAME_BYTES_MAX);
                let part = source.bytes(at, wanted)?;
                let length = part.length();
                if length > 0 {
                    self.hand_in(work, at, part)?;
                }
                copied_bytes += length;
                at += length;
                if length < wanted {
                    break; // The source is shorter by now.
                }
            }
        }
        Ok(Copied { length: sums.length, digest: sums.digest, copied_bytes })
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
    work: &'a CopyWork,
    reader: BufReader<&'a TcpStream>,
    next: u64,
}

impl Source<'_> {
    fn checksums(&mut self) -> Result<Checksums, Error> {
        let (response, part) = self.ask(&DataRequest::Compare)?;
        let DataResponse::Checksums { length, digest } = response else {
            return Err(self.nonsense("answered no checksums"));
        };
        let bytes = part.bytes();
        let covered = CHUNK_BYTES_MAX.min(length) == length
            && bytes.len() as u64 == 4 * length.div_ceil(BLOCK_BYTES);
        let check = crc32c(&[&length.to_le_bytes(), &bytes[..]].concat());
        if !covered || check != digest {
            return Err(self.nonsense("sent a table of checksums that does not match its digest"));
        }
        let table = bytes.chunks_exact(4).map(|e| u32::from_le_bytes([e[0], e[1], e[2], e[3]]));
        Ok(Checksums { length, table: table.collect(), digest })
    }

    /// At most `wanted` bytes from `offset` on, verified.
    fn bytes(&mut self, offset: u64, wanted: u64) -> Result<Part, Error> {
        match self.ask(&DataRequest::Copy { offset, length: wanted })? {
            (DataResponse::Bytes { offset: begins, length, own_checksum: false, .. }, part)
                if begins == offset && length == part.length() && length <= wanted =>
            {
                Ok(part)
            }
            _ => Err(self.nonsense("sent other bytes than were asked for")),
        }
    }

    fn ask(&mut self, request: &DataRequest) -> Result<(DataResponse, Part), Error> {
        self.next += 1;
        let frame = encode_request(self.next, &self.work.target, request, 0, &[])?;
        let mut socket: &TcpStream = self.reader.get_ref();
        socket.write_all(&frame).map_err(|error| lost(&error))?;
        let head = match read_head(&mut self.reader) {
            Ok(Some((_, Head::Reply(head)))) if head.id == self.next => head,
            Ok(Some(_)) => return Err(self.nonsense("sent no answer to the request")),
            Ok(None) => return Err(Error::unknown("the source closed the connection")),
            Err(error) => return Err(lost(&error)),
        };
        let length = u64::from(head.payload_bytes).min(FRAME_BYTES_MAX);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        let offset = offset_of(request);
        let came = receive(&mut self.reader, &mut bytes, offset, &head.checksums, |_| ());
        let response = head.reply.result.map_err(|error| self.refused(error))?;
        if came.map_err(|error| lost(&error))?.is_err() {
            return Err(self.nonsense("sent bytes that do not match their checksum"));
        }
        Ok((response, Part::new(Bytes::from(bytes), offset, head.checksums)?))
    }

    /// Only what is wrong with the replica here may be called corrupt: its core would call it damaged.
    fn refused(&self, error: Error) -> Error {
        match error.kind {
            ErrorKind::Corrupt => self.nonsense(&format!("cannot give its bytes: {error}")),
            _ => error,
        }
    }

    fn nonsense(&self, what: &str) -> Error {
        let (handle, peer) = (self.work.target.handle, self.work.from.chunkserver);
        Error::unknown(format!("chunk {handle}: the source, chunkserver {peer}, {what}"))
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
