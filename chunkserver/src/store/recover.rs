//! What a crash left of a replica, made whole again.
//!
//! Every mutation leaves one of these behind, in order of their sequence: the end in the header, an end record, a redo
//! record. Recovery takes the newest end whose every doubtful block verifies, with the overwrites up to it done again,
//! and makes that durable. After a killed process that is the last mutation that was finished; after a power loss it
//! is at least the last flush. A replica that ended clean is taken as it is.

use std::collections::BTreeMap;
use std::io;

use gfs_durable::fs::File;
use gfs_protocol::checksum::crc32c;
use gfs_types::ids::ChunkHandle;
use gfs_types::limits::BLOCK_BYTES;
use gfs_types::marks::{Mark, hit};
use gfs_types::region::blocks_of;

use super::error::is_lost;
use super::header::{Header, HeaderError};
use super::layout::{DATA_AT, End};
use super::redo::Redo;
use super::{StoreConfig, StoreError, again, ends, table};

/// No file is changed so often: one change a nanosecond takes three centuries.
const SEQUENCE_MAX: u64 = 1 << 63;

/// A recovered replica.
#[derive(Debug)]
pub(super) struct Recovered {
    pub header: Header,
    pub end: End,
    /// The sequence under which this end was written; recovery gives it a higher one.
    pub found_seq: u64,
    pub damaged: Option<String>,
}

impl Recovered {
    /// At what was durable before its header.
    fn base(header: Header, damaged: Option<String>) -> Self {
        Self { end: header.base, found_seq: header.base.seq, header, damaged }
    }
}

/// Recovers one file.
pub(super) fn recover(
    file: &dyn File,
    handle: ChunkHandle,
    config: &StoreConfig,
) -> Result<Recovered, StoreError> {
    let header = Header::read(file).map_err(|error| head_error(handle, &error))?;
    check_identity(&header, handle, config)?;
    check_numbers(&header)?;
    match recover_behind(file, header.clone(), config) {
        // What its head says stays known, and most of it can be read: others are made equal to it, and it to them.
        Err(StoreError::Io { source, .. }) if is_lost(&source) => {
            // The version that is reported must not be one that a power loss takes back.
            file.sync_data().map_err(|source| StoreError::Fatal { handle, source })?;
            let reason = format!("the disk cannot give some of it: {source}");
            Ok(Recovered::base(header, Some(reason)))
        }
        recovered => recovered,
    }
}

/// Recovers what stands behind the head.
fn recover_behind(
    file: &dyn File,
    header: Header,
    config: &StoreConfig,
) -> Result<Recovered, StoreError> {
    let handle = header.handle;
    let io = |source| StoreError::Io {
        handle: Some(handle),
        doing: format!("recovering chunk {handle}"),
        source,
    };
    if !header.clean || header.suspect || header.corrupt {
        // A killed process may not have synced what is read here: a power loss must not take back a version that is reported,
        // nor a redo record that is laid over the file.
        if again::is_needed(&header, config) {
            again::traces(file, &header).map_err(io)?;
        }
        file.sync_data().map_err(|source| StoreError::Fatal { handle, source })?;
    }
    if header.clean {
        let damaged = check_length(file, header.base).map_err(io)?;
        return Ok(Recovered::base(header, damaged));
    }
    let traces = Traces::read(file, &header).map_err(io)?;
    match traces.newest_good(file).map_err(io)? {
        // A killed process leaves all it wrote: only a machine that restarted may have lost some of it.
        Some(end) if end.seq < traces.newest_seq() && header.boot == config.boot => {
            let reason = "bytes that were written changed on the disk";
            Ok(Recovered::base(header, Some(reason.to_owned())))
        }
        Some(end) => settle(file, header, &traces, end, config),
        None => {
            let reason = "no state of it verifies: bytes were lost or changed on the disk";
            Ok(Recovered::base(header, Some(reason.to_owned())))
        }
    }
}

fn head_error(handle: ChunkHandle, error: &HeaderError) -> StoreError {
    let reason = error.to_string();
    match error {
        HeaderError::Format { .. } => StoreError::Foreign { handle, reason },
        HeaderError::Damaged { .. } | HeaderError::Read(_) => {
            StoreError::Damaged { handle, reason }
        }
    }
}

