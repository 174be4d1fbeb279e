//! The way of records to the end of a file: one batch at a time, of all writers of the file in this client.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gfs_types::ids::FileId;
use gfs_types::limits::{FRAME_BYTES_MAX, INLINE_BYTES_MAX, record_bytes_max};
use tokio::runtime::{Handle, Id};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::engine::{Appended, Engine, MutationOf};
use crate::error::Result;
use crate::file::File;
use crate::lock;
use crate::record::WriterId;
use crate::record::frame::{HEADER_BYTES, encode};

/// Records that wait for the batch before; more make their callers wait.
const QUEUE_MAX: usize = 4096;

/// So many times as many as are in a batch are worth a larger one.
const MANY: usize = 3;

/// Who has no more than this to wait beyond its deadline for the end of its batch waits so long: that tells what
/// happened, and those who came together are answered together.
const GRACE: Duration = Duration::from_millis(50);

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
    /// Who waits, and where in the batch the frame begins. All have the same time from when they were queued, so that
    /// their deadlines are in order.
    waiting: VecDeque<(u64, Submission)>,
    begun: Instant,
    /// The latest of its records: none loses time to those that it rides with.
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
        let mut batch = Batch::new(Instant::now());
        batch.add(first);
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

async fn send(engine: &Engine, file: FileId, mut batch: Batch) {
    let Some((_, first)) = batch.waiting.front() else { return };
    let doing = first.file.doing("append a record to");
    let (of, bytes) = (MutationOf::RecordAppend, batch.bytes.split().freeze());
    let appending = engine.mutate(file, of, bytes, batch.deadline, &doing);
    tokio::pin!(appending);
    while let Some(late) = batch.next_late() {
        match timeout_at(late, &mut appending).await {
            Ok(result) => return batch.answer(&result),
            Err(_) => batch.answer_late(Instant::now()),
        }
    }
    batch.answer(&appending.await);
}

impl Batch {
    fn new(now: Instant) -> Self {
        Self { bytes: BytesMut::new(), waiting: VecDeque::new(), begun: now, deadline: now }
    }

    fn has_room(&self, next: &Submission, most: u64) -> bool {
        let bytes = self.bytes.len() + HEADER_BYTES + next.payload.len();
        self.waiting.is_empty() || bytes as u64 <= most
    }

    /// Takes a record in, unless its time is over: of what is not sent it is known that it did not happen.
    fn add(&mut self, submission: Submission) {
        if submission.deadline <= self.begun {
            return submission.time_is_over("it waited for the records before it", false);
        }
        self.deadline = self.deadline.max(submission.deadline);
        let at = self.bytes.len() as u64;
        let seq = submission.next_seq.fetch_add(1, Ordering::Relaxed);
        encode(&mut self.bytes, submission.writer, seq, &submission.payload);
        self.waiting.push_back((at, submission));
    }

    /// When the next record is answered although the batch is still on its way.
    fn next_late(&self) -> Option<Instant> {
        let (_, first) = self.waiting.front()?;
        Some(first.deadline + GRACE).filter(|late| *late < self.deadline)
    }

    /// Those whose time is over wait no longer; the batch goes on for the others, and may yet be appended.
    fn answer_late(&mut self, now: Instant) {
        let over = |(_, first): &mut (u64, Submission)| first.deadline <= now;
        while let Some((_, submission)) = self.waiting.pop_front_if(over) {
            submission.time_is_over("the batch it is in has no answer yet", true);
        }
    }

    fn answer(self, result: &Result<Appended>) {
        for (at, submission) in self.waiting {
            if let Ok(appended) = result {
                submission.file.acknowledged(appended);
            }
            let offset = result.as_ref().map(|a| a.offset + at).map_err(Clone::clone);
            // The caller may have dropped its future.
            let _ = submission.reply.send(offset);
        }
    }
}

impl Submission {
    fn time_is_over(self, last: &str, outcome_unknown: bool) {
        let doing = self.file.doing("append a record to");
        let error = self.file.engine().timed_out(&doing, last, outcome_unknown);
        let _ = self.reply.send(Err(error));
    }
}

#[cfg(test)]
mod tests {
    use gfs_types::ids::{ClusterUid, ServerUid};
    use gfs_types::message::client::{Attributes, Entry, EntryKind};
    use gfs_types::region::{ChunkIndex, ChunkSize};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::data_link::DataLinks;
    use crate::error::Error;
    use crate::master_link::MasterLink;
    use crate::options::Options;

