//! Answers on their way back: from the connection's own thread, from the driver, from the next server of a chain, in
//! whatever order they come.
//!
//! A small answer is given to the socket by whoever brings it, which does not wait. What the socket does not take at once, a thread
//! writes that is started the first time this happens.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use gfs_protocol::frame::{Op, encode_reply};
use gfs_types::Error;
use gfs_types::limits::CONNECTION_REQUESTS_MAX;
use gfs_types::message::data::{DataReply, DataResponse};

use super::socket::{write_all, write_now};
use crate::driver::{Answer, Outlet};

const STACK_BYTES: usize = 128 << 10;
/// Bytes of answers that may wait for a peer to take them; one that takes none is not read from any more.
const UNSENT_BYTES_MAX: usize = 4 << 20;
/// Up to this many bytes of answers are sent with one call.
const BATCH_BYTES: usize = 64 << 10;

/// Heads and payloads.
type Frames = VecDeque<(Vec<u8>, Bytes)>;

#[derive(Debug, Default)]
struct Queue {
    frames: Frames,
    /// Requests that still owe their answer.
    owed: usize,
    /// Answers that are queued or being written, and their bytes.
    unsent: usize,
    unsent_bytes: usize,
    has_thread: bool,
    /// The rest of an answer is left for the thread.
    has_rest: bool,
    /// Threads that wait for a change.
    waiting: usize,
    closed: bool,
}

/// What is left of answers that the socket did not take at once.
#[derive(Debug, Default)]
struct Rest {
    bytes: Vec<u8>,
    /// How many answers that were, whole, and their bytes.
    answers: usize,
    answer_bytes: usize,
}

impl Queue {
    /// Whether the peer must take answers before it may ask for more.
    fn is_full(&self) -> bool {
        self.owed + self.unsent >= CONNECTION_REQUESTS_MAX || self.unsent_bytes >= UNSENT_BYTES_MAX
    }

    fn put(&mut self, head: Vec<u8>, payload: Bytes) {
        self.owed = self.owed.saturating_sub(1);
        if !self.closed {
            self.unsent += 1;
            self.unsent_bytes += head.len() + payload.len();
            self.frames.push_back((head, payload));
        }
    }

    fn sent(&mut self, count: usize, bytes: usize) {
        self.unsent -= count;
        self.unsent_bytes -= bytes;
    }

    /// Whether nothing is owed or on its way.
    fn is_idle(&self) -> bool {
        self.owed + self.unsent == 0
    }
}

