//! Appending framed records, in order and in batches.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::way::Submission;
use crate::error::{Error, Result};
use crate::file::File;
use crate::record::WriterId;
use crate::record::frame::HEADER_BYTES;

/// Appends framed records in order. Each waits in a bounded buffer; as many as fit go out together as one record
/// append (§3.3), with those of all other writers of the file in this client, while the next gather.
///
/// An append whose answer was lost is repeated until its time is over, through restarts of the master too: readers
/// know the copies by (writer, sequence). Cheap to clone; clones are the same writer. When the last is dropped, what
/// was taken is still appended as long as the runtime lives.
#[derive(Debug, Clone)]
pub struct RecordWriter {
    file: File,
    id: WriterId,
    /// The next sequence: records are numbered in the order in which they leave.
    next_seq: Arc<AtomicU64>,
    queue: mpsc::Sender<Submission>,
    room: Arc<Semaphore>,
}

impl RecordWriter {
    pub(crate) fn new(file: File) -> Self {
        let queue = file.engine().record_ways.of(&file);
        let bytes = file.engine().options.record_buffer_bytes;
        let room = Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
        let id = file.engine().writer_id();
        Self { file, id, next_seq: Arc::new(AtomicU64::new(1)), queue, room }
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
    /// `Invalid` when record and frame are more than a quarter of a chunk, before anything is sent; `Busy` when time
    /// ran out and it was not taken by any server; `Unknown` when time ran out after it was sent. What goes out with it
    /// is tried on as long as the youngest record of those has time: until then it may still be appended.
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
        let (file, next_seq) = (self.file.clone(), Arc::clone(&self.next_seq));
        place.send(Submission {
            file,
            writer: self.id,
            next_seq,
            payload,
            deadline,
            reply,
            _room: room,
        });
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
