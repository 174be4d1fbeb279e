//! One file: reads, writes, record appends.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use gfs_types::ids::FileId;
use gfs_types::limits::FILE_CHUNKS_MAX;
use gfs_types::message::client::{Attributes, Entry};
use gfs_types::region::ChunkIndex;

use crate::engine::{Appended, Engine, MutationOf};
use crate::error::{Error, Result};
use crate::reader::Reader;
use crate::records::{RecordReader, RecordWriter};
use crate::writer::Writer;
use crate::{lock, sync};

/// A file that was opened or created. It is held by its id: a rename does not disturb it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct File {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    engine: Arc<Engine>,
    entry: Entry,
    unsynced: Mutex<Unsynced>,
}

/// What was acknowledged to this handle and its clones, and may not be on disk yet.
#[derive(Debug, Default)]
struct Unsynced {
    /// Counts acknowledgements.
    clock: u64,
    /// When each chunk was last written to.
    chunks: BTreeMap<ChunkIndex, u64>,
    /// The end of what was written.
    end: u64,
}

impl File {
    pub(crate) fn new(engine: Arc<Engine>, entry: Entry) -> Self {
        engine.remembered(|cache, _| cache.saw_length(entry.id, entry.length));
        Self { shared: Arc::new(Shared { engine, entry, unsynced: Mutex::default() }) }
    }

    /// Its id, whatever its name.
    #[must_use]
    pub fn id(&self) -> FileId {
        self.shared.entry.id
    }