/// The way back of one connection.
#[derive(Debug)]
pub(super) struct Replies {
    socket: Arc<TcpStream>,
    /// Time for the peer to take a frame, or several small ones.
    stall: Duration,
    /// Held while a frame is written, so that frames do not mix; with the rest of one that goes before all others.
    writing: Mutex<Rest>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Replies {
    pub(super) fn new(socket: Arc<TcpStream>, stall: Duration) -> Arc<Self> {
        Arc::new(Self {
            socket,
            stall,
            writing: Mutex::default(),
            queue: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more answer will be queued. Waits while too many are owed or not taken: a peer that asks faster than it is
    /// answered, or than it reads, waits in its own connection.
    pub(super) fn owe(self: &Arc<Self>) -> io::Result<()> {
        self.owe_when(|queue| !queue.is_full())
    }

    /// Whether [`Replies::owe`] would wait.
    pub(super) fn is_full(&self) -> bool {
        self.queue().is_full()
    }

    /// As [`Replies::owe`], for a large answer: waits until the peer took all others.
    pub(super) fn owe_alone(self: &Arc<Self>) -> io::Result<()> {
        self.owe_when(Queue::is_idle)
    }

    fn owe_when(self: &Arc<Self>, ready: impl Fn(&Queue) -> bool) -> io::Result<()> {
        let mut queue = self.queue();
        while !ready(&queue) && !queue.closed {
            queue = self.wait(queue);
        }
        if queue.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        queue.owed += 1;
        Ok(())
    }

    fn wait<'a>(&self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        queue.waiting += 1;
        queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        queue.waiting -= 1;
        queue
    }

    /// To notify somebody is a system call, and mostly nobody waits.
    fn tell(&self, queue: MutexGuard<'_, Queue>) {
        let waiting = queue.waiting > 0;
        drop(queue);
        if waiting {
            self.changed.notify_all();
        }
    }

    /// The answer that was owed. Never waits; it leaves with the next [`Outlet::flush`].
    pub(super) fn put(&self, id: u64, op: Op, answer: &Answer) {
        self.queue().put(head(id, op, answer), answer.payload.clone());
    }

    /// Gives the socket what it takes at once, and leaves the rest to the thread.
    fn write_now(self: &Arc<Self>, mut rest: MutexGuard<'_, Rest>, frames: &Frames) {
        let parts = frames.iter().flat_map(|(head, payload)| [&head[..], &payload[..]]);
        let bytes = parts.collect::<Vec<_>>().concat();
        match write_now(&self.socket, &[IoSlice::new(&bytes)]) {
            Ok(written) if written == bytes.len() => {
                drop(rest);
                let mut queue = self.queue();
                queue.sent(frames.len(), bytes.len());
                self.tell(queue);
            }
            Ok(written) => {
                let (answers, answer_bytes) = (frames.len(), bytes.len());
                *rest = Rest { bytes: bytes[written..].to_vec(), answers, answer_bytes };
                drop(rest);
                let mut queue = self.queue();
                queue.has_rest = true;
                self.hand_over(queue);
            }
            Err(_) => {
                drop(rest);
                self.close();
            }
        }
    }

    /// The thread writes what is there; it is started when there is none.
    fn hand_over(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>) {
        if !queue.has_thread && !queue.closed {
            queue.has_thread = true;
            let me = self.clone();
            let thread = thread::Builder::new().name("data-replies".into()).stack_size(STACK_BYTES);
            if let Err(error) = thread.spawn(move || me.run()) {
                tracing::warn!(%error, "no thread for the answers of a connection, which ends");
                drop(queue);
                return self.close();
            }
        }
        self.tell(queue);
    }

    /// The answer that was owed, without payload.
    pub(super) fn put_plain(
        self: &Arc<Self>,
        id: u64,
        op: Op,
        result: Result<DataResponse, Error>,
    ) {
        self.put(id, op, &plain(result));
        self.clone().flush();
    }

    /// Writes an answer here and now.
    pub(super) fn write(&self, act: impl FnOnce(&TcpStream) -> io::Result<()>) -> io::Result<()> {
        let mut rest = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Rest { bytes, answers, answer_bytes } = std::mem::take(&mut *rest);
        let written = write_all(&self.socket, &bytes, self.stall).and_then(|()| act(&self.socket));
        if !bytes.is_empty() {
            self.queue().sent(answers, answer_bytes);
        }
        written.inspect_err(|_| self.close())
    }

    /// Writes an answer without payload here and now.
    pub(super) fn write_plain(&self, id: u64, op: Op, error: Error) -> io::Result<()> {
        let head = head(id, op, &plain(Err(error)));
        self.write(|socket| write_all(socket, &head, self.stall))
    }

    /// Ends the connection, both ways.
    pub(super) fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        queue.frames.clear();
        drop(queue);
        // It may be closed already.
        let _ = self.socket.shutdown(Shutdown::Both);
        self.changed.notify_all();
    }

    fn run(&self) {
        while let Some(frames) = self.next() {
            let count = frames.len();
            let bytes = frames.iter().map(|(head, payload)| head.len() + payload.len()).sum();
            if self.write(|socket| write_frames(socket, frames, self.stall)).is_err() {
                return;
            }
            let mut queue = self.queue();
            queue.sent(count, bytes);
            self.tell(queue);
        }
    }

    fn next(&self) -> Option<Frames> {
        let mut queue = self.queue();
        loop {
            if queue.closed {
                return None;
            }
            if queue.has_rest || !queue.frames.is_empty() {
                queue.has_rest = false;
                return Some(std::mem::take(&mut queue.frames));
            }
            queue = self.wait(queue);
        }
    }
}

impl Outlet for Replies {
    fn flush(self: Arc<Self>) {
        let mut queue = self.queue();
        if queue.frames.is_empty() {
            return;
        }
        if queue.unsent_bytes <= BATCH_BYTES
            && let Ok(rest) = self.writing.try_lock()
            && rest.bytes.is_empty()
        {
            let frames = std::mem::take(&mut queue.frames);
            drop(queue);
            return self.write_now(rest, &frames);
        }
        self.hand_over(queue);
    }
}

/// Several small frames at once, large ones alone.
fn write_frames(socket: &TcpStream, frames: Frames, stall: Duration) -> io::Result<()> {
    let mut batch = Vec::new();
    for (head, payload) in frames {
        batch.extend_from_slice(&head);
        batch.extend_from_slice(&payload);
        if batch.len() >= BATCH_BYTES {
            write_all(socket, &batch, stall)?;
            batch.clear();
        }
    }
    write_all(socket, &batch, stall)
}

pub(super) fn plain(result: Result<DataResponse, Error>) -> Answer {
    Answer { reply: DataReply { result }, payload: Bytes::new(), checksums: Vec::new() }
}

fn head(id: u64, op: Op, answer: &Answer) -> Vec<u8> {
    let bytes = u32::try_from(answer.payload.len()).unwrap_or(u32::MAX);
    encode_reply(id, op, &answer.reply, bytes, &answer.checksums).unwrap_or_else(|error| {
        tracing::error!(%error, ?op, "an answer does not fit its frame");
        let reply = DataReply { result: Err(Error::internal("the answer does not fit its frame")) };
        encode_reply(id, op, &reply, 0, &[]).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue_with(count: usize, bytes: usize) -> Queue {
        let mut queue = Queue { owed: count, ..Queue::default() };
        for _ in 0..count {
            queue.put(vec![0; 100], Bytes::from(vec![0; bytes - 100]));
        }
        queue
    }

    #[test]
    fn a_peer_that_takes_no_answers_fills_its_queue_by_bytes_and_by_count() {
        let mebibyte = 1 << 20;
        assert!(!queue_with(3, mebibyte).is_full());
        let mut queue = queue_with(4, mebibyte);
        assert!(queue.is_full());
        queue.frames.clear();
        assert!(queue.is_full(), "those that are being written count");
        queue.sent(1, mebibyte);
        assert!(!queue.is_full() && !queue.is_idle());
        queue.sent(3, 3 * mebibyte);
        assert!(queue.is_idle());

        assert!(!queue_with(CONNECTION_REQUESTS_MAX - 1, 100).is_full());
        assert!(queue_with(CONNECTION_REQUESTS_MAX, 100).is_full());
        assert!(Queue { owed: CONNECTION_REQUESTS_MAX, ..Queue::default() }.is_full());
    }
}
