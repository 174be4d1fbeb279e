//! A state from its sections. Total: any bytes give a state that keeps the invariants of the tree and of references, or
//! an error.

use std::sync::Arc;

use crc_fast::Digest;
use gfs_types::fence::{ChunkVersion, LogPosition, MasterEpoch};
use gfs_types::ids::{
    ChunkHandle, ClusterUid, FileId, ProcessSession, RequestSeq, ServerUid, SessionId,
};
use gfs_types::limits::{FILE_CHUNKS_MAX, PATH_BYTES_MAX, REPLICATION_MAX, SESSION_RESULTS_MAX};
use gfs_types::message::client::EntryKind;
use gfs_types::region::{ChunkIndex, ChunkSize};
use gfs_types::time::WallTime;

use super::items::kind;
use super::places::{Near, PLACES, Told, read_place};
use super::{END, HEAD, ITEMS, SECTION_BYTES_MAX, VERSION};
use crate::Durable;
use crate::chunks::Chunk;
use crate::codec::{CodecError, Reader};
use crate::namespace::{Assembly, TRASH_ID, Trashed};
use crate::record::read_attributes;
use crate::sessions::{EntryFacts, Outcome, Remembered, Session};

/// Sections that do not make a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("section {section} of the checkpoint: {reason}")]
pub struct ImageError {
    /// Which section, from 0.
    pub section: u64,
    /// What is wrong.
    pub reason: String,
}

/// Builds a state from sections in their order.
#[derive(Debug)]
pub struct Loader {
    durable: Durable,
    tree: Assembly,
    sum: Digest,
    next: u64,
    ended: bool,
}

impl Default for Loader {
    fn default() -> Self {
        Self::new()
    }
}

impl Loader {
    /// Nothing read yet.
    #[must_use]
    pub fn new() -> Self {
        let sum = super::new_sum();
        Self { durable: Durable::blank(), tree: Assembly::default(), sum, next: 0, ended: false }
    }

    /// Takes the next section.
    ///
    /// # Errors
    /// When it is none, or cannot be the next one. The loader is of no use afterwards.
    pub fn section(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.take(bytes).map_err(|reason| ImageError { section: self.next, reason })?;
        self.next += 1;
        Ok(())
    }

    /// The state, after the last section.
    ///
    /// # Errors
    /// When sections are missing, or what they say does not fit together.
    pub fn finish(self) -> Result<Durable, ImageError> {
        let section = self.next;
        self.build().map_err(|reason| ImageError { section, reason })
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() > SECTION_BYTES_MAX {
            return Err(format!("{} bytes are too many", bytes.len()));
        }
        if self.ended {
            return Err("it follows the last one".to_owned());
        }
        let mut r = Reader::new(bytes);
        let kind = r.u8().map_err(text)?;
        match (kind, self.next) {
            (HEAD, 0) => self.head(&mut r)?,
            (ITEMS, 1..) => {
                while !r.is_empty() {
                    self.item(&mut r)?;
                }
            }
            (END, 1..) => {
                let sum = r.u64().map_err(text)?;
                if sum != self.sum.finalize() {
                    return Err("the checksum over the whole does not match".to_owned());
                }
                self.ended = true;
            }
            _ => return Err(format!("kind {kind} is not expected here")),
        }
        r.end().map_err(text)?;
        self.sum.update(bytes);
        Ok(())
    }

    fn head(&mut self, r: &mut Reader<'_>) -> Result<(), String> {
        let version = r.u8().map_err(text)?;
        if version != VERSION {
            return Err(format!(
                "it has format version {version}, and this program knows {VERSION}: use the program that wrote it"
            ));
        }
        self.head_fields(r).map_err(text)
    }

