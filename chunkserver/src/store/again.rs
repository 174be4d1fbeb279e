//! What may stand in the kernel's memory only is written again.
//!
//! A kernel that cannot bring a page to the disk says so once, and calls the page clean: it is read as if it were there, no later
//! sync brings it there, and a power loss takes it back. So a start writes again what no sync of the process before it
//! vouches for, before its own sync makes it durable.

use std::io;
use std::ops::Range;

use gfs_durable::fs::File;
use gfs_types::limits::BLOCK_BYTES;

use super::header::Header;
use super::layout::{DATA_AT, END_BYTES, ENDS, ENDS_AT, End, REDO_HEAD_BYTES, SLOT_BYTES, redo_at};
use super::redo::Redo;
use super::{StoreConfig, table};

/// Read and written at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Whether bytes that were written in this run of the kernel may be among those of a replica. One that is suspect or corrupt keeps
/// the boot id of the time when it became unclean, and is changed since.
pub(super) fn is_needed(header: &Header, config: &StoreConfig) -> bool {
    header.suspect || header.corrupt || header.boot == config.boot
}

/// What recovery goes by: the newest header, the ends, and the redo records.
pub(super) fn traces(file: &dyn File, header: &Header) -> io::Result<()> {
    let (slot, _) = header.slot();
    bytes(file, slot..slot + SLOT_BYTES as u64, Zeros::Write)?;
    bytes(file, ENDS_AT..ENDS_AT + ENDS * END_BYTES, Zeros::Write)?;
    if !header.overwritten {
        return Ok(());
    }
    for area in 0..2 {
        if let Some((redo, _)) = Redo::read(file, header.handle, area)? {
            let at = redo_at(area);
            bytes(file, at..at + REDO_HEAD_BYTES as u64 + redo.length, Zeros::Write)?;
        }
    }
    Ok(())
}

/// The bytes up to an end, with their checksums, less what was durable before this header and was not changed since.
pub(super) fn blocks(file: &dyn File, header: &Header, end: End) -> io::Result<()> {
    let only_grew = !header.overwritten && !header.suspect && !header.corrupt;
    // Behind what was durable the file was never written but by what is read here: where that is zeros it may be a hole.
    let (durable, zeros) = match only_grew {
        true => (header.base.length.min(end.length), Zeros::Leave),
        false => (0, Zeros::Write),
    };
    let first = durable / BLOCK_BYTES;
    bytes(file, DATA_AT + durable..DATA_AT + end.length, zeros)?;
    let whole = end.length / BLOCK_BYTES;
    let sums = table::read(file, first, whole.saturating_sub(first))?;
    table::write(file, first, &sums)
}

/// What becomes of a piece that is all zeros.
#[derive(Clone, Copy, PartialEq)]
enum Zeros {
    Write,
    Leave,
}

fn bytes(file: &dyn File, range: Range<u64>, zeros: Zeros) -> io::Result<()> {
    let mut at = range.start;
    let mut buffer = Vec::new();
    while at < range.end {
        let length = PIECE_BYTES.min(range.end - at);
        buffer.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
        file.read_exact_at(&mut buffer, at)?;
        if zeros == Zeros::Write || buffer.iter().any(|byte| *byte != 0) {
            file.write_all_at(&buffer, at)?;
        }
        at += length;
    }
    Ok(())
}