    /// As it was when it was opened.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.shared.entry
    }

    /// Up to `length` bytes from `offset` on; fewer only at the end of the file. Holes read as zeros.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// `Corrupt` when no replica has the bytes as they were stored; `Busy` when time ran out.
    pub async fn read_at(&self, offset: u64, length: u64) -> Result<Bytes> {
        let end = offset.saturating_add(length);
        let mut reader = self.reader(offset..end);
        let mut parts: Vec<Bytes> = Vec::new();
        while let Some(part) = reader.next().await {
            parts.push(part?);
        }
        Ok(match parts.len() {
            1 => parts.swap_remove(0),
            _ => parts.concat().into(),
        })
    }

    /// Writes at an offset and returns when every replica has it in memory ([`File::sync`]: on disk). Larger writes
    /// are cut at chunk borders and every 1 MiB; the pieces are not atomic together (§2.7.1).
    ///
    /// Repeating it is harmless as long as nobody else writes there. Dropped, any of its pieces may still happen.
    ///
    /// # Errors
    /// `Invalid` past the largest file; `Busy`, `Unknown` when time ran out.
    pub async fn write_at(&self, offset: u64, data: impl Into<Bytes>) -> Result<()> {
        let mut writer = self.writer(offset);
        writer.write(data).await?;
        writer.flush().await
    }

    /// Appends one record, raw, at an offset the system chooses, and returns the offset (§3.3): atomic, **at least
    /// once**. For records that are read exactly once, see [`File::record_writer`].
    ///
    /// Dropped, the record may still be appended.
    ///
    /// # Errors
    /// `Invalid` for more than a quarter of a chunk, before anything is sent; `Unknown` when the answer was lost: the
    /// record may stand somewhere in the file.
    pub async fn append(&self, data: impl Into<Bytes>) -> Result<u64> {
        let data = data.into();
        let doing = self.doing("append to");
        self.engine().check_record(data.len() as u64, &doing)?;
        if data.is_empty() {
            let reason = "a record of no bytes could not be found again".to_owned();
            return Err(Error::Unfit { doing, reason });
        }
        let (of, deadline) = (MutationOf::Append, self.engine().deadline());
        let appended = self.engine().mutate(self.id(), of, data, deadline, &doing).await?;
        self.acknowledged(&appended);
        Ok(appended.offset)
    }

    /// Reads a range from front to back, several pieces ahead. It ends at the length the file has now.
    pub fn reader(&self, range: impl RangeBounds<u64>) -> Reader {
        let start = match range.start_bound() {
            Bound::Included(&at) => at,
            Bound::Excluded(&at) => at.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&at) => at.saturating_add(1),
            Bound::Excluded(&at) => at,
            Bound::Unbounded => u64::MAX,
        };
        Reader::new(Arc::clone(self.engine()), self.id(), start..end, self.doing("read"))
    }

    /// Writes from `offset` on, front to back, several pieces in flight.
    #[must_use]
    pub fn writer(&self, offset: u64) -> Writer {
        Writer::new(self.clone(), offset)
    }

    /// Returns when everything that was written or appended through this handle and its clones is on disk on every
    /// replica, and the length is logged by the master. Cancel safe.
    ///
    /// # Errors
    /// `Busy` when a replica cannot do it in time.
    pub async fn sync(&self) -> Result<()> {
        self.sync_with(None).await
    }

    /// The length now: at least all that was acknowledged to anybody before the call. Cancel safe.
    ///
    /// # Errors
    /// `NotFound` when the file was removed; `Busy` when time ran out.
    pub async fn length(&self) -> Result<u64> {
        self.engine().file_length(self.id(), &self.doing("find the length of")).await
    }

    /// Changes what is kept beside the bytes.
    ///
    /// # Errors
    /// `NotFound`; `Unknown`.
    pub async fn set_attributes(&self, attributes: Attributes) -> Result<()> {
        let doing = self.doing("set the attributes of");
        sync::set_length(self.engine(), self.id(), 0, Some(attributes), &doing).await
    }

    /// Appends framed records that [`File::record_reader`] reads exactly once. Each has a writer id of its own.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn record_writer(&self) -> RecordWriter {
        RecordWriter::new(self.clone())
    }

    /// Reads framed records from the start of the file.
    #[must_use]
    pub fn record_reader(&self) -> RecordReader {
        self.record_reader_from(0)
    }

    /// Reads framed records whose frames begin at `offset` or behind it.
    #[must_use]
    pub fn record_reader_from(&self, offset: u64) -> RecordReader {
        RecordReader::new(self.clone(), offset)
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.shared.engine
    }

    pub(crate) fn doing(&self, what: &str) -> String {
        format!("{what} `{}`", self.shared.entry.path)
    }

    /// Whether the largest file could hold bytes up to here.
    pub(crate) fn check_end(&self, end: u64) -> Result<()> {
        let most = FILE_CHUNKS_MAX.saturating_mul(self.engine().chunk_size.bytes());
        if end <= most {
            return Ok(());
        }
        let reason = format!("it would end at byte {end}; a file of this cluster ends at {most}");
        Err(Error::Unfit { doing: self.doing("write to"), reason })
    }

    /// Something was acknowledged: the next sync has to see to it.
    pub(crate) fn acknowledged(&self, appended: &Appended) {
        let mut unsynced = lock(&self.shared.unsynced);
        unsynced.clock += 1;
        let clock = unsynced.clock;
        unsynced.chunks.insert(appended.index, clock);
        unsynced.end = unsynced.end.max(appended.length);
    }

    pub(crate) async fn sync_with(&self, attributes: Option<Attributes>) -> Result<()> {
        let doing = self.doing("sync");
        let (chunks, end) = {
            let unsynced = lock(&self.shared.unsynced);
            (unsynced.chunks.clone(), unsynced.end)
        };
        let (engine, file, doing) = (self.engine(), self.id(), doing.as_str());
        let mut length = end;
        let mut syncs = futures::stream::iter(chunks.keys().copied())
            .map(|index| async move {
                let in_chunk = engine.sync_chunk(file, index, None, doing).await?;
                Ok::<_, Error>(in_chunk.map(|l| engine.chunk_size.file_offset(index) + l))
            })
            .buffer_unordered(sync::AT_ONCE);
        while let Some(end) = syncs.try_next().await? {
            length = length.max(end.unwrap_or(0));
        }
        drop(syncs);
        if length > 0 || attributes.is_some() {
            sync::set_length(engine, file, length, attributes, doing).await?;
        }
        // Only what was not written to again meanwhile is done with.
        let mut unsynced = lock(&self.shared.unsynced);
        unsynced.chunks.retain(|index, clock| chunks.get(index) != Some(clock));
        Ok(())
    }
}