    fn head_fields(&mut self, r: &mut Reader<'_>) -> Result<(), CodecError> {
        let durable = &mut self.durable;
        durable.position = LogPosition(r.num()?);
        durable.epoch = MasterEpoch(r.num()?);
        durable.master_session = ProcessSession(r.num()?);
        if r.bool()? {
            let cluster = ClusterUid(r.u128()?);
            let bytes = r.num()?;
            let size = ChunkSize::new(bytes)
                .map_err(|_| CodecError::Value { what: "the chunk size", value: bytes })?;
            durable.format = Some((cluster, size));
        }
        durable.chunks.load_head(ChunkHandle(r.num()?), r.byte_to("members", REPLICATION_MAX)?);
        Ok(())
    }

    fn item(&mut self, r: &mut Reader<'_>) -> Result<(), String> {
        match r.u8().map_err(text)? {
            kind::CHUNK => self.chunk(r),
            kind::PLACES => self.places(r),
            kind::PIECE => self.piece(r),
            kind::NAMES => self.names(r),
            kind::TRASHED => {
                let (position, trashed) = read_trashed(r).map_err(text)?;
                self.trashed(position, trashed)
            }
            kind::SESSION => {
                let (id, session) = read_session(r).map_err(text)?;
                self.durable.sessions.open(id, session)
            }
            other => Err(format!("kind {other} of an item is unknown")),
        }
    }

    fn chunk(&mut self, r: &mut Reader<'_>) -> Result<(), String> {
        let (handle, chunk, started, unborn) = read_chunk(r).map_err(text)?;
        self.durable.chunks.load(handle, chunk, started, unborn)
    }

    fn places(&mut self, r: &mut Reader<'_>) -> Result<(), String> {
        let count = r.num_to("places in an item", u64::from(PLACES)).map_err(text)?;
        let mut near = Near::default();
        for _ in 0..count {
            match read_place(r, &mut near).map_err(text)? {
                Told::Retired => self.tree.retired()?,
                Told::Free(generation) => self.tree.free(generation)?,
                Told::Directory(generation) => self.tree.directory(generation)?,
                Told::File(generation, file, handle) => {
                    if let Some(handle) = handle {
                        self.durable.chunks.load_reference(handle)?;
                    }
                    self.tree.file(generation, file, handle)?;
                }
            }
        }
        Ok(())
    }

    fn piece(&mut self, r: &mut Reader<'_>) -> Result<(), String> {
        let place = r.u32_num().map_err(text)?;
        let count = r.count().map_err(text)?;
        let held = &mut self.durable.chunks;
        let chunks = (0..count).map(|_| {
            let index = ChunkIndex(r.num_to("a chunk index", FILE_CHUNKS_MAX - 1).map_err(text)?);
            let handle = ChunkHandle(r.num().map_err(text)?);
            held.load_reference(handle)?;
            Ok((index, handle))
        });
        self.tree.chunks(place, chunks)
    }

    fn names(&mut self, r: &mut Reader<'_>) -> Result<(), String> {
        let place = r.u32_num().map_err(text)?;
        let count = r.u8().map_err(text)?;
        let bytes = r.bytes().map_err(text)?;
        self.tree.names(place, usize::from(count), bytes)
    }

    fn trashed(&mut self, position: LogPosition, trashed: Trashed) -> Result<(), String> {
        let rising =
            self.durable.trash.entries().next_back().is_none_or(|(last, _)| last < position);
        if !rising
            || position > self.durable.position
            || self.durable.trash.get(trashed.id).is_some()
        {
            return Err(format!("{} in the trash is out of order", trashed.id));
        }
        self.durable.trash.put(position, trashed);
        Ok(())
    }

    fn build(mut self) -> Result<Durable, String> {
        if !self.ended {
            return Err("it ends early".to_owned());
        }
        if self.durable.format.is_none() {
            let empty = self.tree.is_empty() && self.durable.chunks.len() == 0;
            return if empty {
                Ok(self.durable)
            } else {
                Err("a blank state holds files".to_owned())
            };
        }
        self.durable.tree = std::mem::take(&mut self.tree).finish()?;
        self.check_trash()?;
        let lost = self.durable.chunks.iter().find(|(_, chunk)| chunk.references == 0);
        if let Some((handle, _)) = lost {
            return Err(format!("no file holds chunk {handle}"));
        }
        Ok(self.durable)
    }