    const SECOND: Duration = Duration::from_secs(1);

    /// A file of a cluster that nobody reaches.
    fn file() -> File {
        let options = Options::new("127.0.0.1:1").expect("a list of one");
        let master = MasterLink::start(options.masters.clone(), options.topology.clone(), None, 1);
        let data = DataLinks::new(ServerUid(1), ClusterUid(1), None);
        let engine = Engine::new(options, master, data, ChunkSize::default(), 1);
        let entry = Entry {
            path: "/records".to_owned(),
            id: FileId(1),
            kind: EntryKind::File,
            length: 0,
            length_is_final: true,
            chunks: 0,
            replication: 3,
            attributes: Attributes::default(),
        };
        File::new(Arc::new(engine), entry)
    }

    type Answer = oneshot::Receiver<Result<u64>>;

    fn submission(file: &File, seq: &Arc<AtomicU64>, deadline: Instant) -> (Submission, Answer) {
        let (reply, answer) = oneshot::channel();
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("one is free");
        let submission = Submission {
            file: file.clone(),
            writer: WriterId(7),
            next_seq: Arc::clone(seq),
            payload: Bytes::from_static(b"abc"),
            deadline,
            reply,
            _room: room,
        };
        (submission, answer)
    }

    fn unknown(answer: &mut Answer) -> bool {
        match answer.try_recv().expect("an answer") {
            Err(Error::TimedOut { outcome_unknown, .. }) => outcome_unknown,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_record_whose_time_is_over_is_not_sent() {
        let (file, seq, now) = (file(), Arc::new(AtomicU64::new(1)), Instant::now());
        let mut batch = Batch::new(now);
        let (expired, mut answer) = submission(&file, &seq, now);
        batch.add(expired);
        assert!(!unknown(&mut answer), "nothing happened, and it is told so");
        assert!(batch.bytes.is_empty() && batch.waiting.is_empty());
        let (fresh, _answer) = submission(&file, &seq, now + SECOND);
        assert!(batch.has_room(&fresh, 0), "one always has room");
        batch.add(fresh);
        assert_eq!(batch.bytes.len(), HEADER_BYTES + 3);
        assert_eq!(seq.load(Ordering::Relaxed), 2, "only what is sent has a number");
    }

    #[tokio::test]
    async fn a_fresh_record_that_rides_with_an_old_one_succeeds() {
        let (file, seq, now) = (file(), Arc::new(AtomicU64::new(1)), Instant::now());
        let mut batch = Batch::new(now);
        let (old, mut old_answer) = submission(&file, &seq, now + SECOND / 1000);
        let (fresh, mut fresh_answer) = submission(&file, &seq, now + 30 * SECOND);
        batch.add(old);
        batch.add(fresh);
        assert_eq!(batch.deadline, now + 30 * SECOND);
        assert_eq!(batch.next_late(), Some(now + SECOND / 1000 + GRACE));
        batch.answer_late(now);
        assert!(old_answer.try_recv().is_err(), "it has a moment left");
        batch.answer_late(now + SECOND);
        assert!(unknown(&mut old_answer), "it is on its way");
        assert!(fresh_answer.try_recv().is_err(), "it waits on");
        assert_eq!(batch.next_late(), None, "the last one is told what became of the batch");
        batch.answer(&Ok(Appended { index: ChunkIndex(0), offset: 100, length: 200 }));
        let at = (HEADER_BYTES + 3) as u64;
        assert_eq!(fresh_answer.try_recv().expect("an answer"), Ok(100 + at));
    }

    #[tokio::test]
    async fn those_who_came_together_are_told_together_what_happened() {
        let (file, seq, now) = (file(), Arc::new(AtomicU64::new(1)), Instant::now());
        let mut batch = Batch::new(now);
        let (one, mut one_answer) = submission(&file, &seq, now + SECOND);
        let (other, mut other_answer) = submission(&file, &seq, now + SECOND + GRACE);
        batch.add(one);
        batch.add(other);
        assert_eq!(batch.next_late(), None);
        batch.answer(&Err(file.engine().timed_out("append", "nobody is there", false)));
        assert!(!unknown(&mut one_answer) && !unknown(&mut other_answer));
    }
}
