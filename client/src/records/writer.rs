//! Appending framed records, in order and in batches.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use gfs_types::limits::{FRAME_BYTES_MAX, record_bytes_max};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::engine::MutationOf;
use crate::error::{Error, Result};
use crate::file::File;
use crate::record::WriterId;
use crate::record::frame::{HEADER_BYTES, encode};

/// Records that wait for the batch before; more make their callers wait.
const QUEUE_MAX: usize = 4096;

/// Appends framed records in order. Each waits in a bounded buffer; as many as fit go out together as one record
/// append (§3.3), while the next gather.
///
/// An append whose answer was lost is repeated until its time is over, through restarts of the master too: readers
/// know the copies by (writer, sequence). Cheap to clone; clones are the same writer. When the last is dropped, what
/// was taken is still appended as long as the runtime lives.
#[derive(Debug, Clone)]
pub struct RecordWriter {
    file: File,
    id: WriterId,
    queue: mpsc::Sender<Submission>,
    room: Arc<Semaphore>,
}

/// A record that was taken.
#[derive(Debug)]
struct Submission {
    payload: Bytes,
    deadline: Instant,
    reply: oneshot::Sender<Result<u64>>,
    _room: OwnedSemaphorePermit,
}

impl RecordWriter {
    pub(crate) fn new(file: File) -> Self {
        let (queue, submissions) = mpsc::channel(QUEUE_MAX);
        let bytes = file.engine().options.record_buffer_bytes;
        let room = Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
        let id = file.engine().writer_id();
        tokio::spawn(run(file.clone(), id, submissions));
        Self { file, id, queue, room }
    }

    /// Who writes: 128 bits, drawn at random by each client and counted by its writers.
    #[must_use]
    pub fn id(&self) -> WriterId {
        self.id
    }

    /// Appends a record; the answer is the offset of its frame in the file.
    ///
    /// Dropped, the record may still be appended.
    ///
    /// # Errors
    /// `Invalid` when record and frame are more than a quarter of a chunk, before anything is sent; `Unknown` when
    /// time ran out after it was sent.
    pub async fn append(&self, record: impl Into<Bytes>) -> Result<u64> {
        self.submit(record).await?.await
    }

    /// Takes a record in; waits only while the buffer is full. The order of the records is the order in which calls
    /// return. The future that is given tells the offset; dropping that changes nothing. Cancel safe: dropped, the
    /// record was not taken.
    ///
    /// # Errors
    /// `Invalid` as above.
    pub async fn submit(&self, record: impl Into<Bytes>) -> Result<Submitted> {
        let payload = record.into();
        let doing = || self.file.doing("append a record to");
        let frame_bytes = HEADER_BYTES as u64 + payload.len() as u64;
        self.file.engine().check_record(frame_bytes, &doing())?;
        let over = || Error::Defect { doing: doing(), reason: "its task has ended".to_owned() };
        let room = self.acquire(frame_bytes).await.ok_or_else(over)?;
        let place = self.queue.reserve().await.map_err(|_| over())?;
        let (reply, answer) = oneshot::channel();
        let deadline = self.file.engine().deadline();
        place.send(Submission { payload, deadline, reply, _room: room });
        Ok(Submitted { answer, file: self.file.clone() })
    }

    /// Room in the buffer; one that is smaller than the record gives all it has.
    async fn acquire(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let all = self.file.engine().options.record_buffer_bytes;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(all);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.room).acquire_many_owned(permits).await.ok()
    }
}

/// A record on its way: resolves to the offset of its frame.
#[derive(Debug)]
pub struct Submitted {
    answer: oneshot::Receiver<Result<u64>>,
    file: File,
}

impl Future for Submitted {
    type Output = Result<u64>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<u64>> {
        Pin::new(&mut self.answer).poll(cx).map(|answer| {
            answer.unwrap_or_else(|_| {
                let doing = self.file.doing("append a record to");
                Err(Error::Unknown { doing, last: "the writer's runtime ended".to_owned() })
            })
        })
    }
}

/// Records that go out together: one record append, so one place in the file.
struct Batch {
    bytes: BytesMut,
    /// Who waits, and where in the batch the frame begins.
    waiting: Vec<(u64, Submission)>,
    deadline: Instant,
}

/// One batch at a time keeps the order of the records, whatever is repeated.
async fn run(file: File, id: WriterId, mut submissions: mpsc::Receiver<Submission>) {
    let engine = Arc::clone(file.engine());
    let most = FRAME_BYTES_MAX.min(record_bytes_max(engine.chunk_size.bytes()));
    let doing = file.doing("append a record to");
    let mut next_seq = 1;
    let mut held = None;
    loop {
        let first = match held.take() {
            Some(first) => first,
            None => match submissions.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let mut batch = Batch::new(first.deadline);
        batch.add(id, &mut next_seq, first);
        while let Ok(next) = submissions.try_recv() {
            if !batch.has_room(&next, most) {
                held = Some(next);
                break;
            }
            batch.add(id, &mut next_seq, next);
        }
        let Batch { bytes, waiting, deadline } = batch;
        let of = MutationOf::RecordAppend;
        let result = engine.mutate(file.id(), of, bytes.freeze(), deadline, &doing).await;
        if let Ok(appended) = &result {
            file.acknowledged(appended);
        }
        for (at, submission) in waiting {
            let offset = result.as_ref().map(|a| a.offset + at).map_err(Clone::clone);
            // The caller may have dropped its future.
            let _ = submission.reply.send(offset);
        }
    }
}

impl Batch {
    fn new(deadline: Instant) -> Self {
        Self { bytes: BytesMut::new(), waiting: Vec::new(), deadline }
    }

    fn has_room(&self, next: &Submission, most: u64) -> bool {
        (self.bytes.len() + HEADER_BYTES + next.payload.len()) as u64 <= most
    }

    fn add(&mut self, id: WriterId, next_seq: &mut u64, submission: Submission) {
        let at = self.bytes.len() as u64;
        encode(&mut self.bytes, id, *next_seq, &submission.payload);
        *next_seq += 1;
        self.waiting.push((at, submission));
    }
}