    /// What lies in the trash directory is what the list of the trash says.
    fn check_trash(&self) -> Result<(), String> {
        let durable = &self.durable;
        let mut hidden = 0;
        let mut names = durable.tree.names(TRASH_ID, None);
        while let Some(id) = names.advance_id() {
            hidden += 1;
            if durable.trash.get(id).is_none() {
                return Err(format!("{id} lies in the trash and nobody knows why"));
            }
        }
        if hidden == durable.trash.len() {
            Ok(())
        } else {
            Err("the list of the trash names what is not there".to_owned())
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it is used as a function of map_err")]
fn text(error: CodecError) -> String {
    error.to_string()
}

type LoadedChunk = (ChunkHandle, Chunk, Option<ChunkVersion>, Option<Vec<ServerUid>>);

fn read_chunk(r: &mut Reader<'_>) -> Result<LoadedChunk, CodecError> {
    let handle = ChunkHandle(r.num()?);
    let chunk = Chunk {
        version: ChunkVersion(r.num()?),
        members: r.byte_to("members", REPLICATION_MAX)?,
        goal: r.byte_to("a goal", REPLICATION_MAX)?,
        references: 0,
    };
    let started = Some(ChunkVersion(r.num()?)).filter(|number| number.0 != 0);
    let count = r.count()?;
    if count > usize::from(REPLICATION_MAX) {
        return Err(CodecError::Value { what: "members", value: count as u64 });
    }
    let members: Vec<_> = (0..count).map(|_| r.u128().map(ServerUid)).collect::<Result<_, _>>()?;
    Ok((handle, chunk, started, Some(members).filter(|members| !members.is_empty())))
}

fn read_trashed(r: &mut Reader<'_>) -> Result<(LogPosition, Trashed), CodecError> {
    let position = LogPosition(r.num()?);
    let id = FileId(r.num()?);
    let deleted = WallTime { ms: r.num()? };
    let purge = r.bool()?;
    let path = Arc::from(r.text("the length of a path", PATH_BYTES_MAX)?);
    Ok((position, Trashed { id, path, deleted, purge }))
}

fn read_session(r: &mut Reader<'_>) -> Result<(SessionId, Session), CodecError> {
    let id = SessionId(r.u64()?);
    let mut session = Session { answered_below: RequestSeq(r.num()?), ..Session::default() };
    let count = r.num_to("results of a session", SESSION_RESULTS_MAX as u64)?;
    for _ in 0..count {
        let seq = RequestSeq(r.num()?);
        let fingerprint = r.u32()?;
        let outcome = read_outcome(r)?;
        let last = session.results.last_key_value().map(|(last, _)| *last);
        let below = session.answered_below;
        let far = seq.0.checked_sub(below.0).is_none_or(|far| far >= SESSION_RESULTS_MAX as u64);
        if far || last.is_some_and(|last| last >= seq) {
            return Err(CodecError::Value { what: "a request", value: seq.0 });
        }
        session.results.insert(seq, Remembered { fingerprint, outcome });
    }
    Ok((id, session))
}

fn read_outcome(r: &mut Reader<'_>) -> Result<Outcome, CodecError> {
    let kind = match r.byte_to("a result", 2)? {
        0 => return Ok(Outcome::Done),
        1 => EntryKind::File,
        _ => EntryKind::Directory,
    };
    Ok(Outcome::Entry(EntryFacts {
        id: FileId(r.num()?),
        kind,
        length: r.num()?,
        chunks: r.num()?,
        replication: r.byte_to("replication", REPLICATION_MAX)?,
        attributes: read_attributes(r)?,
    }))
}
