//! Answers on their way back: from the connection's own thread, from the driver's, from the next server of a chain, in
//! whatever order they come.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::Bytes;
use gfs_protocol::frame::{Op, encode_reply};
use gfs_types::Error;
use gfs_types::limits::CONNECTION_REQUESTS_MAX;
use gfs_types::message::data::{DataReply, DataResponse};

use crate::driver::Answer;

const STACK_BYTES: usize = 128 << 10;
/// Up to this many bytes of answers are sent with one call.
const BATCH_BYTES: usize = 64 << 10;

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<(Vec<u8>, Bytes)>,
    /// Requests that still owe their answer.
    owed: usize,
    has_thread: bool,
    closed: bool,
}

/// The way back of one connection.
#[derive(Debug)]
pub(super) struct Replies {
    socket: Arc<TcpStream>,
    /// Held while a frame is written, so that frames do not mix.
    writing: Mutex<()>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Replies {
    pub(super) fn new(socket: Arc<TcpStream>) -> Arc<Self> {
        Arc::new(Self {
            socket,
            writing: Mutex::default(),
            queue: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more answer will be queued. Waits while too many are owed: a peer that asks faster than it is answered
    /// waits in its own connection.
    pub(super) fn owe(self: &Arc<Self>) -> io::Result<()> {
        let mut queue = self.queue();
        while queue.owed >= CONNECTION_REQUESTS_MAX && !queue.closed {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        queue.owed += 1;
        if !queue.has_thread {
            queue.has_thread = true;
            let me = self.clone();
            let thread = thread::Builder::new().name("data-replies".into()).stack_size(STACK_BYTES);
            thread.spawn(move || me.run())?;
        }
        Ok(())
    }

    /// The answer that was owed. Never waits.
    pub(super) fn put(&self, id: u64, op: Op, answer: &Answer) {
        let mut queue = self.queue();
        queue.owed = queue.owed.saturating_sub(1);
        if !queue.closed {
            queue.frames.push_back((head(id, op, answer), answer.payload.clone()));
        }
        drop(queue);
        self.changed.notify_all();
    }

    /// The answer that was owed, without payload.
    pub(super) fn put_plain(&self, id: u64, op: Op, result: Result<DataResponse, Error>) {
        self.put(id, op, &plain(result));
    }

    /// Writes an answer here and now.
    pub(super) fn write(&self, act: impl FnOnce(&TcpStream) -> io::Result<()>) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        act(&self.socket).inspect_err(|_| self.close())
    }

    /// Writes an answer without payload here and now.
    pub(super) fn write_plain(&self, id: u64, op: Op, error: Error) -> io::Result<()> {
        let head = head(id, op, &plain(Err(error)));
        self.write(|mut socket| socket.write_all(&head))
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
            if self.write(|socket| write_all(socket, frames)).is_err() {
                return;
            }
        }
    }

    fn next(&self) -> Option<VecDeque<(Vec<u8>, Bytes)>> {
        let mut queue = self.queue();
        loop {
            if queue.closed {
                return None;
            }
            if !queue.frames.is_empty() {
                return Some(std::mem::take(&mut queue.frames));
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Several small frames at once, large ones alone.
fn write_all(mut socket: &TcpStream, frames: VecDeque<(Vec<u8>, Bytes)>) -> io::Result<()> {
    let mut batch = Vec::new();
    for (head, payload) in frames {
        batch.extend_from_slice(&head);
        batch.extend_from_slice(&payload);
        if batch.len() >= BATCH_BYTES {
            socket.write_all(&batch)?;
            batch.clear();
        }
    }
    socket.write_all(&batch)
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