/// A file that is not this server's to use.
fn check_identity(
    header: &Header,
    handle: ChunkHandle,
    config: &StoreConfig,
) -> Result<(), StoreError> {
    let wrong = |what: &str, found: String, expected: String| {
        let reason = format!("the file belongs to {what} {found}, {expected} is expected");
        Err(StoreError::Foreign { handle, reason })
    };
    if header.cluster != config.cluster {
        return wrong("cluster", header.cluster.to_string(), config.cluster.to_string());
    }
    if header.handle != handle {
        return wrong("chunk", header.handle.to_string(), handle.to_string());
    }
    if header.chunk_bytes != config.chunk_size.bytes() {
        let expected = config.chunk_size.bytes().to_string();
        return wrong("a cluster with the chunk size", header.chunk_bytes.to_string(), expected);
    }
    Ok(())
}

/// Numbers under a right checksum that no writer comes to: believed, they would overflow further on.
fn check_numbers(header: &Header) -> Result<(), StoreError> {
    let possible = |end: End| is_possible(end, header.chunk_bytes);
    if header.sequence < SEQUENCE_MAX && possible(header.base) && possible(header.next) {
        return Ok(());
    }
    let reason = "its head names a length or a count that cannot be".to_owned();
    Err(StoreError::Damaged { handle: header.handle, reason })
}

fn is_possible(end: End, chunk_bytes: u64) -> bool {
    end.length <= chunk_bytes && end.seq < SEQUENCE_MAX
}

/// A number above that of every trace in the file: an end with it makes them all void.
pub(super) fn next_sequence(file: &dyn File, header: &Header, end: End) -> io::Result<u64> {
    Ok(Traces::read(file, header)?.newest_seq().max(end.seq) + 1)
}

fn check_length(file: &dyn File, end: End) -> io::Result<Option<String>> {
    let bytes = file.len()?.saturating_sub(DATA_AT);
    Ok((bytes < end.length).then(|| format!("the file has {bytes} of its {} bytes", end.length)))
}

/// All that may tell of the newest state.
struct Traces {
    base: End,
    /// The newest first.
    ends: Vec<End>,
    /// The oldest first.
    redos: Vec<(Redo, Vec<u8>)>,
}

/// Which whole blocks verify, by their number and how many overwrites lie over them.
type Known = BTreeMap<(u64, usize), bool>;

/// Overwrites up to an end, as a layer over the file.
struct Layer<'a> {
    redos: Vec<&'a (Redo, Vec<u8>)>,
    sums: BTreeMap<u64, u32>,
}

impl Traces {
    fn read(file: &dyn File, header: &Header) -> io::Result<Self> {
        let base = header.base;
        let mut redos = Vec::new();
        for area in 0..2 {
            redos.extend(Redo::read(file, header.handle, area)?);
        }
        let possible = |end: End| is_possible(end, header.chunk_bytes);
        // What is overwritten was there before.
        redos.retain(|(redo, _)| {
            let stop = redo.offset.checked_add(redo.length);
            let within = stop.is_some_and(|stop| stop <= redo.end.length);
            redo.end.seq > base.seq && possible(redo.end) && within
        });
        redos.sort_by_key(|(redo, _)| redo.end.seq);
        let mut ends = ends::read(file, header.handle)?;
        ends.push(header.next);
        ends.extend(redos.iter().map(|(redo, _)| redo.end));
        ends.retain(|end| end.seq > base.seq && possible(*end));
        ends.push(base);
        ends.sort_by_key(|end| std::cmp::Reverse(end.seq));
        Ok(Self { base, ends, redos })
    }

    fn newest_seq(&self) -> u64 {
        self.ends.first().map_or(self.base.seq, |end| end.seq)
    }

