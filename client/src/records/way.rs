//! The way of records to the end of a file: one batch at a time, of all writers of the file in this client.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use gfs_types::ids::FileId;
use gfs_types::limits::{FRAME_BYTES_MAX, INLINE_BYTES_MAX, record_bytes_max};
use tokio::runtime::{Handle, Id};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;

use crate::engine::{Engine, MutationOf};
use crate::error::Result;
use crate::file::File;
use crate::lock;
use crate::record::WriterId;
use crate::record::frame::{HEADER_BYTES, encode};

/// Records that wait for the batch before; more make their callers wait.
const QUEUE_MAX: usize = 4096;

/// So many times as many as are in a batch are worth a larger one.
const MANY: usize = 3;

/// A record that was taken.
#[derive(Debug)]
pub(super) struct Submission {
    /// The handle that is to know what must be synced.
    pub(super) file: File,
    pub(super) writer: WriterId,
    /// Of the writer, numbered when the record leaves.
    pub(super) next_seq: Arc<AtomicU64>,
    pub(super) payload: Bytes,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Result<u64>>,
    pub(super) _room: OwnedSemaphorePermit,
}

/// The ways that have writers. One that outlives its runtime is of no use: each runtime has its own.
#[derive(Debug, Default)]
pub(crate) struct Ways(Mutex<BTreeMap<FileId, Vec<Known>>>);

/// A way, and whose runtime it is of.
type Known = (Id, mpsc::WeakSender<Submission>);

impl Ways {
    /// The way of a file; its task lives as long as somebody holds what this gives.
    pub(super) fn of(&self, file: &File) -> mpsc::Sender<Submission> {
        let runtime = Handle::current().id();
        let mut ways = lock(&self.0);
        let known = ways.get(&file.id()).into_iter().flatten().find(|(id, _)| *id == runtime);
        if let Some(way) = known.and_then(|(_, way)| way.upgrade()) {
            return way;
        }
        for ways in ways.values_mut() {
            ways.retain(|(_, way)| way.strong_count() > 0);
        }
        ways.retain(|_, ways| !ways.is_empty());
        let (way, submissions) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(run(Arc::clone(file.engine()), file.id(), submissions));
        ways.entry(file.id()).or_default().push((runtime, way.downgrade()));
        way
    }
}

/// Records that go out together: one record append, so one place in the file.
struct Batch {
    bytes: BytesMut,
    /// Who waits, and where in the batch the frame begins.
    waiting: Vec<(u64, Submission)>,
    deadline: Instant,
}

/// One batch at a time keeps the order of the records of each writer, whatever is repeated.
async fn run(engine: Arc<Engine>, file: FileId, mut submissions: mpsc::Receiver<Submission>) {
    let most = FRAME_BYTES_MAX.min(record_bytes_max(engine.chunk_size.bytes()));
    let mut held = None;
    loop {
        let first = match held.take() {
            Some(first) => first,
            None => match submissions.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let mut batch = Batch::new(first);
        while let Ok(next) = submissions.try_recv() {
            // What travels inside the request takes one step, more takes two: for that many must wait.
            let many = submissions.len() > MANY * batch.waiting.len();
            if !batch.has_room(&next, if many { most } else { most.min(INLINE_BYTES_MAX) }) {
                held = Some(next);
                break;
            }
            batch.add(next);
        }
        send(&engine, file, batch).await;
        // Those who were answered go on first: what they bring is of the next batch.
        tokio::task::yield_now().await;
    }
}

async fn send(engine: &Engine, file: FileId, batch: Batch) {
    let Batch { bytes, waiting, deadline } = batch;
    let doing = waiting.first().map(|(_, first)| first.file.doing("append a record to"));
    let doing = doing.unwrap_or_default();
    let of = MutationOf::RecordAppend;
    let result = engine.mutate(file, of, bytes.freeze(), deadline, &doing).await;
    for (at, submission) in waiting {
        if let Ok(appended) = &result {
            submission.file.acknowledged(appended);
        }
        let offset = result.as_ref().map(|a| a.offset + at).map_err(Clone::clone);
        // The caller may have dropped its future.
        let _ = submission.reply.send(offset);
    }
}

impl Batch {
    fn new(first: Submission) -> Self {
        let deadline = first.deadline;
        let mut batch = Self { bytes: BytesMut::new(), waiting: Vec::new(), deadline };
        batch.add(first);
        batch
    }

    fn has_room(&self, next: &Submission, most: u64) -> bool {
        (self.bytes.len() + HEADER_BYTES + next.payload.len()) as u64 <= most
    }

    fn add(&mut self, submission: Submission) {
        let at = self.bytes.len() as u64;
        let seq = submission.next_seq.fetch_add(1, Ordering::Relaxed);
        encode(&mut self.bytes, submission.writer, seq, &submission.payload);
        self.waiting.push((at, submission));
    }
}