    fn layer(&self, end: End) -> Layer<'_> {
        let redos: Vec<_> = self.redos.iter().filter(|(redo, _)| redo.end.seq <= end.seq).collect();
        let sums = redos.iter().flat_map(|(redo, _)| redo.whole_blocks()).collect();
        Layer { redos, sums }
    }

    fn newest_good(&self, file: &dyn File) -> io::Result<Option<End>> {
        let mut known = Known::new();
        for &end in &self.ends {
            if self.verifies(file, end, &mut known)? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// Whether every block of which a crash may have left anything else verifies: those from the end of the durable
    /// state on, and those that an overwrite touched since.
    fn verifies(&self, file: &dyn File, end: End, known: &mut Known) -> io::Result<bool> {
        if file.len()? < DATA_AT + end.length {
            return Ok(false);
        }
        let layer = self.layer(end);
        let last = end.length.div_ceil(BLOCK_BYTES);
        let first = (self.base.length / BLOCK_BYTES).min(end.length / BLOCK_BYTES);
        let touched = self.redos.iter().flat_map(|(redo, _)| blocks_of(redo.offset, redo.length));
        let doubtful = (first..last).chain(touched.filter(|block| *block < first));
        for block in doubtful {
            let whole = (block + 1) * BLOCK_BYTES <= end.length;
            let name = (block, layer.redos.len());
            let good = match known.get(&name) {
                Some(good) if whole => *good,
                _ => match layer.verifies(file, block, end) {
                    // One block that the disk cannot give is not the whole replica.
                    Err(error) if is_lost(&error) => false,
                    verified => verified?,
                },
            };
            if whole {
                known.insert(name, good);
            }
            if !good {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Layer<'_> {
    fn verifies(&self, file: &dyn File, block: u64, end: End) -> io::Result<bool> {
        let start = block * BLOCK_BYTES;
        let stop = (start + BLOCK_BYTES).min(end.length);
        let mut bytes = vec![0; usize::try_from(stop - start).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, DATA_AT + start)?;
        for (redo, data) in &self.redos {
            let from = redo.offset.max(start);
            let to = (redo.offset + redo.length).min(stop);
            if from < to {
                let place = |at: u64, zero: u64| usize::try_from(at - zero).unwrap_or(usize::MAX);
                bytes[place(from, start)..place(to, start)]
                    .copy_from_slice(&data[place(from, redo.offset)..place(to, redo.offset)]);
            }
        }
        let stored = if stop - start < BLOCK_BYTES {
            end.tail
        } else {
            match self.sums.get(&block) {
                Some(sum) => *sum,
                None => table::read(file, block, 1)?[0],
            }
        };
        Ok(crc32c(&bytes) == stored)
    }
}

/// Makes the end that was found durable, under a sequence above all that was seen, so that no trace of what did not
/// verify is ever taken up again.
fn settle(
    file: &dyn File,
    mut header: Header,
    traces: &Traces,
    found: End,
    config: &StoreConfig,
) -> Result<Recovered, StoreError> {
    let handle = header.handle;
    let io = |source| StoreError::Io {
        handle: Some(handle),
        doing: format!("recovering chunk {handle}"),
        source,
    };
    let fatal = |source| StoreError::Fatal { handle, source };
    let suspect = header.suspect || header.boot != config.boot;
    let as_is = traces.newest_seq() == header.base.seq
        && header.next == header.base
        && suspect == header.suspect
        && file.len().map_err(io)? == DATA_AT + found.length;
    if as_is {
        return Ok(Recovered { header, end: found, found_seq: found.seq, damaged: None });
    }
    let layer = traces.layer(found);
    put_in_place(file, &layer, found).map_err(io)?;
    if again::is_needed(&header, config) {
        again::blocks(file, &header, found).map_err(io)?;
    }
    file.sync_data().map_err(fatal)?;
    let end = End { seq: traces.newest_seq() + 1, ..found };
    header.sequence += 1;
    header.base = end;
    header.next = end;
    header.suspect = suspect;
    header.committed = header.committed.min(end.length);
    let (at, bytes) = header.slot();
    file.write_all_at(&bytes, at).map_err(io)?;
    file.sync_data().map_err(fatal)?;
    Ok(Recovered { header, end, found_seq: found.seq, damaged: None })
}

fn put_in_place(file: &dyn File, layer: &Layer<'_>, end: End) -> io::Result<()> {
    for (redo, data) in &layer.redos {
        hit(Mark::OverwriteRedone);
        file.write_all_at(data, DATA_AT + redo.offset)?;
    }
    for (block, sum) in &layer.sums {
        table::write(file, *block, &[*sum])?;
    }
    file.set_len(DATA_AT + end.length)
}
